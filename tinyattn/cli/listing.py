"""`tinyattn models` and `tinyattn tasks`: what there is."""

import argparse
import json
import textwrap
from dataclasses import asdict

from tinyattn import models as model_table
from tinyattn import tasks as task_table


def models(arguments: argparse.Namespace) -> None:
    """All models with their default task and their paper; in JSON also the source documents and the baseline."""
    entries = model_table.list()
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry.name:<18} {entry.task}")
        print(textwrap.fill(entry.paper, 80, initial_indent="    ", subsequent_indent="    "))


def tasks(arguments: argparse.Namespace) -> None:
    """All tasks with one line about each."""
    entries = [{"name": name, "description": text} for name, text in task_table.list()]
    if arguments.json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry['name']:<16} {entry['description']}")
