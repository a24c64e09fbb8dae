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
    "cli": "tinyattn.cli",
}

_ELSEWHERE = {"show": "tinyattn.viz.mathematics"}
"""Public names that live above the modules gathered in ``tinyattn.api``."""

_TORCH = {
    "cat": "concat", "randn": "random_normal", "rand": "random_uniform", "unsqueeze": "expand_dims",
    "permute": "transpose", "bmm": "matmul", "mm": "matmul", "pow": "power", "clamp": "clip",
    "as_tensor": "tensor", "from_numpy": "tensor", "no_grad": "stop_gradient", "gather": "take_along_axis",
    "masked_fill": "where",
    "scaled_dot_product_attention": "attention", "Parameter": "parameter", "compile": "function",
}  # fmt: skip
"""What PyTorch calls things that have NumPy's names here."""


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
        import difflib

        close = [_TORCH[name]] if name in _TORCH else []
        close += difflib.get_close_matches(name, [*api.__all__, *_MODULES], 1)
        hint = f"; did you mean ta.{close[0]}?" if close else ""
        error = AttributeError(f"tinyattn has no attribute {name!r}{hint}")
        error.name = None  # Python would add a guess of its own
        raise error from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*importlib.import_module("tinyattn.api").__all__, *_MODULES, *_ELSEWHERE, "__version__"])
