"""Questions about numbers: which are NaN or infinite, and which are close to others, as NumPy asks them."""

import math

from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import common_operands
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, is_float
from tinyattn.ops.arrays.creation import zeros_like
from tinyattn.ops.arrays.elementwise import (
    abs,
    equal,
    isfinite,
    less_equal,
    logical_and,
    logical_or,
    not_equal,
)
from tinyattn.ops.arrays.reduce import all


@public(constant="bools come out")
def isnan(x) -> Tensor:
    """Where ``x`` is NaN, the only number that differs from itself. Of any shape, which the result has; bool."""
    x = as_tensor(x)
    return not_equal(x, x) if is_float(x.dtype) else zeros_like(x, BOOL)


@public(constant="bools come out")
def isinf(x) -> Tensor:
    """Where ``x`` is infinite, of either sign. Of any shape, which the result has; bool."""
    x = as_tensor(x)
    return equal(abs(x), math.inf) if is_float(x.dtype) else zeros_like(x, BOOL)


@public(constant="bools come out")
def isclose(a, b, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Where |a − b| ≤ ``atol`` + ``rtol``·|b|: bool; infinities are close to themselves only, and with
    ``equal_nan`` NaN to NaN. For ``a`` and ``b`` shapes broadcast as in NumPy. Raises ShapeError where they don't.
    """
    a, b = common_operands(a, b)
    near = logical_and(isfinite(b), less_equal(abs(a - b), atol + rtol * abs(b)))
    close = logical_or(equal(a, b), near)
    return logical_or(close, logical_and(isnan(a), isnan(b))) if equal_nan else close


@public(constant="bools come out")
def allclose(a, b, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Tensor:
    """Whether all elements of ``a`` and ``b`` are close, by ``rtol``, ``atol`` and ``equal_nan`` as
    :func:`isclose`: a (…), b (…) → (), bool. Raises ShapeError where the shapes don't broadcast.
    """
    return all(isclose(a, b, rtol, atol, equal_nan))
