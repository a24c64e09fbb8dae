"""What Python asks of a Tensor as of a number or an array: its value, computed now. Bound to Tensor by
``ops/methods.py``, as the graph below computes nothing.
"""

from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import fail
from tinyattn.runtime.evaluate import evaluate


def numpy(x: Tensor) -> np.ndarray:
    """The value, computed now (and remembered): compile the expression, run it, copy the result."""
    return evaluate(x).copy()


def tolist(x: Tensor) -> Any:
    """The value as (nested lists of) Python numbers."""
    return evaluate(x).tolist()


def item(x: Tensor) -> float | int | bool:
    """The value of a tensor of one element as a Python number."""
    if x.size != 1:
        fail(
            errors.ShapeError,
            "item",
            "the tensor must hold one element",
            f"got shape {x.shape}",
            "Reduce it first, for instance with .sum() or .mean().",
        )
    return evaluate(x).reshape(()).item()


def as_float(x: Tensor) -> float:
    """``float(x)``"""
    return float(item(x))


def as_int(x: Tensor) -> int:
    """``int(x)``"""
    return int(item(x))


def as_bool(x: Tensor) -> bool:
    """``bool(x)``, and ``if x``: refused for what depends on the inputs of a compiled function."""
    if _traced(x):
        fail(
            errors.TinyattnError,
            "bool",
            "a condition inside a compiled function must not depend on its inputs",
            "got a traced tensor",
            "Use ta.where(condition, a, b), which chooses element by element.",
        )
    return bool(item(x))


def as_array(x: Tensor, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
    """``np.asarray(x)``"""
    if copy is False:  # (the word of NumPy's protocol)
        raise ValueError("[array] an array of a Tensor's values is always a copy.")
    value = numpy(x)
    return value if dtype is None else value.astype(dtype)


def as_text(x: Tensor) -> str:
    """``str(x)``: the value, but what a traced tensor is."""
    return repr(x) if _traced(x) else str(evaluate(x))


def _traced(x: Tensor) -> bool:
    return any(node.op.name in ("input", "argument") for node in topological([x]))
