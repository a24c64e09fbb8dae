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
from functools import partial

from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import pad, reshape, slice_, stack, swap_last, transpose
from tinyattn.ops.definition import call, hand_derived
from tinyattn.ops.layers.convolution_kernels import lower_convolution, lower_transposed, lower_weight

Pair = tuple[int, int]

# What the three operations share: attributes ``stride``, ``padding`` (before the first row and column),
# ``dilation``, and ``size``: rows and columns of the result.


def taps_of(window: Pair) -> list[Pair]:
    """The places in a window, row by row."""
    return [(i, j) for i in range(window[0]) for j in range(window[1])]


def padded(
    x: Tensor,
    positions: Pair,
    window: Pair,
    stride: Pair,
    padding: Pair,
    dilation: Pair,
    value: float = 0.0,
) -> Tensor:
    """x with zeros (or ``value``) around it, as far as windows reach."""
    around = [
        (p, max(0, (n - 1) * s + (k - 1) * d + 1 - p - size))
        for p, n, s, k, d, size in zip(padding, positions, stride, window, dilation, x.shape[2:], strict=True)
    ]
    return pad(x, ((0, 0), (0, 0), *around), value)


def _seen(x: Tensor, tap: Pair, positions: Pair, stride: Pair, dilation: Pair) -> Tensor:
    """What a tap sees of the padded x at all positions: (N, C, positions)."""
    starts = (0, 0, *(i * d for i, d in zip(tap, dilation, strict=True)))
    shape = (*x.shape[:2], *positions)
    return reshape(slice_(x, starts, (1, 1, *stride), shape), (*x.shape[:2], math.prod(positions)))


def _definition(x, weight, bias=None, *, stride, padding, dilation, size):
    window = weight.shape[2:]
    x = padded(x, size, window, stride, padding, dilation)
    terms = [matmul(weight[:, :, i, j], _seen(x, (i, j), size, stride, dilation)) for i, j in taps_of(window)]
    y = reshape(sum_of(terms), (x.shape[0], weight.shape[0], *size))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


def sum_of(terms: Sequence[Tensor]) -> Tensor:
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
    y = slice_(sum_of(terms), (0, 0, *padding), (1, 1, 1, 1), (n, weight.shape[1], *size))
    return y if bias is None else y + reshape(bias, (-1, 1, 1))


def _weight_definition(x, g, *, stride, padding, dilation, size):
    positions = g.shape[2:]
    x = padded(x, positions, size, stride, padding, dilation)
    rows = transpose(reshape(g, (*g.shape[:2], math.prod(positions))), (1, 0, 2))
    rows = reshape(rows, (g.shape[1], g.shape[0] * math.prod(positions)))
    taps = []
    for tap in taps_of(size):
        seen = transpose(_seen(x, tap, positions, stride, dilation), (0, 2, 1))
        taps.append(matmul(rows, reshape(seen, (rows.shape[1], x.shape[1]))))
    return reshape(stack(taps, -1), (g.shape[1], x.shape[1], *size))


def _attrs(node: Tensor, size) -> dict:
    return {**node.attrs, "size": tuple(size)}


def _derivative(g, node):
    """Of a convolution, which is taken back by a transposed one, and the other way round."""
    x, weight, *bias = node.inputs
    back, ends = ("conv_transpose2d", (x, g)) if node.op.name == "conv2d" else ("conv2d", (g, x))
    return (
        call(back, g, weight, **_attrs(node, x.shape[2:])),
        call("conv2d_weight_backward", *ends, **_attrs(node, weight.shape[2:])),
        *(reduce.sum(g, (0, 2, 3)) for _ in bias),
    )


def _weight_derivative(v, node):
    x, g = node.inputs
    return (
        call("conv_transpose2d", g, v, **_attrs(node, x.shape[2:])),
        call("conv2d", x, v, **_attrs(node, g.shape[2:])),
    )


def _type(x, weight, *bias, size, channels, **attrs):
    return Type((x.shape[0], weight.shape[channels], *size), x.dtype)


for _name, _channels, _by, _lower, _formula, _vjp in (
    ("conv2d", 0, _definition, lower_convolution, "{1} ∗ {0}", "{1} ∗ᵀ ḡ, Σ ḡ·{0} at each tap, Σ ḡ"),
    ("conv_transpose2d", 1, _transpose_definition, lower_transposed, "{1} ∗ᵀ {0}", "{1} ∗ ḡ, Σ {0}·ḡ at each tap, Σ ḡ"),
):  # fmt: skip
    infer = partial(_type, channels=_channels)
    hand_derived(_name, infer, _by, _derivative, lower=_lower, formula=_formula, vjp_formula=_vjp)
hand_derived(
    "conv2d_weight_backward",
    lambda x, g, *, size, **attrs: Type((g.shape[1], x.shape[1], *size), x.dtype),
    _weight_definition,
    _weight_derivative,
    lower=lower_weight,
    formula="Σ {1}·{0} at each tap",
    vjp_formula="ḡ ∗ᵀ {1}, ḡ ∗ {0}",
)
