"""`tinyattn reproduce`: every figure again, beside its target and what has been recorded."""

import argparse
from pathlib import Path

import tinyattn as ta
from tinyattn import files, ranks
from tinyattn.errors import UsageError
from tinyattn.experiments import reproduce as again

HEAD = "model", "task", "figure", "here", "target", "recorded"


def reproduce(arguments: argparse.Namespace) -> int:
    """Train, or go on with, every recipe of the models; 1 if a target isn't reached."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    data = {}
    for text in arguments.data:
        task, separator, path = text.partition("=")
        if not separator or not task or not path:
            raise UsageError(f"[reproduce] --data must be followed by TASK=PATH, but got {text!r}.")
        data[task] = path
    found = again.rows(arguments.models, data)
    recorded = again.recorded()
    if not arguments.json:
        print(_line(HEAD))
    lines = []
    for row in again.Again(Path(arguments.out), data).finished(found, arguments.seeds):
        if row.why:
            ranks.say(f"{row.name} on {row.recipe.task} is left out: {row.why}.")
        for line in row.lines(recorded):
            lines.append(line)
            if not arguments.json:
                figure = row.known[line["metric"].removeprefix(f"{row.variant}_")]
                goal = "" if line["target"] is None else figure.goal(line["target"])
                old = "" if line["recorded"] is None else figure.say(line["recorded"])
                missed = "  missed" if line["reached"] is False else ""
                cells = row.name, row.recipe.task, figure.name, figure.say(line["value"]), goal, old
                print(_line(cells) + missed, flush=True)
    if arguments.json:
        print(files.to_json(lines))
    return int(any(line["reached"] is False for line in lines))


def _line(cells: tuple[str, ...]) -> str:
    return "{:<22} {:<16} {:<20} {:>10} {:>10} {:>10}".format(*cells).rstrip()
