"""A model with each of several settings, beside each other: which score, which size, which learning rate.

    for case in cases({"score": ["dot", "general"], "window": ["2", "10"]}):     # all four combinations
        row = run("luong", case, ...)

Runs go on where they were stopped, as those of `reproduce` do.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyattn.errors import CheckpointError
from tinyattn.experiments.experiment import Experiment
from tinyattn.experiments.reproduce import finish
from tinyattn.sections import Figure
from tinyattn.train.run import CONFIG

COMPARED = ("model", "task", "training")
"""The tables of a configuration that say what a run is."""


@dataclass
class Row:
    """One case: its settings, and what was measured, by seed. known: the figures of the task."""

    case: Mapping[str, str]
    known: Mapping[str, Figure]
    figures: dict[str, dict[int, float]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)
    parameters: int = 0

    @property
    def medians(self) -> dict[str, float]:
        """Metric → median over the seeds."""
        return {metric: statistics.median(found.values()) for metric, found in self.figures.items()}

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        seeds = {metric: {str(s): v for s, v in found.items()} for metric, found in self.figures.items()}
        return {
            "settings": dict(self.case), "figures": self.medians, "seeds": seeds, "parameters": self.parameters,
            "seconds": statistics.median(self.seconds.values()),
        }  # fmt: skip


def cases(grid: Mapping[str, Sequence[str]], one_at_a_time: bool = False) -> list[dict[str, str]]:
    """All combinations of the values; or each value of each setting with nothing else changed."""
    if one_at_a_time:
        return [{key: value} for key, values in grid.items() for value in values]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def run(
    model: str, task: str | None, case: Mapping[str, str], common: Mapping[str, Any], seeds: int, folder: Path,
    data: str | None = None,
) -> Row:  # fmt: skip
    """Train a case with seeds 0 to seeds − 1. common: further settings. Raises UsageError for settings that there are
    none of, CheckpointError for a folder with other runs.
    """
    given: dict[str, Any] = {"data": data, "baseline": False, **common, **case}
    experiments = [Experiment(model, task, seed=seed, **given) for seed in range(seeds)]
    row = Row(case, {figure.key: figure for figure in experiments[0].task.figures})
    for seed, experiment in enumerate(experiments):
        place = folder / "-".join([*(f"{key}={value}" for key, value in case.items()), str(seed)])
        if (place / CONFIG).exists():
            found = Experiment.open(place, data).config
            if any(_said(found[table]) != _said(experiment.config[table]) for table in COMPARED):
                must = f"{place} must be a run of these settings"
                raise CheckpointError(
                    f"[sweep] {must}, but it has others: name another folder with --out DIR."
                )
        found = finish(experiment, place, data)[experiment.name]
        row.parameters, row.seconds[seed] = found["parameters"], found["seconds"]
        for metric in row.known:
            if isinstance(found.get(metric), (int, float)):
                row.figures.setdefault(metric, {})[seed] = float(found[metric])
    return row


def _said(table: Mapping[str, Any]) -> dict[str, Any]:
    """A table as its file has it: without what isn't set, and with lists for tuples."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in table.items()
        if value is not None
    }
