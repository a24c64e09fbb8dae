"""`tinyattn train`: the model, the baseline beside it, the figures, the report.

The baseline is a run of its own, in the folder `baseline` of the run it belongs to. A run that was stopped
anywhere, even in the middle of the baseline, goes on from there with --resume.
"""

import argparse
import copy
import json
import sys
import time
from pathlib import Path
from typing import Any

import tinyattn as ta
from tinyattn import files, models
from tinyattn.cli import STOPPED, settings
from tinyattn.cli.finished import load_best
from tinyattn.cli.outcome import Trained, figures_of, show, write_report
from tinyattn.cli.settings import Config, UsageError
from tinyattn.models.evaluation import evaluate
from tinyattn.train import checkpoint, results
from tinyattn.train.loop import Interrupted, Trainer
from tinyattn.train.progress import Progress
from tinyattn.train.run import Run, command

BASELINE = "baseline"
RESULTS = Path("results") / "results.json"


def train(arguments: argparse.Namespace) -> int:
    """Train, compare, report."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    if arguments.record:
        results.check(RESULTS)
    run, task = _resumed(arguments) if arguments.resume else _new(arguments)
    try:
        return _train(run, task, arguments)
    except (Interrupted, KeyboardInterrupt) as stop:
        where = f" after step {stop.step:,}, and saved" if isinstance(stop, Interrupted) else ""
        print(f"stopped{where}. Go on with:\n  {command('train', '--resume', run.folder)}", file=sys.stderr)
        return STOPPED
    finally:
        run.close()


def _new(arguments: argparse.Namespace) -> tuple[Run, Any]:
    config = settings.resolve(
        arguments.model or "bahdanau", arguments.task, arguments.data, arguments.seed, arguments.steps,
        arguments.assignments,
    )  # fmt: skip
    config["run"] = {"baseline": not arguments.no_baseline, "set": arguments.assignments}
    name = f"{config['model']['name']}-{config['task']['name']}-{config['training']['seed']}"
    task = settings.make_task(config)  # first: when its files are missing, no run folder is left behind
    return Run.create(arguments.out, config, name), task


def _resumed(arguments: argparse.Namespace) -> tuple[Run, Any]:
    given = {
        "MODEL": arguments.model, "--task": arguments.task, "--out": arguments.out,
        "--set": arguments.assignments, "--seed": arguments.seed is not None,
    }  # fmt: skip
    for option, value in given.items():
        if value:
            raise UsageError(f"[train] --resume must come without {option}: the run has its own settings.")
    settings.check_run(Run.open(arguments.resume, lock=False))
    run = Run.open(arguments.resume)
    before = run.config
    run.config = config = copy.deepcopy(before)
    if arguments.steps:
        config["training"]["steps"] = arguments.steps
    if arguments.data is not None:
        settings.move_data(config, arguments.data)
    if arguments.no_baseline:
        config.setdefault("run", {})["baseline"] = False
    settings.check(models.get(config["model"]["name"]), config)
    task = settings.make_task(config)
    if config != before:
        run.save_config()
    return run, task


def _train(run: Run, task: Any, arguments: argparse.Namespace) -> int:
    config = run.config
    entry = models.get(config["model"]["name"])
    print(f"run folder: {run.folder}", file=sys.stderr)
    trained = [_one(run, config, task)]
    if entry.baseline and config.get("run", {}).get("baseline", True):
        folder = run.folder / BASELINE
        beside = _baseline_config(config, entry.baseline, trained[0].model)
        other = Run.open(folder) if (folder / "config.toml").exists() else Run.create(folder, beside, "")
        other.config = beside  # the steps may have changed
        try:
            trained.append(_one(other, beside, task))
        finally:
            other.close()
    rows = figures_of(trained, entry.targets.get(task.name, {}))
    report = write_report(run, task, trained, rows)
    outcome = {
        "run": str(run.folder), "report": str(report), "seed": config["training"]["seed"],
        "models": {t.name: t.summary() for t in trained},
    }  # fmt: skip
    files.replace(run.folder / "results.json", [f"{json.dumps(outcome, indent=1)}\n".encode()])
    if arguments.record:
        for one in trained:
            _record(one, config)
    if arguments.json:
        print(json.dumps(outcome))
    else:
        show(task, trained, rows, run.folder, report)
    return 0


def _one(run: Run, config: Config, task: Any) -> Trained:
    """Train one model to the end, from its last checkpoint if it has one; then measure the best it was."""
    training = settings.training(config)
    name = config["model"]["name"]
    ta.manual_seed(training.seed)
    model = settings.make_model(config, task)
    trainer = Trainer(model, task, training, run, Progress(training.steps, label=name))
    if checkpoint.saved(run.folder):
        trainer.restore(checkpoint.latest(run.folder))
        if trainer.standing.step < training.steps:
            print(f"{name}: going on after step {trainer.standing.step:,}", file=sys.stderr)
    else:
        run.truncate_metrics(0)
    print(f"{name}: {model.num_parameters():,} parameters", file=sys.stderr)
    standing = trainer.fit()
    load_best(run, model)
    started = time.monotonic()
    found = evaluate(model, task, "test", training.batch_size)
    took = time.monotonic() - started
    print(
        f"{name}: measured on {len(found.translations):,} held-out examples in {took:.1f} s", file=sys.stderr
    )
    return Trained(name, model, found, standing, training.steps, run.metrics())


def _baseline_config(config: Config, name: str, model: Any) -> Config:
    """The same run with the baseline in the model's place, of the same number of parameters."""
    like = models.get(name).load().Config.like(model.config)
    sizes = {key: value for key, value in vars(like).items() if not key.endswith("_vocabulary")}
    return config | {"model": {"name": name} | sizes}


def _record(trained: Trained, config: Config) -> None:
    entry = models.get(trained.name)
    task, training = config["task"]["name"], config["training"]
    words = ["tinyattn train", config["model"]["name"], "--task", task]
    words += ["--data DIR"] if config["task"].get("data") else []
    words += [f"--set {text}" for text in config.get("run", {}).get("set", [])]
    results.record(
        RESULTS, trained.name, task, trained.figures, training["seed"], training["steps"], trained.standing.seconds,
        " ".join([*words, "--record"]), entry.paper, entry.targets.get(task, {}),
    )  # fmt: skip
    curve = RESULTS.parent / f"{trained.name}-{task}-{training['seed']}.jsonl"
    files.replace(curve, [f"{json.dumps(record)}\n".encode() for record in trained.metrics])
