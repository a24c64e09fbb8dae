"""The Gaussian error linear unit, x weighed by the normal distribution function: exact, and by tanh.

    exact   y = x Φ(x),   Φ(x) = ½ (1 + erf(x/√2));                 y′ = Φ + x φ,   φ(x) = e^{−x²/2}/√(2π)
    tanh    y = x s,   s = ½ (1 + tanh(v/2)) = σ(v),   v = 2√(2/π) (x + 0.044715 x³);   y′ = s + x s(1 − s) v′

(Hendrycks & Gimpel 2016, "Gaussian error linear units".) Each is one operation of an elementwise chain, and so is its
derivative: keeping s would cost more than computing it again.
"""

import math

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import FLOAT32, Type, broadcast, fail, is_float
from tinyattn.kernels.language.coefficients import GELU_CUBE, GELU_SCALE
from tinyattn.ops.arrays.elementwise import cast, erf, exp, sigmoid
from tinyattn.ops.definition import call, hand_derived


def _distribution(x):
    """Φ(x)."""
    return 0.5 * (1 + erf(x * math.sqrt(0.5)))


def _density(x):
    """φ(x)."""
    return exp(-0.5 * (x * x)) * (1 / math.sqrt(2 * math.pi))


def _argument(x):
    """v, v′ and v″."""
    square = x * x
    return (
        GELU_SCALE * x * (1 + GELU_CUBE * square),
        GELU_SCALE * (1 + 3 * GELU_CUBE * square),
        6 * GELU_SCALE * GELU_CUBE * x,
    )


def _tanh_slope(x, g):
    v, dv, _ = _argument(x)
    s = sigmoid(v)
    return g * (s + x * (s * (1 - s)) * dv)


def _second(h, node):
    """y″ = φ (2 − x²)."""
    x, g = node.inputs
    return h * g * _density(x) * (2 - x * x), call("gelu_backward", x, h)


def _tanh_second(h, node):
    """y″ = 2 s′ + x s″ with s′ = s(1 − s) v′ and s″ = s′(1 − 2s) v′ + s(1 − s) v″."""
    x, g = node.inputs
    v, dv, ddv = _argument(x)
    s = sigmoid(v)
    slope = s * (1 - s)
    curvature = 2 * slope * dv + x * (slope * (1 - 2 * s) * dv * dv + slope * ddv)
    return h * g * curvature, call("gelu_tanh_backward", x, h)


for _name, _definition, _slope, _curvature, _formula, _vjp, _flops, _slope_flops in (
    (
        "gelu",
        lambda x: x * _distribution(x),
        lambda x, g: g * (_distribution(x) + x * _density(x)),
        _second,
        "{0} Φ({0})",
        "ḡ (Φ({0}) + {0} φ({0}))",
        51,
        53,
    ),
    (
        "gelu_tanh",
        lambda x: x * sigmoid(_argument(x)[0]),
        _tanh_slope,
        _tanh_second,
        "½ {0} (1 + tanh(√(2/π) ({0} + 0.044715 {0}³)))",
        "ḡ (s + {0} s(1 − s) v′)",
        28,
        37,
    ),
):
    hand_derived(
        _name,
        lambda x: x.type,
        _definition,
        lambda g, node: (call(f"{node.op.name}_backward", node.inputs[0], g),),
        formula=_formula,
        vjp_formula=_vjp,
        elementwise=_name,
        flops=_flops,
        recompute=True,  # its derivative reads x, which therefore waits anyway
    )
    hand_derived(
        f"{_name}_backward",
        lambda x, g, op=_name: Type(broadcast(f"{op}_backward", x.shape, g.shape), x.dtype),
        _slope,
        _curvature,
        formula=_vjp.replace("ḡ", "{1}"),
        elementwise=f"{_name}_backward",
        flops=_slope_flops,
    )


@public(at(real(3, 4)), at(real(3, 4), approximate="tanh"))
def gelu(x, approximate: str = "none") -> Tensor:
    """``x Φ(x)`` with the normal distribution function Φ, element by element; with ``approximate="tanh"`` ``½ x (1
    + tanh(√(2/π) (x + 0.044715 x³)))``, as in GPT-2 and BERT.

    Same shape and type as ``x``; integers and bools become float32. Raises TinyattnError for another
    ``approximate``. (Hendrycks & Gimpel 2016.)
    """
    x = as_tensor(x)
    if approximate not in ("none", "tanh"):
        fail(
            errors.TinyattnError,
            "gelu",
            'approximate must be "none" or "tanh"',
            f"got {approximate!r}",
        )
    return call(
        "gelu_tanh" if approximate == "tanh" else "gelu", x if is_float(x.dtype) else cast(x, FLOAT32)
    )
