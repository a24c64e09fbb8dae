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

import math
from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.operands import real_operands
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type, fail
from tinyattn.ops import reduce
from tinyattn.ops.convolution_kernels import lower_convolution, lower_transposed, lower_weight
from tinyattn.ops.hand import call, hand_derived
from tinyattn.ops.linalg import matmul
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


hand_derived(
    "conv2d",
    lambda x, weight, *bias, size, **attrs: Type((x.shape[0], weight.shape[0], *size), x.dtype),
    _definition,
    _derivative,
    lower=lower_convolution,
    formula="{1} ∗ {0}",
    vjp_formula="{1} ∗ᵀ ḡ, Σ ḡ·{0} at each tap, Σ ḡ",
)
hand_derived(
    "conv_transpose2d",
    lambda x, weight, *bias, size, **attrs: Type((x.shape[0], weight.shape[1], *size), x.dtype),
    _transpose_definition,
    _transpose_derivative,
    lower=lower_transposed,
    formula="{1} ∗ᵀ {0}",
    vjp_formula="{1} ∗ ḡ, Σ {0}·ḡ at each tap, Σ ḡ",
)
hand_derived(
    "conv2d_weight_backward",
    lambda x, g, *, size, **attrs: Type((g.shape[1], x.shape[1], *size), x.dtype),
    _weight_definition,
    _weight_derivative,
    lower=lower_weight,
    formula="Σ {1}·{0} at each tap",
    vjp_formula="ḡ ∗ᵀ {1}, ḡ ∗ {0}",
)


# ---- what users call ----


def pair(op: str, name: str, value, least: int) -> Pair:
    """One number for both axes, or one for each; raises ShapeError."""
    both = (value, value) if not isinstance(value, (tuple, list)) else tuple(value)
    if len(both) != 2 or any(
        isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < least for n in both
    ):
        must = f"{name} must be one or two integers ≥ {least}"
        fail(errors.ShapeError, op, must, f"{value!r} was got")
    return int(both[0]), int(both[1])


def _prepare(op: str, x, weight, bias, axes: str, window: str, channels: int, results: int):
    """The operands in one type, once their shapes fit; ``channels`` and ``results``: axes of the weight."""
    x, weight, *biases = real_operands(x, weight, *(() if bias is None else (bias,)))
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
