"""More functions of each element: logarithms to other bases, circular and hyperbolic functions and their inverses,
and the activations made of σ, exp and log1p.

Derivatives are written in the value y where that keeps digits: arcsinh′ = 1/cosh y needs no x², which could
overflow.
"""

import math

import numpy as np

from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import FLOAT32, is_float
from tinyattn.ops.elementwise import (
    _row,
    _rule,
    cast,
    equal,
    expm1,
    isfinite,
    logical_and,
    logical_not,
    neg,
    sigmoid,
    softplus,
    sqrt,
    where,
)

log2 = _row(
    "log2",
    np.log2,
    _rule(lambda g, y, a: (g / (a * math.log(2)),)),
    "log₂ {0}",
    "ḡ/({0}·ln 2)",
    needs="float",
)
log10 = _row(
    "log10",
    np.log10,
    _rule(lambda g, y, a: (g / (a * math.log(10)),)),
    "log₁₀ {0}",
    "ḡ/({0}·ln 10)",
    needs="float",
)
tan = _row("tan", np.tan, _rule(lambda g, y, a: (g * (1 + y * y),)), "tan({0})", "ḡ·(1 + y²)", needs="float")
sinh = _row(
    "sinh", np.sinh, _rule(lambda g, y, a: (g * make("cosh", a),)), "sinh({0})", "ḡ·cosh({0})", needs="float"
)
cosh = _row("cosh", np.cosh, _rule(lambda g, y, a: (g * sinh(a),)), "cosh({0})", "ḡ·sinh({0})", needs="float")
arctan = _row(
    "arctan",
    np.arctan,
    _rule(lambda g, y, a: (g / (1 + a * a),)),
    "arctan({0})",
    "ḡ/(1 + {0}²)",
    needs="float",
)
arcsin = _row(
    "arcsin",
    np.arcsin,
    _rule(lambda g, y, a: (g / sqrt((1 - a) * (1 + a)),)),
    "arcsin({0})",
    "ḡ/√(1 − {0}²)",
    needs="float",
)
arccos = _row(
    "arccos",
    np.arccos,
    _rule(lambda g, y, a: (-g / sqrt((1 - a) * (1 + a)),)),
    "arccos({0})",
    "−ḡ/√(1 − {0}²)",
    needs="float",
)
arcsinh = _row(
    "arcsinh", np.arcsinh, _rule(lambda g, y, a: (g / cosh(y),)), "arsinh({0})", "ḡ/cosh(y)", needs="float"
)
arccosh = _row(
    "arccosh", np.arccosh, _rule(lambda g, y, a: (g / sinh(y),)), "arcosh({0})", "ḡ/sinh(y)", needs="float"
)
arctanh = _row(
    "arctanh",
    np.arctanh,
    _rule(lambda g, y, a: (g / ((1 - a) * (1 + a)),)),
    "artanh({0})",
    "ḡ/(1 − {0}²)",
    needs="float",
)


def _logaddexp_rule(g, y, a, b):
    tied = logical_and(equal(a, b), logical_not(isfinite(a)))  # (equal infinities have half each)
    gap = where(tied, 0, a - b)
    return g * sigmoid(gap), g * sigmoid(-gap)


logaddexp = _row(
    "logaddexp",
    np.logaddexp,
    _rule(_logaddexp_rule),
    "log(exp({0}) + exp({1}))",
    "ḡ·σ({0} − {1}), ḡ·σ({1} − {0})",
    needs="float",
)


def silu(x) -> Tensor:
    """``x·σ(x)``, also called swish (Hendrycks & Gimpel 2016; Ramachandran et al. 2017)."""
    x = as_tensor(x)
    return x * sigmoid(x)


def elu(x, alpha: float = 1.0) -> Tensor:
    """``x`` where x > 0, else ``alpha·(exp(x) − 1)`` (Clevert et al. 2016)."""
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    positive = x > 0
    return where(positive, x, alpha * expm1(where(positive, 0, x)))


def log_sigmoid(x) -> Tensor:
    """``log σ(x) = −log(1 + exp(−x))``, which keeps its digits at both ends."""
    return -softplus(neg(*real_operands(x)))
