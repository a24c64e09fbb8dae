"""`tinyattn train`: from what was typed to a run, and from its outcome to the terminal."""

import argparse
from collections.abc import Sequence
from typing import Any

import tinyattn as ta
from tinyattn import files, ranks
from tinyattn.cli import STOPPED, compiling
from tinyattn.errors import Interrupted, UsageError
from tinyattn.experiments.experiment import Experiment
from tinyattn.experiments.outcome import Outcome
from tinyattn.experiments.training import RESULTS
from tinyattn.train import results
from tinyattn.train.run import command


def train(arguments: argparse.Namespace) -> int:
    """Train, compare, report."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    compiling.begin()
    if arguments.record:
        results.check(RESULTS)
    experiment = _resumed(arguments) if arguments.resume else _new(arguments)
    try:
        outcome = experiment.train(arguments.out, resume=bool(arguments.resume), record=arguments.record)
    except (Interrupted, KeyboardInterrupt) as stop:
        where = f" after step {stop.step:,}, and saved" if isinstance(stop, Interrupted) else ""
        advice = ""
        if experiment.run is not None:
            advice = f" Go on with:\n  {command('train', '--resume', experiment.run.folder)}"
        ranks.say(f"stopped{where}.{advice}")
        return STOPPED
    if arguments.json:
        print(files.to_json(outcome.to_json()))
    else:
        _show(outcome)
    return 0


def _new(arguments: argparse.Namespace) -> Experiment:
    given = {"seed": arguments.seed, "steps": arguments.steps}
    given["share_optimizer"] = arguments.shard_optimizer or None
    return Experiment(
        arguments.model or "bahdanau", arguments.task, data=arguments.data, baseline=not arguments.no_baseline,
        **assignments(arguments.assignments) | {key: value for key, value in given.items() if value is not None},
    )  # fmt: skip


def _resumed(arguments: argparse.Namespace) -> Experiment:
    given = {
        "MODEL": arguments.model, "--task": arguments.task, "--out": arguments.out,
        "--set": arguments.assignments, "--seed": arguments.seed is not None,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise UsageError(f"[train] --resume must come without {option}: the run has its own settings.")
    experiment = Experiment.open(arguments.resume, arguments.data, lock=True)
    if arguments.steps:
        experiment.config["training"]["steps"] = arguments.steps
        said = experiment.config["run"].get("set", [])
        experiment.config["run"]["set"] = [text for text in said if not text.startswith("steps=")]
        experiment.config["run"]["set"] += [f"steps={arguments.steps}"]
    if arguments.shard_optimizer:
        experiment.config["training"]["share_optimizer"] = True
    if arguments.no_baseline:
        experiment.config["run"]["baseline"] = False
    return experiment


LONGEST = 200
"""Characters of an example that one might type."""
_OPTIONS = {
    "model": "choose the model with MODEL.", "task": "choose the task with --task.",
    "data": "name the task's files with --data.", "baseline": "leave it out with --no-baseline.",
}  # fmt: skip


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """What --set was followed by: key=value, each as text. Raises UsageError."""
    found: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise UsageError(f"[train] --set must be followed by key=value, but got {text!r}.")
        if key in _OPTIONS:
            raise UsageError(f"[train] --set must name a setting, but got {key!r}: {_OPTIONS[key]}")
        found[key] = value
    return found


def _show(outcome: Outcome) -> None:
    """Print the table, where the report is, and what to try next."""
    folder = outcome.folder
    print(f"\n{outcome}\n\nreport: {outcome.report}")
    example = outcome.task.suggestions(1)
    fits = all(len(text) <= LONGEST for text in example)
    words: list[tuple[Any, ...]] = [("sample", folder, *(example if fits else ()))]
    words.append(("draw", folder, "-o", "graph.svg"))
    words.append(("eval", folder, *(("--beam", "4") if "beam" in outcome.models[0].model.search() else ())))
    for number, one in enumerate(words):
        held_out = " < /dev/null" if number == 0 and not fits else ""  # (it answers a few of its own, then)
        print(f"{'next:' if number == 0 else '':<8}{command(*one)}{held_out}")
