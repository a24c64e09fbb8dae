"""`tinyattn models` and `tinyattn tasks`: what there is."""

import argparse
import json
import textwrap
from dataclasses import asdict
from pathlib import Path

from tinyattn import models as model_table
from tinyattn import tasks as task_table
from tinyattn.experiments.training import RESULTS
from tinyattn.train.results import read


def models(arguments: argparse.Namespace) -> None:
    """All models with their default task, the documents that describe them, what they reached, and their paper; in JSON
    also the baseline."""
    entries = model_table.list()
    if arguments.json:
        print(json.dumps([asdict(entry) for entry in entries], ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry.name:<22}{entry.task:<15}{entry.seed:<10}".rstrip())
        for text in filter(None, [_best(entry), entry.paper]):
            print(textwrap.fill(text, 80, initial_indent="    ", subsequent_indent="    "))


def _best(entry: model_table.Entry) -> str:
    """What has been recorded of the first figure that the model's first recipe has a target for, if records are at
    hand."""
    recipe = model_table.get(entry.name).recipes[0]
    wanted = "_".join(filter(None, [recipe.variant, next(iter(recipe.targets), "")]))
    here = Path(__file__).parents[2]  # a checkout, whatever the working folder is
    places = (path for path in (RESULTS, here / RESULTS) if path.exists())
    for one in read(next(places, RESULTS)):
        found = (one["model"], one["task"], one["metric"]) == (entry.name, entry.task, wanted)
        if found and one["value"] is not None and one["target"] is not None:
            return f"{wanted} {one['value']:.4g}, target {one['target']:.4g}"
    return ""


def tasks(arguments: argparse.Namespace) -> None:
    """All tasks with one line about each."""
    entries = [{"name": name, "description": text} for name, text in task_table.list()]
    if arguments.json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry['name']:<16} {entry['description']}")
