"""The tasks models are trained on: data, vocabularies, batches and metrics, in plain NumPy.

    task = tasks.get("tiny-mt")
    for batch in task.batches("test", batch_size=64):
        ...

Some tasks make their own data; others read the files of a public data set from a folder the user names. A
task is imported when it is asked for, and not before.
"""

import builtins
import inspect
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tinyattn.errors import DataError, near

if TYPE_CHECKING:
    from tinyattn.tasks.translation import TranslationTask


@dataclass(frozen=True)
class Entry:
    """A line of the table of tasks. The loader is `load` in tinyattn.tasks.<module>."""

    name: str
    module: str
    description: str
    needs_data: bool


TASKS = (
    Entry("tiny-mt", "tiny_mt", "40 words of English into an invented language; gold alignments", False),
    Entry("multi30k", "multi30k", "captions of photographs: German, English, French (--data DIR)", True),
)


def list() -> builtins.list[tuple[str, str]]:
    """All tasks: their names, each with one line of description."""
    return [(entry.name, entry.description) for entry in TASKS]


def get(name: str, data: str | Path | None = None, seed: int = 0, **options) -> "TranslationTask":
    """The task called `name`, ready to be trained on.

    data: the folder of its files, for tasks that read some. seed: which training examples, for tasks that
    make their own. options: those of the task's loader, e.g. train_examples for tiny-mt, source and target
    for multi30k. Raises DataError for an unknown name or option, and for files that are missing or damaged.
    """
    entry = next((entry for entry in TASKS if entry.name == name), None)
    if entry is None:
        names = [entry.name for entry in TASKS]
        close = near(str(name).lower().replace("_", "-"), names)
        suggestion = f"did you mean {close}?" if close else "see `tinyattn tasks`."
        raise DataError(f"[tasks] the task must be one of {', '.join(names)}, but got {name!r}: {suggestion}")
    if data is not None and not entry.needs_data:
        raise DataError(
            f"[tasks] --data must come with a task that reads files, but {name} makes its own data."
        )
    load = import_module(f"{__name__}.{entry.module}").load
    known = inspect.signature(load).parameters.keys() - {"data", "seed"}
    for option in options.keys() - known:
        expected = f"options of {name} must be among {', '.join(sorted(known))}"
        raise DataError(f"[tasks] {expected}, but got {option!r}.")
    return load(data, **options) if entry.needs_data else load(seed, **options)
