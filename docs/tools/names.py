"""The public names, as the reference must list them: ``ta.softmax``, ``ta.nn.Linear``, ``ta.models.GPT``, …"""

import inspect
from functools import reduce
from typing import Any

import tinyattn as ta

INNER = {
    "ta.nn.init",
    "ta.nn.init.fans",
    "ta.optim.schedules.rate_at",
    "ta.optim.schedules.is_number",
    "ta.distributed.all_reduce",  # (which is ta.all_reduce)
    "ta.tasks.find",
    "ta.tasks.needs_data",
    "ta.tasks.takes_data",
    "ta.models.Entry",
    "ta.errors.UsageError",
}
"""What the rooms need from each other, and a user doesn't."""


def public_names() -> dict[str, Any]:
    """Every public name and what it stands for. Rooms of the engine (``ta.graph``, ``ta.ops``, …) are not meant."""
    names = {f"ta.{name}": getattr(ta, name) for name in dir(ta) if not name.startswith("_")}
    names = {name: value for name, value in names.items() if not inspect.ismodule(value)}
    for room in ("nn", "viz", "distributed"):
        module = getattr(ta, room)
        names |= {f"ta.{room}.{name}": getattr(module, name) for name in module.__all__}
    own = [ta.nn.init, ta.optim, ta.optim.schedules, ta.models, ta.tasks, ta.errors]
    for module, path in zip(
        own, ["nn.init", "optim", "optim.schedules", "models", "tasks", "errors"], strict=True
    ):
        for name, value in vars(module).items():
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
                names[f"ta.{path}.{name}"] = value
    for name in ("Model", "tokenizer", *(where.partition(":")[2] for where in ta.models.MODELS.values())):
        names[f"ta.models.{name}"] = getattr(ta.models, name)
    names |= {"ta.optim.Optimizer": ta.optim.Optimizer, "ta.tasks.Task": ta.tasks.task.Task}
    return {name: value for name, value in names.items() if name not in INNER and not _twice(name, value)}


def _twice(name: str, value: Any) -> bool:
    """Errors are reached in two ways: ``ta.ShapeError`` is the shorter one."""
    return name.startswith("ta.errors.") and (not inspect.isclass(value) or hasattr(ta, value.__name__))


def find(name: str) -> Any:
    """What a dotted name stands for. Raises AttributeError."""
    if name == "ta.tasks.Task":
        return ta.tasks.task.Task
    return reduce(getattr, name.split(".")[1:], ta)
