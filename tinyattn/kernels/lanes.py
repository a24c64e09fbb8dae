"""Sums, dot products and maxima of runs of numbers, with an order of operations that no machine changes.

Adding a run up from left to right is slow (each addition waits for the one before) and inexact (the error
grows with the length). Here a run is laid out in rows of L numbers, 128 bytes; the columns are added up side
by side, and then folded in halves:

    a₀ … a_{L−1} | a_L … a_{2L−1} | …  →  L partial sums  →  L/2  →  …  →  1

L doesn't depend on the width of the machine's vectors, so neither do the bits of the result. A last row that
isn't full is read under a mask. :data:`total`, :data:`largest` and :data:`dot` take typed pointers (see
:mod:`tinyattn.kernels.simd`) and a length.
"""

import math

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.simd import PURE

ROW_BYTES = 128
_I64, _I32 = ir.IntType(64), ir.IntType(32)


def _add(builder, a, b):
    return builder.fadd(a, b, flags=("nsz",))


def _greater(builder, a, b):
    """The larger of two; ``b`` if either is NaN."""
    return builder.select(builder.fcmp_ordered(">", a, b), a, b)


def _multiply_add(builder, total, a, b):
    return builder.fadd(builder.fmul(a, b, flags=("contract",)), total, flags=("contract", "nsz"))


def _load(builder, pointer, vector, mask):
    """A vector from unaligned memory; zeros where the mask (if there is one) is off."""
    size = 4 if isinstance(vector.element, ir.FloatType) else 8
    if mask is None:
        return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=size)
    name = f"llvm.masked.load.v{vector.count}f{8 * size}.p0"
    kind = ir.FunctionType(vector, [vector.as_pointer(), _I32, mask.type, vector])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    zeros = ir.Constant(vector, [0.0] * vector.count)
    return builder.call(
        function, [builder.bitcast(pointer, vector.as_pointer()), ir.Constant(_I32, size), mask, zeros]
    )


def _fold(pointers, start, step, merge):
    """An intrinsic of ``pointers`` pointers and a length.

    ``step(builder, partial, *vectors)`` takes the next row in; ``merge(builder, a, b)`` joins partial
    results; ``start`` is a partial result that changes nothing. A row that isn't full is filled up with
    zeros, or with ``start`` if there is one pointer.
    """

    def generate(context, builder, signature, values):
        *bases, n = values
        element = bases[0].type.pointee
        lanes = ROW_BYTES // (4 if isinstance(element, ir.FloatType) else 8)
        vector = ir.VectorType(element, lanes)
        neutral = ir.Constant(vector, [start] * lanes)
        zero = ir.Constant(_I64, 0)

        before = builder.block
        head, body, tail, end = (builder.append_basic_block(n) for n in ("head", "row", "last", "fold"))
        rest = builder.append_basic_block("rest")
        builder.branch(head)
        builder.position_at_end(head)
        index, partial = builder.phi(_I64), builder.phi(vector)
        after = builder.add(index, ir.Constant(_I64, lanes))
        builder.cbranch(builder.icmp_signed("<=", after, n), body, rest)

        builder.position_at_end(body)
        rows = [_load(builder, builder.gep(p, [index]), vector, None) for p in bases]
        joined = step(builder, partial, *rows)
        builder.branch(head)
        index.add_incoming(zero, before)
        index.add_incoming(after, body)
        partial.add_incoming(neutral, before)
        partial.add_incoming(joined, body)

        builder.position_at_end(rest)
        builder.cbranch(builder.icmp_signed("<", index, n), tail, end)

        builder.position_at_end(tail)
        left = builder.trunc(builder.sub(n, index), _I32)
        some = ir.VectorType(_I32, lanes)
        spread = builder.insert_element(ir.Constant(some, ir.Undefined), left, ir.Constant(_I32, 0))
        spread = builder.shuffle_vector(spread, spread, ir.Constant(some, [0] * lanes))
        mask = builder.icmp_signed("<", ir.Constant(some, list(range(lanes))), spread)
        rows = [_load(builder, builder.gep(p, [index]), vector, mask) for p in bases]
        if len(rows) == 1:
            rows = [builder.select(mask, rows[0], neutral)]
        last = step(builder, partial, *rows)
        builder.branch(end)

        builder.position_at_end(end)
        result = builder.phi(vector)
        result.add_incoming(partial, rest)
        result.add_incoming(last, tail)
        while lanes > 1:
            lanes //= 2
            low, high = (
                ir.Constant(ir.VectorType(_I32, lanes), list(range(k, k + lanes))) for k in (0, lanes)
            )
            low, high = (
                builder.shuffle_vector(result, result, low),
                builder.shuffle_vector(result, result, high),
            )
            result = merge(builder, low, high)
        return builder.extract_element(result, ir.Constant(_I32, 0))

    if pointers == 1:

        @intrinsic
        def fold(typing, x, n):
            return x.dtype(x, types.int64), generate
    else:

        @intrinsic
        def fold(typing, x, y, n):
            return x.dtype(x, y, types.int64), generate

    return fold


def _pure(start, step, merge):
    """The same folds in plain Python."""

    def fold(*arguments):
        import numpy as np

        *pointers, n = arguments
        lanes = ROW_BYTES // (4 if pointers[0]._type_.__name__ == "c_float" else 8)
        number = np.float32 if lanes == 32 else np.float64
        partial = [number(start)] * lanes
        for i in range(n):
            partial[i % lanes] = step(partial[i % lanes], *(number(p[i]) for p in pointers))
        while lanes > 1:
            lanes //= 2
            partial = [merge(partial[k], partial[k + lanes]) for k in range(lanes)]
        return partial[0]

    return fold


if PURE:

    def _larger(a, b):
        return a if a > b else b

    def _plus(a, b):
        return a + b

    total = _pure(0.0, _plus, _plus)
    largest = _pure(-math.inf, _larger, _larger)
    dot = _pure(0.0, lambda total, a, b: total + a * b, _plus)
else:
    total = _fold(1, 0.0, _add, _add)
    """``total(x, n)``: the sum of x[0] … x[n − 1]; 0 for none."""
    largest = _fold(1, -math.inf, _greater, _greater)
    """``largest(x, n)``: the maximum; −∞ for none. NaN may or may not come through."""
    dot = _fold(2, 0.0, _multiply_add, _add)
    """``dot(x, y, n)``: the sum of x[i] y[i]; 0 for none."""
