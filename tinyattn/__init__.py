"""tinyattn: a symbolic automatic-differentiation engine on which attention models are built, trained on a
CPU and drawn.

Everything (the forward pass, its derivative, the optimizer's step, a recurrent loop) is one graph, compiled
into one native program. Names are loaded when they are first used, so that
``import tinyattn`` and the command line's ``--help`` cost next to nothing.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from tinyattn.api import *  # noqa: F403

_MODULES = {
    "graph": "tinyattn.graph",
    "ops": "tinyattn.ops",
    "nn": "tinyattn.nn",
    "optim": "tinyattn.train.optim",
    "train": "tinyattn.train",
    "models": "tinyattn.models",
    "tasks": "tinyattn.tasks",
    "viz": "tinyattn.viz",
    "errors": "tinyattn.errors",
    "runtime": "tinyattn.runtime",
    "kernels": "tinyattn.kernels",
    "distributed": "tinyattn.distributed",
    "cli": "tinyattn.cli",
}

_ELSEWHERE = {
    "Experiment": "tinyattn.experiments.experiment",
    "derive": "tinyattn.viz.derivation.derive",
    "show": "tinyattn.viz.mathematics",
    "save": "tinyattn.train.resume",
    "load": "tinyattn.train.resume",
}
"""Public names that live above the modules gathered in ``tinyattn.api``."""


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    if name in _ELSEWHERE:
        return getattr(importlib.import_module(_ELSEWHERE[name]), name)
    api = importlib.import_module("tinyattn.api")
    try:
        value = getattr(api, name)
    except AttributeError:
        for module in ("nn", "optim"):
            if name in vars(__getattr__(module)):
                raise AttributeError(
                    f"tinyattn has no attribute {name!r}; here it is ta.{module}.{name}"
                ) from None
        from tinyattn.graph.hints import missing

        raise missing("tinyattn", "ta", name, [*api.__all__, *_MODULES], "ta.") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*importlib.import_module("tinyattn.api").__all__, *_MODULES, *_ELSEWHERE, "__version__"])
