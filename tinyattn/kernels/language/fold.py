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

from tinyattn.kernels.language.arithmetic import formulas
from tinyattn.kernels.language.formula import NUMPY, SIZES, Value
from tinyattn.kernels.language.lanes import larger
from tinyattn.kernels.language.opcodes import FOLDS
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import BYTE, WORD, Vectors, constant

FOLD_BLOCK = 1024
"""Most numbers folded in one go."""


def _neutral(operation, kind):
    """The number that changes nothing."""
    if kind == "bool":
        return operation == "min"
    if operation not in ("max", "min", "largest"):
        return int(operation == "prod")
    if kind in ("f32", "f64"):
        return math.inf if operation == "min" else -math.inf
    limits = np.iinfo(NUMPY[kind])
    return int(limits.min if operation == "max" else limits.max)


class Fold:
    """How to fold numbers of one kind."""

    def __init__(self, operation, kind, real):
        self.kind = real if kind == "real" else kind
        self.size = SIZES[self.kind]
        self.lanes = min(32, 128 // self.size)
        self.squares = operation == "sum_squares"
        names = {"sum": "add", "sum_squares": "add", "prod": "mul", "max": "maximum", "min": "minimum"}
        if operation == "largest":
            self.step = larger
        else:
            name = names[operation] if kind != "bool" else {"max": "or", "min": "and"}[operation]
            self.step = formulas(real)[name, kind]
        self.neutral = _neutral(operation, self.kind)
        self.vectors = Vectors(self.kind, self.lanes)

    def load(self, builder, place, mask):
        return Value(builder, self.vectors.load(builder, place, mask))


def _write_fold(builder, fold, source, count, target):
    """Fold a run and store the result."""
    v = fold.vectors
    neutral = v.all(fold.neutral)

    def body(index, state, mask):
        row = fold.load(builder, v.place(builder, source, index), mask)
        value = (row * row if fold.squares else row).value
        if mask is not None:
            value = builder.select(mask, value, neutral)
        return [fold.step(Value(builder, *state), Value(builder, value)).value]

    result = v.halved(builder, *v.fold(builder, count, [neutral], body), fold.step)
    if fold.kind == "bool":
        result = builder.zext(result, BYTE)
    builder.store(result, builder.inttoptr(target, result.type.as_pointer()), align=fold.size)


def _write_combine(builder, fold, source, count, target):
    """Fold a run into another, element by element."""
    v = fold.vectors

    def body(index, _, mask):
        here, there = (v.place(builder, start, index) for start in (target, source))
        outcome = fold.step(fold.load(builder, here, mask), fold.load(builder, there, mask))
        v.store(builder, outcome.value, here, mask)
        return []

    v.fold(builder, count, [], body)


def _write_columns(builder, fold, source, stride, rows, count, target):
    """Fold rows element by element, in registers, and store the result."""
    v, one = fold.vectors, constant(1)

    def body(index, _, mask):
        first = v.place(builder, source, index)
        start = fold.load(builder, first, mask).value
        before, loop, done = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", rows, one), loop, done)

        builder.position_at_end(loop)
        row, place, value = (builder.phi(kind) for kind in (WORD, WORD, start.type))
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
        v.store(builder, total, v.place(builder, target, index), mask)
        return []

    v.fold(builder, count, [], body)


def _switch(real, operations, write, pure, count=3):
    """``(code, source, count, target)``, or another ``count`` of words after the code: a function that does what
    ``write`` writes for the operation and kind of a code.
    """
    folds = {number: Fold(*key, real.name) for key, number in FOLDS.items() if key[0] in operations}
    if PURE:

        def compute(code, *words):
            with np.errstate(all="ignore"):
                pure(folds[int(code)], *map(int, words))

        return compute

    def function(module, name, words):
        made = ir.Function(module, ir.FunctionType(ir.VoidType(), [WORD] * words), name)
        made.linkage = "internal"
        made.attributes.add("noinline")
        made.attributes.add("optsize")
        return made, ir.IRBuilder(made.append_basic_block())

    def dispatcher(module):
        name = real.name + write.__name__
        if name in module.globals:
            return module.globals[name]
        made, builder = function(module, name, count + 1)
        end = made.append_basic_block("end")
        switch = builder.switch(made.args[0], end)
        for number, fold in folds.items():
            loop, inside = function(module, f"{name}_{number}", count)
            write(inside, fold, *loop.args)
            inside.ret_void()
            block = made.append_basic_block()
            switch.add_case(constant(number), block)
            builder.position_at_end(block)
            builder.call(loop, made.args[1:], tail=True)
            builder.branch(end)
        builder.position_at_end(end)
        builder.ret_void()
        return made

    def call(builder, values):
        builder.call(dispatcher(builder.module), values)

    return instructions(types.void(*[types.int64] * (count + 1)), call)


def _view(address, count, kind):
    """Memory as a NumPy array."""
    return np.frombuffer((ctypes.c_byte * (count * SIZES[kind])).from_address(address), NUMPY[kind])


def pure_run(fold, run):
    """An array folded in that order, with NumPy."""
    rows = np.full((-(-len(run) // fold.lanes), fold.lanes), fold.neutral, NUMPY[fold.kind])
    rows.reshape(-1)[: len(run)] = run * run if fold.squares else run
    result = np.full(fold.lanes, fold.neutral, NUMPY[fold.kind])
    for row in rows:
        result = fold.step(result, row)
    while len(result) > 1:
        result = fold.step(*np.split(result, 2))
    return result[0]


def _pure_fold(fold, source, count, target):
    _view(target, 1, fold.kind)[:] = pure_run(fold, _view(source, count, fold.kind))


def _pure_combine(fold, source, count, target):
    here = _view(target, count, fold.kind)
    here[:] = fold.step(here, _view(source, count, fold.kind))


def fold(real, *operations):
    """``(code, source, count, target)``: fold ``count`` ≥ 0 numbers into one, stored at the address
    ``target``.
    """
    return _switch(real, operations, _write_fold, _pure_fold)


def combine(real, *operations):
    """``(code, source, count, target)``: ``target[i] = step(target[i], source[i])`` for 0 ≤ i < ``count``."""
    return _switch(real, operations, _write_combine, _pure_combine)


def _pure_columns(fold, source, stride, rows, count, target):
    result = _view(source, count, fold.kind)
    for row in range(1, rows):
        result = fold.step(result, _view(source + row * stride, count, fold.kind))
    _view(target, count, fold.kind)[:] = result


def fold_columns(real, *operations):
    """``(code, source, stride, rows, count, target)``: fold ``rows`` ≥ 1 rows of ``count`` numbers, ``stride``
    bytes apart, element by element into ``target``, one after the other.
    """
    return _switch(real, operations, _write_columns, _pure_columns, 5)
