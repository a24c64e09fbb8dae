"""`tinyattn sweep`: a model with each of several settings, as a table."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tinyattn as ta
from tinyattn import files
from tinyattn.cli.train import assignments
from tinyattn.errors import UsageError
from tinyattn.experiments import settings
from tinyattn.experiments import sweep as sweeping


def sweep(arguments: argparse.Namespace) -> None:
    """Train every case, or go on with it, and print what each has reached."""
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    common: dict[str, Any] = assignments(arguments.assignments)
    if arguments.steps:
        common["steps"] = arguments.steps
    grid = _grid(arguments.grid, common)
    found = sweeping.cases(grid, arguments.one_at_a_time)
    for case in found:  # before the first is trained
        config = settings.resolve(arguments.model, arguments.task, arguments.data, common | case)
    name = f"{settings.short(config['model']['name'])}-{settings.short(config['task']['name'])}"
    folder = Path(arguments.out or Path("runs") / "sweep" / name)
    shared = sweeping.Sweep(arguments.model, arguments.task, common, folder, arguments.data)
    rows = shared.rows(found, arguments.seeds)
    print(files.to_json([row.to_json() for row in rows]) if arguments.json else _table(rows))


def _grid(texts: Sequence[str], common: dict[str, Any]) -> dict[str, list[str]]:
    """What --grid was followed by. Raises UsageError."""
    grid: dict[str, list[str]] = {}
    for text in texts:
        key, separator, values = text.partition("=")
        several = values.split(",")
        if not separator or not key or not all(several):
            raise UsageError(f"[sweep] --grid must be followed by key=value,value, but got {text!r}.")
        if key == "seed":
            raise UsageError("[sweep] seeds must be given as --seeds N, but got --grid seed=….")
        if key in grid or key in common or len(set(several)) < len(several):
            raise UsageError(f"[sweep] --grid must name each setting and value once, but got {text!r}.")
        grid[key] = several
    return grid


def _table(rows: Sequence[sweeping.Row]) -> str:
    """A line a case."""
    figures = [figure for key, figure in rows[0].known.items() if any(key in row.figures for row in rows)]
    head = ["", *(figure.name for figure in figures), "parameters", "training time"]
    lines = [head]
    for row in rows:
        values = row.medians
        said = [figure.say(values[figure.key]) if figure.key in values else "–" for figure in figures]
        name = ", ".join(f"{key} {value}" for key, value in row.case.items())
        lines.append([name, *said, f"{row.parameters:,}", f"{row.to_json()['seconds']:.0f} s"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rest = ["  ".join(f"{c:>{w}}" for c, w in zip(line[1:], widths[1:], strict=True)) for line in lines]
    return "\n".join(f"{line[0]:<{widths[0]}}  {cells}" for line, cells in zip(lines, rest, strict=True))
