"""What each operation of a chain computes, as formulas (see :mod:`tinyattn.kernels.language.formula`)."""

import math

from tinyattn.kernels.language.formula import (
    absolute,
    ceil,
    convert,
    copysign,
    floor,
    quotient,
    remainder,
    round_even,
    select,
    sqrt,
    while_any,
)
from tinyattn.kernels.language.functions import Functions
from tinyattn.kernels.language.opcodes import OPCODES


def _maximum(a, b):
    # a > b is False if b is NaN; a != a if a is.
    return select(a != a, a, select(a > b, a, b))


def _minimum(a, b):
    return select(a != a, a, select(a < b, a, b))


def _sign(x):
    return select(x > 0, 1, select(x < 0, -1, x + 0))


def _safe(divisor):
    """Divisors that trap replaced by 1: 0, and −1, by which the least number can't be divided."""
    return select((divisor == 0) | (divisor == -1), 1, divisor)


def _floor_divide(a, b):
    """a / b rounded down, like Python; 0 for b = 0."""
    safe = _safe(b)
    q = quotient(a, safe)
    remainder = a - q * safe
    q = select((remainder != 0) & ((remainder ^ safe) < 0), q - 1, q)
    return select(b == 0, 0, select(b == -1, -a, q))


def _mod(a, b):
    """What floor division leaves, of the sign of b; 0 for b = 0."""
    safe = _safe(b)
    remainder = a - quotient(a, safe) * safe
    return select((remainder != 0) & ((remainder ^ safe) < 0), remainder + safe, remainder)


def _floor_divide_i32(a, b):
    """Float64 holds the quotient of 32-bit numbers exactly enough, and is a vector instruction."""
    q = convert(floor(convert(a, "f64") / convert(_safe(b), "f64")), "i32")
    return select(b == 0, 0, select(b == -1, -a, q))


def _mod_i32(a, b):
    safe = _safe(b)
    return a - convert(floor(convert(a, "f64") / convert(safe, "f64")), "i32") * safe


def _mod_real(a, b):
    """What is left of a, exactly, of the sign of b (which a zero has, too); NaN for b = 0."""
    left = remainder(a, b)
    left = select((left != 0) & ((left < 0) ^ (b < 0)), left + b, left)
    return select(left == 0, copysign(left, b), left)


def _floor_divide_real(a, b):
    """(a − what is left) / b, a whole number but for rounding; a / b for b = 0."""
    left = remainder(a, b)
    whole = (a - left) / b
    whole = select((left != 0) & ((left < 0) ^ (b < 0)), whole - 1, whole)
    below = floor(whole)
    nearest = select(whole - below > 0.5, below + 1, below)
    return select(b == 0, a / b, select(whole == 0, copysign(whole, a / b), nearest))


def _power(x, y):
    """x^y of whole numbers by squaring, wrapping around; where y < 0 cut off to a whole number: 0, or ±1 for x = ±1."""

    def square(x, left, result):
        return x * x, left >> 1, select((left & 1) != 0, result * x, result)

    one = x * 0 + 1
    *_, result = while_any(lambda _, left, __: left != 0, square, x, select(y < 0, 0, y), one)
    unit = select(x == 1, 1, select(x == -1, 1 - ((y & 1) << 1), 0 * x))
    return select(y < 0, unit, result)


_COMMON = {
    "copy": lambda x: x,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "maximum": _maximum,
    "minimum": _minimum,
    "neg": lambda x: -x,
    "abs": lambda x: select(x < 0, -x, x),
    "sign": _sign,
    "square": lambda x: x * x,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "floor_divide": _floor_divide,
    "mod": _mod,
    "pow": _power,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda x: ~x,
    "div": lambda a, b: a / b,
    "sqrt": sqrt,
    "rsqrt": lambda x: 1 / sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "floor": floor,
    "ceil": ceil,
    "round": round_even,
    "relu": lambda x: select(x <= 0, 0, x),
    "isfinite": lambda x: absolute(x) < math.inf,
    "dtanh": lambda a, b: a * (1 - b * b),
    "dsigmoid": lambda a, b: a * (b * (1 - b)),
    "where": select,
}


def formulas(name: str) -> dict:
    """``{(operation, kind): formula}`` for every opcode, with reals of the type ``name``, ``"f32"`` or
    ``"f64"``.
    """
    functions = Functions(name)
    special = {
        ("abs", "real"): absolute,
        ("floor_divide", "i32"): _floor_divide_i32,
        ("mod", "i32"): _mod_i32,
        ("floor_divide", "real"): _floor_divide_real,
        ("mod", "real"): _mod_real,
        ("pow", "real"): functions.pow,
        ("step", "real"): lambda x: convert(x > 0, name),
        ("to_f32", "real"): lambda x: convert(convert(x, "f32"), name),
    }

    def formula(operation, kind):
        if (operation, kind) in special:
            return special[operation, kind]
        if operation in _COMMON:
            return _COMMON[operation]
        if operation.startswith("to_"):
            target = operation.removeprefix("to_")
            return lambda x: convert(x, name if target == "real" else target)
        return getattr(functions, operation)

    return {key: formula(*key) for key in OPCODES}
