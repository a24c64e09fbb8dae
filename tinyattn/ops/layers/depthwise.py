"""Depthwise convolution: every channel has a window of its own, W (C, KH, KW), and meets no other channel.

    y[n, c, r, q] = Σ_{i, j} W[c, i, j] x[n, c, r s + i d − p, q s + j d − p]

Done by channels that would be C small products. Here the sum over the taps is taken for all channels at once, element
by element: each tap is a view of x, and the terms are one fused loop. Its derivative with respect to x, the transposed
convolution, is the same sum over views of ȳ, whose elements were put s apart among zeros:

    x̄[n, c, h, w] = Σ_{i, j} W[c, i, j] ȳ[n, c, (h + p − i d)/s, …],      W̄[c, i, j] = Σ ȳ · (x seen by the tap i, j)

(Chollet 2017.)
"""

from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.shape import reshape, slice_, stack
from tinyattn.ops.definition import call, hand_derived
from tinyattn.ops.layers.convolution import Pair, padded, sum_of, taps_of


def _views(x: Tensor, starts: list[Pair], steps: Pair, size: Pair) -> list[Tensor]:
    """What is seen from these places on, in steps: (N, C, *size) each."""
    return [slice_(x, (0, 0, *start), (1, 1, *steps), (*x.shape[:2], *size)) for start in starts]


def _weighted(views: list[Tensor], weight: Tensor) -> Tensor:
    taps = taps_of((weight.shape[1], weight.shape[2]))
    columns = [reshape(weight[:, i, j], (weight.shape[0], 1, 1)) for i, j in taps]
    return sum_of([view * column for view, column in zip(views, columns, strict=True)])


def _seen(x: Tensor, window: Pair, stride: Pair, padding: Pair, dilation: Pair, size: Pair) -> list[Tensor]:
    """What each tap sees at all positions."""
    x = padded(x, size, window, stride, padding, dilation)
    return _views(x, [(i * dilation[0], j * dilation[1]) for i, j in taps_of(window)], stride, size)


def _definition(x, weight, *, stride, padding, dilation, size):
    return _weighted(_seen(x, weight.shape[1:], stride, padding, dilation, size), weight)


def _transposed_definition(g, weight, *, stride, padding, dilation, size):
    reach = tuple(d * (k - 1) for d, k in zip(dilation, weight.shape[1:], strict=True))
    rules = list(zip(g.shape[2:], stride, padding, reach, size, strict=True))
    whole = tuple(o + max(p + n, (r - 1) * s + 1) for r, s, p, o, n in rules)
    spread = make("unslice", g, starts=(0, 0, *reach), steps=(1, 1, *stride), shape=(*g.shape[:2], *whole))
    starts = []
    for i, j in taps_of(weight.shape[1:]):
        starts.append((padding[0] + reach[0] - i * dilation[0], padding[1] + reach[1] - j * dilation[1]))
    return _weighted(_views(spread, starts, (1, 1), size), weight)


def _of_weight(x: Tensor, g: Tensor, window: Pair, *, stride, padding, dilation, size) -> Tensor:
    seen = _seen(x, window, stride, padding, dilation, (g.shape[2], g.shape[3]))
    return reshape(stack([reduce.sum(g * view, (0, 2, 3)) for view in seen], -1), (x.shape[1], *window))


def _derivative(g, node):
    x, weight = node.inputs
    back = call("depthwise_transposed", g, weight, **{**node.attrs, "size": x.shape[2:]})
    return back, _of_weight(x, g, weight.shape[1:], **node.attrs)


def _transposed_derivative(g, node):
    x, weight = node.inputs
    back = call("depthwise", g, weight, **{**node.attrs, "size": x.shape[2:]})
    return back, _of_weight(g, x, weight.shape[1:], **node.attrs)


def _infer(x, weight, *, size, **attrs):
    return Type((*x.shape[:2], *size), x.dtype)


hand_derived(
    "depthwise",
    _infer,
    _definition,
    _derivative,
    formula="{1} ∗ {0}, channel by channel",
    vjp_formula="{1} ∗ᵀ ḡ, Σ ḡ·{0} at each tap",
)
hand_derived(
    "depthwise_transposed",
    _infer,
    _transposed_definition,
    _transposed_derivative,
    formula="{1} ∗ᵀ {0}, channel by channel",
    vjp_formula="{1} ∗ ḡ, Σ {0}·ḡ at each tap",
)
