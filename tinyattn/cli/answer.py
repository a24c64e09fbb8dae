"""`tinyattn eval` and `tinyattn sample`: a trained model at work."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

import tinyattn as ta
from tinyattn import files
from tinyattn.cli.train import assignments
from tinyattn.errors import DataError, TinyattnError
from tinyattn.experiments.experiment import Experiment

SHOWN = 3
"""Held-out examples answered when nothing is given."""


def _opened(arguments: argparse.Namespace) -> tuple[Experiment, dict[str, Any]]:
    """The run, and the options of its answers."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    search = assignments(arguments.assignments)
    if arguments.beam is not None:
        search["beam"] = arguments.beam
    return Experiment.open(arguments.run, arguments.data), search


def evaluate(arguments: argparse.Namespace) -> None:
    """Answer a split, and print the figures."""
    experiment, search = _opened(arguments)

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done}/{total} batches", end="" if done < total else "\n", file=sys.stderr, flush=True)

    found = experiment.evaluate(arguments.split, progress, **search)
    about = {
        "run": str(arguments.run),
        "split": arguments.split,
        "examples": experiment.task.count(arguments.split),
    }
    outcome: dict[str, Any] = about | search | found.figures
    if arguments.json:
        print(files.to_json(outcome | {"groups": found.groups}))
        return
    for key, value in outcome.items():
        print(f"{key:<18} {value:.4f}" if isinstance(value, float) else f"{key:<18} {value}")
    for what, values in found.groups.items():
        print(f"{what}: " + ", ".join(f"{key}: {value:.3f}" for key, value in values.items()))


def sample(arguments: argparse.Namespace) -> None:
    """Answer texts: those given, else the lines of stdin as they come, else a few held-out ones."""
    experiment, search = _opened(arguments)
    task = experiment.task
    interactive = not arguments.text and sys.stdin.isatty()
    outcomes = []
    for text in _texts(arguments.text, task, interactive):
        try:
            for remark in task.remarks(text):
                print(f"note: {remark}", file=sys.stderr)
            outcome = experiment.sample(text, **search)
        except DataError as error:
            if not interactive:
                raise
            print(error, file=sys.stderr)  # the next line may be better
            continue
        outcomes.append(outcome)
        if not arguments.json:
            below = "\n" in outcome["output"]
            print(outcome["output"] if below else f"{outcome['input']}\n  → {outcome['output']}", flush=True)
    if arguments.json:
        print(files.to_json(outcomes, ensure_ascii=False))


def _texts(given: list[str], task: Any, interactive: bool) -> Iterator[str]:
    if given:
        yield from given
        return
    if interactive:
        example = next(iter(task.suggestions(1)), "")
        print(f"One line in, one answer out; Ctrl-D ends. For example:\n{example}", file=sys.stderr)
    seen, some = False, False
    while True:
        if interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            break
        seen = True
        if line.strip():
            some = True
            yield line.strip()
    if interactive:
        print(file=sys.stderr)
    elif seen and not some:
        raise DataError("[sample] stdin must hold an example a line, but all of its lines are blank.")
    elif not seen:
        suggestions = task.suggestions(SHOWN)
        if not suggestions:
            raise TinyattnError("[sample] a text must be given, but got none.")
        yield from suggestions
