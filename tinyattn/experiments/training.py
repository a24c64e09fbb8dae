"""A run from its first step to its report: the model, the baseline beside it, the figures.

The baseline is a run of its own, in the folder `baseline` of the run it belongs to; so is what a run begins from, in
`start`, when it isn't there already. A run that was stopped anywhere, even in the middle of these, goes on from there.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tinyattn as ta
from tinyattn import files, ranks
from tinyattn.errors import TinyattnError, UsageError
from tinyattn.experiments import settings
from tinyattn.experiments.evaluation import answers_of, load_best
from tinyattn.experiments.outcome import FINISHED, Outcome, Trained, write_report
from tinyattn.experiments.settings import Config
from tinyattn.models.model import Model, settings_of
from tinyattn.tasks.task import Task
from tinyattn.train import checkpoint, results
from tinyattn.train.loop import Trainer
from tinyattn.train.progress import Progress
from tinyattn.train.run import CONFIG, Run

if TYPE_CHECKING:
    from tinyattn.experiments.experiment import Experiment

BASELINE, START = "baseline", "start"
"""Folders in that of a run: what it is compared with, and what it begins from."""
RESULTS = Path("results") / "results.json"


def train(
    experiment: "Experiment", folder: str | Path | None = None, resume: bool = False, record: bool = False
) -> Outcome:
    """Train, compare, report: see Experiment.train. record: add the figures to results/results.json."""
    if record:
        results.check(RESULTS)
    config, task = (
        experiment.config,
        experiment.task,
    )  # first: when its files are missing, no folder is left behind
    kind = [experiment.name, settings.variant(config), task.name, str(experiment.seed)]
    name = "-".join(filter(None, kind))
    if resume:
        if experiment.run is None:
            if folder is None:
                raise UsageError("[train] the folder of the run must be named to resume it, but got none.")
            experiment.run = Run.open(folder)
        try:
            _check_same(experiment.run, config)
        except UsageError:
            experiment.run.close()
            experiment.run = None
            raise
        if experiment.run.config != config:
            experiment.run.config = config
            experiment.run.save_config()
    else:
        experiment.run = Run.create(folder, config, name)
    run = experiment.run
    ranks.say(f"run folder: {run.folder}")
    try:
        outcome = _train(run, task)
    except (TinyattnError, MemoryError):
        if not resume:
            run.discard()
        raise
    finally:
        run.close()
    vars(experiment).pop("model", None)  # the best parameters are read when they are asked for
    if record and run.writes:
        for one in outcome.models:
            _record(one, config)
    return outcome


_MAY_CHANGE = {("training", "steps"), ("training", "share_optimizer"), ("task", "data")}
"""Settings that a run may go on with other values of."""


def _check_same(run: Run, config: Config) -> None:
    """Raise UsageError if a run is to go on with settings that aren't its own, or to fewer steps than are done."""
    for table, key, own, given in settings.differing(run.config, config):
        if (table, key) not in _MAY_CHANGE:
            must = f"a run must go on with its own settings: {table}.{key} = {own!r}"
            raise UsageError(f"[train] {must}, but got {given!r}.")
    done, steps = checkpoint.last_step(run.folder), config["training"]["steps"]
    if steps < done:
        raise UsageError(f"[train] steps must be at least the {done:,} that are done, but got {steps:,}.")


def _train(run: Run, task: Task) -> Outcome:
    config = run.config
    trained = [_one(run, config, task)]
    recipe = type(trained[0].model).recipe(config["task"]["name"], trained[0].variant, config["task"])
    beside = _beside(config, recipe.baseline, trained[0].model)
    if beside and config.get("run", {}).get("baseline", True):
        folder = run.folder / BASELINE
        other = _run_in(folder, beside)
        other.config = beside  # the steps may have changed
        try:
            twin = _one(other, beside, task)
        finally:
            other.close()
        if twin.label == trained[0].label:  # (only `start` tells them apart)
            twin = replace(twin, variant=f"{twin.variant}-scratch".strip("-"))
        trained.append(twin)
    outcome = Outcome(run.folder, task, trained, dict(recipe.targets), config["training"]["seed"])
    if run.writes:
        write_report(outcome, run)
        files.replace(run.folder / FINISHED, [f"{files.to_json(outcome.to_json(), indent=1)}\n".encode()])
    return outcome


def _run_in(folder: Path, config: Config) -> Run:
    """The run that is in this folder already, or else a new one."""
    begun = ranks.on_first((folder / CONFIG).exists)
    return Run.open(folder) if begun else Run.create(folder, config, "")


def _one(run: Run, config: Config, task: Task) -> Trained:
    """Train one model to the end, from its last checkpoint if it has one; then measure the best it was."""
    chosen = settings.training(config)
    name = settings.short(config["model"]["name"])
    ta.manual_seed(chosen.seed)
    _check_ranks(chosen.pieces)
    begun = ranks.on_first(lambda: bool(checkpoint.saved(run.folder)))
    with settings.in_file(run if begun else None):
        model = settings.make_model(config, task)
        progress = Progress(chosen.steps, label=name, unit=task.unit, quiet=not run.writes)
        trainer = Trainer(model, task, chosen, run, progress)
    if begun:
        trainer.restore(ranks.on_first(lambda: checkpoint.latest(run.folder)))
        if trainer.standing.step < chosen.steps:
            ranks.say(f"{name}: going on after step {trainer.standing.step:,}")
    else:
        _start(model, task, run, config)
        run.truncate_metrics(0)
    ranks.say(f"{name}: {model.num_parameters():,} parameters")
    for line in trainer.remarks():
        ranks.say(f"{name}: {line}")
    standing = trainer.fit()
    load_best(run, model)
    started = time.monotonic()
    answers = answers_of(model, task, "test", chosen.batch_size)
    scores = task.score(answers, "test")
    took = time.monotonic() - started
    ranks.say(f"{name}: measured on {task.count('test'):,} held-out examples in {took:.1f} s")
    return Trained(
        name, settings.variant(config), model, answers, scores, standing, chosen.steps, run.metrics()
    )


def _start(model: Model, task: Task, run: Run, config: Config) -> None:
    """Give a new model what its run begins from, if anything: a run of the user's, or a recipe, which is trained first.
    Raises UsageError when it doesn't fit."""
    named, name = config["training"]["start"], settings.short(config["model"]["name"])
    if not named:
        return
    recipe = settings.recipe_in(named)
    if recipe is None:
        there = Run.open(named, lock=False)
        settings.check_run(there)
        other = settings.make_task(there.config)
        learned = settings.make_model(there.config, other)
        load_best(there, learned)
    else:
        folder, seed = run.folder / START, config["training"]["seed"]
        shards = config["training"]["shards"]
        first = settings.resolve(*recipe, settings={"seed": seed, "shards": shards}, baseline=False)
        there = _run_in(folder, first)
        try:
            other = settings.make_task(there.config)
            learned = _one(there, there.config, other).model
        finally:
            there.close()
    try:
        model.start_from(learned, task.words, other.words)
    except TinyattnError as error:
        must = f"start must name a run whose parameters fit into {name}"
        raise UsageError(f"[train] {must}, but {named} does not: {str(error).splitlines()[0]}") from None
    ta.manual_seed(config["training"]["seed"])
    known = f", which knows {len({*task.words} & {*other.words}):,} of {len(task.words):,} words"
    ranks.say(f"{name}: starts from {named}{known if task.words else ''}")


def _check_ranks(shards: int) -> None:
    """Raise UsageError unless there is work for each rank."""
    if ranks.size() > max(1, shards):
        got = f"{ranks.size()} ranks" if shards else "the settings of a run in one piece (shards = 0)"
        must = f"a batch must have as many shards as there are ranks, at most {max(1, shards)}"
        if not shards:
            must = "a run on several ranks must be cut into shards"
        raise UsageError(f"[train] {must}, but got {got}.")


def _beside(config: Config, name: str | None, model: Model) -> Config | None:
    """The same run with the baseline in the model's place, of the same number of parameters; with a model that begins
    from another, the same from scratch. None where there is nothing to compare with."""
    if name is None:
        there = config["training"]["start"]
        return config | {"training": config["training"] | {"start": ""}} if there else None
    _, baseline = settings.find_model(name)
    like: Any = baseline.Config
    sizes = vars(like.like(model.config))
    return config | {"model": {"name": name} | {key: sizes[key] for key in settings_of(baseline.Config)}}


def _record(trained: Trained, config: Config) -> None:
    model, task, training = type(trained.model), config["task"]["name"], config["training"]
    words = ["tinyattn train", settings.short(config["model"]["name"]), "--task", task]
    words += ["--data DIR"] if config["task"].get("data") else []
    words += [f"--set {text}" for text in config.get("run", {}).get("set", [])]
    figures, recipe = trained.scores.figures, model.recipe(task, trained.variant, config["task"])
    before = f"{trained.variant}_" if trained.variant else ""

    def named(found: Mapping[str, Any]) -> dict[str, Any]:
        return {before + key: value for key, value in found.items()}

    results.record(
        RESULTS, trained.name, task, named(figures), training["seed"], training["steps"], trained.standing.seconds,
        " ".join([*words, "--record"]), model.paper, named(recipe.targets), named(recipe.reported),
    )  # fmt: skip
    kind = [trained.name, trained.variant, task, settings.numbers(config)]
    name = "-".join(filter(None, [*kind, str(training["seed"])]))
    lines = [f"{files.to_json(record)}\n".encode() for record in trained.metrics]
    files.replace(RESULTS.parent / f"{name}.jsonl", lines)
