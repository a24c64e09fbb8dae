"""Convolutions as users call them: arguments are checked, groups taken apart; ``convolution.py`` has the operations.

In groups, each group of channels is convolved by itself, and the results stand side by side:

    y = [W₁ ∗ x₁; …; W_G ∗ x_G],      x = [x₁; …; x_G] by channels

(Krizhevsky et al. 2012.) With one channel a group see :mod:`tinyattn.ops.layers.depthwise`.
"""

from tinyattn import errors
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_integer, fail
from tinyattn.ops.arrays.shape import broadcast_to, concat, reshape, split
from tinyattn.ops.definition import call
from tinyattn.ops.layers import depthwise as _depthwise  # noqa: F401  (its rows of the table)
from tinyattn.ops.layers.convolution import Pair


def pair(op: str, name: str, value, least: int) -> Pair:
    """One number for both axes, or one for each; raises ShapeError."""
    both = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    both = both * 2 if len(both) == 1 else both
    both = tuple(map(as_integer, both))
    if len(both) != 2 or any(n is None or n < least for n in both):
        must = f"{name} must be one or two integers ≥ {least}"
        fail(errors.ShapeError, op, must, f"got {value!r}")
    return both


def _prepare(op: str, x, weight, bias, axes: str, window: str, groups: int):
    """The operands in one type, once their shapes fit."""
    if groups < 1:
        fail(errors.ShapeError, op, "groups must be an integer ≥ 1", f"got {groups}")
    x, weight, *biases = real_operands(x, weight, *(() if bias is None else (bias,)))
    rank = len(axes.split(","))
    if x.ndim != rank or weight.ndim != rank:
        must = f"x must have the axes ({axes}) and the weight ({window})"
        fail(errors.ShapeError, op, must, f"got shapes {x.shape} and {weight.shape}")
    transposed = op == "conv_transpose2d"
    needed = weight.shape[0] if transposed else weight.shape[1] * groups
    if x.shape[1] != needed:
        must = f"x ({axes}) must have as many channels as the weight ({window})"
        must += f" in {groups} groups" if groups > 1 else ""
        got = f"got {x.shape[1]} against {needed}, shapes {x.shape} and {weight.shape}"
        fail(errors.ShapeError, op, must, got)
    if weight.size == 0:
        fail(errors.ShapeError, op, "the weight must not be empty", f"got shape {weight.shape}")
    if weight.shape[0] % groups:
        must = f"the first axis of the weight must be a multiple of groups = {groups}"
        fail(errors.ShapeError, op, must, f"got shape {weight.shape}")
    results = weight.shape[1] * groups if transposed else weight.shape[0]
    if biases and biases[0].shape != (results,):
        must = f"the bias must have one number for each of the {results} results"
        fail(errors.ShapeError, op, must, f"got shape {biases[0].shape}")
    return x, weight, biases


def _around(op: str, padding, window, stride, dilation) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Zeros before, and before and after, along each axis; ``padding``: numbers, "valid" or "same"."""
    if not isinstance(padding, str):
        both = pair(op, "padding", padding, 0)
        return both, tuple(2 * p for p in both)
    if padding not in ("same", "valid"):
        must = "padding must be one or two integers ≥ 0, 'same' or 'valid'"
        fail(errors.ShapeError, op, must, f"got {padding!r}")
    if padding == "valid":
        return (0, 0), (0, 0)
    if stride != (1, 1):
        must = "padding 'same' needs stride 1, so that the result can have the size of x"
        fail(errors.ShapeError, op, must, f"got stride {stride}")
    whole = tuple(d * (k - 1) for k, d in zip(window, dilation, strict=True))
    return tuple(n // 2 for n in whole), whole  # what can't be halved is longer behind


def size_of_windows(op: str, sizes, around, window, stride, dilation) -> tuple[int, ...]:
    """How many positions a window has along each axis: ⌊(size + around − d (k − 1) − 1)/s⌋ + 1."""
    reach = tuple(d * (k - 1) + 1 for k, d in zip(window, dilation, strict=True))
    whole = tuple(n + a for n, a in zip(sizes, around, strict=True))
    if any(r > n for r, n in zip(reach, whole, strict=True)):
        must = "the window must fit into x with its padding"
        hint = "Use a smaller kernel or more padding."
        fail(errors.ShapeError, op, must, f"got a window of {reach} in {whole}", hint)
    return tuple((n - r) // s + 1 for n, r, s in zip(whole, reach, stride, strict=True))


def convolve(op: str, x: Tensor, weight: Tensor, biases: list[Tensor], groups: int, attrs: dict) -> Tensor:
    """``op``, a convolution or its transpose, in ``groups``; attributes as in ``convolution.py``."""
    if groups == 1:
        return call(op, x, weight, *biases, **attrs)
    if groups < x.shape[1]:
        parts = zip(split(x, groups, 1), split(weight, groups, 0), strict=True)
        y = concat([call(op, *part, **attrs) for part in parts], 1)
    else:
        results = weight.shape[0] * weight.shape[1]
        many = results // groups
        if many > 1:  # results of each channel, which is repeated so often
            n, channels, *places = x.shape
            repeated = broadcast_to(reshape(x, (n, channels, 1, *places)), (n, channels, many, *places))
            x = reshape(repeated, (n, results, *places))
        kind = "depthwise" if op == "conv2d" else "depthwise_transposed"
        y = call(kind, x, reshape(weight, (results, *weight.shape[2:])), **attrs)
    return y + reshape(biases[0], (-1, 1, 1)) if biases else y


@public(
    at(real(2, 2, 4, 5), real(3, 2, 3, 2), real(3), 2, 1), at(real(1, 4, 3, 4), real(4, 1, 2, 2), groups=4)
)
def conv2d(x, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1) -> Tensor:
    """Convolution of images x (N, C, H, W) with weight (O, C/groups, KH, KW) and bias (O,) → (N, O, H', W').

    H' = ⌊(H + 2 padding − dilation (KH − 1) − 1)/stride⌋ + 1. ``stride``, ``padding`` (zeros on all sides) and
    ``dilation``: one integer, or one for each axis; ``padding`` may also be "valid" (0) or "same": H' = H, which
    needs stride 1. ``groups``: channels and results are in so many groups, each convolved by itself. Integers and
    bools become float32. torch's conv2d. Raises ShapeError or DTypeError for what doesn't fit. LeCun et al. 1989.
    """
    op = "conv2d"
    x, weight, biases = _prepare(op, x, weight, bias, "N, C, H, W", "O, C, KH, KW", groups)
    stride, dilation = pair(op, "stride", stride, 1), pair(op, "dilation", dilation, 1)
    before, around = _around(op, padding, weight.shape[2:], stride, dilation)
    size = size_of_windows(op, x.shape[2:], around, weight.shape[2:], stride, dilation)
    attrs = {"stride": stride, "padding": before, "dilation": dilation, "size": size}
    return convolve(op, x, weight, biases, groups, attrs)


@public(at(real(2, 2, 5), real(3, 2, 3), real(3), causal=True))
def conv1d(
    x, weight, bias=None, stride=1, padding=0, dilation=1, causal: bool = False, groups: int = 1
) -> Tensor:
    """Convolution of sequences x (N, C, L) with weight (O, C/groups, K) and bias (O,) → (N, O, L').

    With ``causal``, (K − 1)·dilation zeros come before the sequence and none after it, so that position t sees t
    and what is before it, and L' = L for stride 1 (van den Oord et al. 2016, WaveNet; SNAIL). Otherwise as
    :func:`conv2d`. Integers and bools become float32.
    """
    op = "conv1d"
    x, weight, biases = _prepare(op, x, weight, bias, "N, C, L", "O, C, K", groups)
    stride, dilation = _single(op, "stride", stride, 1), _single(op, "dilation", dilation, 1)
    window = (1, weight.shape[2])
    if causal and padding:
        must = "a causal convolution chooses its own padding"
        fail(errors.ShapeError, op, must, f"got padding {padding}", "Leave out padding or causal.")
    zeros = padding if isinstance(padding, str) else (0, _single(op, "padding", padding, 0))
    before, around = _around(op, zeros, window, (1, stride), (1, dilation))
    if causal:
        before = around = (0, (window[1] - 1) * dilation)
    (size,) = size_of_windows(op, x.shape[2:], around[1:], window[1:], (stride,), (dilation,))
    attrs = {"stride": (1, stride), "padding": before, "dilation": (1, dilation), "size": (1, size)}
    y = convolve("conv2d", _as_image(x), _as_image(weight), biases, groups, attrs)
    return reshape(y, (x.shape[0], weight.shape[0], size))


def _single(op: str, name: str, value, least: int) -> int:
    """A number for the one axis of a sequence."""
    value = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    return pair(op, name, [value, value], least)[0]


def _as_image(x: Tensor) -> Tensor:
    return reshape(x, (*x.shape[:2], 1, x.shape[2]))


@public(at(real(2, 2, 4, 5), real(2, 3, 2, 3), real(3), 2))
def conv_transpose2d(
    x, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
) -> Tensor:
    """Transposed convolution of x (N, C, H, W) with weight (C, O/groups, KH, KW) and bias (O,) → (N, O, H', W').

    H' = (H − 1) stride − 2 padding + dilation (KH − 1) + 1 + output_padding: the derivative of :func:`conv2d` with
    respect to its operand, used as a layer. ``output_padding``, smaller than stride or dilation, chooses among the
    sizes that conv2d would make H from. Integers and bools become float32. torch's conv_transpose2d. Raises
    ShapeError or DTypeError.
    """
    op = "conv_transpose2d"
    x, weight, biases = _prepare(op, x, weight, bias, "N, C, H, W", "C, O, KH, KW", groups)
    stride, padding = pair(op, "stride", stride, 1), pair(op, "padding", padding, 0)
    dilation, more = pair(op, "dilation", dilation, 1), pair(op, "output_padding", output_padding, 0)
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation, strict=True)):
        got = f"got {more}, stride {stride} and dilation {dilation}"
        fail(errors.ShapeError, op, "output_padding must be smaller than the stride or the dilation", got)
    sides = zip(x.shape[2:], stride, padding, weight.shape[2:], dilation, more, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + m for n, s, p, k, d, m in sides)
    if min(size) < 1:
        got = f"x {x.shape}, weight {weight.shape} and padding {padding} give a result of {size}"
        fail(errors.ShapeError, op, "padding must leave something of the result", got)
    attrs = {"stride": stride, "padding": padding, "dilation": dilation, "size": size}
    return convolve(op, x, weight, biases, groups, attrs)
