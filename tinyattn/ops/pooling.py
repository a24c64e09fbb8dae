"""Pooling: one number for each window of an image, channel by channel.

    max:   y[r, c] = max over taps (i, j) of x[r s + i − p, c s + j − p];   ȳ goes to the first that attains it
    mean:  y[r, c] = mean over taps;                                        ȳ / taps goes to each

Beyond the border, a maximum sees −∞ and a mean 0 (which counts, as in torch). Where windows overlap, what
reaches a pixel from several of them is added.
"""

import math

from tinyattn import errors
from tinyattn.graph.tensor import Tensor, as_tensor, make
from tinyattn.graph.types import FLOAT32, Type, fail, is_float
from tinyattn.kernels import tiling
from tinyattn.ops.convolution import Pair, pair, size_of_windows, taps_of
from tinyattn.ops.elementwise import cast, greater, logical_and, logical_not, logical_or, not_equal, where
from tinyattn.ops.hand import call, hand_derived
from tinyattn.ops.shape import pad, slice_


def _windows(x: Tensor, value: float, kernel: Pair, stride: Pair, padding: Pair) -> list[Tensor]:
    """What each tap of the window sees at all positions: (N, C, H', W') each."""
    x = pad(x, ((0, 0), (0, 0), *((p, p) for p in padding)), value)
    size = tuple((n - k) // s + 1 for n, k, s in zip(x.shape[2:], kernel, stride, strict=True))
    shape = (*x.shape[:2], *size)
    return [slice_(x, (0, 0, *tap), (1, 1, *stride), shape) for tap in taps_of(kernel)]


def _definition(x, *, kernel, stride, padding):
    best, *others = _windows(x, -math.inf, kernel, stride, padding)
    for other in others:
        best = where(logical_or(greater(other, best), not_equal(other, other)), other, best)
    return best


def _backward_definition(x, g, *, kernel, stride, padding):
    best, *others = _windows(x, -math.inf, kernel, stride, padding)
    wins = []  # for each tap, whether it beat all before it
    for other in others:
        wins.append(logical_or(greater(other, best), not_equal(other, other)))
        best = where(wins[-1], other, best)
    whole = (*x.shape[:2], *(n + 2 * p for n, p in zip(x.shape[2:], padding, strict=True)))
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


def _infer(x, *, kernel, stride, padding):
    around = tuple(2 * p for p in padding)
    return Type(
        (*x.shape[:2], *size_of_windows("pool", x.shape[2:], around, kernel, stride, (1, 1))), x.dtype
    )


def _lower(kernel):
    def lower(node, emit):
        x, *cotangent = (emit.contiguous(emit.value(v)) for v in node.inputs)
        result = emit.result(node)
        y = (cotangent or [result])[0]
        planes, attrs = x.shape[0] * x.shape[1], node.attrs
        words = [x, y, result, planes, *x.shape[2:], *y.shape[2:]]
        words += [*attrs["kernel"], *attrs["stride"], *attrs["padding"]]
        work = y.shape[2] * y.shape[3] * math.prod(attrs["kernel"]) + x.shape[2] * x.shape[3]
        emit.kernel(
            kernel,
            words,
            tiling.tiles_of_pool(planes, work),
            reads=[x, *cotangent],
            writes=[result],
            cost=planes * work * 1.0,
        )

    return lower


hand_derived(
    "max_pool2d",
    _infer,
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


def _prepare(op: str, x, kernel_size, stride, padding) -> tuple[Tensor, dict[str, Pair]]:
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    if x.ndim != 4:
        fail(errors.ShapeError, op, "x must have the axes (N, C, H, W)", f"shape {x.shape} was got")
    kernel = pair(op, "kernel_size", kernel_size, 1)
    stride = kernel if stride is None else pair(op, "stride", stride, 1)
    padding = pair(op, "padding", padding, 0)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        must = "padding must be at most half of the kernel, so that every window sees x"
        fail(errors.ShapeError, op, must, f"padding {padding} and kernel {kernel} were got")
    size_of_windows(op, x.shape[2:], tuple(2 * p for p in padding), kernel, stride, (1, 1))
    return x, {"kernel": kernel, "stride": stride, "padding": padding}


def max_pool2d(x, kernel_size, stride=None, padding=0) -> Tensor:
    """The maximum of each window of x (N, C, H, W) → (N, C, H', W'), H' = ⌊(H + 2 padding − K)/stride⌋ + 1.

    ``kernel_size`` K, ``stride`` (default: K) and ``padding`` ≤ K/2: one integer, or one for each axis. NaN
    where a window has one. The cotangent goes to the first maximum. Raises ShapeError.
    """
    x, attrs = _prepare("max_pool2d", x, kernel_size, stride, padding)
    return make("max_pool2d", x, **attrs)


def avg_pool2d(x, kernel_size, stride=None, padding=0) -> Tensor:
    """The mean of each window of x (N, C, H, W) → (N, C, H', W'); arguments as for :func:`max_pool2d`.

    The zeros around x count, as by default in torch.
    """
    x, attrs = _prepare("avg_pool2d", x, kernel_size, stride, padding)
    first, *others = _windows(x, 0.0, **attrs)
    for other in others:
        first = first + other
    return first * (1 / math.prod(attrs["kernel"]))
