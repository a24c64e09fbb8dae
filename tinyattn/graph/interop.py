"""What Python and NumPy ask of a Tensor as they would of a number or an array: formats, rounding, NumPy's functions.

NumPy's operators (``array + x``) come to the Tensor's own. NumPy's functions would compute a value behind which
there is no graph any more, and the gradient would be gone without a word: they are refused with what to write, but for
those that only look at values, and come back with no real numbers.
"""

from typing import Any, NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph import hints
from tinyattn.graph.types import fail

_OPERATORS = {
    "add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv", "true_divide": "truediv",
    "floor_divide": "floordiv", "remainder": "mod", "power": "pow", "matmul": "matmul", "bitwise_and": "and",
    "bitwise_or": "or", "bitwise_xor": "xor",
}  # fmt: skip
_COMPARISONS = {
    "less": ("lt", "gt"), "less_equal": ("le", "ge"), "greater": ("gt", "lt"), "greater_equal": ("ge", "le"),
    "equal": ("eq", "eq"), "not_equal": ("ne", "ne"),
}  # fmt: skip
_METHODS = {**{name: (own, f"r{own}") for name, own in _OPERATORS.items()}, **_COMPARISONS}
"""NumPy's name of an operator: the method of its left operand, and of its right one."""

_LOOK = {"allclose", "isclose", "argmax", "argmin", "count_nonzero", "zeros_like", "ones_like", "full_like"}
"""Functions of NumPy that there are here, too, but through which no gradient could pass."""


class Values:
    """The part of a Tensor that acts as a number or an array would."""

    __slots__ = ()
    shape: tuple[int, ...]
    __array_priority__ = 1000

    def __format__(self, spec: str) -> str:
        return (
            format(_number(self, "format", "Format x.numpy() number by number."), spec) if spec else str(self)
        )

    def __round__(self, digits: int | None = None) -> float | int:
        return round(_number(self, "round", "Use x.round() for each element."), digits)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__":
            _refuse(f"{ufunc.__name__}.{method}")
        own = _METHODS.get(ufunc.__name__)
        if own is None:
            _refuse(ufunc.__name__)
        if options:
            must = "an array can't be overwritten with a Tensor, which has no value yet"
            hint = "Write a = a + x instead of a += x, or use x.numpy()."
            fail(errors.DTypeError, ufunc.__name__, must, f"got {', '.join(options)}=", hint)
        left, right = inputs
        if isinstance(left, Values):
            return getattr(left, f"__{own[0]}__")(right)
        return getattr(right, f"__{own[1]}__")(left)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = function.__name__
        if name in ("shape", "ndim"):
            return getattr(args[0] if args else kwargs["a"], name)
        if name not in _LOOK and (name in hints.FUNCTIONS or name in hints.HABITS["ta"]):
            _refuse(name)
        result = function(*_arrays(args), **_arrays(kwargs))
        if name not in _LOOK and _has_reals(result):
            _refuse(name)
        return result


def _number(x: Any, op: str, hint: str) -> float | int:
    """The value of a Tensor that holds one number."""
    if x.size != 1:
        fail(errors.ShapeError, op, "the tensor must hold one element", f"got shape {x.shape}", hint)
    return x.item()


def _refuse(name: str) -> NoReturn:
    here = (
        hints.HABITS["ta"]
        .get(name, f"it is ta.{name}" if name in hints.FUNCTIONS else "")
        .removeprefix("it is ")
    )
    hint = (
        f"Use {here}; the value of a Tensor is x.numpy()." if here else "The value of a Tensor is x.numpy()."
    )
    fail(errors.DTypeError, f"np.{name}", "NumPy's functions take arrays", "got a Tensor", hint)


def _has_reals(tree: Any) -> bool:
    """Whether what came out holds numbers of which there might have been a derivative."""
    if isinstance(tree, (tuple, list)):
        return any(map(_has_reals, tree))
    return (
        isinstance(tree, (float, complex, np.inexact))
        or isinstance(tree, np.ndarray)
        and tree.dtype.kind in "fc"
    )


def _arrays(tree: Any) -> Any:
    """``tree`` with arrays in the place of Tensors."""
    if isinstance(tree, dict):
        return {key: _arrays(value) for key, value in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(map(_arrays, tree))
    return tree.numpy() if isinstance(tree, Values) else tree  # type: ignore[attr-defined]
