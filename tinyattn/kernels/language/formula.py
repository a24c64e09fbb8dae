"""Formulas: mathematics written once in Python operators, for single numbers, for machine vectors and for
NumPy arrays.

A *formula* is an ordinary Python function, such as ``lambda x: x * x + 1``, that uses only operators,
comparisons and the functions of this module (:func:`select`, :func:`bits`, :func:`sqrt`, …) and has no
branches. Called with a :class:`Value` it writes LLVM instructions, and the Value can be a number or a vector
of them; called with NumPy numbers or arrays it computes. Nothing here needs Numba.
"""

import numpy as np
from llvmlite import ir

from tinyattn.kernels.language.opcodes import SIZES as SIZES

LLVM = {
    "f32": ir.FloatType(),
    "f64": ir.DoubleType(),
    "i32": ir.IntType(32),
    "i64": ir.IntType(64),
    "bool": ir.IntType(1),
}
NUMPY = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
_FLAGS = ("contract",)
"""Freedom given to LLVM: fused multiply-add. Zeros keep their sign."""
_SAME_BITS = {"f32": "i32", "f64": "i64", "i32": "f32", "i64": "f64"}


def _arithmetic(real, whole):
    """An operator: the names of the LLVM instruction for real and for whole numbers."""

    def operator(self, other):
        other = self.like(other)
        if self.is_real:
            result = getattr(self.builder, real)(self.value, other, flags=_FLAGS)
        else:
            result = getattr(self.builder, whole)(self.value, other)
        return Value(self.builder, result)

    return operator


def _comparison(symbol):
    def operator(self, other):
        other = self.like(other)
        if not self.is_real:
            result = self.builder.icmp_signed(symbol, self.value, other)
        elif symbol == "!=":
            result = self.builder.fcmp_unordered(symbol, self.value, other)
        else:
            result = self.builder.fcmp_ordered(symbol, self.value, other)
        return Value(self.builder, result)

    return operator


class Value:
    """An LLVM value (a number or a vector of numbers) with Python's operators; comparisons with NaN are as
    in Python.
    """

    __array_ufunc__ = None  # NumPy's numbers leave operators to this class
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder, value):
        self.builder, self.value = builder, value
        self.lanes = value.type.count if isinstance(value.type, ir.VectorType) else None
        element = value.type.element if self.lanes else value.type
        self.kind = next(kind for kind, kind_type in LLVM.items() if kind_type == element)
        self.is_real = self.kind in ("f32", "f64")

    def like(self, other):
        """``other`` as an LLVM value of this type; Python and NumPy numbers become constants."""
        if isinstance(other, Value):
            return other.value
        other = (float if self.is_real else int)(other)
        return ir.Constant(self.value.type, [other] * self.lanes if self.lanes else other)

    def type(self, kind):
        """The LLVM type of as many numbers of another kind."""
        return ir.VectorType(LLVM[kind], self.lanes) if self.lanes else LLVM[kind]

    __add__ = __radd__ = _arithmetic("fadd", "add")
    __mul__ = __rmul__ = _arithmetic("fmul", "mul")
    __sub__ = _arithmetic("fsub", "sub")
    __truediv__ = _arithmetic("fdiv", None)
    __and__ = _arithmetic(None, "and_")
    __or__ = _arithmetic(None, "or_")
    __xor__ = _arithmetic(None, "xor")
    __lshift__ = _arithmetic(None, "shl")
    __rshift__ = _arithmetic(None, "lshr")
    """To the right, zeros move in."""
    __lt__, __le__, __gt__ = _comparison("<"), _comparison("<="), _comparison(">")
    __ge__, __eq__, __ne__ = _comparison(">="), _comparison("=="), _comparison("!=")

    def __rsub__(self, other):
        return Value(self.builder, self.like(other)) - self

    def __rtruediv__(self, other):
        return Value(self.builder, self.like(other)) / self

    def __neg__(self):
        if self.is_real:
            return Value(self.builder, self.builder.fneg(self.value, flags=_FLAGS))
        return 0 - self

    def __invert__(self):
        return Value(self.builder, self.builder.not_(self.value))


def select(condition, yes, no):
    """``yes if condition else no``, element by element. One of ``yes`` and ``no`` at least is not a
    constant.
    """
    if not isinstance(condition, Value):
        return np.where(condition, yes, no)[()]
    like = (yes if isinstance(yes, Value) else no).like
    return Value(condition.builder, condition.builder.select(condition.value, like(yes), like(no)))


def convert(x, kind):
    """``x`` as numbers of another kind: reals are cut off to whole numbers, anything but 0 is True."""
    if not isinstance(x, Value):
        return np.asarray(x).astype(NUMPY[kind])[()]
    if x.kind == kind:
        return x
    if kind == "bool":
        return x != 0
    build, target = x.builder, x.type(kind)
    if kind in ("f32", "f64"):
        if x.is_real:
            cast = build.fpext if kind == "f64" else build.fptrunc
        else:
            cast = build.uitofp if x.kind == "bool" else build.sitofp
    elif x.is_real:
        cast = build.fptosi
    elif SIZES[kind] < SIZES[x.kind]:
        cast = build.trunc
    else:
        cast = build.zext if x.kind == "bool" else build.sext
    return Value(build, cast(x.value, target))


def bits(x):
    """The bits of reals as whole numbers, and the other way round."""
    if isinstance(x, Value):
        return Value(x.builder, x.builder.bitcast(x.value, x.type(_SAME_BITS[x.kind])))
    x = np.asarray(x)
    return x.view({"f4": np.int32, "f8": np.int64, "i4": np.float32, "i8": np.float64}[x.dtype.str[1:]])[()]


def _instruction(name, pure):
    """A function that is one instruction on vectors, too: the name of LLVM's and NumPy's function."""

    def function(x, *others):
        if not isinstance(x, Value):
            return pure(x, *others)
        suffix = (f"v{x.lanes}" if x.lanes else "") + x.kind
        full, module = f"llvm.{name}.{suffix}", x.builder.module
        values = [x.value, *map(x.like, others)]
        callee = module.globals.get(full) or ir.Function(
            module, ir.FunctionType(x.value.type, [value.type for value in values]), full
        )
        return Value(x.builder, x.builder.call(callee, values, fastmath=_FLAGS))

    return function


copysign = _instruction("copysign", np.copysign)
"""The size of the first number with the sign of the second."""
sqrt, absolute = _instruction("sqrt", np.sqrt), _instruction("fabs", np.abs)
floor, ceil, round_even = (
    _instruction("floor", np.floor),
    _instruction("ceil", np.ceil),
    _instruction("rint", np.rint),
)


# What vectors have no instruction for: a call of the C library for each number.
library_sin, library_cos = _instruction("sin", np.sin), _instruction("cos", np.cos)


def remainder(a, b):
    """What is left of ``a`` after as many whole ``b`` as fit into it: exact, of the sign of ``a`` (C's fmod)."""
    if not isinstance(a, Value):
        return np.fmod(a, b)
    return Value(a.builder, a.builder.frem(a.value, a.like(b)))


def while_any(condition, step, *values):
    """``values = step(*values)`` as long as ``condition(*values)`` holds for a number at least; ``step`` must leave
    those as they are for which it doesn't.
    """
    if not isinstance(values[0], Value):
        while np.any(condition(*values)):
            values = step(*values)
        return values
    builder = values[0].builder
    before = builder.block
    head, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    phis = [builder.phi(value.value.type) for value in values]
    current = [Value(builder, phi) for phi in phis]
    holds = condition(*current)
    if holds.lanes:
        name = f"llvm.vector.reduce.or.v{holds.lanes}i1"
        kind = ir.FunctionType(LLVM["bool"], [holds.value.type])
        fold = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        builder.cbranch(builder.call(fold, [holds.value]), body, after)
    else:
        builder.cbranch(holds.value, body, after)
    builder.position_at_end(body)
    for phi, value, new in zip(phis, values, step(*current), strict=True):
        phi.add_incoming(value.value, before)
        phi.add_incoming(new.value, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return current


def quotient(a, b):
    """Of whole numbers, cut off."""
    if not isinstance(a, Value):
        return a // b + ((a % b != 0) & ((a < 0) != (b < 0)))
    return Value(a.builder, a.builder.sdiv(a.value, b.value))


def polynomial(coefficients, x):
    """c₀ + c₁ x + c₂ x² + … by Horner's rule, in the type of ``x``."""
    number = (lambda c: c) if isinstance(x, Value) else x.dtype.type
    result = number(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result = result * x + number(coefficient)
    return result


def long_polynomial(coefficients, x):
    """The same as four polynomials in x⁴. Where the last terms are the largest, each step of Horner's rule adds its
    rounding to the result's; here the steps are a third as many.
    """
    square = x * x
    fourth = square * square
    first, second, third, last = (polynomial(coefficients[k::4], fourth) for k in range(4))
    return (first + x * second) + square * (third + x * last)
