"""Convolutions and transposed convolutions over images (N, C, H, W) and sequences (N, C, L).

With a step s, padding p and dilation d of the window, a convolution is (LeCun et al. 1989; as everywhere in
this field, without turning the kernel round)

    y[n, o, r, c] = Σ_{c', i, j} W[o, c', i, j] x[n, c', r s + i d − p, c s + j d − p] + b[o]

with x = 0 beyond the border. The sum ⟨ȳ, y⟩ is linear in each of x, W and ȳ, and its three derivatives are
three operations, each of which has the other two as its derivatives:

    ȳ: the convolution;     x̄[n, c', h, w] = Σ_{o, i, j} W[o, c', i, j] ȳ[n, o, (h + p − i d)/s, …]
                            W̄[o, c', i, j] = Σ_{n, r, c} ȳ[n, o, r, c] x[n, c', r s + i d − p, …]

where terms whose index is not a whole number, or not in range, are left out. The second is what is called
a transposed convolution (Zeiler et al. 2010). It is done without the terms that are left out: pixels with
the same remainder of h + p by s see the same taps i, those with i d ≡ h + p (mod s), at even distances; so
each of the s² classes of pixels is an ordinary convolution of ȳ with every few taps of the kernel.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor, make, promote_operands
from tinyattn.graph.types import Type, fail, is_float
from tinyattn.kernels import tiling
from tinyattn.ops import reduce
from tinyattn.ops.folding import lower_reduce
from tinyattn.ops.hand import call, hand_derived
from tinyattn.ops.linalg import lower_product, matmul
from tinyattn.ops.shape import pad, reshape, slice_, stack, swap_last, transpose

Pair = tuple[int, int]

# What the three operations share: attributes ``stride``, ``padding`` (before the first row and column),
# ``dilation``, and ``size``: rows and columns of the result.


def taps_of(window: Pair) -> list[Pair]:
    """The places in a window, row by row."""
    return [(i, j) for i in range(window[0]) for j in range(window[1])]


def _padded(x: Tensor, positions: Pair, window: Pair, stride: Pair, padding: Pair, dilation: Pair) -> Tensor:
    """x with zeros around it, as far as windows reach."""
    around = [
        (p, max(0, (n - 1) * s + (k - 1) * d + 1 - p - size))
        for p, n, s, k, d, size in zip(padding, positions, stride, window, dilation, x.shape[2:], strict=True)
    ]
    return pad(x, ((0, 0), (0, 0), *around))


def _seen(x: Tensor, tap: Pair, positions: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """What a tap sees of the padded x at all positions: (N, C, positions)."""
    starts = (0, 0, *(i * d for i, d in zip(tap, dilation, strict=True)))
    shape = (*x.shape[:2], *positions)
    return reshape(slice_(x, starts, (1, 1, *stride), shape), (*x.shape[:2], math.prod(positions)))


def _definition(x, weight, bias=None, *, stride, padding, dilation, size):
    window = weight.shape[2:]
    x = _padded(x, size, window, stride, padding, dilation)
    terms = [matmul(weight[:, :, i, j], _seen(x, (i, j), size, stride, dilation)) for i, j in taps_of(window)]
    y = reshape(_sum(terms), (x.shape[0], weight.shape[0], *size))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def _transpose_definition(x, weight, bias=None, *, stride, padding, dilation, size):
    # The adjoint of the convolution's: each tap lays its part into the padded result.
    n, positions, window = x.shape[0], x.shape[2:], weight.shape[2:]
    reach = zip(positions, stride, window, dilation, padding, size, strict=True)
    whole = tuple(max((r - 1) * s + (k - 1) * d + 1, p + out) for r, s, k, d, p, out in reach)
    columns = reshape(x, (*x.shape[:2], math.prod(positions)))
    terms = []
    for i, j in taps_of(window):
        part = reshape(matmul(swap_last(weight[:, :, i, j]), columns), (n, weight.shape[1], *positions))
        starts = (0, 0, i * dilation[0], j * dilation[1])
        shape = (n, weight.shape[1], *whole)
        terms.append(make("unslice", part, starts=starts, steps=(1, 1, *stride), shape=shape))
    y = slice_(_sum(terms), (0, 0, *padding), (1, 1, 1, 1), (n, weight.shape[1], *size))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


def _weight_definition(x, g, *, stride, padding, dilation, size):
    positions = g.shape[2:]
    x = _padded(x, positions, size, stride, padding, dilation)
    rows = transpose(reshape(g, (*g.shape[:2], math.prod(positions))), (1, 0, 2))
    rows = reshape(rows, (g.shape[1], g.shape[0] * math.prod(positions)))
    taps = []
    for tap in taps_of(size):
        seen = transpose(_seen(x, tap, positions, stride, dilation), (0, 2, 1))
        taps.append(matmul(rows, reshape(seen, (rows.shape[1], x.shape[1]))))
    return reshape(stack(taps, -1), (g.shape[1], x.shape[1], *size))


def _attrs(node: Tensor, size) -> dict:
    return {**node.attrs, "size": tuple(size)}


def _bias_cotangent(g: Tensor, node: Tensor) -> tuple[Tensor, ...]:
    return (reduce.sum(g, (0, 2, 3)),) if len(node.inputs) == 3 else ()


def _derivative(g, node):
    x, weight = node.inputs[:2]
    return (
        call("conv_transpose2d", g, weight, **_attrs(node, x.shape[2:])),
        call("conv2d_weight_backward", x, g, **_attrs(node, weight.shape[2:])),
        *_bias_cotangent(g, node),
    )


def _transpose_derivative(g, node):
    x, weight = node.inputs[:2]
    return (
        call("conv2d", g, weight, **_attrs(node, x.shape[2:])),
        call("conv2d_weight_backward", g, x, **_attrs(node, weight.shape[2:])),
        *_bias_cotangent(g, node),
    )


def _weight_derivative(v, node):
    x, g = node.inputs
    return (
        call("conv_transpose2d", g, v, **_attrs(node, x.shape[2:])),
        call("conv2d", x, v, **_attrs(node, g.shape[2:])),
    )


# ---- kernels ----


def _is_product(x, window, attrs) -> bool:
    """Whether each position sees just its own pixel: then the operation is a product of matrices."""
    return window == attrs["stride"] == (1, 1) and attrs["padding"] == (0, 0) and attrs["size"] == x.shape[2:]


def _flat(ref):
    """Images with their pixels in one row: (N, C, H·W)."""
    return ref.reshaped((*ref.shape[:2], ref.shape[2] * ref.shape[3]))


def _lower_product(emit, x, matrix, bias, y) -> None:
    added = None if bias is None else bias.reshaped((bias.size, 1))
    lower_product(emit, matrix, _flat(x), _flat(y), added=added)


def _emit_correlate(emit, x, phases, bias, strides, window, stride, origin, distance) -> None:
    """One grid of taps; ``phases``: (matrix (taps · C, M), where the result goes, first row of taps, rows,
    first column, columns). ``strides`` are those of all results.
    """
    channels, results = x.shape[1], phases[0][0].shape[1]
    positions = tuple(max(part.shape[axis] for _, part, *_ in phases) for axis in (2, 3))
    inner = window[0] * window[1] * channels
    tile = tiling.positions_in_tile(inner, results, x.dtype.itemsize)
    chunk = tiling.CONVOLUTION_DEPTH if len(phases) == 1 else window[1] * channels
    table = [[a, part, *taps, *part.shape[2:]] for a, part, *taps in phases]
    words = [x, 0, bias if bias is not None else 0, 0, *x.shape, results, *positions, *stride, *window]
    words += [*origin, *distance, *strides, tile, chunk, len(phases), sum(table, [])]
    flops = 2.0 * sum(part.size * a.shape[0] for a, part, *_ in phases)
    emit.kernel(
        "convolution.correlate",
        words,
        tiling.ceiling(x.shape[0] * math.prod(positions), tile),
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


def _lower(node, emit):
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
        found.append(_Phase(first, tiling.ceiling(size - first, stride), tap, len(taps), origin))
    return found, step, -(step * dilation) // stride


def _reach(phases) -> tuple[int, int]:
    """The origin and number of taps at distance −1 that enclose those of all phases."""
    origin = max(phase.origin for phase in phases)
    return origin, origin - min(phase.origin - phase.taps for phase in phases)


def _lower_transpose(node, emit):
    x, weight, bias, y = _operands(node, emit)
    attrs, window = node.attrs, weight.shape[2:]
    if y.size == 0:
        return
    if x.size and _is_product(x, window, attrs):
        return _lower_product(emit, x, weight.reshaped(weight.shape[:2]).swapped(), bias, y)
    rules = zip(y.shape[2:], window, attrs["stride"], attrs["padding"], attrs["dilation"], strict=True)
    (rows, down, row_distance), (columns, across, column_distance) = (_phases(*rule) for rule in rules)
    pairs = list(itertools.product(rows, columns))
    enclosed = row_distance == column_distance == -1 and all(r.taps and c.taps for r, c in pairs)
    room = tiling.rows_of_panel(weight.shape[1])
    together = enclosed and _reach(columns)[1] * x.shape[1] <= room
    for group in [pairs] if together else [[pair] for pair in pairs]:
        (top, high), (left, wide) = (_reach(axis) for axis in zip(*group, strict=True))
        found = []
        for r, c in group:
            shape = (*y.shape[:2], r.pixels, c.pixels)
            part = y.sliced((0, 0, r.first, c.first), (1, 1, *attrs["stride"]), shape)
            taps = weight.sliced(
                (0, 0, r.tap, c.tap), (1, 1, down, across), (*weight.shape[:2], r.taps, c.taps)
            )
            if x.size and taps.size:
                a = _matrix(emit, taps, (2, 3, 0, 1))
                found.append((a, part, top - r.origin, r.taps, left - c.origin, c.taps))
            else:
                unseen = emit.constant(np.zeros((1, 1, 1), y.dtype)) if bias is None else bias
                emit.copy(unseen.reshaped((unseen.size, 1, 1)).broadcast(part.shape), part)
        if found:
            distance = (row_distance, column_distance)
            strides = found[0][1].strides
            _emit_correlate(emit, x, found, bias, strides, (high, wide), (1, 1), (top, left), distance)


def _lower_weight(node, emit):
    x, g = (emit.contiguous(emit.value(v)) for v in node.inputs)
    result, attrs = emit.result(node), node.attrs
    if result.size == 0 or g.size == 0 or x.size == 0:
        return emit.fill(result, 0)
    results, channels, window = g.shape[1], x.shape[1], result.shape[2:]
    inner, positions = math.prod(window) * channels, g.shape[0] * g.shape[2] * g.shape[3]
    rows, depth, chunks = tiling.cut_of_weight(inner, positions)
    parts = emit.new((chunks, inner, results), result.dtype)
    words = [x, g, 0, parts, *x.shape, results, *g.shape[2:], *attrs["stride"], *window]
    words += [*(-p for p in attrs["padding"]), *attrs["dilation"], rows, depth]
    flops = 2.0 * positions * inner * results
    emit.kernel(
        "convolution.weight",
        words,
        tiling.ceiling(inner, rows) * chunks,
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


hand_derived(
    "conv2d",
    lambda x, weight, *bias, size, **attrs: Type((x.shape[0], weight.shape[0], *size), x.dtype),
    _definition,
    _derivative,
    lower=_lower,
    formula="{1} ∗ {0}",
    vjp_formula="{1} ∗ᵀ ḡ, Σ ḡ·{0} at each tap, Σ ḡ",
)
hand_derived(
    "conv_transpose2d",
    lambda x, weight, *bias, size, **attrs: Type((x.shape[0], weight.shape[1], *size), x.dtype),
    _transpose_definition,
    _transpose_derivative,
    lower=_lower_transpose,
    formula="{1} ∗ᵀ {0}",
    vjp_formula="{1} ∗ ḡ, Σ {0}·ḡ at each tap, Σ ḡ",
)
hand_derived(
    "conv2d_weight_backward",
    lambda x, g, *, size, **attrs: Type((g.shape[1], x.shape[1], *size), x.dtype),
    _weight_definition,
    _weight_derivative,
    lower=_lower_weight,
    formula="Σ {1}·{0} at each tap",
    vjp_formula="ḡ ∗ᵀ {1}, ḡ ∗ {0}",
)


# ---- what users call ----


def pair(op: str, name: str, value, least: int) -> Pair:
    """One number for both axes, or one for each; raises ShapeError."""
    both = (value, value) if not isinstance(value, (tuple, list)) else tuple(value)
    if len(both) != 2 or any(isinstance(n, bool) or not hasattr(n, "__index__") or n < least for n in both):
        must = f"{name} must be one or two integers ≥ {least}"
        fail(errors.ShapeError, op, must, f"{value!r} was got")
    return int(both[0]), int(both[1])


def _prepare(op: str, x, weight, bias, axes: str, window: str, channels: int, results: int):
    """The operands in one type, once their shapes fit; ``channels`` and ``results``: axes of the weight."""
    operands = promote_operands(x, weight, *(() if bias is None else (bias,)))
    if not all(is_float(t.dtype) and t.dtype == operands[0].dtype for t in operands):
        must, got = "the operands must have one floating-point type", f"{[str(t.type) for t in operands]}"
        fail(errors.DTypeError, op, must, f"{got} were got", "Convert with .astype(np.float32).")
    x, weight, *biases = operands
    rank = len(axes.split(","))
    if x.ndim != rank or weight.ndim != rank:
        must = f"x must have the axes ({axes}) and the weight ({window})"
        fail(errors.ShapeError, op, must, f"shapes {x.shape} and {weight.shape} were got")
    if x.shape[1] != weight.shape[channels]:
        must = f"x ({axes}) must have as many channels as the weight ({window})"
        got = f"{x.shape[1]} against {weight.shape[channels]} were got, shapes {x.shape} and {weight.shape}"
        fail(errors.ShapeError, op, must, got, "Grouped convolutions are not supported.")
    if weight.size == 0:
        fail(errors.ShapeError, op, "the weight must not be empty", f"shape {weight.shape} was got")
    if biases and biases[0].shape != (weight.shape[results],):
        must = f"the bias must have one number for each of the {weight.shape[results]} results"
        fail(errors.ShapeError, op, must, f"shape {biases[0].shape} was got")
    return x, weight, biases


def size_of_windows(op: str, sizes, around, window, stride, dilation) -> tuple[int, ...]:
    """How many positions a window has along each axis: ⌊(size + around − d (k − 1) − 1)/s⌋ + 1."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    whole = tuple(n + a for n, a in zip(sizes, around, strict=True))
    if any(r > n for r, n in zip(reach, whole, strict=True)):
        must = "the window must fit into x with its padding"
        hint = "Use a smaller kernel or more padding."
        fail(errors.ShapeError, op, must, f"a window of {reach} in {whole} was got", hint)
    return tuple((n - r) // s + 1 for n, r, s in zip(whole, reach, stride, strict=True))


def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1) -> Tensor:
    """Convolution of images x (N, C, H, W) with weight (O, C, KH, KW) and bias (O,) → (N, O, H', W').

    H' = ⌊(H + 2 padding − dilation (KH − 1) − 1)/stride⌋ + 1. ``stride``, ``padding`` (zeros on all sides)
    and ``dilation``: one integer, or one for each axis. torch's conv2d without groups. Raises ShapeError or
    DTypeError for what doesn't fit. LeCun et al. 1989.
    """
    x, weight, biases = _prepare("conv2d", x, weight, bias, "N, C, H, W", "O, C, KH, KW", 1, 0)
    stride, dilation = pair("conv2d", "stride", stride, 1), pair("conv2d", "dilation", dilation, 1)
    padding = pair("conv2d", "padding", padding, 0)
    around = tuple(2 * p for p in padding)
    size = size_of_windows("conv2d", x.shape[2:], around, weight.shape[2:], stride, dilation)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "size": size}
    return call("conv2d", x, weight, *biases, **attrs)


def conv1d(
    x, weight, bias=None, stride: int = 1, padding: int = 0, dilation: int = 1, causal: bool = False
) -> Tensor:
    """Convolution of sequences x (N, C, L) with weight (O, C, K) and bias (O,) → (N, O, L').

    With ``causal``, (K − 1)·dilation zeros come before the sequence and none after it, so that position t
    sees t and what is before it, and L' = L for stride 1 (van den Oord et al. 2016, WaveNet; SNAIL).
    Otherwise as :func:`conv2d`.
    """
    x, weight, biases = _prepare("conv1d", x, weight, bias, "N, C, L", "O, C, K", 1, 0)
    (_, stride), (_, dilation), (_, padding) = (
        pair("conv1d", name, [value, value], least)
        for name, value, least in (("stride", stride, 1), ("dilation", dilation, 1), ("padding", padding, 0))
    )
    if causal and padding:
        must = "a causal convolution chooses its own padding"
        fail(errors.ShapeError, "conv1d", must, f"padding {padding} was got", "Leave out padding or causal.")
    before = (weight.shape[2] - 1) * dilation if causal else padding
    around = before if causal else 2 * padding
    (size,) = size_of_windows("conv1d", x.shape[2:], (around,), weight.shape[2:], (stride,), (dilation,))
    attrs = {"stride": (1, stride), "padding": (0, before), "dilation": (1, dilation), "size": (1, size)}
    y = make("conv2d", _as_image(x), _as_image(weight), *biases, **attrs)
    return reshape(y, (x.shape[0], weight.shape[0], size))


def _as_image(x: Tensor) -> Tensor:
    return reshape(x, (*x.shape[:2], 1, x.shape[2]))


def conv_transpose2d(x, weight, bias=None, stride=1, padding=0, output_padding=0) -> Tensor:
    """Transposed convolution of x (N, C, H, W) with weight (C, O, KH, KW) and bias (O,) → (N, O, H', W').

    H' = (H − 1) stride − 2 padding + KH + output_padding: the derivative of :func:`conv2d` with respect to
    its operand, used as a layer. ``output_padding`` < stride chooses among the sizes that conv2d would make
    H from. torch's conv_transpose2d without groups and dilation. Raises ShapeError or DTypeError.
    """
    op = "conv_transpose2d"
    x, weight, biases = _prepare(op, x, weight, bias, "N, C, H, W", "C, O, KH, KW", 0, 1)
    stride, padding = pair(op, "stride", stride, 1), pair(op, "padding", padding, 0)
    more = pair(op, "output_padding", output_padding, 0)
    if any(m >= s for m, s in zip(more, stride, strict=True)):
        got = f"{more} and stride {stride} were got"
        fail(errors.ShapeError, op, "output_padding must be smaller than the stride", got)
    sides = zip(x.shape[2:], stride, padding, weight.shape[2:], more, strict=True)
    size = tuple((n - 1) * s - 2 * p + k + m for n, s, p, k, m in sides)
    if min(size) < 1:
        got = f"x {x.shape}, weight {weight.shape} and padding {padding} give a result of {size}"
        fail(errors.ShapeError, op, "padding must leave something of the result", got)
    attrs = {"stride": stride, "padding": padding, "dilation": (1, 1), "size": size}
    return call("conv_transpose2d", x, weight, *biases, **attrs)
