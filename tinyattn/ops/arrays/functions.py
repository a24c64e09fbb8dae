"""More functions of each element: logarithms to other bases, circular and hyperbolic functions and their inverses,
and the activations made of σ, exp and log1p.

Derivatives are written in the value y where that keeps digits: arcsinh′ = 1/cosh y needs no x², which could
overflow.
"""

import math

import numpy as np

from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import above_one, apart, at, inside, positive, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import FLOAT32, is_float
from tinyattn.ops.arrays.elementwise import (
    cast,
    equal,
    expm1,
    isfinite,
    logical_and,
    logical_not,
    neg,
    row,
    rule,
    sigmoid,
    softplus,
    sqrt,
    where,
)

log2 = row(
    "log2", np.log2, rule(lambda g, y, a: (g / (a * math.log(2)),)), "log₂ {0}", "ḡ/({0}·ln 2)",
    needs="float", flops=40, domain=positive
)  # fmt: skip
log10 = row(
    "log10", np.log10, rule(lambda g, y, a: (g / (a * math.log(10)),)), "log₁₀ {0}", "ḡ/({0}·ln 10)",
    needs="float", flops=40, domain=positive
)  # fmt: skip
tan = row(
    "tan", np.tan, rule(lambda g, y, a: (g * (1 + y * y),)), "tan({0})", "ḡ·(1 + y²)", needs="float",
    flops=52, domain=inside
)  # fmt: skip
sinh = row(
    "sinh", np.sinh, rule(lambda g, y, a: (g * make("cosh", a),)), "sinh({0})", "ḡ·cosh({0})", needs="float",
    flops=33
)  # fmt: skip
cosh = row(
    "cosh", np.cosh, rule(lambda g, y, a: (g * sinh(a),)), "cosh({0})", "ḡ·sinh({0})", needs="float", flops=23
)
arctan = row(
    "arctan", np.arctan, rule(lambda g, y, a: (g / (1 + a * a),)), "arctan({0})", "ḡ/(1 + {0}²)",
    needs="float", flops=24
)  # fmt: skip
arcsin = row(
    "arcsin", np.arcsin, rule(lambda g, y, a: (g / sqrt((1 - a) * (1 + a)),)), "arcsin({0})", "ḡ/√(1 − {0}²)",
    needs="float", flops=36, domain=inside
)  # fmt: skip
arccos = row(
    "arccos", np.arccos, rule(lambda g, y, a: (-g / sqrt((1 - a) * (1 + a)),)), "arccos({0})",
    "−ḡ/√(1 − {0}²)", needs="float", flops=37, domain=inside
)  # fmt: skip
arcsinh = row(
    "arcsinh", np.arcsinh, rule(lambda g, y, a: (g / cosh(y),)), "arsinh({0})", "ḡ/cosh(y)", needs="float",
    flops=42
)  # fmt: skip
arccosh = row(
    "arccosh", np.arccosh, rule(lambda g, y, a: (g / sinh(y),)), "arcosh({0})", "ḡ/sinh(y)", needs="float",
    flops=41, domain=above_one
)  # fmt: skip
arctanh = row(
    "arctanh", np.arctanh, rule(lambda g, y, a: (g / ((1 - a) * (1 + a)),)), "artanh({0})", "ḡ/(1 − {0}²)",
    needs="float", flops=39, domain=inside
)  # fmt: skip


def _logaddexp_rule(g, y, a, b):
    tied = logical_and(equal(a, b), logical_not(isfinite(a)))  # (equal infinities have half each)
    gap = where(tied, 0, a - b)
    return g * sigmoid(gap), g * sigmoid(-gap)


logaddexp = row(
    "logaddexp", np.logaddexp, rule(_logaddexp_rule), "log(exp({0}) + exp({1}))",
    "ḡ·σ({0} − {1}), ḡ·σ({1} − {0})", needs="float", flops=52
)  # fmt: skip


@public(at(real(3, 4)))
def silu(x) -> Tensor:
    """``x·σ(x)``, also called swish (Hendrycks & Gimpel 2016; Ramachandran et al. 2017). Of any shape, which the
    result has. Integers and bools become float32.
    """
    x = as_tensor(x)
    return x * sigmoid(x)


@public(at(apart(3, 4)))
def leaky_relu(x, slope: float = 0.01) -> Tensor:
    """``x`` where x > 0, else ``slope · x`` (Maas et al. 2013). Of any shape, which the result has. Integers and
    bools become float32.
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    return where(x > 0, x, x * slope)


@public(at(real(3, 4), alpha=0.5))
def elu(x, alpha: float = 1.0) -> Tensor:
    """``x`` where x > 0, else ``alpha·(exp(x) − 1)`` (Clevert et al. 2016). Of any shape, which the result has.
    Integers and bools become float32.
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    positive = x > 0
    return where(positive, x, alpha * expm1(where(positive, 0, x)))


@public(at(real(3, 4)))
def log_sigmoid(x) -> Tensor:
    """``log σ(x) = −log(1 + exp(−x))``, which keeps its digits at both ends. Of any shape, which the result has.
    Integers and bools become float32.
    """
    return -softplus(neg(*real_operands(x)))
