"""results/results.json: what the models reach, written by the runs themselves and never by hand.

The file is a list of records, one for each model, task and metric:

    {"model": "bahdanau", "task": "tiny-mt", "metric": "exact_match", "value": 0.997, "target": 0.99,
    "reported": "what the paper has", "paper": "…",
     "seeds": {"0": 0.998, "1": 0.997, "2": 0.991}, "steps": 2700, "seconds": 71.2, "command": "…", "date":
     "2025-…"}

Each recorded run adds the value of its seed; `value` is the median over all of them. Seeds are merged only
when the command (but for the seed) and the steps are the same: a run with other settings replaces the
record. `seconds` are those of the run recorded last.
"""

import os
import statistics
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tinyattn import files, formats
from tinyattn.errors import DataError


def record(
    path: str | Path,
    model: str,
    task: str,
    figures: Mapping[str, float],
    seed: int,
    steps: int,
    seconds: float,
    command: str,
    paper: str = "",
    targets: Mapping[str, float] | None = None,
    reported: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Add the figures of one run to the file at `path`, and return the records that changed.

    command: without the seed. Raises DataError when the file is there and is not such a list.
    """
    path = Path(path)
    records = read(path)
    changed = []
    for metric, value in figures.items():
        key = {"model": model, "task": task, "metric": metric}
        old = next((r for r in records if all(r.get(k) == v for k, v in key.items())), None)
        same = old is not None and old.get("command") == command and old.get("steps") == steps
        seeds = {**(old["seeds"] if old is not None and same else {}), str(seed): float(value)}
        found = [number for number in seeds.values() if number is not None]  # null: it was not finite
        new = key | {
            "value": statistics.median(found) if found else None,
            "target": (targets or {}).get(metric),
            "reported": (reported or {}).get(metric, ""),
            "paper": paper,
            "seeds": dict(sorted(seeds.items(), key=lambda item: int(item[0]))),
            "steps": steps,
            "seconds": round(float(seconds), 1),
            "command": command,
            "date": date.today().isoformat(),
        }
        if old is None:
            records.append(new)
        else:
            records[records.index(old)] = new
        changed.append(new)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.replace(path, [f"{files.to_json(records, indent=1, ensure_ascii=False)}\n".encode()])
    files.replace(path.with_name(TABLE), [f"# Results\n\n{table(records)}".encode()])
    return changed


TABLE = "README.md"
"""The records as a table, beside their file."""


COLUMNS = "model", "task", "figure", "median", "target", "paper", "seeds", "steps", "time", "command", "date"


def table(records: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS) -> str:
    """The figures that have targets or are reported by the paper, as a table in Markdown; of a model without any, those
    that another one has a target for on that task, or the first.
    """
    records = list(records)
    aimed = {(record["task"], record["metric"]) for record in records if record["target"] is not None}
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        groups.setdefault((record["model"], record["task"]), []).append(record)
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for (model, task), found in sorted(groups.items()):
        own = [one for one in found if one["target"] is not None or one.get("reported")]
        for one in own or [one for one in found if (task, one["metric"]) in aimed] or found[:1]:
            cells = {
                "model": model, "task": task, "figure": one["metric"], "median": _short(one["value"]),
                "target": _short(one["target"]), "paper": one.get("reported", ""),
                "seeds": ", ".join(_short(x) for x in one["seeds"].values()),
                "steps": f"{one['steps']:,}", "time": f"{one['seconds']:.0f} s", "command": f"`{one['command']}`",
                "date": one["date"],
            }  # fmt: skip
            lines.append(f"| {' | '.join(cells[column] for column in columns)} |")
    return "\n".join(lines) + "\n"


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def check(path: str | Path) -> None:
    """Raise DataError unless `record` will be able to write to `path`: better before a long run than after."""
    read(path)
    folder = next(parent for parent in Path(path).absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DataError(f"[results] {folder} must be writable, but it is not: {error.strerror}.") from None


def read(path: str | Path) -> list[dict[str, Any]]:
    """The records of the file, none if there is no file. Raises DataError when it holds something else."""
    source = files.Source(Path(path), "results", DataError)
    if not os.path.lexists(source.path):
        return []
    return formats.check(source, source.json(source.content()), formats.RESULTS)
