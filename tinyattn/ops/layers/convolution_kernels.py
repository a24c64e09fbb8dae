"""From convolutions to kernels: products where each position sees one pixel, and grids of taps elsewhere.

A convolution is one grid of taps. A transposed convolution is one for each phase: pixels with the same
remainder of h + p by the stride see the same taps, at even distances (see :mod:`tinyattn.ops.layers.convolution`).
"""

import itertools
import math
from typing import NamedTuple

import numpy as np

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.convolution import (
    CONVOLUTION_DEPTH,
    cut_of_weight,
    positions_in_tile,
    rows_of_panel,
)
from tinyattn.kernels.calls.words import WORDS
from tinyattn.ops.arrays.linalg import lower_product
from tinyattn.ops.arrays.reduce_lowering import lower_reduce


def _is_product(x, window, attrs) -> bool:
    """Whether each position sees just its own pixel: then the operation is a product of matrices."""
    return window == attrs["stride"] == (1, 1) and attrs["padding"] == (0, 0) and attrs["size"] == x.shape[2:]


def _flat(ref):
    """Images with their pixels in one row: (N, C, H·W)."""
    return ref.reshaped((*ref.shape[:2], ref.shape[2] * ref.shape[3]))


def _lower_product(emit, x, matrix, bias, y) -> None:
    added = None if bias is None else bias.reshaped((bias.size, 1))
    lower_product(emit, matrix, _flat(x), _flat(y), added=added)


def _grid(x, results, positions, step, taps, origin, distance) -> dict:
    """The words that both kernels share."""
    words = dict(zip(("images", "channels", "height", "width"), x.shape, strict=True))
    words |= {"x": x, "results": results, "rows": positions[0], "columns": positions[1]}
    return words | {"step": step, "taps": taps, "origin": origin, "distance": distance}


def _words_of_phase(phase) -> list:
    """A line of the table of phases."""
    a, y, first_row, rows, first_column, columns = phase
    words = {"a": a, "y": y, "first_row": first_row, "rows": rows, "first_column": first_column}
    words |= {"columns": columns, "height": y.shape[2], "width": y.shape[3]}
    return WORDS["convolution.phase"].pack(words)


def _emit_correlate(emit, x, phases, bias, strides, window, stride, origin, distance) -> None:
    """One grid of taps; ``phases``: (matrix (taps · C, M), where the result goes, first row of taps, rows,
    first column, columns). ``strides`` are those of all results.
    """
    channels, results = x.shape[1], phases[0][0].shape[1]
    positions = tuple(max(part.shape[axis] for _, part, *_ in phases) for axis in (2, 3))
    inner = window[0] * window[1] * channels
    tile = positions_in_tile(inner, results, x.dtype.itemsize)
    chunk = CONVOLUTION_DEPTH if len(phases) == 1 else window[1] * channels
    words = _grid(x, results, positions, stride, window, origin, distance)
    words |= {"bias": 0 if bias is None else bias, "strides": strides, "tile": tile, "chunk": chunk}
    words |= {"phases": len(phases), "table": sum(map(_words_of_phase, phases), [])}
    flops = 2.0 * sum(part.size * a.shape[0] for a, part, *_ in phases)
    emit.kernel(
        "convolution.correlate",
        words,
        ceiling(x.shape[0] * math.prod(positions), tile),
        reads=[x, *(a for a, *_ in phases), *([bias] if bias is not None else [])],
        writes=[part for _, part, *_ in phases],
        cost=flops / 40,
        flops=flops,
    )


def _matrix(emit, weight, order):
    """The weight as a contiguous matrix: its axes in this order, all but the last joined."""
    ref = emit.contiguous(weight.transposed(order))
    return ref.reshaped((ref.size // ref.shape[-1], ref.shape[-1]))


def _operands(node, emit):
    x, weight = (emit.value(v) for v in node.inputs[:2])
    bias = emit.contiguous(emit.value(node.inputs[2])) if len(node.inputs) == 3 else None
    return emit.contiguous(x), weight, bias, emit.result(node)


def lower_convolution(node, emit):
    x, weight, bias, y = _operands(node, emit)
    attrs, window = node.attrs, weight.shape[2:]
    if y.size == 0:
        return
    if _is_product(x, window, attrs):
        return _lower_product(emit, x, weight.reshaped(weight.shape[:2]), bias, y)
    origin = tuple(-p for p in attrs["padding"])
    phase = (_matrix(emit, weight, (2, 3, 1, 0)), y, 0, window[0], 0, window[1])
    _emit_correlate(emit, x, [phase], bias, y.strides, window, attrs["stride"], origin, attrs["dilation"])


class _Phase(NamedTuple):
    """A class of pixels along an axis that see the same taps."""

    first: int
    pixels: int
    tap: int
    taps: int
    origin: int


def _phases(size: int, window: int, stride: int, padding: int, dilation: int):
    """The phases of an axis, and what they have in common: the step from tap to tap, and their distance.

    Tap i is seen at (h + p − i d)/s; for pixels h = first + s·r that is r + origin − (i − first tap) d/s.
    """
    step = stride // math.gcd(stride, dilation)
    found = []
    for first in range(min(stride, size)):
        taps = [i for i in range(window) if (first + padding - i * dilation) % stride == 0]
        tap = taps[0] if taps else 0
        origin = (first + padding - tap * dilation) // stride
        found.append(_Phase(first, ceiling(size - first, stride), tap, len(taps), origin))
    return found, step, -(step * dilation) // stride


def _reach(phases) -> tuple[int, int]:
    """The origin and number of taps at distance −1 that enclose those of all phases."""
    origin = max(phase.origin for phase in phases)
    return origin, origin - min(phase.origin - phase.taps for phase in phases)


def _taps_first(emit, x, weight):
    """The products of each pixel with all taps, as channels, and the weight that only brings them to their
    places.
    """
    channels, *others = weight.shape
    count = math.prod(others)
    matrix = emit.contiguous(weight).reshaped((channels, count)).swapped()
    products = emit.new((x.shape[0], count, *x.shape[2:]), x.dtype)
    lower_product(emit, matrix, _flat(x), _flat(products))
    return products, emit.constant(np.eye(count, dtype=x.dtype).reshape(count, *others))


def lower_transposed(node, emit):
    x, weight, bias, y = _operands(node, emit)
    attrs, window = node.attrs, weight.shape[2:]
    if y.size == 0:
        return
    if x.size and _is_product(x, window, attrs):
        return _lower_product(emit, x, weight.reshaped(weight.shape[:2]).swapped(), bias, y)
    if x.size and 2 * math.prod(weight.shape[1:]) <= x.shape[1]:  # fewer channels are less to collect
        x, weight = _taps_first(emit, x, weight)
    rules = zip(y.shape[2:], window, attrs["stride"], attrs["padding"], attrs["dilation"], strict=True)
    (rows, down, row_distance), (columns, across, column_distance) = (_phases(*rule) for rule in rules)
    pairs = list(itertools.product(rows, columns))
    enclosed = row_distance == column_distance == -1 and all(r.taps and c.taps for r, c in pairs)
    room = rows_of_panel(weight.shape[1])
    matrices = emit.contiguous(weight.transposed((2, 3, 0, 1)))
    together = enclosed and _reach(columns)[1] * x.shape[1] <= room
    for group in [pairs] if together else [[pair] for pair in pairs]:
        (top, high), (left, wide) = (_reach(axis) for axis in zip(*group, strict=True))
        found = []
        for r, c in group:
            shape = (*y.shape[:2], r.pixels, c.pixels)
            part = y.sliced((0, 0, r.first, c.first), (1, 1, *attrs["stride"]), shape)
            taps = matrices.sliced(
                (r.tap, c.tap, 0, 0), (down, across, 1, 1), (r.taps, c.taps, *weight.shape[:2])
            )
            if x.size and taps.size:
                a = emit.contiguous(taps).reshaped((taps.size // weight.shape[1], weight.shape[1]))
                found.append((a, part, top - r.origin, r.taps, left - c.origin, c.taps))
            else:
                unseen = emit.constant(np.zeros((1, 1, 1), y.dtype)) if bias is None else bias
                emit.copy(unseen.reshaped((unseen.size, 1, 1)).broadcast(part.shape), part)
        if found:
            distance = (row_distance, column_distance)
            strides = found[0][1].strides
            _emit_correlate(emit, x, found, bias, strides, (high, wide), (1, 1), (top, left), distance)


def lower_weight(node, emit):
    x, g = (emit.contiguous(emit.value(v)) for v in node.inputs)
    result, attrs = emit.result(node), node.attrs
    if result.size == 0 or g.size == 0 or x.size == 0:
        return emit.fill(result, 0)
    results, channels, window = g.shape[1], x.shape[1], result.shape[2:]
    inner, positions = math.prod(window) * channels, g.shape[0] * g.shape[2] * g.shape[3]
    rows, depth, chunks = cut_of_weight(inner, positions)
    parts = emit.new((chunks, inner, results), result.dtype)
    origin = [-p for p in attrs["padding"]]
    words = _grid(x, results, g.shape[2:], attrs["stride"], window, origin, attrs["dilation"])
    words |= {"dy": g, "parts": parts, "tile": rows, "chunk": depth}
    flops = 2.0 * positions * inner * results
    emit.kernel(
        "convolution.weight",
        words,
        ceiling(inner, rows) * chunks,
        reads=[x, g],
        writes=[parts],
        cost=flops / 40,
        flops=flops,
    )
    whole = parts.row(0)
    if chunks > 1:
        whole = emit.new((inner, results), result.dtype)
        lower_reduce(emit, "sum", parts, (0,), whole)
    emit.copy(whole.reshaped((*window, channels, results)).transposed((3, 2, 0, 1)), result)
