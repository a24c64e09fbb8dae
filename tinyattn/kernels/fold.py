"""Runs of numbers folded into one, and combined with other runs: sum, product, maximum and minimum of every
kind.

A run is folded in a fixed order that depends on nothing but its length. It is laid out in rows of L numbers
(128 bytes); the columns are folded side by side, and then the L results in halves:

    a₀ … a_{L−1} | a_L … a_{2L−1} | …  →  L partial results  →  L/2  →  …  →  1

A last row that isn't full is read under a mask. Rounding errors grow with the number of rows, so callers
fold runs of at most ``FOLD_BLOCK`` numbers, and then the results of those.

Each pair of operation and kind has a number (``opcodes.FOLDS``), which kernels pass to :func:`fold` and
:func:`combine`.
"""

import ctypes
import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.arithmetic import formulas
from tinyattn.kernels.opcodes import FOLDS
from tinyattn.kernels.simd import PURE
from tinyattn.kernels.vector import LLVM, NUMPY, SIZES, Value

FOLD_BLOCK = 1024
"""Most numbers folded in one go."""
_BYTE, _I32, _WORD = (ir.IntType(bits) for bits in (8, 32, 64))


def _neutral(operation, kind):
    """The number that changes nothing."""
    if kind == "bool":
        return operation == "min"
    if operation not in ("max", "min"):
        return int(operation == "prod")
    if kind in ("f32", "f64"):
        return -math.inf if operation == "max" else math.inf
    limits = np.iinfo(NUMPY[kind])
    return int(limits.min if operation == "max" else limits.max)


class _Fold:
    """How to fold numbers of one kind, and how to get them from memory in vectors, masked or not."""

    def __init__(self, operation, kind, real):
        self.kind = real.name if kind == "real" else kind
        self.size = SIZES[self.kind]
        self.lanes = min(32, 128 // self.size)
        self.squares = operation == "sum_squares"
        names = {"sum": "add", "sum_squares": "add", "prod": "mul", "max": "maximum", "min": "minimum"}
        name = names[operation] if kind != "bool" else {"max": "or", "min": "and"}[operation]
        self.step = formulas(real.name)[name, kind]
        self.neutral = _neutral(operation, self.kind)
        # In memory a bool is a byte.
        self.element = _BYTE if kind == "bool" else LLVM[self.kind]
        self.vector = ir.VectorType(self.element, self.lanes)

    def neutrals(self):
        return ir.Constant(ir.VectorType(LLVM[self.kind], self.lanes), [self.neutral] * self.lanes)

    def mask(self, builder, count):
        """For ``count`` lanes."""
        some = ir.VectorType(_WORD, self.lanes)
        everywhere = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        spread = builder.insert_element(ir.Constant(some, ir.Undefined), count, ir.Constant(_I32, 0))
        spread = builder.shuffle_vector(spread, spread, everywhere)
        return builder.icmp_signed("<", ir.Constant(some, list(range(self.lanes))), spread)

    def _masked(self, builder, action, result, *arguments):
        letter = "f" if self.kind in ("f32", "f64") else "i"
        name = f"llvm.masked.{action}.v{self.lanes}{letter}{8 * self.size}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, arguments)

    def load(self, builder, address, mask=None):
        """A vector as a Value; where the mask is off, 0."""
        pointer = builder.inttoptr(address, self.vector.as_pointer())
        if mask is None:
            loaded = builder.load(pointer, align=self.size)
        else:
            zeros = ir.Constant(self.vector, [0] * self.lanes)
            align = ir.Constant(_I32, self.size)
            loaded = self._masked(builder, "load", self.vector, pointer, align, mask, zeros)
        if self.kind == "bool":
            loaded = builder.icmp_unsigned("!=", loaded, ir.Constant(self.vector, [0] * self.lanes))
        return Value(builder, loaded)

    def store(self, builder, value, address, mask=None):
        pointer = builder.inttoptr(address, self.vector.as_pointer())
        value = builder.zext(value, self.vector) if self.kind == "bool" else value
        if mask is None:
            builder.store(value, pointer, align=self.size)
        else:
            align = ir.Constant(_I32, self.size)
            self._masked(builder, "store", ir.VoidType(), value, pointer, align, mask)


def _rows(builder, fold, count, start, body):
    """Write a loop ``state = body(byte offset, state, mask or None)`` over vectors, and give the last
    ``state``.
    """
    size, lanes, zero = (ir.Constant(_WORD, number) for number in (fold.size, fold.lanes, 0))
    before = builder.block
    head, full, rest, tail, end = map(builder.append_basic_block, ("head", "full", "rest", "tail", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    index, state = builder.phi(_WORD), builder.phi(start.type)
    after = builder.add(index, lanes)
    builder.cbranch(builder.icmp_signed("<=", after, count), full, rest)

    builder.position_at_end(full)
    stepped = body(builder.mul(index, size), state, None)
    full = builder.block  # (the body may have added some)
    builder.branch(head)
    for phi, at_start, then in ((index, zero, after), (state, start, stepped)):
        phi.add_incoming(at_start, before)
        phi.add_incoming(then, full)

    builder.position_at_end(rest)
    builder.cbranch(builder.icmp_signed("<", index, count), tail, end)
    builder.position_at_end(tail)
    last = body(builder.mul(index, size), state, fold.mask(builder, builder.sub(count, index)))
    tail = builder.block
    builder.branch(end)

    builder.position_at_end(end)
    result = builder.phi(start.type)
    result.add_incoming(state, rest)
    result.add_incoming(last, tail)
    return result


def _emit_fold(builder, fold, source, count, target):
    """Fold a run and store the result."""
    neutral = fold.neutrals()

    def body(offset, state, mask):
        row = fold.load(builder, builder.add(source, offset), mask)
        if fold.squares:
            row = row * row
        value = row.value
        if mask is not None:
            value = builder.select(mask, value, neutral)
        return fold.step(Value(builder, state), Value(builder, value)).value

    result = _rows(builder, fold, count, neutral, body)
    lanes = fold.lanes
    while lanes > 1:
        lanes //= 2
        halves = []
        for first in (0, lanes):
            places = ir.Constant(ir.VectorType(_I32, lanes), list(range(first, first + lanes)))
            halves.append(Value(builder, builder.shuffle_vector(result, result, places)))
        result = fold.step(*halves).value
    result = builder.extract_element(result, ir.Constant(_I32, 0))
    if fold.kind == "bool":
        result = builder.zext(result, _BYTE)
    builder.store(result, builder.inttoptr(target, result.type.as_pointer()), align=fold.size)


def _emit_combine(builder, fold, source, count, target):
    """Fold a run into another, element by element."""

    def body(offset, state, mask):
        here, there = builder.add(target, offset), builder.add(source, offset)
        outcome = fold.step(fold.load(builder, here, mask), fold.load(builder, there, mask))
        fold.store(builder, outcome.value, here, mask)
        return state

    _rows(builder, fold, count, ir.Constant(_WORD, 0), body)


def _emit_columns(builder, fold, source, stride, rows, count, target):
    """Fold rows element by element, in registers, and store the result."""
    one = ir.Constant(_WORD, 1)

    def body(offset, state, mask):
        first = builder.add(source, offset)
        start = fold.load(builder, first, mask).value
        before, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", rows, one), loop, done)

        builder.position_at_end(loop)
        row, place, value = (builder.phi(kind) for kind in (_WORD, _WORD, start.type))
        place_after, row_after = builder.add(place, stride), builder.add(row, one)
        value_after = fold.step(Value(builder, value), fold.load(builder, place_after, mask)).value
        for phi, at_start, then in (
            (row, one, row_after),
            (place, first, place_after),
            (value, start, value_after),
        ):
            phi.add_incoming(at_start, before)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed("<", row_after, rows), loop, done)

        builder.position_at_end(done)
        total = builder.phi(start.type)
        total.add_incoming(start, before)
        total.add_incoming(value_after, loop)
        fold.store(builder, total, builder.add(target, offset), mask)
        return state

    _rows(builder, fold, count, ir.Constant(_WORD, 0), body)


def _switch(real, operations, emit, pure, arguments=3):
    """``(code, source, count, target)``, or more ``arguments`` after the code: an intrinsic that does
    ``emit`` for the operation and kind of a code.
    """
    folds = {number: _Fold(*key, real) for key, number in FOLDS.items() if key[0] in operations}
    if PURE:

        def compute(code, *words):
            with np.errstate(all="ignore"):
                pure(folds[int(code)], *map(int, words))

        return compute

    def function(module, name, words):
        made = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD] * words), name)
        made.linkage = "internal"
        made.attributes.add("noinline")
        made.attributes.add("optsize")
        return made, ir.IRBuilder(made.append_basic_block())

    def dispatcher(module):
        name = real.name + emit.__name__
        if name in module.globals:
            return module.globals[name]
        made, builder = function(module, name, arguments + 1)
        end = made.append_basic_block("end")
        switch = builder.switch(made.args[0], end)
        for number, fold in folds.items():
            loop, inside = function(module, f"{name}_{number}", arguments)
            emit(inside, fold, *loop.args)
            inside.ret_void()
            block = made.append_basic_block()
            switch.add_case(ir.Constant(_WORD, number), block)
            builder.position_at_end(block)
            builder.call(loop, made.args[1:], tail=True)
            builder.branch(end)
        builder.position_at_end(end)
        builder.ret_void()
        return made

    def generate(context, builder, signature, values):
        builder.call(dispatcher(builder.module), values)
        return context.get_dummy_value()

    words = ", ".join("uvwxyz"[: arguments + 1])
    signature = types.void(*[types.int64] * (arguments + 1))
    names = {"signature": signature, "generate": generate}
    return intrinsic(eval(f"lambda typing, {words}: (signature, generate)", names))


def _view(address, count, kind):
    """Memory as a NumPy array."""
    return np.frombuffer((ctypes.c_byte * (count * SIZES[kind])).from_address(address), NUMPY[kind])


def _pure_fold(fold, source, count, target):
    rows = np.full((-(-count // fold.lanes), fold.lanes), fold.neutral, NUMPY[fold.kind])
    run = _view(source, count, fold.kind)
    rows.reshape(-1)[:count] = run * run if fold.squares else run
    result = np.full(fold.lanes, fold.neutral, NUMPY[fold.kind])
    for row in rows:
        result = fold.step(result, row)
    while len(result) > 1:
        result = fold.step(*np.split(result, 2))
    _view(target, 1, fold.kind)[:] = result


def _pure_combine(fold, source, count, target):
    here = _view(target, count, fold.kind)
    here[:] = fold.step(here, _view(source, count, fold.kind))


def fold(real, *operations):
    """``(code, source, count, target)``: fold ``count`` ≥ 0 numbers into one, stored at the address
    ``target``.
    """
    return _switch(real, operations, _emit_fold, _pure_fold)


def combine(real, *operations):
    """``(code, source, count, target)``: ``target[i] = step(target[i], source[i])`` for 0 ≤ i < ``count``."""
    return _switch(real, operations, _emit_combine, _pure_combine)


def _pure_columns(fold, source, stride, rows, count, target):
    result = _view(source, count, fold.kind)
    for row in range(1, rows):
        result = fold.step(result, _view(source + row * stride, count, fold.kind))
    _view(target, count, fold.kind)[:] = result


def fold_columns(real, *operations):
    """``(code, source, stride, rows, count, target)``: fold ``rows`` ≥ 1 rows of ``count`` numbers, ``stride``
    bytes apart, element by element into ``target``, one after the other.
    """
    return _switch(real, operations, _emit_columns, _pure_columns, 5)
