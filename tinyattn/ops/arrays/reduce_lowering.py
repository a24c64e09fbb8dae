"""How reductions are laid on the kernels: along contiguous rows, down columns, in two stages when one result
hides much work.
"""

import math

from tinyattn.graph.types import FLOAT32, SHORT, is_float
from tinyattn.kernels.calls.reduce import tiles_of_cumsum, tiles_of_reduce_columns, tiles_of_reduce_rows
from tinyattn.kernels.language.opcodes import FOLDS
from tinyattn.ops.definition import bits

_LARGE = 1 << 16
"""Elements from which one long reduction is cut in two stages, so that threads can share the first."""


_LEAST_RUN = 32
"""Least neighbours in memory, all of which go into one result, that are reduced before the rest is."""


def _kind(dtype) -> str:
    return "real" if is_float(dtype) else SHORT[dtype]


def lower_reduce(emit, kind: str, x, axes: tuple[int, ...], result) -> None:
    """Emit the reduction of a reference over ``axes`` into ``result``: along rows or down columns, whichever
    needs no copy.
    """
    if result.size == 0:
        return
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    rows, columns = x.transposed((*kept, *axes)), x.transposed((*axes, *kept))
    length = math.prod(x.shape[a] for a in axes)
    block = axes == tuple(range(axes[0], axes[0] + len(axes))) if axes else False
    if x.contiguous and block and not kind.startswith("arg"):
        outer = math.prod(x.shape[: axes[0]])
        _fold(
            emit,
            kind,
            x,
            outer,
            length,
            x.size // max(outer * length, 1) if x.size else math.prod(x.shape[axes[-1] + 1 :]),
            result,
        )
    elif columns.contiguous and not kind.startswith("arg"):
        _fold(emit, kind, columns, 1, length, result.size, result)
    elif x.contiguous and not kind.startswith("arg") and _length_of_runs(x, axes) >= _LEAST_RUN:
        # Images summed over all but their channels: each plane, then the planes' sums.
        last = max(kept) + 1
        planes = emit.new(x.shape[:last], x.dtype)
        lower_reduce(emit, kind, x, tuple(range(last, x.ndim)), planes)
        lower_reduce(emit, kind, planes, tuple(a for a in axes if a < last), result)
    else:
        _fold(emit, kind, emit.contiguous(rows), result.size, length, 1, result)


def _length_of_runs(x, axes: tuple[int, ...]) -> int:
    """How many neighbours in memory go into one result."""
    return math.prod(x.shape[a] for a in axes if set(range(a, x.ndim)) <= set(axes))


def _fold(emit, kind: str, x, outer: int, length: int, inner: int, result) -> None:
    """Reduce contiguous (outer, length, inner) over its middle axis."""
    code = FOLDS[kind.removeprefix("arg"), _kind(x.dtype)]
    size, cost = x.dtype.itemsize, x.size * 0.1
    each = {"sum": 1, "prod": 1, "sum_squares": 2}.get(kind, 0) if is_float(x.dtype) else 0
    if kind.startswith("arg"):
        words = {"outer": outer, "length": length, "x": x, "y": result, "fold": code}
        emit.kernel(
            f"reduce.{kind}",
            words,
            tiles_of_reduce_rows(outer, length),
            reads=[x],
            writes=[result],
            dtype=_variant(x.dtype),
            cost=x.size,
        )
        return
    if outer == 1 and length * inner >= _LARGE and length >= 16 and inner < 4096:
        # Two stages: equal parts, then the parts (and a remainder) together. The cut depends on the sizes
        # only.
        parts = min(64, length // 8, -(-length * inner // (_LARGE // 4)))
        share = length // parts
        count = -(-length // share)
        partial = emit.new((count, inner), x.dtype)
        flat = x.reshaped((length, inner))
        whole = length // share
        _fold(
            emit,
            kind,
            flat.sliced((0, 0), (1, 1), (whole * share, inner)),
            whole,
            share,
            inner,
            partial.sliced((0, 0), (1, 1), (whole, inner)),
        )
        if count > whole:
            rest = length - whole * share
            _fold(
                emit,
                kind,
                flat.sliced((whole * share, 0), (1, 1), (rest, inner)),
                1,
                rest,
                inner,
                partial.sliced((whole, 0), (1, 1), (1, inner)),
            )
        _fold(emit, "sum" if kind == "sum_squares" else kind, partial, 1, count, inner, result)
        return
    words = {"outer": outer, "length": length, "x": x, "y": result, "fold": code, "size": size}
    words["scale"] = bits(1.0, x.dtype) if is_float(x.dtype) else 0
    if inner == 1:
        kernel = "reduce.rows"
        tiles = tiles_of_reduce_rows(outer, length)
    elif length == 0:
        emit.fill(result, {"sum": 0, "prod": 1, "sum_squares": 0}[kind])
        return
    else:
        kernel = "reduce.columns"
        words["inner"] = inner
        tiles = tiles_of_reduce_columns(outer, inner)
    emit.kernel(
        kernel,
        words,
        tiles,
        reads=[x],
        writes=[result],
        dtype=_variant(x.dtype),
        cost=cost,
        flops=float(x.size * each),
    )


def _variant(dtype):
    return dtype if is_float(dtype) else FLOAT32


def lower_cumsum(node, emit):
    x, result = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
    axis = node.attrs["axis"]
    outer, length, inner = math.prod(x.shape[:axis]), x.shape[axis], math.prod(x.shape[axis + 1 :])
    if x.size == 0:
        return
    words = {
        "outer": outer, "length": length, "inner": inner, "x": x, "y": result,
        "fold": FOLDS["sum", _kind(x.dtype)], "size": x.dtype.itemsize, "reverse": int(node.attrs["reverse"]),
    }  # fmt: skip
    tiles = tiles_of_cumsum(outer, length, inner)
    emit.kernel(
        "reduce.cumsum",
        words,
        tiles,
        reads=[x],
        writes=[result],
        dtype=_variant(x.dtype),
        cost=x.size * 0.5,
        flops=float(x.size) if is_float(x.dtype) else 0.0,
    )
