"""`tinyattn data fetch NAME`: public data sets, from where their authors publish them."""

import argparse
import sys

from tinyattn import files
from tinyattn.tasks.parts.fetching import COLLECTIONS, fetch
from tinyattn.train.run import command


def data(arguments: argparse.Namespace) -> None:
    """Bring a collection's files into a folder, or list what there is."""
    if arguments.name is None:
        table = {name: {"title": one.title, "licence": one.licence} for name, one in COLLECTIONS.items()}
        lines = (f"{name:<16} {one['title']} ({one['licence']})" for name, one in table.items())
        print(files.to_json(table) if arguments.json else "\n".join(lines))
        return
    folder = arguments.out or f"data/{arguments.name}"
    live = sys.stderr.isatty()

    def report(name: str, have: int, size: int | None) -> None:
        if live:
            share = f" of {size / 1e6:.1f}" if size else ""
            print(f"\r{name}  {have / 1e6:.1f}{share} MB", end="", file=sys.stderr, flush=True)
            if have == size:
                print(file=sys.stderr)

    paths = fetch(arguments.name, folder, arguments.address, report)
    if arguments.json:
        print(files.to_json([str(path) for path in paths]))
        return
    collection = COLLECTIONS[arguments.name]
    print(f"{arguments.name}: {collection.title} ({collection.licence}), in {folder}")
    print(f"next:   {command('train', '--task', arguments.name, '--data', folder)}")
