"""`tinyattn models` and `tinyattn tasks`: what there is."""

import argparse
import json

from tinyattn import models as model_table
from tinyattn import tasks as task_table


def models(arguments: argparse.Namespace) -> None:
    """All models with their paper, seed document and default task."""
    entries = [
        {"name": e.name, "paper": e.paper, "seed": e.seed, "task": e.task, "baseline": e.baseline}
        for e in model_table.list()
    ]
    if arguments.json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry['name']:<18} {entry['task']:<12} {entry['seed']:<12} {entry['paper']}")


def tasks(arguments: argparse.Namespace) -> None:
    """All tasks with one line about each."""
    entries = [{"name": name, "description": text} for name, text in task_table.list()]
    if arguments.json:
        print(json.dumps(entries, ensure_ascii=False))
        return
    for entry in entries:
        print(f"{entry['name']:<12} {entry['description']}")
