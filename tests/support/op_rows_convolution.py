"""Rows of the op table: convolutions, transposed convolutions and pooling."""

import math

import numpy as np
from op_sample import Row, sample

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.graph.point import apart, fixed, real
from tinyattn.graph.tensor import make


def _float(*shape):
    return ta.zeros(shape)


def _pair(value):
    return (value, value) if isinstance(value, int) else tuple(value)


def _visits(n, positions, window, stride, padding, dilation):
    """(position, tap, index) along one axis for all that lie within 0..n−1."""
    for r in range(positions):
        for i in range(window):
            index = r * stride + i * dilation - padding
            if 0 <= index < n:
                yield r, i, index


def convolve(x, weight, g, stride, padding, dilation, size=None, wanted="y"):
    """The three sums over one set of terms, term by term: y from x and W, x̄ from W and ȳ, W̄ from x and ȳ."""
    stride, padding, dilation = map(_pair, (stride, padding, dilation))
    sizes = x.shape[2:] if x is not None else size
    window = weight.shape[2:] if weight is not None else size
    positions = g.shape[2:] if g is not None else size
    if wanted == "y":
        result = np.zeros((x.shape[0], weight.shape[0], *positions))
    elif wanted == "x":
        result = np.zeros((g.shape[0], weight.shape[1], *sizes))
    else:
        result = np.zeros((g.shape[1], x.shape[1], *window))
    axes = [_visits(*rule) for rule in zip(sizes, positions, window, stride, padding, dilation, strict=True)]
    columns = list(axes[1])
    for r, i, h in axes[0]:
        for c, j, w in columns:
            if wanted == "y":
                result[:, :, r, c] += x[:, :, h, w] @ weight[:, :, i, j].T
            elif wanted == "x":
                result[:, :, h, w] += g[:, :, r, c] @ weight[:, :, i, j]
            else:
                result[:, :, i, j] += g[:, :, r, c].T @ x[:, :, h, w]
    return result


def _positions(sizes, window, stride, around, dilation):
    rules = zip(sizes, window, *map(_pair, (stride, around, dilation)), strict=True)
    return tuple((n + a - d * (k - 1) - 1) // s + 1 for n, k, s, a, d in rules)


def _groups(convolution):
    """Groups one after the other, whatever the engine does."""

    def grouped(x, weight, bias=None, *, groups=1, **attrs):
        parts = zip(np.split(x, groups, 1), np.split(weight, groups), strict=True)
        y = np.concatenate([convolution(*part, **attrs) for part in parts], 1)
        return y if bias is None else y + bias.reshape(-1, *[1] * (y.ndim - 2))

    return grouped


@_groups
def conv2d(x, weight, stride=1, padding=0, dilation=1):
    whole = tuple(d * (k - 1) for d, k in zip(_pair(dilation), weight.shape[2:], strict=True))
    words = {"same": (tuple(n // 2 for n in whole), whole), "valid": (0, 0)}
    before, around = words[padding] if padding in words else (padding, tuple(2 * p for p in _pair(padding)))
    size = _positions(x.shape[2:], weight.shape[2:], stride, around, dilation)
    return convolve(x, weight, None, stride, before, dilation, size)


def conv1d(x, weight, bias=None, stride=1, padding=0, dilation=1, causal=False, groups=1):
    if causal:
        x = np.pad(x, ((0, 0), (0, 0), ((weight.shape[2] - 1) * dilation, 0)))
    padding = padding if isinstance(padding, str) else (0, padding)
    return conv2d(
        x[:, :, None],
        weight[:, :, None],
        bias,
        stride=(1, stride),
        padding=padding,
        dilation=(1, dilation),
        groups=groups,
    )[:, :, 0]


@_groups
def conv_transpose2d(x, weight, stride=1, padding=0, output_padding=0, dilation=1):
    sides = zip(
        x.shape[2:], weight.shape[2:], *map(_pair, (stride, padding, output_padding, dilation)), strict=True
    )
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + m for n, k, s, p, m, d in sides)
    return convolve(None, weight, x, stride, padding, dilation, size, "x")


def _torch_conv1d(t, x, weight, bias=None, causal=False, dilation=1, **attrs):
    if causal:
        x = t.nn.functional.pad(x, ((weight.shape[2] - 1) * dilation, 0))
    return t.conv1d(x, weight, bias, dilation=dilation, **attrs)


_SAME = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1)}
CONVOLUTION_ROWS = [
    Row(
        "conv2d", ta.conv2d, conv2d,
        [
            sample(real(2, 3, 5, 6), real(4, 3, 3, 2), real(4)), sample(real(2, 2, 5, 4), real(3, 2, 2, 2)),
            sample(real(1, 1, 7, 9), real(2, 1, 3, 3), real(2), stride=2, padding=1),
            sample(real(2, 2, 5, 7), real(3, 2, 2, 3), real(3), stride=(3, 1), padding=(0, 2), dilation=(2, 1)),
            sample(real(1, 2, 6, 5), real(1, 2, 3, 3), stride=2, padding=2, dilation=2),
            sample(real(2, 3, 4, 5), real(4, 3, 1, 1), real(4)), sample(real(2, 3, 4, 5), real(4, 3, 1, 1), stride=2),
            sample(real(1, 2, 3, 3), real(2, 2, 4, 4), padding=1), sample(real(0, 2, 4, 4), real(3, 2, 2, 2), real(3)),
            sample(real(1, 70, 6, 5), real(9, 70, 3, 3), real(9), padding=1),
            sample(real(1, 3, 40, 41), real(5, 3, 4, 4), real(5), stride=2, padding=1),
            sample(real(1, 300, 3, 3), real(3, 300, 2, 2), stride=2, padding=1),
            sample(real(2, 2, 5, 4), real(3, 2, 3, 1), real(3), padding="same"), sample(real(1, 2, 5, 4), real(2, 2, 4, 2), padding="same", dilation=2),
            sample(real(2, 2, 4, 4), real(3, 2, 2, 3), padding="valid"), sample(real(2, 4, 5, 4), real(6, 2, 3, 2), real(6), groups=2, stride=2, padding=1),
            sample(real(2, 3, 5, 4), real(3, 1, 3, 2), real(3), groups=3, padding=(1, 0)), sample(real(1, 2, 5, 6), real(4, 1, 2, 2), groups=2, stride=(2, 1), dilation=2),
            sample(real(0, 2, 4, 4), real(2, 1, 2, 2), groups=2),
        ],
        torch=lambda t, x, w, b=None, **a: t.conv2d(x, w, b, **a),
        errors=[
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 2, 3, 3)), ShapeError,
             "[conv2d] x (N, C, H, W) must have as many channels as the weight (O, C, KH, KW), but got 3 against 2, shapes (2, 3, 5, 5) and (4, 2, 3, 3)."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 6), padding=(1, 0)), ShapeError,
             "[conv2d] the window must fit into x with its padding, but got a window of (3, 6) in (7, 5)."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), dilation=3), ShapeError,
             "[conv2d] the window must fit into x with its padding, but got a window of (7, 7) in (5, 5)."),
            (lambda: ta.conv2d(_float(3, 5, 5), _float(4, 3, 3, 3)), ShapeError,
             "[conv2d] x must have the axes (N, C, H, W) and the weight (O, C, KH, KW), but got shapes (3, 5, 5) and (4, 3, 3, 3)."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), _float(3)), ShapeError,
             "[conv2d] the bias must have one number for each of the 4 results, but got shape (3,)."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), stride=0), ShapeError,
             "[conv2d] stride must be one or two integers ≥ 1, but got 0."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), padding=(1, -1)), ShapeError,
             "[conv2d] padding must be one or two integers ≥ 0, but got (1, -1)."),
            (lambda: ta.conv2d(_float(2, 4, 5, 5), _float(4, 4, 3, 3), groups=2), ShapeError,
             "[conv2d] x (N, C, H, W) must have as many channels as the weight (O, C, KH, KW) in 2 groups, but got 4 against 8, shapes (2, 4, 5, 5) and (4, 4, 3, 3)."),
            (lambda: ta.conv2d(_float(2, 4, 5, 5), _float(3, 2, 3, 3), groups=2), ShapeError,
             "[conv2d] the first axis of the weight must be a multiple of groups = 2, but got shape (3, 2, 3, 3)."),
            (lambda: ta.conv2d(_float(2, 4, 5, 5), _float(3, 4, 3, 3), groups=0), ShapeError, "[conv2d] groups must be an integer ≥ 1, but got 0."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), stride=2, padding="same"), ShapeError,
             "[conv2d] padding 'same' needs stride 1, so that the result can have the size of x, but got stride (2, 2)."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(4, 3, 3, 3), padding="full"), ShapeError,
             "[conv2d] padding must be one or two integers ≥ 0, 'same' or 'valid', but got 'full'."),
            (lambda: ta.conv2d(_float(2, 3, 5, 5), _float(0, 3, 3, 3)), ShapeError,
             "[conv2d] the weight must not be empty, but got shape (0, 3, 3, 3)."),
        ],
    ),
    Row(
        "conv1d", ta.conv1d, conv1d,
        [
            sample(real(2, 3, 7), real(4, 3, 3), real(4)), sample(real(2, 3, 9), real(2, 3, 2), stride=2, padding=1),
            sample(real(2, 2, 9), real(3, 2, 2), real(3), dilation=4, causal=True), sample(real(1, 2, 5), real(2, 2, 3), causal=True, stride=2),
            sample(real(1, 2, 4), real(2, 2, 3), dilation=8, causal=True), sample(real(2, 5, 70), real(6, 5, 3), real(6), dilation=2, padding=2),
            sample(real(2, 2, 1), real(3, 2, 1)), sample(real(0, 2, 3), real(3, 2, 2)), sample(real(2, 3, 6), real(3, 1, 3), real(3), groups=3, padding="same"),
            sample(real(2, 4, 6), real(2, 2, 3), groups=2, causal=True),
        ],
        torch=_torch_conv1d,
        errors=[
            (lambda: ta.conv1d(_float(2, 3, 5), _float(4, 2, 3)), ShapeError,
             "[conv1d] x (N, C, L) must have as many channels as the weight (O, C, K), but got 3 against 2, shapes (2, 3, 5) and (4, 2, 3)."),
            (lambda: ta.conv1d(_float(2, 3, 5), _float(4, 3, 6)), ShapeError,
             "[conv1d] the window must fit into x with its padding, but got a window of (6,) in (5,)."),
            (lambda: ta.conv1d(_float(2, 3, 5), _float(4, 3, 3), padding=1, causal=True), ShapeError,
             "[conv1d] a causal convolution chooses its own padding, but got padding 1."),
        ],
    ),
    Row(
        "conv_transpose2d", ta.conv_transpose2d, conv_transpose2d,
        [
            sample(real(2, 3, 3, 4), real(3, 4, 3, 2), real(4)), sample(real(2, 3, 3, 3), real(3, 2, 4, 4), real(2), stride=2, padding=1),
            sample(real(1, 2, 3, 4), real(2, 1, 3, 3), stride=2, padding=1, output_padding=1),
            sample(real(1, 2, 3, 2), real(2, 3, 2, 2), real(3), stride=(3, 2), output_padding=(2, 0)), sample(real(2, 3, 4, 4), real(3, 2, 1, 1)),
            sample(real(1, 2, 3, 3), real(2, 3, 1, 1), real(3), stride=2), sample(real(0, 2, 3, 3), real(2, 3, 2, 2), stride=2),
            sample(real(2, 20, 5, 4), real(20, 6, 4, 4), real(6), stride=2, padding=1), sample(real(1, 2, 3, 3), real(2, 2, 3, 3), padding=2),
            sample(real(3, 5, 7, 7), real(5, 4, 3, 3), real(4), padding=1), sample(real(1, 300, 3, 2), real(300, 2, 3, 3), real(2), stride=2),
            sample(real(2, 9, 5, 4), real(9, 1, 4, 4), real(1), stride=2, padding=1), sample(real(2, 2, 3, 4), real(2, 3, 3, 2), dilation=(2, 3), stride=2, padding=1),
            sample(real(1, 2, 3, 3), real(2, 1, 2, 2), dilation=3, stride=2, output_padding=2), sample(real(2, 4, 3, 3), real(4, 2, 3, 2), real(4), groups=2, stride=2),
            sample(real(2, 3, 3, 4), real(3, 2, 3, 3), real(6), groups=3, stride=2, padding=1, output_padding=1),
        ],
        torch=lambda t, x, w, b=None, **a: t.conv_transpose2d(x, w, b, **a),
        errors=[
            (lambda: ta.conv_transpose2d(_float(2, 3, 5, 5), _float(4, 3, 2, 2)), ShapeError,
             "[conv_transpose2d] x (N, C, H, W) must have as many channels as the weight (C, O, KH, KW), but got 3 against 4, "
             "shapes (2, 3, 5, 5) and (4, 3, 2, 2)."),
            (lambda: ta.conv_transpose2d(_float(2, 3, 5, 5), _float(3, 3, 2, 2), stride=2, output_padding=2), ShapeError,
             "[conv_transpose2d] output_padding must be smaller than the stride or the dilation, but got (2, 2), stride (2, 2) and dilation (1, 1)."),
            (lambda: ta.conv_transpose2d(_float(2, 3, 2, 2), _float(3, 3, 2, 2), padding=2), ShapeError,
             "[conv_transpose2d] padding must leave something of the result, but x (2, 3, 2, 2), weight (3, 3, 2, 2) and padding (2, 2) "
             "give a result of (-1, -1)."),
        ],
    ),
    Row(
        "conv2d_weight_backward", lambda x, g, **a: make("conv2d_weight_backward", x, g, **a),
        lambda x, g, size, **a: convolve(x, None, g, size=size, wanted="w", **a),
        [
            sample(real(2, 3, 4, 5), real(2, 2, 3, 3), size=(2, 3), **_SAME), sample(real(0, 3, 4, 5), real(0, 2, 3, 3), size=(2, 3), **_SAME),
            sample(real(2, 3, 5, 6), real(2, 4, 3, 3), size=(3, 3), stride=(2, 2), padding=(1, 1), dilation=(1, 1)),
            sample(real(3, 40, 9, 9), real(3, 35, 9, 9), size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1)),
        ],
    ),
]  # fmt: skip


# Pooling.


def _windows(x, kernel_size, stride, padding, value, dilation=1, ceil_mode=False, size=None):
    """(N, C, H′, W′, taps), window by window."""
    kernel, padding, dilation = _pair(kernel_size), _pair(padding), _pair(dilation)
    stride = kernel if stride is None else _pair(stride)
    if size is None:
        rules = zip(x.shape[2:], kernel, stride, padding, dilation, strict=True)
        size = []
        for n, k, s, p, d in rules:
            count = (n + 2 * p - d * (k - 1) - 1) / s + 1
            count = math.ceil(count) if ceil_mode else math.floor(count)
            size.append(count - (ceil_mode and (count - 1) * s >= n + p))
    x = np.pad(x, ((0, 0), (0, 0), *((p, 50) for p in padding)), constant_values=value)
    seen = np.empty((*x.shape[:2], *size, *kernel), x.dtype)
    for r, c, i, j in np.ndindex(*size, *kernel):
        seen[:, :, r, c, i, j] = x[:, :, r * stride[0] + i * dilation[0], c * stride[1] + j * dilation[1]]
    return seen.reshape(*seen.shape[:4], kernel[0] * kernel[1])


def max_pool2d(x, kernel_size, stride=None, padding=0, **attrs):
    return _windows(x, kernel_size, stride, padding, -np.inf, **attrs).max(-1)


def avg_pool2d(
    x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None
):
    inside = np.ones((1, 1, *x.shape[2:]))
    if count_include_pad:
        inside = np.pad(inside, ((0, 0), (0, 0), *((p, p) for p in _pair(padding))), constant_values=1)
    counts = _windows(
        inside,
        kernel_size,
        stride,
        0 if count_include_pad else padding,
        0,
        size=_windows(x, kernel_size, stride, padding, 0, 1, ceil_mode).shape[2:4],
    ).sum(-1)
    return _windows(x, kernel_size, stride, padding, 0, 1, ceil_mode).sum(-1) / (divisor_override or counts)


def adaptive_avg_pool2d(x, output_size):
    size = [n if r is None else r for r, n in zip(_pair(output_size), x.shape[2:], strict=True)]
    y = np.empty((*x.shape[:2], *size))
    for r, c in np.ndindex(*size):
        (a, b), (e, f) = (
            (i * n // m, math.ceil((i + 1) * n / m))
            for i, n, m in zip((r, c), x.shape[2:], size, strict=True)
        )
        y[:, :, r, c] = x[:, :, a:b, e:f].mean((2, 3))
    return y


def _max_backward(x, g, kernel, stride, padding, size):
    area = x.shape[2] * x.shape[3]
    numbers = np.arange(1, area + 1).reshape(1, 1, *x.shape[2:])
    chosen = _windows(x, kernel, stride, padding, -np.inf, size=size).argmax(-1)[..., None]
    places = np.broadcast_to(
        _windows(numbers, kernel, stride, padding, 0, size=size), (*g.shape, kernel[0] * kernel[1])
    )
    places = np.take_along_axis(places, chosen, -1)[..., 0] - 1
    result = np.zeros((*x.shape[:2], area))
    for n, c, r, s in np.ndindex(g.shape):
        result[n, c, places[n, c, r, s]] += g[n, c, r, s]
    return result.reshape(x.shape)


_TIES = fixed([[[[1.0, 1.0, 0.0], [1.0, 1.0, 2.0], [2.0, 0.0, 2.0]]]])
_NAN = fixed([[[[np.nan, 1.0, 0.0, -np.inf, 3.0, 1.0], [1.0, 1.0, -np.inf, -np.inf, 2.0, np.nan]]]])


def _pool_row(name, numpy, special, *more):
    call = getattr(ta, name)
    return Row(
        name, call, numpy,
        [
            sample(apart(2, 2, 4, 6), kernel_size=2), sample(apart(1, 2, 5, 5), kernel_size=3, stride=2, padding=1),
            sample(apart(2, 1, 5, 4), kernel_size=(3, 2), stride=1), sample(apart(2, 3, 7, 8), kernel_size=2, stride=3, padding=(1, 0)),
            sample(apart(0, 2, 4, 4), kernel_size=2), sample(apart(2, 3, 12, 13), kernel_size=2),
            sample(apart(2, 2, 5, 6), kernel_size=(2, 3), stride=2, padding=(0, 1), ceil_mode=True), sample(apart(1, 2, 3, 5), kernel_size=4, stride=2, ceil_mode=True, padding=1),
            *more,
        ],
        torch=lambda t, x, **a: getattr(t.nn.functional, name)(x, **a),
        special=special,
        errors=[
            (lambda: call(_float(2, 3, 4), 2), ShapeError, f"[{name}] x must have the axes (N, C, H, W), but got shape (2, 3, 4)."),
            (lambda: call(_float(1, 1, 4, 4), 5), ShapeError, f"[{name}] the window must fit into x with its padding, but got a window of (5, 5) in (4, 4)."),
            (lambda: call(_float(1, 1, 4, 4), 2, padding=2), ShapeError,
             f"[{name}] padding must be at most half of the kernel, so that every window sees x, but got padding (2, 2) and kernel (2, 2)."),
        ],
    )  # fmt: skip


_OVERLAPPING = {"kernel": (2, 2), "stride": (1, 1), "padding": (0, 0), "size": (3, 3)}
POOLING_ROWS = [
    _pool_row("max_pool2d", max_pool2d, [sample(_NAN, kernel_size=2), sample(_NAN, kernel_size=(1, 2), stride=1, dilation=2)],
              sample(apart(1, 2, 6, 5), kernel_size=2, dilation=2, stride=1), sample(apart(1, 2, 6, 7), kernel_size=(2, 3), dilation=(3, 2), stride=2, padding=1, ceil_mode=True)),
    _pool_row("avg_pool2d", avg_pool2d, [],
              sample(apart(1, 2, 5, 6), kernel_size=3, stride=2, padding=1, count_include_pad=False),
              sample(apart(1, 2, 5, 6), kernel_size=(2, 3), stride=2, padding=1, count_include_pad=False, ceil_mode=True), sample(apart(1, 2, 4, 4), kernel_size=2, divisor_override=3)),
    Row("adaptive_avg_pool2d", ta.adaptive_avg_pool2d, adaptive_avg_pool2d,
        [sample(real(2, 2, 5, 6), output_size=1), sample(real(2, 2, 5, 6), output_size=(3, 2)), sample(real(1, 2, 5, 4), output_size=(None, 3)), sample(real(1, 2, 3, 2), output_size=(5, 4)),
         sample(real(0, 2, 4, 4), output_size=2)],
        torch=lambda t, x, output_size: t.nn.functional.adaptive_avg_pool2d(x, output_size),
        errors=[
            (lambda: ta.adaptive_avg_pool2d(_float(2, 3, 4), 2), ShapeError, "[adaptive_avg_pool2d] x must have the axes (N, C, H, W), but got shape (2, 3, 4)."),
            (lambda: ta.adaptive_avg_pool2d(_float(1, 1, 4, 4), 0), ShapeError, "[adaptive_avg_pool2d] output_size must be one or two integers ≥ 1, but got (0, 0)."),
        ]),
    Row("max_pool2d_backward", lambda x, g, **a: make("max_pool2d_backward", x, g, **a), _max_backward,
        [sample(apart(1, 2, 4, 4), real(1, 2, 3, 3), **_OVERLAPPING), sample(apart(2, 2, 5, 7), real(2, 2, 3, 4), kernel=(3, 3), stride=(2, 2), padding=(1, 1), size=(3, 4))],
        special=[sample(_TIES, real(1, 1, 2, 2), **_OVERLAPPING | {"size": (2, 2)})]),
]  # fmt: skip

CONVOLUTION_ROWS += POOLING_ROWS


def proof_cases():
    """(operation, what is special, arrays, attributes) for the proof of the hand-derived derivatives."""
    rng = np.random.default_rng(5)
    normal = lambda *shape: rng.standard_normal(shape)
    strided = {"stride": (2, 2), "padding": (1, 1), "dilation": (1, 1)}
    uneven = {"stride": (2, 3), "padding": (0, 2), "dilation": (3, 2)}
    yield "conv2d", "plain", (normal(2, 2, 4, 5), normal(3, 2, 3, 2), normal(3)), {**_SAME, "size": (2, 4)}
    yield "conv2d", "strided", (normal(2, 2, 6, 5), normal(3, 2, 4, 3)), {**strided, "size": (3, 3)}
    yield "conv2d", "uneven", (normal(1, 2, 8, 7), normal(3, 2, 2, 3), normal(3)), {**uneven, "size": (3, 3)}
    yield (
        "conv2d",
        "a pixel each",
        (normal(2, 3, 2, 4), normal(4, 3, 1, 1), normal(4)),
        {**_SAME, "size": (2, 4)},
    )
    yield (
        "conv2d",
        "x not seen to its end",
        (normal(1, 2, 6, 6), normal(2, 2, 2, 2)),
        {**strided, "size": (2, 2)},
    )
    yield (
        "conv_transpose2d",
        "plain",
        (normal(2, 3, 2, 4), normal(3, 2, 3, 2), normal(2)),
        {**_SAME, "size": (4, 5)},
    )
    yield "conv_transpose2d", "strided", (normal(2, 3, 3, 3), normal(3, 2, 4, 3)), {**strided, "size": (6, 5)}
    yield (
        "conv_transpose2d",
        "uneven",
        (normal(1, 3, 3, 3), normal(3, 2, 2, 3), normal(2)),
        {**uneven, "size": (8, 7)},
    )
    yield (
        "conv_transpose2d",
        "a pixel each",
        (normal(2, 3, 2, 4), normal(3, 4, 1, 1), normal(4)),
        {**_SAME, "size": (2, 4)},
    )
    yield (
        "conv_transpose2d",
        "more than is seen",
        (normal(1, 2, 2, 2), normal(2, 2, 2, 2), normal(2)),
        {**strided, "size": (6, 6)},
    )
    for name, shapes, sizes in (
        ("depthwise", ((2, 3, 6, 5), (3, 3, 2)), ((4, 4), (3, 3), (2, 1))),
        ("depthwise_transposed", ((2, 3, 3, 2), (3, 3, 2)), ((5, 3), (6, 5), (9, 9))),
    ):
        for kind, attrs, size in zip(
            ("plain", "strided", "uneven"), (_SAME, strided, uneven), sizes, strict=True
        ):
            yield name, kind, tuple(normal(*shape) for shape in shapes), {**attrs, "size": size}
    for kind, shape, kernel, stride, padding, size in (
        ("apart", (2, 2, 4, 6), (2, 2), (2, 2), (0, 0), (2, 3)),
        ("overlapping", (1, 2, 5, 5), (3, 2), (1, 2), (1, 1), (5, 3)),
        ("reaching beyond", (1, 2, 5, 6), (2, 3), (2, 2), (0, 1), (3, 4)),
    ):
        attrs = {"kernel": kernel, "stride": stride, "padding": padding, "size": size}
        yield "max_pool2d", kind, (normal(*shape),), attrs
        yield "max_pool2d", f"{kind}, ties", (rng.integers(0, 2, shape).astype(np.float64),), attrs
