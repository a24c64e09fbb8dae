"""Sorting: ``argsort``, ``sort`` and ``topk``.

The order of numbers is constant almost everywhere, so only what is read in that order has a derivative: of
y = x[order] it is x̄[order] = ȳ, each number taking back the cotangent of its place.
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import ZERO, Op, register
from tinyattn.graph.point import apart, at
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import INT64, Type, fail, is_float, normalize_axis
from tinyattn.ops.arrays.elementwise import cast
from tinyattn.ops.arrays.index import take_along_axis
from tinyattn.ops.arrays.rearrange import moveaxis
from tinyattn.ops.arrays.shape import reshape


def _reference(x, *, count, downwards):
    if not downwards:
        return np.argsort(x, axis=-1, kind="stable").astype(np.int64)[..., :count]
    backwards = np.argsort(x[..., ::-1], axis=-1, kind="stable")[..., ::-1]
    return (x.shape[-1] - 1 - backwards).astype(np.int64)[..., :count]


def _lower(node, emit):
    x, result = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
    n, count = x.shape[-1], node.attrs["count"]
    rows, some = x.size // max(n, 1), count < n
    room = [] if some else [emit.new(x.shape, INT64)]
    words = {
        "rows": rows, "length": n, "x": x, "whole": int(x.dtype == INT64),
        "downwards": int(node.attrs["downwards"]), "y": result,
    }  # fmt: skip
    emit.kernel(
        "sort.leading" if some else "sort.order",
        words | ({"count": count} if some else {"room": room[0]}),
        rows if count else 0,
        reads=[x],
        writes=[result, *room],
        dtype=x.dtype if is_float(x.dtype) else np.float64,
        cost=2.0 * x.size if some else 5.0 * x.size * max(1, n.bit_length()),
    )


register(
    Op(
        "order",
        lambda x, *, count, downwards: Type((*x.shape[:-1], count), INT64),
        ZERO,
        reference=_reference,
        lower=_lower,
        formula="order of {0}",
        kinks=lambda x, *, count, downwards: _gaps(x),
    )
)


def _gaps(x):
    """Distances between neighbours in the order: where one is 0, the order jumps."""
    return np.diff(np.sort(x, axis=-1), axis=-1)


def _order(op: str, x: Tensor, axis: int, downwards: bool, count: int | None = None) -> Tensor:
    """Positions along ``axis`` in the order of their numbers: all of them, or the first ``count``."""
    axis = normalize_axis(op, axis, x.ndim)
    rows = moveaxis(x if is_float(x.dtype) else cast(x, INT64), axis, -1)
    count = rows.shape[-1] if count is None else count
    return moveaxis(make("order", rows, count=count, downwards=downwards), -1, axis)


def _rows(x, axis: int | None) -> tuple[Tensor, int]:
    """The operand and its axis; without one, the flattened operand."""
    x = as_tensor(x)
    return (x, axis) if axis is not None else (reshape(x, -1), 0)


@public(constant="integers come out")
def argsort(x, axis: int | None = -1, descending: bool = False) -> Tensor:
    """Positions (int64) along ``axis`` (None: in the flattened ``x``) that would sort ``x``: x (…) → (…). Equal
    numbers stay in the order they are in, NaN comes last. ``descending``: the largest first, and NaN before all;
    equal numbers stay in order then, too. Raises ShapeError for an axis that isn't there.
    """
    x, axis = _rows(x, axis)
    return _order("argsort", x, axis, descending)


@public(at(apart(3, 4)))
def sort(x, axis: int | None = -1, descending: bool = False) -> Tensor:
    """``x`` in the order of ``argsort``, ``descending`` or not: x (…) → (…). Of any element type, which the result
    has. The cotangent of each number goes back to where it was. Raises ShapeError for an axis that isn't there.
    """
    x, axis = _rows(x, axis)
    return take_along_axis(x, _order("sort", x, axis, descending), axis)


@public(at(apart(3, 4), 2))
def topk(x, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The ``k`` largest numbers of ``x`` along ``axis``, largest first (NaN before all), and their positions
    (int64); of equal ones the first: x (…, n) → (…, k) twice. Not ``largest``: the least, the least first (NaN
    behind all). Of any element type, which the result has. torch's topk. Raises ShapeError where there are fewer
    than ``k``.
    """
    x = as_tensor(x)
    axis = normalize_axis("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        must = f"k must lie in 0..{x.shape[axis]}, the size of axis {axis}"
        fail(errors.ShapeError, "topk", must, f"got {k}")
    places = _order("topk", x, axis, largest, int(k))
    return take_along_axis(x, places, axis), places
