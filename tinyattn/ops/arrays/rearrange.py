"""Operations that put numbers elsewhere, or there several times: NumPy's ``swapaxes``, ``moveaxis``, ``flatten``,
``roll``, ``tile`` and ``repeat``.

All are compositions of reshape, transpose, slices, broadcasting and joining, whose derivatives they inherit:
what was repeated k times receives the sum of k cotangents.
"""

import math
from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, constant
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import INT64, as_integer, as_shape, fail, normalize_axes, normalize_axis
from tinyattn.ops.arrays.index import take
from tinyattn.ops.arrays.shape import broadcast_to, concat, reshape, slice_, transpose


@public(at(real(2, 3, 4), 0, -1))
def swapaxes(x, axis1: int, axis2: int) -> Tensor:
    """``x`` with the axes ``axis1`` and ``axis2`` exchanged: x (…, n, …, m, …) → (…, m, …, n, …). Of any element
    type, which the result has. Raises ShapeError for an axis that isn't there.
    """
    x = as_tensor(x)
    first, second = (normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return transpose(x, tuple(order))


@public(at(real(2, 3, 4), 0, -1))
def moveaxis(x, source, destination) -> Tensor:
    """``x`` with the axes ``source`` (one integer, or several) moved to the places ``destination``; the others keep
    their order: x (n, …) → (…, n) for 0 and −1. Of any element type, which the result has. Raises ShapeError for an
    axis that isn't there.
    """
    x = as_tensor(x)
    places = []
    for axes in (source, destination):
        normalize_axes("moveaxis", axes, x.ndim)  # (each once)
        several = axes if isinstance(axes, (tuple, list)) else (axes,)
        places.append([normalize_axis("moveaxis", axis, x.ndim) for axis in several])
    if len(places[0]) != len(places[1]):
        must = "source and destination must name as many axes"
        fail(errors.ShapeError, "moveaxis", must, f"got {source!r} and {destination!r}")
    order = [axis for axis in range(x.ndim) if axis not in places[0]]
    for to, axis in sorted(zip(places[1], places[0], strict=True)):
        order.insert(to, axis)
    return transpose(x, tuple(order))


@public(at(real(2, 3, 2)))
def flatten(x) -> Tensor:
    """``x`` as a vector, in row-major order: x (…) → (n,). Of any element type, which the result has. (``ravel`` is
    the same.)
    """
    return reshape(as_tensor(x), -1)


@public(at(real(3, 4), 1, -1))
def roll(x, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Tensor:
    """``x`` moved on by ``shift`` places along ``axis``; what leaves at the end comes in at the beginning. Without
    an axis, along the flattened ``x``; several axes have a shift each, or one for all. Of any shape, which the
    result has, and of any element type. Raises ShapeError for an axis that isn't there.
    """
    x = as_tensor(x)
    if axis is None:
        return reshape(roll(reshape(x, -1), shift, 0), x.shape)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    shifts: list = list(map(as_integer, shift if isinstance(shift, (tuple, list)) else (shift,) * len(axes)))
    if len(shifts) != len(axes) or None in shifts:
        must = (
            f"shift must be an integer, or {len(axes)} integers"
            if len(axes) > 1
            else "shift must be an integer"
        )
        fail(errors.ShapeError, "roll", must, f"got {shift!r}")
    for places, along in zip(shifts, axes, strict=True):
        along = normalize_axis("roll", along, x.ndim)
        size = x.shape[along]
        kept = (-places) % size if size else 0
        if kept:
            parts = [between(x, along, kept, size), between(x, along, 0, kept)]
            x = concat(parts, along)
    return x


def between(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    """Entries ``start`` to ``stop`` − 1 of an axis."""
    starts = tuple(start if a == axis else 0 for a in range(x.ndim))
    shape = (*x.shape[:axis], stop - start, *x.shape[axis + 1 :])
    return slice_(x, starts, (1,) * x.ndim, shape)


@public(at(real(2, 3), (2, 1)))
def tile(x, reps: int | Sequence[int]) -> Tensor:
    """``x`` beside itself ``reps`` times along each axis, counted from the last: x (…, n) → (…, n′), n′ = reps · n.
    Of any element type, which the result has. Raises ShapeError for negative numbers of times.
    """
    x, counts = as_tensor(x), as_shape("tile", reps)
    rank = max(x.ndim, len(counts))
    counts = (1,) * (rank - len(counts)) + counts
    shape = (1,) * (rank - x.ndim) + x.shape
    x = reshape(x, tuple(n for size in shape for n in (1, size)))
    x = broadcast_to(x, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return reshape(x, tuple(map(math.prod, zip(counts, shape, strict=True))))


@public(at(real(2, 3), 2, 1))
def repeat(x, repeats: int | Sequence[int], axis: int | None = None) -> Tensor:
    """Each entry of ``x`` along ``axis`` ``repeats`` times in a row, or each a number of times of its own; without
    an axis, of the flattened ``x``: x (…, n, …) → (…, n′, …), n′ = repeats · n. Of any element type, which the
    result has. Raises ShapeError for other numbers of times.
    """
    x = as_tensor(x)
    if axis is None:
        x, axis = reshape(x, -1), 0
    axis = normalize_axis("repeat", axis, x.ndim)
    size, counts = x.shape[axis], as_shape("repeat", repeats)
    if isinstance(repeats, (tuple, list, np.ndarray)) and len(counts) != 1:
        if len(counts) != size:
            must = f"there must be one number of repeats, or one for each of {size} entries"
            fail(errors.ShapeError, "repeat", must, f"got {len(counts)}")
        return take(x, constant(np.repeat(np.arange(size), counts), INT64), axis)
    count = counts[0]
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    spread = broadcast_to(reshape(x, (*before, size, 1, *after)), (*before, size, count, *after))
    return reshape(spread, (*before, size * count, *after))
