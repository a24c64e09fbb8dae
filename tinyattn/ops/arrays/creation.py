"""Tensors made from nothing but a shape, a number or an interval."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, constant
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_dtype, as_shape, fail
from tinyattn.ops.arrays.shape import broadcast_to


@public(constant="no tensor goes in")
def full(shape: int | Sequence[int], value, dtype=np.float32) -> Tensor:
    """A tensor of the number ``value``, repeated. Of ``shape``, an integer or several, and ``dtype``. Raises
    ShapeError for a negative size.
    """
    if isinstance(dtype, int):
        must = "the shape must be one argument, a tuple"
        fail(errors.ShapeError, "full", must, f"got {shape} and {dtype}", "Write ta.ones((2, 3)).")
    if not isinstance(value, (bool, int, float, np.number, np.bool_)):
        fail(errors.DTypeError, "full", "the value must be a number", f"got {value!r}")
    kind = as_dtype(dtype, "full")
    try:
        number = constant(value, kind)
    except (ValueError, errors.DTypeError):  # NaN as an integer, or too large
        fail(errors.DTypeError, "full", f"the value must be a number of type {kind}", f"got {value!r}")
    return broadcast_to(number, as_shape("full", shape))


@public(constant="no tensor goes in")
def zeros(shape: int | Sequence[int], dtype=np.float32) -> Tensor:
    """Zeros. Of ``shape``, an integer or several, and ``dtype``. Raises ShapeError for a negative size."""
    return full(shape, 0, dtype)


@public(constant="no tensor goes in")
def ones(shape: int | Sequence[int], dtype=np.float32) -> Tensor:
    """Ones. Of ``shape``, an integer or several, and ``dtype``. Raises ShapeError for a negative size."""
    return full(shape, 1, dtype)


@public(constant="its values are given")
def full_like(x, fill_value, dtype=None) -> Tensor:
    """``fill_value`` in the shape of ``x`` (…) → (…), of the type of ``x`` unless ``dtype`` is given."""
    x = as_tensor(x)
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


@public(constant="its values are given")
def zeros_like(x, dtype=None) -> Tensor:
    """Zeros in the shape of ``x`` (…) → (…), of the type of ``x`` unless ``dtype`` is given."""
    return full_like(x, 0, dtype)


@public(constant="its values are given")
def ones_like(x, dtype=None) -> Tensor:
    """Ones in the shape of ``x`` (…) → (…), of the type of ``x`` unless ``dtype`` is given."""
    return full_like(x, 1, dtype)


@public(constant="no tensor goes in")
def arange(start: float, stop: float | None = None, step: float = 1, dtype=None) -> Tensor:
    """``start, start + step, …`` below ``stop``, as in NumPy (one argument: from 0) → (n,). Element type: int64,
    float32 if one of the numbers is a float, or ``dtype``. Raises ShapeError for a step of 0.
    """
    given: tuple[Any, Any, Any] = (0 if stop is None else start, start if stop is None else stop, step)
    if step == 0 or any(not math.isfinite(number) for number in given):
        must = "the step must not be 0" if step == 0 else "start, stop and step must be finite"
        fail(errors.ShapeError, "arange", must, f"got {step if step == 0 else given!r}")
    if dtype is None:
        dtype = np.float32 if any(isinstance(number, (float, np.floating)) for number in given) else np.int64
    kind = as_dtype(dtype, "arange")
    values = np.arange(*given, dtype=kind if kind.kind == "i" else None)
    return constant(values.astype(kind), kind)


@public(constant="no tensor goes in")
def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True, dtype=np.float32) -> Tensor:
    """``num`` numbers at equal distances from ``start`` to ``stop``, which is the last if ``endpoint`` → (num,), of
    ``dtype``. Raises ShapeError for a negative number of them.
    """
    if not (math.isfinite(start) and math.isfinite(stop)):
        fail(errors.ShapeError, "linspace", "the bounds must be finite", f"got {start} and {stop}")
    (count,) = as_shape("linspace", num)
    kind = as_dtype(dtype, "linspace")
    return constant(np.linspace(start, stop, count, endpoint, dtype=kind), kind)
