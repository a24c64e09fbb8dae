"""Pooling: one number for each window of an image, channel by channel.

    max:   y[r, c] = max over taps (i, j) of x[r s + i − p, c s + j − p];   ȳ goes to the first that attains it
    mean:  y[r, c] = mean over taps;                                        ȳ / taps goes to each

Beyond the border, a maximum sees −∞ and a mean 0 (which counts, if not asked otherwise, as in torch). Where windows
overlap, what reaches a pixel from several of them is added. Pooling is *adaptive* where not the window is given but the
size of the result: output r of R is the mean of pixels ⌊r H/R⌋ to ⌈(r + 1) H/R⌉ − 1.
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import apart, at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type, fail
from tinyattn.kernels.calls.pooling import tiles_of_pool
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import greater, logical_and, logical_not, logical_or, not_equal, where
from tinyattn.ops.arrays.shape import concat, reshape, slice_
from tinyattn.ops.definition import call, hand_derived
from tinyattn.ops.layers.convolution import Pair, padded, sum_of, taps_of
from tinyattn.ops.layers.convolving import pair, size_of_windows


def _windows(
    x: Tensor, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair, size: Pair
) -> list[Tensor]:
    """What each tap of the window sees at all positions, −∞ beyond the border: (N, C, H', W') each."""
    x = padded(x, size, kernel, stride, padding, dilation, -math.inf)
    shape = (*x.shape[:2], *size)
    starts = [(0, 0, i * dilation[0], j * dilation[1]) for i, j in taps_of(kernel)]
    return [slice_(x, start, (1, 1, *stride), shape) for start in starts]


def _definition(x, *, kernel, stride, padding, size, dilation=(1, 1)):
    best, *others = _windows(x, kernel, stride, padding, dilation, size)
    for other in others:
        best = where(logical_or(greater(other, best), not_equal(other, other)), other, best)
    return best


def _backward_definition(x, g, *, kernel, stride, padding, size):
    best, *others = _windows(x, kernel, stride, padding, (1, 1), size)
    wins = []  # for each tap, whether it beat all before it
    for other in others:
        wins.append(logical_or(greater(other, best), not_equal(other, other)))
        best = where(wins[-1], other, best)
    reach = zip(x.shape[2:], padding, size, stride, kernel, strict=True)
    whole = (*x.shape[:2], *(max(p + n, (r - 1) * s + k) for n, p, r, s, k in reach))
    total, open_ = None, None  # ``open_``: no later tap has won
    for tap, won in reversed(list(zip(taps_of(kernel), [None, *wins], strict=True))):
        chosen = won if open_ is None else open_ if won is None else logical_and(won, open_)
        part = g if chosen is None else where(chosen, g, 0)
        part = make("unslice", part, starts=(0, 0, *tap), steps=(1, 1, *stride), shape=whole)
        total = part if total is None else total + part
        if won is not None:
            open_ = logical_not(won) if open_ is None else logical_and(open_, logical_not(won))
    assert total is not None
    return slice_(total, (0, 0, *padding), (1, 1, 1, 1), x.shape)


def _lower(kernel):
    def lower(node, emit):
        x, *cotangent = (emit.contiguous(emit.value(v)) for v in node.inputs)
        result = emit.result(node)
        y = (cotangent or [result])[0]
        planes, attrs = x.shape[0] * x.shape[1], node.attrs
        words = {"planes": planes, "height": x.shape[2], "width": x.shape[3]}
        words |= {"rows": y.shape[2], "columns": y.shape[3]}
        words |= {"window": attrs["kernel"], "strides": attrs["stride"], "padding": attrs["padding"]}
        words |= {"x": x, "dy": y, "dx": result} if cotangent else {"x": x, "y": y}
        work = y.shape[2] * y.shape[3] * math.prod(attrs["kernel"]) + x.shape[2] * x.shape[3]
        emit.kernel(
            kernel,
            words,
            tiles_of_pool(planes, work),
            reads=[x, *cotangent],
            writes=[result],
            cost=planes * work * 1.0,
        )

    return lower


hand_derived(
    "max_pool2d",
    lambda x, *, size, **attrs: Type((*x.shape[:2], *size), x.dtype),
    _definition,
    lambda g, node: (call("max_pool2d_backward", node.inputs[0], g, **node.attrs),),
    lower=_lower("pooling.max_forward"),
    formula="max of windows of {0}",
    vjp_formula="ḡ to the first maximum of each window",
)
hand_derived(
    "max_pool2d_backward",
    lambda x, g, **attrs: x.type,
    _backward_definition,
    lower=_lower("pooling.max_backward"),
    formula="{1} to the first maxima of windows of {0}",
)


def _prepare(
    op: str, x, kernel_size, stride, padding, dilation, ceil_mode: bool
) -> tuple[Tensor, dict[str, Pair]]:
    x = _image(op, x)
    kernel, dilation = pair(op, "kernel_size", kernel_size, 1), pair(op, "dilation", dilation, 1)
    stride = kernel if stride is None else pair(op, "stride", stride, 1)
    padding = pair(op, "padding", padding, 0)
    if any(2 * p > d * (k - 1) + 1 for p, k, d in zip(padding, kernel, dilation, strict=True)):
        must = "padding must be at most half of the kernel, so that every window sees x"
        fail(errors.ShapeError, op, must, f"got padding {padding} and kernel {kernel}")
    # With ceil_mode a last window may reach beyond the padding, if it begins before x ends.
    more = tuple(s - 1 if ceil_mode else 0 for s in stride)
    around = tuple(2 * p + m for p, m in zip(padding, more, strict=True))
    size = size_of_windows(op, x.shape[2:], around, kernel, stride, dilation)
    rules = zip(size, x.shape[2:], padding, stride, strict=True)
    size = tuple(min(r, (n + p - 1) // s + 1) for r, n, p, s in rules)
    return x, {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "size": size}


def _image(op: str, x) -> Tensor:
    (x,) = real_operands(x)
    if x.ndim != 4:
        fail(errors.ShapeError, op, "x must have the axes (N, C, H, W)", f"got shape {x.shape}")
    return x


@public(at(apart(2, 2, 4, 5), 2))
def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False) -> Tensor:
    """The maximum of each window of x (N, C, H, W) → (N, C, H', W').

    H' = ⌊(H + 2 padding − dilation (K − 1) − 1)/stride⌋ + 1, or with ``ceil_mode`` ⌈…⌉ + 1, as long as each window
    begins before x ends. ``kernel_size`` K, ``stride`` (default: K), ``padding`` ≤ K/2 and ``dilation``: one
    integer, or one for each axis. NaN where a window has one. The cotangent goes to the first maximum. Raises
    ShapeError. Integers and bools become float32. torch's max_pool2d.
    """
    x, attrs = _prepare("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    if attrs.pop("dilation") == (1, 1):
        return make("max_pool2d", x, **attrs)
    return _definition(
        x, **attrs, dilation=pair("max_pool2d", "dilation", dilation, 1)
    )  # without a kernel: rare


@public(at(real(2, 2, 4, 5), 2))
def avg_pool2d(
    x,
    kernel_size,
    stride=None,
    padding=0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window of x (N, C, H, W) → (N, C, H', W'); sizes as for :func:`max_pool2d`.

    The zeros around x count, unless ``count_include_pad`` is False; what ``ceil_mode`` adds behind them doesn't.
    ``divisor_override``: divide by this number instead. Raises ShapeError. Integers and bools become float32.
    torch's avg_pool2d.
    """
    op = "avg_pool2d"
    x, attrs = _prepare(op, x, kernel_size, stride, padding, 1, ceil_mode)
    if divisor_override == 0:
        fail(errors.ShapeError, op, "divisor_override must not be 0", f"got {divisor_override}")
    kernel, stride, padding, dilation, size = attrs.values()
    y = padded(x, size, kernel, stride, padding, dilation)
    for axis, (n, k, s, p, r) in enumerate(zip(x.shape[2:], kernel, stride, padding, size, strict=True)):
        steps, shape = [1] * 4, list(y.shape)
        steps[axis + 2], shape[axis + 2] = s, r
        y = sum_of([slice_(y, [i * (a == axis + 2) for a in range(4)], steps, shape) for i in range(k)])
        if divisor_override is None:
            first = np.arange(r) * s - p
            low, high = (-p, n + p) if count_include_pad else (0, n)
            counts = np.minimum(first + k, high) - np.maximum(first, low)
            share = (1 / counts).astype(y.dtype).reshape((1, -1) if axis else (-1, 1))
            y = y * (float(1 / counts[0]) if (counts == counts[0]).all() else share)
    return y if divisor_override is None else y * (1 / divisor_override)


@public(at(real(2, 2, 4, 5), 2))
def adaptive_avg_pool2d(x, output_size) -> Tensor:
    """Means of windows that cover x (N, C, H, W), → (N, C, R, S).

    ``output_size``: R and S, one integer for both, or one for each, None for that of x. Output r of R is the mean
    of pixels ⌊r H/R⌋ to ⌈(r + 1) H/R⌉ − 1. Raises ShapeError. Integers and bools become float32. torch's
    adaptive_avg_pool2d.
    """
    op = "adaptive_avg_pool2d"
    x = _image(op, x)
    both = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(both) == 2:
        both = tuple(n if r is None else r for r, n in zip(both, x.shape[2:], strict=True))
    for axis, size in zip((2, 3), pair(op, "output_size", both, 1), strict=True):
        x = _adaptive(x, axis, size)
    return x


def _adaptive(x: Tensor, axis: int, size: int) -> Tensor:
    """The means along one axis."""
    n = x.shape[axis]
    if n % size == 0 and n:
        parts = (*x.shape[:axis], size, n // size, *x.shape[axis + 1 :])
        return x if size == n else reduce.sum(reshape(x, parts), axis + 1) * (size / n)
    ends = [(r * n // size, -((r + 1) * n // -size)) for r in range(size)]
    sums = []
    for first, last in ends:
        starts, shape = [0] * 4, list(x.shape)
        starts[axis], shape[axis] = first, last - first
        part = slice_(x, starts, (1, 1, 1, 1), shape)
        sums.append(
            reduce.sum(part, axis, keepdims=True) * (1 / (last - first) if last > first else math.nan)
        )
    return concat(sums, axis)
