"""Tensors made from nothing but a shape or an interval: ``zeros_like``, ``ones_like``, ``full_like``, ``linspace``."""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, constant
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_dtype, as_shape, fail
from tinyattn.ops.arrays.shape import full


@public(constant="its values are given")
def full_like(x, fill_value, dtype=None) -> Tensor:
    """``fill_value`` in the shape of ``x``, and in its element type unless ``dtype`` is given."""
    x = as_tensor(x)
    return full(x.shape, fill_value, x.dtype if dtype is None else dtype)


@public(constant="its values are given")
def zeros_like(x, dtype=None) -> Tensor:
    """Zeros in the shape of ``x``, and in its element type unless ``dtype`` is given."""
    return full_like(x, 0, dtype)


@public(constant="its values are given")
def ones_like(x, dtype=None) -> Tensor:
    """Ones in the shape of ``x``, and in its element type unless ``dtype`` is given."""
    return full_like(x, 1, dtype)


@public(constant="no tensor goes in")
def linspace(start: float, stop: float, num: int = 50, endpoint: bool = True, dtype=np.float32) -> Tensor:
    """``num`` numbers at equal distances from ``start`` to ``stop``, which is the last if ``endpoint``."""
    if not (math.isfinite(start) and math.isfinite(stop)):
        fail(errors.ShapeError, "linspace", "the bounds must be finite", f"got {start} and {stop}")
    (count,) = as_shape("linspace", num)
    return constant(np.linspace(start, stop, count, endpoint), as_dtype(dtype, "linspace"))
