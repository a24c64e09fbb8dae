"""Every figure again: each recipe of each model, with several seeds, beside its target and what has been recorded.

A run that was stopped goes on, and one that is finished isn't trained again, so that a reproduction of days can be
stopped and started as one likes. Under ``mpirun -n N`` the first rank hands the runs out to N − 1 others.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyattn import files, models, ranks, tasks
from tinyattn.errors import CheckpointError, UsageError
from tinyattn.experiments import settings
from tinyattn.experiments.experiment import Experiment
from tinyattn.experiments.outcome import FINISHED
from tinyattn.experiments.training import RESULTS
from tinyattn.models.model import Model, Recipe, settings_of
from tinyattn.sections import Figure
from tinyattn.train import results
from tinyattn.train.run import CONFIG


@dataclass
class Row:
    """A recipe of a model, and its figures by seed: metric → seed → value. given: how the model is found, such as
    file.py:Class; why: for what reason it isn't run.
    """

    given: str
    model: str
    recipe: Recipe
    known: Mapping[str, Figure]
    why: str = ""
    figures: dict[str, dict[int, float]] = field(default_factory=dict)

    @property
    def variant(self) -> str:
        """Of the model, by its sizes: what it is recorded as."""
        model = settings.find_model(self.given)[1]
        return model.variant(settings_of(model.Config) | dict(self.recipe.sizes))

    @property
    def name(self) -> str:
        """Model and variant."""
        return f"{self.model} {self.variant}".strip()

    def lines(self, recorded: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """What there is to say of each figure; recorded: see train/results.py."""
        before = f"{self.variant}_" if self.variant else ""
        for metric, found in self.figures.items():
            key = {"model": self.model, "task": self.recipe.task, "metric": before + metric}
            old = next((r for r in recorded if all(r[k] == v for k, v in key.items())), None)
            value, target = statistics.median(found.values()), self.recipe.targets.get(metric)
            figure = self.known.get(metric, Figure(metric, metric))
            better = 1 if figure.better == "higher" else -1
            yield key | {
                "value": value, "seeds": {str(seed): number for seed, number in found.items()}, "target": target,
                "reached": None if target is None else better * value >= better * target,
                "recorded": None if old is None else old["value"],
            }  # fmt: skip


def rows(names: Sequence[str] = (), data: Mapping[str, str] | None = None) -> list[Row]:
    """The recipes of these models, or of all. data: where the files of tasks are, by the names of the tasks; recipes
    for tasks whose files aren't known aren't run. Raises UsageError for a name that is none.
    """
    for given in data or {}:
        if not tasks.takes_data(settings.find_task(given)[1]):
            raise UsageError(f"[reproduce] --data must name a task that reads files, but {given} reads none.")
    found = []
    for name in names or models.MODELS:
        name, model = settings.find_model(name)
        for recipe in model.recipes:
            task = settings.find_task(recipe.task)[1]
            lacks = tasks.needs_data(task) and recipe.task not in (data or {})
            why = f"it reads files: add --data {recipe.task}=PATH" if lacks else ""
            found.append(Row(name, settings.short(name), recipe, {}, why))
    return found


@dataclass(frozen=True)
class Again:
    """The runs: in which folder, and where the files of tasks are, by the names of the tasks."""

    folder: Path
    data: Mapping[str, str]

    def finished(self, found: Sequence[Row], seeds: int) -> Iterator[Row]:
        """The rows, one after the other, with the figures of seeds 0 to seeds − 1; several ranks share the runs."""
        wanted = [(row, seed) for row in found if not row.why for seed in range(seeds)]
        told = ranks.spread(wanted, self.run)
        for row in found:
            for seed in range(0 if row.why else seeds):
                row.known, figures = next(told)
                for metric in row.known:
                    if isinstance(figures.get(metric), (int, float)):
                        row.figures.setdefault(metric, {})[seed] = float(figures[metric])
            yield row

    def run(self, wanted: tuple[Row, int]) -> tuple[dict[str, Figure], dict[str, Any]]:
        """Train a recipe with one seed, or go on with it: the figures that the task knows, and what was measured."""
        row, seed = wanted
        recipe, data = row.recipe, self.data.get(row.recipe.task)
        options = (f"{key}-{value}" for key, value in recipe.options.items())
        kind = [row.model, recipe.variant, recipe.task, *options, str(seed)]
        place = self.folder / "-".join(filter(None, kind))
        if (place / CONFIG).exists():
            experiment = Experiment.open(place, data)
            if experiment.config["training"]["seed"] != seed:
                got = f"its seed is {experiment.config['training']['seed']}"
                raise CheckpointError(f"[reproduce] {place} must be the run of seed {seed}, but {got}.")
        else:
            asked = asked_for(settings.find_model(row.given)[1], recipe)
            experiment = Experiment(row.given, recipe.task, seed=seed, data=data, **asked)
        known = {figure.key: figure for figure in experiment.task.figures}
        return known, finish(experiment, place, data)[row.model]


def finish(experiment: Experiment, place: Path, data: str | None = None) -> dict[str, Any]:
    """What is said of each model of the run in this folder, which is begun, gone on with, or read if finished."""
    finished = place / FINISHED
    if not finished.exists():
        again = (place / CONFIG).exists()
        if again:
            experiment = Experiment.open(place, data, lock=True)
        experiment.train(None if again else place, resume=again)
    source = files.Source(finished, "reproduce", CheckpointError)
    return source.json(source.content())["models"]


def asked_for(model: type[Model], recipe: Recipe) -> dict[str, Any]:
    """The settings by which a recipe is asked for: those of its variant, and the options of its task."""
    defaults, sizes = settings_of(model.Config), dict(recipe.sizes)
    varied = {key: sizes[key] for key in model.varies if sizes.get(key, defaults[key]) != defaults[key]}
    return varied | dict(recipe.options)


def recorded() -> list[dict[str, Any]]:
    """What results/results.json of this folder holds, if there is one."""
    return results.read(RESULTS)
