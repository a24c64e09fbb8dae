"""Operations that work element by element: arithmetic, functions, comparisons, choice and casts.

Each is one row: name, NumPy reference, derivative, formula. Inputs broadcast; the engine undoes the
broadcasting of cotangents itself. In a derivative,
``g`` is the cotangent of the result ``y`` and ``a``, ``b`` are the inputs. All rows are fused by the
compiler into chains that run tile by tile.
"""

import builtins
import math
import re
from collections.abc import Callable

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, constant_value
from tinyattn.graph.op import ZERO, Op, register
from tinyattn.graph.operands import common_operands, number_operands, real_operands
from tinyattn.graph.point import apart, at, flags, positive, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import BOOL, FLOAT32, FLOAT64, INT64, Type, as_dtype, broadcast, fail, is_float
from tinyattn.ops.arrays.quotients import by_terms, of_exp, of_sigmoid

_BROUGHT = {"float": real_operands, "number": number_operands, "bool": common_operands}
_TYPES = {
    "float": "Of float32 or float64; integers and bools become float32.",
    "number": "Of real numbers or integers; bools count as int64.",
    "bool": "Of element type bool, as is the result.",
}
"""What functions say of their operands."""


WHOLE = "constant almost everywhere"


def row(
    name,
    reference,
    derivative,
    formula,
    vjp="",
    *,
    result="same",
    needs="number",
    domain: Callable | tuple = real,
    called: str | None = None,
    **facts,
) -> Callable[..., Tensor]:
    """One row of the table. ``result``: "same" element type as the operands, or "bool"; ``needs``: "float" (integers
    become float32), "number" (bools become int64) or "bool". ``domain``: numbers (of each operand) at which it is
    smooth. ``called``: its public name, if that is another ("": it has none). ``facts``: other fields of the row.
    """

    def infer(*inputs):
        shape, dtype = inputs[0].shape, inputs[0].dtype
        for other in inputs[1:]:  # (integers and bools, too)
            if other.dtype is not dtype and other.dtype != dtype:
                fail(
                    errors.DTypeError,
                    name,
                    "operands must have one element type",
                    f"got {[str(i.type) for i in inputs]}",
                )
            if other.shape != shape:
                shape = broadcast(name, *[i.shape for i in inputs])
        return Type(shape, BOOL if result == "bool" else dtype)

    register(
        Op(
            name, infer, derivative, reference=reference, formula=formula, vjp_formula=vjp, elementwise=name, **facts
        )
    )  # fmt: skip

    count = 1 + max(int(place) for place in re.findall(r"\{(\d)\}", formula))

    def function(*operands) -> Tensor:
        if len(operands) != count:
            must = f"there must be {count} operand{'s' * (count > 1)}"
            fail(errors.TinyattnError, name, must, f"got {len(operands)}")
        values = _BROUGHT[needs](*operands)
        if needs == "bool" and values[0].dtype != BOOL:
            fail(
                errors.DTypeError,
                name,
                "operands must be bool",
                f"got {[str(v.type) for v in values]}",
                "Compare first, for instance x > 0.",
            )
        return make(name, *values)

    function.__name__ = function.__qualname__ = name
    shapes = "of any shape, which the result has" if count == 1 else "shapes broadcast as in NumPy"
    wrong = "DTypeError for what isn't" if needs == "bool" else "DTypeError for what holds no numbers"
    fit = "" if count == 1 else "ShapeError for shapes that don't fit, "
    function.__doc__ = (
        f"Elementwise ``{formula.format('x', 'y', 'z')}``; {shapes}.\n\n"
        f"{_TYPES[needs]}{' The result is bool.' * (result == 'bool')} Raises {fit}{wrong}."
    )
    if called == "":
        return function
    if derivative is ZERO:
        return public(name=called or name, constant="bools come out" if result == "bool" else WHOLE)(function)
    kinds = domain if isinstance(domain, tuple) else (domain,) * count
    point = at(*(kind(*shape) for kind, shape in zip(kinds, [(3, 4), (4,)], strict=False)))
    return public(point, name=called or name)(function)


@public(at(real(3, 4), FLOAT64))
def cast(x, dtype) -> Tensor:
    """``x`` (…) with another element type: (…) → (…), of ``dtype``. Numbers are cut off to integers; anything but 0
    is True.

    The gradient passes between floating-point types. Raises DTypeError for a type that there isn't.
    """
    x, dtype = as_tensor(x), as_dtype(dtype, "cast")
    return x if x.dtype == dtype else make("cast", x, dtype=dtype)


register(
    Op(
        "cast",
        lambda x, *, dtype: Type(x.shape, dtype),
        lambda g, node: (cast(g, node.inputs[0].dtype) if is_float(node.inputs[0].dtype) else None,),
        reference=lambda x, *, dtype: x.astype(dtype),
        formula="{0}",
        vjp_formula="ḡ",
        elementwise="cast",
    )
)


def rule(function):
    """A derivative written as ``function(g, y, *inputs)``."""
    return lambda g, node: function(g, node, *node.inputs)


def _is_half(y, a, b):
    """1 where a alone is chosen, 1/2 on ties, 0 elsewhere, in the type of a."""
    chosen, tied = cast(equal(y, a), a.dtype), cast(equal(a, b), a.dtype)
    return chosen - 0.5 * tied


_two_over_sqrt_pi = 2 / math.sqrt(math.pi)

add = row("add", np.add, rule(lambda g, y, a, b: (g, g)), "{0} + {1}", "ḡ, ḡ", flops=1)
sub = row("sub", np.subtract, rule(lambda g, y, a, b: (g, -g)), "{0} − {1}", "ḡ, −ḡ", flops=1)
mul = row("mul", np.multiply, rule(lambda g, y, a, b: (g * b, g * a)), "{0} · {1}", "ḡ·{1}, ḡ·{0}", flops=1)
div = row(
    "div", np.divide, rule(lambda g, y, a, b: (g / b, -g * y / b)), "{0} / {1}", "ḡ/{1}, −ḡ·y/{1}",
    needs="float", flops=1, domain=(real, positive)
)  # fmt: skip
neg = row("neg", np.negative, rule(lambda g, y, a: (-g,)), "−{0}", "−ḡ")
abs = row(
    "abs", np.abs, rule(lambda g, y, a: (g * make("sign", a),)), "|{0}|", "ḡ·sign({0})", kinks=lambda a: a,
    domain=apart
)  # fmt: skip
sign = row("sign", np.sign, ZERO, "sign({0})", kinks=lambda a: a, flops=1)
square = row("square", np.square, rule(lambda g, y, a: (2 * g * a,)), "{0}²", "2ḡ·{0}", flops=1)
sqrt = row(
    "sqrt", np.sqrt, rule(lambda g, y, a: (g * 0.5 / y,)), "√{0}", "ḡ/(2y)", needs="float", flops=1,
    domain=positive
)  # fmt: skip
exp = row(
    "exp", np.exp, rule(lambda g, y, a: (by_terms(g, y, lambda g, y: g * y, of_exp),)), "exp({0})", "ḡ·y",
    needs="float", flops=21
)  # fmt: skip
expm1 = row(
    "expm1", np.expm1, rule(lambda g, y, a: (g * (y + 1),)), "exp({0}) − 1", "ḡ·(y + 1)", needs="float",
    flops=22
)  # fmt: skip
log = row(
    "log", np.log, rule(lambda g, y, a: (g / a,)), "log({0})", "ḡ/{0}", needs="float", flops=25,
    domain=positive
)  # fmt: skip
log1p = row(
    "log1p", np.log1p, rule(lambda g, y, a: (g / (1 + a),)), "log(1 + {0})", "ḡ/(1 + {0})", needs="float",
    flops=29, domain=positive
)  # fmt: skip
tanh = row(
    "tanh", np.tanh, rule(lambda g, y, a: (g * (1 - y * y),)), "tanh({0})", "ḡ·(1 − y²)", needs="float",
    flops=25
)  # fmt: skip
sin = row(
    "sin", np.sin, rule(lambda g, y, a: (g * make("cos", a),)), "sin({0})", "ḡ·cos({0})", needs="float",
    flops=50
)  # fmt: skip
cos = row(
    "cos", np.cos, rule(lambda g, y, a: (-g * sin(a),)), "cos({0})", "−ḡ·sin({0})", needs="float", flops=50
)


def _sigmoid(a):
    positive = a >= 0
    e = np.exp(np.where(positive, -a, a))
    return np.where(positive, 1 / (1 + e), e / (1 + e)).astype(a.dtype)


sigmoid = row(
    "sigmoid", _sigmoid, rule(lambda g, y, a: (by_terms(g, y, lambda g, y: g * (y * (1 - y)), of_sigmoid),)),
    "σ({0})", "ḡ·y·(1 − y)", needs="float", flops=22
)  # fmt: skip


def _erf(a):
    return np.vectorize(math.erf, otypes=[a.dtype])(a) if a.size else a


erf = row(
    "erf", _erf, rule(lambda g, y, a: (g * (_two_over_sqrt_pi * exp(-(a * a))),)), "erf({0})",
    "ḡ·2/√π·exp(−{0}²)", needs="float", flops=51
)  # fmt: skip
_relu = row(
    "relu", lambda a: np.maximum(a, 0), rule(lambda g, y, a: (g * cast(y > 0, a.dtype),)), "max({0}, 0)",
    "ḡ·[y > 0]", needs="float", kinks=lambda a: a, called=""
)  # fmt: skip


@public(at(apart(3, 4)))
def relu(x) -> Tensor:
    """Elementwise ``max(x, 0)``; of any shape, which the result has.

    Of real numbers or integers; bools count as int64.
    """
    (x,) = number_operands(x)
    return _relu(x) if is_float(x.dtype) else maximum(x, 0)


softplus = row(
    "softplus", lambda a: np.logaddexp(a, 0).astype(a.dtype), rule(lambda g, y, a: (g * sigmoid(a),)),
    "log(1 + exp({0}))", "ḡ·σ({0})", needs="float", flops=51
)  # fmt: skip


def _maximum_rule(g, y, a, b):
    share = _is_half(y, a, b)
    return g * share, g * (1 - share)


maximum = row(
    "maximum", np.maximum, rule(_maximum_rule), "max({0}, {1})", "ḡ·[{0} > {1}], ḡ·[{1} > {0}], half on ties",
    kinks=lambda a, b: a - b
)  # fmt: skip
minimum = row(
    "minimum", np.minimum, rule(_maximum_rule), "min({0}, {1})", "ḡ·[{0} < {1}], ḡ·[{1} < {0}], half on ties",
    kinks=lambda a, b: a - b
)  # fmt: skip


def _power_rule(g, y, a, b):
    by_b = g * y * log(where(greater(a, 0), a, 1))
    if b.op.name != "constant":
        # Where a isn't positive y counts as constant in b, and so must its derivatives.
        b = where(greater(a, 0), b, stop_gradient(b))
    elif constant_value(b).all():
        return g * b * power(a, b - 1), by_b
    # At exponent 0 the derivative is 0 even at a = 0, where a^(b−1) is not finite.
    return g * b * power(where(logical_and(equal(a, 0), equal(b, 0)), 1, a), b - 1), by_b


def _pow(a, b):
    if a.dtype.kind == "f":
        return np.power(a, b)
    below = np.where(a == 1, 1, np.where(a == -1, 1 - 2 * (b % 2), 0))
    return np.where(b < 0, below, np.power(a, np.maximum(b, 0))).astype(a.dtype)


_power = row(
    "pow", _pow, rule(_power_rule), "{0}^{1}", "ḡ·{1}·{0}^({1} − 1), ḡ·y·log {0}", flops=66, called=""
)


@public(at(positive(3, 4), real(4)))
def power(x, y) -> Tensor:
    """``x^y``, element by element; shapes broadcast as in NumPy. Of integers an integer, which wraps around; there
    exponents below 0 are refused where they are known, and give 0 (or ±1 for x = ±1) where they are not.

    Raises ShapeError for shapes that don't fit, DTypeError for such exponents.
    """
    x, y = number_operands(x, y)
    known = constant_value(y) if y.op.name == "constant" else None
    if known is not None and not is_float(y.dtype) and (known < 0).any():
        must = "integers must have exponents ≥ 0"
        fail(errors.DTypeError, "pow", must, f"got {known.min()}", "Convert them with .astype(np.float32).")
    return _power(x, y)


def _whole(name, reference, formula, kinks) -> Callable[..., Tensor]:
    """A row that rounds to whole numbers, which integers are already."""
    function = row(name, reference, ZERO, formula, needs="float", kinks=kinks, called="")

    def rounded(x) -> Tensor:
        (x,) = number_operands(x)
        return function(x) if is_float(x.dtype) else x

    rounded.__name__ = rounded.__qualname__ = name
    rounded.__doc__ = (
        f"Elementwise ``{formula.format('x')}``; of any shape, which the result has.\n\n"
        "Of real numbers or integers, which stay as they are; bools count as int64."
    )
    return rounded if name == "round" else public(constant=WHOLE)(rounded)


floor = _whole("floor", np.floor, "⌊{0}⌋", lambda a: a - np.round(a))
ceil = _whole("ceil", np.ceil, "⌈{0}⌉", lambda a: a - np.round(a))
_to_whole = _whole("round", np.round, "round({0})", lambda a: a - np.floor(a) - 0.5)


_MOST_DECIMALS = {FLOAT32: 37, FLOAT64: 307}
"""So that 10^decimals is a number of the type (of integers: 18)."""


@public(constant=WHOLE)
def round(x, decimals: int = 0) -> Tensor:
    """``x`` rounded to ``decimals`` digits behind the point (before it, if negative), halves to the even digit.

    Of any shape, which the result has; of real numbers or integers; bools count as int64.
    """
    x = as_tensor(x)
    if decimals == 0 or (not is_float(x.dtype) and decimals > 0):
        return _to_whole(x)
    most = _MOST_DECIMALS.get(x.dtype, 18)
    if builtins.abs(decimals) > most:
        fail(errors.TinyattnError, "round", f"decimals must lie in −{most}..{most}", f"got {decimals}")
    scale = 10 ** builtins.abs(decimals)
    if decimals > 0:
        return _to_whole(x * float(scale)) / float(scale)
    if is_float(x.dtype):
        return _to_whole(x / float(scale)) * float(scale)
    whole = cast(x, INT64)
    tens, rest = floor_divide(whole, scale), mod(whole, scale)
    up = logical_or(2 * rest > scale, logical_and(equal(2 * rest, scale), equal(mod(tens, 2), 1)))
    return cast((tens + cast(up, INT64)) * scale, x.dtype)


def _floor_divide(a, b):
    return (
        np.floor_divide(a, b)
        if a.dtype.kind == "f"
        else np.floor_divide(a, np.where(b == 0, 1, b)) * (b != 0)
    )


def _mod(a, b):
    return np.mod(a, b) if a.dtype.kind == "f" else np.mod(a, np.where(b == 0, 1, b)) * (b != 0)


floor_divide = row("floor_divide", _floor_divide, ZERO, "⌊{0} / {1}⌋", flops=8, cost=4.0)
mod = row(
    "mod", _mod, rule(lambda g, y, a, b: (g, -g * floor_divide(a, b))), "{0} mod {1}", "ḡ, −ḡ·⌊{0} / {1}⌋",
    kinks=lambda a, b: a / b - np.round(a / b), flops=2, cost=4.0, domain=(real, positive)
)  # fmt: skip

less = row("lt", np.less, ZERO, "{0} < {1}", result="bool", called="less")
less_equal = row("le", np.less_equal, ZERO, "{0} ≤ {1}", result="bool", called="less_equal")
greater = row("gt", np.greater, ZERO, "{0} > {1}", result="bool", called="greater")
greater_equal = row("ge", np.greater_equal, ZERO, "{0} ≥ {1}", result="bool", called="greater_equal")
equal = row("eq", np.equal, ZERO, "{0} = {1}", result="bool", called="equal")
not_equal = row("ne", np.not_equal, ZERO, "{0} ≠ {1}", result="bool", called="not_equal")
isfinite = row("isfinite", np.isfinite, ZERO, "finite({0})", result="bool", needs="float")
logical_and = row("and", np.logical_and, ZERO, "{0} ∧ {1}", needs="bool", called="logical_and")
logical_or = row("or", np.logical_or, ZERO, "{0} ∨ {1}", needs="bool", called="logical_or")
logical_xor = row("xor", np.logical_xor, ZERO, "{0} ⊕ {1}", needs="bool", called="logical_xor")
logical_not = row("not", np.logical_not, ZERO, "¬{0}", needs="bool", called="logical_not")


@public(at(flags(3, 4), real(3, 4), real(4)))
def where(condition, x, y) -> Tensor:
    """``x`` where ``condition`` holds, else ``y``; shapes broadcast as in NumPy.

    Of any element type, which the result has; the condition is of bools. The gradient of each reaches it only where
    it was chosen. Raises ShapeError for shapes that don't fit, DTypeError for another condition.
    """
    condition = as_tensor(condition)
    if condition.dtype != BOOL:
        hint = "Compare first, for instance x > 0."
        fail(errors.DTypeError, "where", "the condition must be bool", f"got {condition.type}", hint)
    return make("where", condition, *common_operands(x, y))


def _where_type(condition, x, y):
    return Type(broadcast("where", condition.shape, x.shape, y.shape), x.dtype)


register(
    Op(
        "where",
        _where_type,
        lambda g, node: (None, where(node.inputs[0], g, 0), where(node.inputs[0], 0, g)),
        reference=np.where,
        formula="{0} ? {1} : {2}",
        vjp_formula="{0} ? ḡ : 0, {0} ? 0 : ḡ",
        elementwise="where",
    )
)


@public(at(real(3, 4), low=-0.5, high=0.7))
def clip(x, low=None, high=None) -> Tensor:
    """``x`` limited to [``low``, ``high``], numbers or None, element by element; the result has its shape. Integers
    and bools become float32, unless the limits are whole numbers, too.
    """
    x = as_tensor(x)
    if low is not None:
        x = maximum(x, low)
    return x if high is None else minimum(x, high)


@public(constant="that is its purpose")
def stop_gradient(x) -> Tensor:
    """``x`` as a constant: no gradient passes. Of any shape, which the result has, and of any element type."""
    return make("stop_gradient", as_tensor(x))


register(
    Op(
        "stop_gradient",
        lambda x: x.type,
        ZERO,
        reference=lambda x: x,
        formula="stop({0})",
        view=lambda ref, node: ref,
    )
)
