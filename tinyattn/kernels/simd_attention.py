"""The exponentials of attention, over a whole tile of scores in one run.

A tile has a row for each key and a column for each query, so a query's sum runs down a column: one vector
holds the sums of many queries, and nothing has to be added across a vector. A tile lies in scratch memory;
its rows are whole vectors long, and numbers beyond the last query may be anything.

:func:`online_softmax` is a step of the recurrence (Milakov and Gimelshein 2018)

    m' = max(m, max_j S_j),    P_j = e^{S_j − m'},    l' = e^{m − m'} l + Σ_j P_j,

which meets the keys block by block and never looks back; :func:`softmax_backward` is S̄ = P ⊙ (P̄ − D) with P
= e^{(S − m) − log l}. Addresses and strides are in bytes. With ``NUMBA_DISABLE_JIT=1`` the twins at the end are used.
"""

import functools
import math

from numba import types
from numba.core import cgutils

from tinyattn.kernels.language.elementary import Elementary
from tinyattn.kernels.language.formula import Value, select
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import Vectors, constant, loop


class _Tile:
    """What both functions do: vectors of columns from left to right, and in each the rows from the top."""

    def __init__(self, builder, v):
        self.builder, self.v = builder, v

    def columns(self, count):
        """A loop over the vectors of ``count`` numbers; gives the first column of each."""
        return loop(self.builder, constant(0), count, self.v.lanes)

    def rows(self, count):
        return loop(self.builder, constant(0), count)

    def place(self, base, column, row=None, stride=None):
        """The address of a vector: in a line of numbers, or in a row of a tile."""
        address = self.v.place(self.builder, base, column)
        return address if row is None else self.builder.add(address, self.builder.mul(row, stride))

    def load(self, address):
        return Value(self.builder, self.v.load(self.builder, address))

    def store(self, value, address):
        self.v.store(self.builder, value.value, address)


@functools.cache
def online_softmax(real):
    """``(tile, stride, rows, columns, tops, totals, factors)``: scores to weights, in place.

    ``tops`` (m) and ``totals`` (l) are updated; ``factors`` become e^{m − m'}, by which what was summed up so
    far is to be multiplied. While a query has met no score above −∞ its weights are 0.
    """
    if PURE:
        return _pure_online_softmax(real)
    v, exp = Vectors(real.name), Elementary(real.name).weight

    def write(builder, values):
        tile, stride, rows, columns, tops, totals, factors = values
        over = _Tile(builder, v)
        running = cgutils.alloca_once(builder, v.type)
        with over.columns(columns) as c:
            before = over.load(over.place(tops, c))
            builder.store(before.value, running)
            with over.rows(rows) as row:
                score = over.load(over.place(tile, c, row, stride))
                top = Value(builder, builder.load(running))
                builder.store(select(score > top, score, top).value, running)
            top = Value(builder, builder.load(running))
            base = select(top == -math.inf, real.type(0), top)
            builder.store(v.zero, running)
            with over.rows(rows) as row:
                address = over.place(tile, c, row, stride)
                value = exp(over.load(address) - base)
                over.store(value, address)
                builder.store((Value(builder, builder.load(running)) + value).value, running)
            factor = exp(before - base)
            total = over.load(over.place(totals, c)) * factor + Value(builder, builder.load(running))
            over.store(top, over.place(tops, c))
            over.store(total, over.place(totals, c))
            over.store(factor, over.place(factors, c))

    return instructions(types.void(*[types.int64] * 7), write)


@functools.cache
def softmax_backward(real):
    """``(scores, cotangents, stride, rows, columns, tops, log_sums, means)``: S to P and P̄ to S̄, in place.

    Where a weight is 0, S̄ is 0 whatever P̄ is.
    """
    if PURE:
        return _pure_softmax_backward(real)
    v, exp = Vectors(real.name), Elementary(real.name).weight

    def write(builder, values):
        scores, cotangents, stride, rows, columns, tops, log_sums, means = values
        over = _Tile(builder, v)
        with over.columns(columns) as c:
            top, log_sum, mean = (over.load(over.place(line, c)) for line in (tops, log_sums, means))
            with over.rows(rows) as row:
                address = over.place(scores, c, row, stride)
                value = exp((over.load(address) - top) - log_sum)
                over.store(value, address)
                address = over.place(cotangents, c, row, stride)
                moved = value * (over.load(address) - mean)
                over.store(select(value == 0, real.type(0), moved), address)

    return instructions(types.void(*[types.int64] * 8), write)


def _pure_online_softmax(real):
    pointer, exp = real.pointer, Elementary(real.name).weight

    def function(tile, stride, rows, columns, tops, totals, factors):
        for c in range(columns):
            column = [pointer(tile + r * stride) for r in range(rows)]
            before = real.type(pointer(tops)[c])
            top = before
            for row in column:
                top = row[c] if row[c] > top else top
            base = real.type(0 if top == -math.inf else top)
            total = real.type(0)
            for row in column:
                value = exp(real.type(row[c]) - base)
                row[c] = value
                total += value
            factor = exp(before - base)
            pointer(tops)[c], pointer(factors)[c] = top, factor
            pointer(totals)[c] = real.type(pointer(totals)[c]) * factor + total

    return function


def _pure_softmax_backward(real):
    pointer, exp = real.pointer, Elementary(real.name).weight

    def function(scores, cotangents, stride, rows, columns, tops, log_sums, means):
        for r in range(rows):
            p, g = pointer(scores + r * stride), pointer(cotangents + r * stride)
            for c in range(columns):
                value = exp((real.type(p[c]) - real.type(pointer(tops)[c])) - real.type(pointer(log_sums)[c]))
                p[c] = value
                g[c] = 0 if value == 0 else value * (real.type(g[c]) - real.type(pointer(means)[c]))

    return function
