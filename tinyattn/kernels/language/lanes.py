"""Sums, dot products and maxima of runs of numbers, with an order of operations that no machine changes.

Adding a run up from left to right is slow (each addition waits for the one before) and inexact (the error
grows with the length). Here a run is laid out in rows of L numbers, 128 bytes; the columns are added up side
by side, and then folded in halves:

    a₀ … a_{L−1} | a_L … a_{2L−1} | …  →  L partial sums  →  L/2  →  …  →  1

L doesn't depend on the width of the machine's vectors, so neither do the bits of the result. A last row that
isn't full is read under a mask. :data:`total`, :data:`largest` and :data:`dot` take typed pointers (see
:mod:`tinyattn.kernels.language.simd`) and a length.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.language.formula import Value, select
from tinyattn.kernels.language.simd import PURE
from tinyattn.kernels.language.vectors import Vectors

ROW_BYTES = 128


def add(a, b):
    return a + b


def larger(a, b):
    """The larger of two; ``b`` if either is NaN."""
    return select(a > b, a, b)


def _fold(pointers, start, step, merge):
    """A function of ``pointers`` pointers and a length.

    The formula ``step(partial, *vectors)`` takes the next row in, ``merge(a, b)`` joins partial results;
    ``start`` is a partial result that changes nothing. A row that isn't full is filled up with zeros, or with
    ``start`` if there is one pointer.
    """
    if PURE:
        return _pure(start, step, merge)

    def generate(context, builder, signature, values):
        *bases, n = values
        kind, size = ("f32", 4) if isinstance(bases[0].type.pointee, ir.FloatType) else ("f64", 8)
        v = Vectors(kind, ROW_BYTES // size)
        neutral = v.all(start)

        def row(index, partial, mask):
            rows = [v.load(builder, v.place(builder, base, index), mask) for base in bases]
            if mask is not None and pointers == 1:
                rows = [builder.select(mask, rows[0], neutral)]
            return [step(*(Value(builder, value) for value in (*partial, *rows))).value]

        return v.halved(builder, *v.fold(builder, n, [neutral], row), merge)

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
    """The same fold in plain Python."""

    def fold(*arguments):
        *pointers, n = arguments
        number = np.float32 if pointers[0]._type_.__name__ == "c_float" else np.float64
        lanes = ROW_BYTES // np.dtype(number).itemsize
        partial = [number(start)] * lanes
        for i in range(n):
            partial[i % lanes] = step(partial[i % lanes], *(number(p[i]) for p in pointers))
        while lanes > 1:
            lanes //= 2
            partial = [merge(partial[k], partial[k + lanes]) for k in range(lanes)]
        return partial[0]

    return fold


total = _fold(1, 0.0, add, add)
"""``total(x, n)``: the sum of x[0] … x[n − 1]; 0 for none."""
largest = _fold(1, -math.inf, larger, larger)
"""``largest(x, n)``: the maximum; −∞ for none. NaN may or may not come through."""
dot = _fold(2, 0.0, lambda total, x, y: total + x * y, add)
"""``dot(x, y, n)``: the sum of x[i] y[i]; 0 for none."""
