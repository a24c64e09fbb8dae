"""Diagonals and triangles of matrices, and of the matrices in a stack: NumPy's ``tril``, ``triu``, ``diagonal``,
``diag``, ``trace`` and ``eye``.

A diagonal needs no copy: in the flattened matrix (n, m) its entries lie m + 1 apart, so it is a slice of a
reshape; its derivative lays the cotangent into zeros at the same places.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import BOOL, as_dtype, as_shape, fail, normalize_axis
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import cast, equal, greater_equal, less_equal, where
from tinyattn.ops.arrays.rearrange import moveaxis
from tinyattn.ops.arrays.reduce import sum
from tinyattn.ops.arrays.shape import reshape, slice_


def _places(shape: Sequence[int], k: int) -> tuple[Tensor, Tensor]:
    """Numbers that are equal on the k-th diagonal: row + k (rows, 1), and column (columns,)."""
    rows, columns = shape
    return reshape(arange(k, k + rows), (rows, 1)), arange(columns)


def _triangle(op: str, x, k: int, keeps) -> Tensor:
    x = as_tensor(x)
    if x.ndim < 2:
        fail(errors.ShapeError, op, "there must be two axes or more", f"got shape {x.shape}")
    row, column = _places(x.shape[-2:], k)
    return where(keeps(column, row), x, False if x.dtype == BOOL else 0)


@public(at(real(3, 4)))
def tril(x, k: int = 0) -> Tensor:
    """The lower triangle of each matrix: x (…, n, m) → (…, n, m), 0 above its ``k``-th diagonal. Of any element
    type, which the result has. Raises ShapeError for fewer axes.
    """
    return _triangle("tril", x, k, less_equal)


@public(at(real(3, 4)))
def triu(x, k: int = 0) -> Tensor:
    """The upper triangle of each matrix: x (…, n, m) → (…, n, m), 0 below its ``k``-th diagonal. Of any element
    type, which the result has. Raises ShapeError for fewer axes.
    """
    return _triangle("triu", x, k, greater_equal)


@public(at(real(3, 4), 1))
def diagonal(x, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The diagonal of the matrices that ``axis1`` and ``axis2`` span, as the last axis of the result; ``offset`` >
    0 is above the main one: x (n, m, …) → (…, n). Of any element type, which the result has. Raises ShapeError for
    axes that aren't there.
    """
    x = as_tensor(x)
    first, second = (normalize_axis("diagonal", axis, x.ndim) for axis in (axis1, axis2))
    if first == second:
        fail(errors.ShapeError, "diagonal", "the two axes must differ", f"got {axis1} and {axis2}")
    x = moveaxis(x, (first, second), (-2, -1))
    rows, columns = x.shape[-2:]
    count = max(0, min(rows - max(-offset, 0), columns - max(offset, 0)))
    start = (offset if offset >= 0 else -offset * columns) if count else 0
    rest = (0,) * (x.ndim - 2)
    flat = reshape(x, (*x.shape[:-2], rows * columns))
    return slice_(flat, (*rest, start), (*(1 for _ in rest), columns + 1), (*x.shape[:-2], count))


@public(at(real(3), 1))
def diag(x, k: int = 0) -> Tensor:
    """The ``k``-th diagonal of a matrix; or of a vector, the matrix that has it there and 0 elsewhere: x (n,) → (m,
    m), m = n + |k|. Of any element type, which the result has. Raises ShapeError for other numbers of axes.
    """
    x = as_tensor(x)
    if x.ndim == 2:
        return diagonal(x, k)
    if x.ndim != 1:
        fail(errors.ShapeError, "diag", "there must be one axis or two", f"got shape {x.shape}")
    size = x.size + max(k, -k)
    start = (k if k >= 0 else -k * size) if x.size else 0
    flat = make("unslice", x, starts=(start,), steps=(size + 1,), shape=(size * size,))
    return reshape(flat, (size, size))


@public(at(real(3, 3)))
def trace(x, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """The sum of the diagonal of the matrices that ``axis1`` and ``axis2`` span; ``offset`` > 0: of one above the
    main one. x (n, n, …) → (…). Bools count as int64. Raises ShapeError for axes that aren't there.
    """
    return sum(diagonal(x, offset, axis1, axis2), -1)


@public(constant="no tensor goes in")
def eye(n: int, m: int | None = None, k: int = 0, dtype=np.float32) -> Tensor:
    """The matrix → (n, m), square without ``m``, that is 1 on its ``k``-th diagonal and 0 elsewhere, of ``dtype``.
    Raises ShapeError for a negative size.
    """
    row, column = _places(as_shape("eye", (n, n if m is None else m)), k)
    return cast(equal(row, column), as_dtype(dtype, "eye"))
