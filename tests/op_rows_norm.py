"""Rows of the op table: normalisations, the Gaussian error linear unit, and the operations their derivatives are made of."""

import math

import numpy as np
from op_sample import Row, fixed, ours, real, sample

import tinyattn as ta
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.tensor import make, outputs


def _float(*shape):
    return ta.zeros(shape)


# Layer normalisation.


def _axes(x, shape):
    return tuple(range(x.ndim - len(np.atleast_1d(shape)), x.ndim))


def layer_norm(x, weight=None, bias=None, *, shape, eps=1e-5):
    axes = _axes(x, shape)
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, weight=None, *, shape, eps=1e-5):
    y = x / np.sqrt((x * x).mean(_axes(x, shape), keepdims=True) + eps)
    return y if weight is None else y * weight


def _torch_shape(shape):
    return (shape,) if isinstance(shape, int) else shape


def _backward(centred):
    def backward(x, mean, scale, g, weight=1.0):
        normal = (x - mean[:, None] * centred) * scale[:, None]
        u = g * weight
        dx = scale[:, None] * (
            u - centred * u.mean(1, keepdims=True) - normal * (u * normal).mean(1, keepdims=True)
        )
        return dx, (g * normal).sum(0), g.sum(0)

    return backward


# In a row of equal numbers nothing but rounding is left, and a small ε makes it large unless the mean is exact, as it is of
# 2ⁿ numbers. Some tests repeat a number along the row; so rows of other lengths have a larger ε.
_SAMPLES = [
    sample(real(3, 4), shape=4),
    sample(real(3, 4), real(4), shape=4),
    sample(real(2, 3, 5), real(5), shape=(5,), eps=0.1),
    sample(real(2, 2, 3), real(2, 3), shape=(2, 3), eps=0.1),
    sample(real(7), real(7), shape=7, eps=0.1),
    sample(real(2, 70), real(70), shape=70, eps=0.1),
    sample(real(20, 1), real(1), shape=1),
    sample(real(0, 4), real(4), shape=4),
]
_BIASED = [
    sample(real(3, 4), real(4), real(4), shape=4),
    sample(real(2, 2, 3), real(2, 3), real(2, 3), shape=(2, 3), eps=0.1),
    sample(real(33, 35), real(35), real(35), shape=35, eps=0.1),
    sample(real(0, 4), real(4), real(4), shape=4),
]


def _norm_row(name, numpy, samples, tolerance=1.0):
    call = getattr(ta, name)
    text = "[{}] x must end in the axes to normalise, (…, {}), none of them empty, but shape {} was got."
    return Row(
        name, lambda x, *affine, shape, eps=1e-5: call(x, shape, *affine, eps=eps), numpy, samples, tolerance=tolerance,
        torch=lambda t, x, *affine, shape, eps=1e-5: getattr(t.nn.functional, name)(x, _torch_shape(shape), *affine, eps=eps),
        errors=[
            (lambda: call(_float(2, 3), 4), ShapeError, text.format(name, 4, (2, 3))),
            (lambda: call(_float(2, 3), (4, 2, 3)), ShapeError, text.format(name, "4, 2, 3", (2, 3))),
            (lambda: call(_float(2, 0), 0), ShapeError, text.format(name, 0, (2, 0))),
            (lambda: call(_float(2, 3), 3, _float(2)), ShapeError, f"[{name}] weight and bias must have the normalized shape (3,), but (2,) was got."),
        ],
    )  # fmt: skip


def _backward_row(name):
    operands = (real(3, 4), real(3), real(3), real(3, 4))
    wide = (real(33, 70), real(33), real(33), real(33, 70))
    return Row(
        name, lambda *x: outputs(make(name, *x), 3), _backward(name.startswith("layer")),
        [sample(*operands), sample(*operands, real(4)), sample(*wide, real(70)), sample(real(0, 4), real(0), real(0), real(0, 4))],
        tolerance=4.0,
    )  # fmt: skip


# Whole numbers far from 0: E[x²] − E[x]² would lose every digit of their variance in float32 (torch loses some in x ρ − μ ρ).
_FAR_OFF = ours(fixed([[8192.0, 8193.0, 8191.0, 8194.0], [8192.0, 8190.0, 8191.0, 8189.0]]), shape=4)

LAYER_ROWS = [
    _norm_row("layer_norm", layer_norm, [*_SAMPLES, *_BIASED, _FAR_OFF]),
    _norm_row("rms_norm", rms_norm, _SAMPLES),
    _backward_row("layer_norm_backward"),
    _backward_row("rms_norm_backward"),
]


# The Gaussian error linear unit.


def _distribution(x):
    return np.vectorize(lambda v: 0.5 * math.erfc(-v * math.sqrt(0.5)), otypes=[x.dtype])(x) if x.size else x


def gelu(x, approximate="none"):
    if approximate == "none":
        return x * _distribution(x)
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_backward(x, g):
    return g * (_distribution(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def gelu_tanh_backward(x, g):
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))


_WIDE = fixed(np.linspace(-9, 9, 145))
_FAR = fixed([np.nan, np.inf, 0.0, 1.0, -1.0, 40.0, -40.0, 1e4, 1e-20])

GELU_ROWS = [
    Row("gelu", ta.gelu, gelu,
        [sample(x, approximate=a) for x in (real(3, 4), real(2, 70), real(), real(0, 3), _WIDE) for a in ("none", "tanh")],
        torch=lambda t, x, approximate="none": t.nn.functional.gelu(x, approximate=approximate),
        errors=[(lambda: ta.gelu(_float(2), "fast"), TinyattnError, "[gelu] approximate must be \"none\" or \"tanh\", but 'fast' was got.")],
        special=[sample(_FAR, approximate="none"), sample(_FAR, approximate="tanh")]),
    *(
        Row(f"{name}_backward", lambda x, g, name=name: make(f"{name}_backward", x, g), numpy,
            [sample(real(3, 4), real(3, 4)), sample(real(70), real(70)), sample(real(0, 4), real(0, 4))])
        for name, numpy in (("gelu", gelu_backward), ("gelu_tanh", gelu_tanh_backward))
    ),
]  # fmt: skip

NORM_ROWS = [*LAYER_ROWS, *GELU_ROWS]


def proof_cases():
    """Cases for the proof: (operation, what is special, arrays in float64, attributes)."""
    rng = np.random.default_rng(5)
    real = lambda *shape: rng.standard_normal(shape)
    for name, operands in (("layer_norm", 3), ("rms_norm", 2)):
        for count, kind in enumerate(("plain", "weight", "weight and bias")[:operands]):
            yield name, kind, (real(2, 3, 4), *(real(4) for _ in range(count))), {"eps": 1e-5}
        yield name, "wide rows", (real(5, 70), *(real(70) for _ in range(operands - 1))), {"eps": 1e-2}
        yield name, "one number a row", (real(3, 1),), {"eps": 0.5}
    for name in ("gelu", "gelu_tanh"):
        yield name, "plain", (2 * real(3, 7),), {}
