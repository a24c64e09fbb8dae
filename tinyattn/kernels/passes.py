"""One pass along a row of numbers: formulas applied to it, results written, sums or maxima taken, all at once.

Normalisations go over a row a few times: its mean, its deviations and their squares, the result. Each such
pass is a formula (see :mod:`tinyattn.kernels.vector`) of the vectors read and of some numbers that are the
same all along; what it returns is written, or folded:

    one_pass(real, 2, 1, 1, lambda x, y, k: x + k * y)   makes   pass(n, x, y, target, k)

Rows are taken in vectors of 128 bytes, as in :mod:`tinyattn.kernels.lanes`, so that a sum has the same bits
on every machine; a last vector that isn't full is read and written under a mask. Results may be written to
a place that is read from, as each vector is read before it is written. LLVM's own vectoriser would check at
run time that none of the pointers overlap, which for rows of a hundred numbers costs more than the work.
"""

import ctypes
import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.lanes import ROW_BYTES
from tinyattn.kernels.simd import PURE
from tinyattn.kernels.vector import LLVM, NUMPY, Value, select

_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _larger(a, b):
    """The larger of two; ``b`` if either is NaN."""
    return select(a > b, a, b)


_FOLDS = {"sum": (lambda a, b: a + b, 0.0), "max": (_larger, -math.inf)}


class _Row:
    """Vectors of a row in memory, whole or under a mask."""

    def __init__(self, real):
        self.size, self.lanes, self.letter = real.size, ROW_BYTES // real.size, real.name
        self.vector = ir.VectorType(LLVM[real.name], self.lanes)

    def splat(self, builder, number, kind=None):
        """A number in all lanes."""
        some = ir.VectorType(number.type, self.lanes)
        places = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        first = builder.insert_element(ir.Constant(some, ir.Undefined), number, ir.Constant(_I32, 0))
        return builder.shuffle_vector(first, first, places)

    def mask(self, builder, count):
        """For ``count`` lanes."""
        numbered = ir.Constant(ir.VectorType(_I32, self.lanes), list(range(self.lanes)))
        return builder.icmp_signed("<", numbered, self.splat(builder, builder.trunc(count, _I32)))

    def _masked(self, builder, action, letter, result, *arguments):
        name = f"llvm.masked.{action}.v{self.lanes}{letter}.p0"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, arguments)

    def _place(self, builder, address, index, vector, size):
        offset = builder.mul(index, ir.Constant(_I64, size))
        return builder.inttoptr(builder.add(address, offset), vector.as_pointer())

    def _load(self, builder, address, index, mask, vector, size, letter):
        place = self._place(builder, address, index, vector, size)
        if mask is None:
            return builder.load(place, align=size)
        zeros = ir.Constant(vector, [0] * self.lanes)
        return self._masked(builder, "load", letter, vector, place, ir.Constant(_I32, size), mask, zeros)

    def load(self, builder, address, index, mask):
        """Numbers, 0 where the mask (if there is one) is off."""
        return self._load(builder, address, index, mask, self.vector, self.size, self.letter)

    def load_flags(self, builder, address, index, mask):
        """Bytes as bools, False where the mask is off."""
        flags = ir.VectorType(ir.IntType(8), self.lanes)
        loaded = self._load(builder, address, index, mask, flags, 1, "i8")
        return builder.icmp_unsigned("!=", loaded, ir.Constant(flags, [0] * self.lanes))

    def store(self, builder, value, address, index, mask):
        place = self._place(builder, address, index, self.vector, self.size)
        if mask is None:
            builder.store(value, place, align=self.size)
        else:
            align = ir.Constant(_I32, self.size)
            self._masked(builder, "store", self.letter, ir.VoidType(), value, place, align, mask)


def one_pass(
    real, reads: int, writes: int, numbers: int, formula, folds: tuple[str, ...] = (), flags: bool = False
):
    """``pass(n, addresses to read …, addresses to write …, numbers …)``, which returns what is folded.

    ``formula(*vectors, *numbers)`` returns one result for each place to write, then one for each of
    ``folds`` (``"sum"`` or ``"max"``), as a tuple unless it is one. What is folded is returned likewise.
    With ``flags``, what is read last are bytes, which count as bools.
    """
    if PURE:
        return _pure(real, reads, writes, formula, folds, flags)
    row, addresses = _Row(real), reads + writes
    neutral = [ir.Constant(row.vector, [_FOLDS[fold][1]] * row.lanes) for fold in folds]

    def generate(context, builder, signature, values):
        n, places, constants = values[0], values[1 : 1 + addresses], values[1 + addresses :]
        spread = [Value(builder, row.splat(builder, number)) for number in constants]

        def step(index, partial, mask):
            loads = [row.load] * (reads - flags) + [row.load_flags] * flags
            vectors = [
                Value(builder, load(builder, place, index, mask))
                for load, place in zip(loads, places, strict=False)
            ]
            results = formula(*vectors, *spread)
            results = results if isinstance(results, tuple) else (results,)
            for place, result in zip(places[reads:], results, strict=False):
                row.store(builder, result.value, place, index, mask)
            joined = []
            for fold, before, start, result in zip(folds, partial, neutral, results[writes:], strict=True):
                value = result.value if mask is None else builder.select(mask, result.value, start)
                joined.append(_FOLDS[fold][0](Value(builder, before), Value(builder, value)).value)
            return joined

        before = builder.block
        head, body, rest, tail, end = map(
            builder.append_basic_block, ("head", "whole", "rest", "part", "end")
        )
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(_I64)
        partial = [builder.phi(row.vector) for _ in folds]
        after = builder.add(index, ir.Constant(_I64, row.lanes))
        builder.cbranch(builder.icmp_signed("<=", after, n), body, rest)

        builder.position_at_end(body)
        joined = step(index, partial, None)
        builder.branch(head)
        for phi, at_start, then in zip(
            (index, *partial), (ir.Constant(_I64, 0), *neutral), (after, *joined), strict=True
        ):
            phi.add_incoming(at_start, before)
            phi.add_incoming(then, body)

        builder.position_at_end(rest)
        builder.cbranch(builder.icmp_signed("<", index, n), tail, end)
        builder.position_at_end(tail)
        last = step(index, partial, row.mask(builder, builder.sub(n, index)))
        builder.branch(end)

        builder.position_at_end(end)
        found = []
        for fold, whole, part in zip(folds, partial, last, strict=True):
            result = builder.phi(row.vector)
            result.add_incoming(whole, rest)
            result.add_incoming(part, tail)
            found.append((fold, result))
        numbers = [_halved(builder, row.lanes, _FOLDS[fold][0], result) for fold, result in found]
        if len(numbers) == 1:
            return numbers[0]
        return (
            context.make_tuple(builder, signature.return_type, numbers)
            if numbers
            else context.get_dummy_value()
        )

    number = real.numba_type
    result = {0: types.void, 1: number}.get(len(folds), types.UniTuple(number, len(folds)))
    signature = result(*[types.int64] * (1 + addresses), *[number] * numbers)
    names = ", ".join(f"a{k}" for k in range(1 + addresses + numbers))
    scope = {"signature": signature, "generate": generate}
    return intrinsic(eval(f"lambda typing, {names}: (signature, generate)", scope))


def _halved(builder, lanes, step, vector):
    """A vector folded in halves to one number."""
    while lanes > 1:
        lanes //= 2
        halves = []
        for first in (0, lanes):
            places = ir.Constant(ir.VectorType(_I32, lanes), list(range(first, first + lanes)))
            halves.append(Value(builder, builder.shuffle_vector(vector, vector, places)))
        vector = step(*halves).value
    return builder.extract_element(vector, ir.Constant(_I32, 0))


def _pure(real, reads, writes, formula, folds, flags):
    """The same pass with NumPy."""
    number, lanes = NUMPY[real.name], ROW_BYTES // real.size

    def run(n, *arguments):
        n, addresses = int(n), arguments[: reads + writes]
        kinds = [number] * (reads + writes)
        if flags:
            kinds[reads - 1] = np.bool_
        views = [
            np.frombuffer((ctypes.c_byte * (n * np.dtype(kind).itemsize)).from_address(int(a)), kind)
            for a, kind in zip(addresses, kinds, strict=True)
        ]
        partial = [np.full(lanes, _FOLDS[fold][1], number) for fold in folds]
        with np.errstate(all="ignore"):
            for start in range(0, n, lanes):
                part = slice(start, min(start + lanes, n))
                vectors = [view[part].copy() for view in views[:reads]]
                results = formula(*vectors, *map(number, arguments[reads + writes :]))
                results = results if isinstance(results, tuple) else (results,)
                for view, result in zip(views[reads:], results, strict=False):
                    view[part] = result
                for fold, state, result in zip(folds, partial, results[writes:], strict=True):
                    state[: part.stop - start] = _FOLDS[fold][0](state[: part.stop - start], result)
            found = []
            for fold, state in zip(folds, partial, strict=True):
                while len(state) > 1:
                    state = _FOLDS[fold][0](*np.split(state, 2))
                found.append(state[0])
        return (found[0] if len(found) == 1 else tuple(found)) if found else None

    return run
