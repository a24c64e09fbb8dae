"""Batch normalisation: each channel brought to one scale over the batch and all places.

    training    x̂ = (x − μ) ρ,   μ = mean x,   ρ = (σ² + ε)^−½,   σ² = mean (x − μ)²     over all axes but the channels'
    evaluation  the same with running averages in place of μ and σ²
    y = g x̂ + b

In training the statistics depend on x, and with u = ȳ g

    x̄ = ρ (u − mean u − x̂ mean(u x̂)),      ḡ = Σ ȳ x̂,      b̄ = Σ ȳ

as for layer normalisation, but over the batch and the places of one channel. (Ioffe & Szegedy 2015, "Batch
normalization: accelerating deep network training by reducing internal covariate shift", section 3.)
"""

import math

from tinyattn import errors
from tinyattn.graph.grad import ones_like
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import Type, fail
from tinyattn.kernels.calls.batch_norm import tiles_of_batch_norm
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import sqrt, stop_gradient
from tinyattn.ops.arrays.shape import reshape
from tinyattn.ops.definition import bits, by_definition, call, hand_derived, row_or_constant

_OVER = (0, 2)
"""The axes of (N, C, L) that a channel's statistics are taken over."""


def _channel(value: Tensor) -> Tensor:
    """(C,) as (C, 1), to stand beside (N, C, L)."""
    return reshape(value, (*value.shape, 1))


def _mean(x: Tensor) -> Tensor:
    return reduce.sum(x, _OVER) * (1 / (x.shape[0] * x.shape[2]))


def _definition(x, weight=None, bias=None, *, eps):
    mean = _mean(x)
    deviation = x - _channel(mean)
    variance = _mean(deviation * deviation)
    y = deviation * _channel(1 / sqrt(variance + eps))
    y = y if weight is None else y * _channel(weight)
    y = y if bias is None else y + _channel(bias)
    return y, mean, variance


def _backward_definition(x, mean, variance, g, weight=None, *, eps):
    scale = _channel(1 / sqrt(variance + eps))
    normal = (x - _channel(mean)) * scale
    total, along = reduce.sum(g, _OVER), reduce.sum(g * normal, _OVER)
    share = 1 / (x.shape[0] * x.shape[2])
    dx = g - _channel(total * share) - normal * _channel(along * share)
    return dx * (scale if weight is None else scale * _channel(weight)), along, total


def _derivative(cotangents, node):
    if 1 in cotangents or 2 in cotangents:  # somebody differentiates the statistics themselves
        return by_definition(cotangents, node)
    x, *affine = node.inputs
    statistics = output(node, 1), output(node, 2)
    found = call("batch_norm_backward", x, *statistics, cotangents[0], *affine[:1], count=3, **node.attrs)
    return found[: len(node.inputs)]


def _infer(x, *rest, eps):
    channel = Type((x.shape[1],), x.dtype)
    return x.type, channel, channel


def _common_words(node, x):
    batch, channels, length = x.shape
    epsilon = bits(node.attrs["eps"], x.dtype)
    return {"x": x, "count": batch, "channels": channels, "length": length, "epsilon": epsilon}


def _lower(node, emit):
    x = emit.contiguous(emit.value(node.inputs[0]))
    _, channels, length = x.shape
    gain, shift = (row_or_constant(emit, node, *given, channels) for given in ((1, 1.0), (2, 0.0)))
    y, mean, variance = (emit.result(node, k) for k in range(3))
    words = _common_words(node, x) | {
        "gain": gain, "bias": shift, "y": y, "means": mean, "variances": variance,
    }  # fmt: skip
    emit.kernel(
        "batch_norm.forward",
        words,
        tiles_of_batch_norm(channels, length) if x.size else 0,
        reads=[x, gain, shift],
        writes=[y, mean, variance],
        cost=x.size * 0.2,
        flops=8.0 * x.size,
        in_place=[([y], [x])],
    )


def _lower_backward(node, emit):
    x, mean, variance, g = (emit.contiguous(emit.value(v)) for v in node.inputs[:4])
    _, channels, length = x.shape
    gain = row_or_constant(emit, node, 4, 1.0, channels)
    results = [emit.result(node, k) for k in range(3)]
    words = _common_words(node, x) | {
        "gain": gain, "means": mean, "variances": variance, "dy": g, "dx": results[0], "d_gain": results[1],
        "d_bias": results[2],
    }  # fmt: skip
    emit.kernel(
        "batch_norm.backward",
        words,
        tiles_of_batch_norm(channels, length) if x.size else 0,
        reads=[x, gain, mean, variance, g],
        writes=results,
        cost=x.size * 0.3,
        flops=12.0 * x.size,
        in_place=[([results[0]], [x, g])],
    )


hand_derived(
    "batch_norm",
    _infer,
    _definition,
    _derivative,
    lower=_lower,
    formula="({0} − mean {0}) / √(var {0} + ε)",
    vjp_formula="ρ (ḡ − mean ḡ − x̂ mean(ḡ x̂)), Σ ḡ x̂, Σ ḡ",
    results=("", "mean", "variance"),
)
hand_derived(
    "batch_norm_backward",
    _infer,
    _backward_definition,
    lower=_lower_backward,
    formula="ρ ({3} − mean {3} − x̂ mean({3} x̂)), Σ {3} x̂, Σ {3}",
    results=("x", "weight", "bias"),
)


@public(at(real(2, 2, 4, 5), weight=real(2), bias=real(2), training=True))
def batch_norm(
    x,
    running_mean=None,
    running_var=None,
    weight=None,
    bias=None,
    training: bool = False,
    momentum: float | Tensor = 0.1,
    eps: float = 1e-5,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """``(x − mean) / √(var + eps) · weight + bias`` for each channel of x (N, C), (N, C, L) or (N, C, H, W) → the
    same shape, (N, C, …).

    Returns y and the running statistics after this step, running_mean (C,) and running_var (C,): in training ``(1 −
    momentum) · old + momentum · new`` with the batch's mean and its variance divided by count − 1 (y is made with
    the one divided by count), otherwise those that were given. No gradient passes from x to them. Without running
    statistics the batch's are used, and None is returned for them. weight, bias: (C,), or None for 1 and 0.

    Raises ShapeError for what doesn't fit, and in training for a single number a channel. (Ioffe & Szegedy 2015,
    algorithms 1 and 2.) Integers and bools become float32.
    """
    x, *given = real_operands(x, optional=(weight, bias, running_mean, running_var))
    if x.ndim < 2:
        fail(errors.ShapeError, "batch_norm", "x must be (N, C, …)", f"got shape {x.shape}")
    channels, count = x.shape[1], x.size // max(x.shape[1], 1)
    for a in given:
        if a is not None and a.shape != (channels,):
            must = f"weight, bias and running statistics must be ({channels},), one number a channel"
            fail(errors.ShapeError, "batch_norm", must, f"got {a.shape}")
    gain, shift, mean, variance = given
    if (mean is None) != (variance is None) or (mean is None and not training):
        fail(
            errors.ShapeError,
            "batch_norm",
            "running mean and variance must be given together, and in evaluation they must",
            "got only one" if (mean is None) != (variance is None) else "got none",
            "Set training=True to use the statistics of the batch.",
        )
    if training and count <= 1:
        fail(
            errors.ShapeError,
            "batch_norm",
            "training needs more than one number a channel",
            f"got shape {x.shape}",
        )
    rows = reshape(x, (x.shape[0], channels, math.prod(x.shape[2:])))
    if not training:
        assert mean is not None and variance is not None
        scale = 1 / sqrt(variance + eps)
        scale = scale if gain is None else scale * gain
        y = (rows - _channel(mean)) * _channel(scale)
        return reshape(y if shift is None else y + _channel(shift), x.shape), mean, variance
    if gain is None and shift is not None:
        gain = ones_like(shift)
    affine = [a for a in (gain, shift) if a is not None]
    y, batch_mean, batch_variance = call("batch_norm", rows, *affine, count=3, eps=float(eps))
    if mean is not None and variance is not None:
        unbiased = stop_gradient(batch_variance) * (count / (count - 1))
        mean = (1 - momentum) * mean + momentum * stop_gradient(batch_mean)
        variance = (1 - momentum) * variance + momentum * unbiased
    return reshape(y, x.shape), mean, variance
