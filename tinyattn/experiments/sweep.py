"""A model with each of several settings, beside each other: which score, which size, which learning rate.

    found = cases({"score": ["dot", "general"], "window": ["2", "10"]})     # all four combinations
    rows = Sweep("luong", None, {"steps": 500}, Path("runs")).rows(found, seeds=3)

Runs go on where they were stopped, as those of `reproduce` do. Under ``mpirun -n N`` the first rank hands them out to
N − 1 others, each of which trains as if it were alone.
"""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinyattn import ranks
from tinyattn.errors import CheckpointError
from tinyattn.experiments import settings
from tinyattn.experiments.experiment import Experiment
from tinyattn.experiments.reproduce import finish
from tinyattn.sections import Figure
from tinyattn.train.run import CONFIG


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


@dataclass(frozen=True)
class Sweep:
    """What all runs share. common: settings; folder: where the runs are."""

    model: str
    task: str | None
    common: Mapping[str, Any]
    folder: Path
    data: str | None = None

    def rows(self, found: Sequence[Mapping[str, str]], seeds: int) -> list[Row]:
        """Train each case with seeds 0 to seeds − 1; several ranks share the runs. Raises UsageError for settings that
        there are none of, CheckpointError for a folder with other runs.
        """
        wanted = [(case, seed) for case in found for seed in range(seeds)]
        rows: list[Row] = []
        for (case, seed), (known, figures) in zip(wanted, ranks.spread(wanted, self.run), strict=True):
            if seed == 0:
                rows.append(Row(case, known))
            rows[-1].parameters, rows[-1].seconds[seed] = figures["parameters"], figures["seconds"]
            for metric in known:
                if isinstance(figures.get(metric), (int, float)):
                    rows[-1].figures.setdefault(metric, {})[seed] = float(figures[metric])
        return rows

    def run(self, wanted: tuple[Mapping[str, str], int]) -> tuple[dict[str, Figure], dict[str, Any]]:
        """Train a case with one seed: the figures that the task knows, and what was measured."""
        case, seed = wanted
        given: dict[str, Any] = {"data": self.data, "baseline": False, **self.common, **case}
        experiment = Experiment(self.model, self.task, seed=seed, **given)
        place = self.folder / "-".join([*(f"{key}={value}" for key, value in case.items()), str(seed)])
        if (place / CONFIG).exists():
            there = Experiment.open(place, self.data).config
            if any(settings.differing(there, experiment.config)):
                must = f"{place} must be a run of these settings"
                raise CheckpointError(
                    f"[sweep] {must}, but it has others: name another folder with --out DIR."
                )
        figures = finish(experiment, place, self.data)[experiment.name]
        return {figure.key: figure for figure in experiment.task.figures}, figures
