"""Passes over the rows of a matrix, from a formula (see :mod:`tinyattn.kernels.language.formula`).

The operations on a memory of N places of W numbers go over its rows: each element of the result comes from
elements at the same place, a number of its column and a number of its row, as in M_ij + w_i a_j; and on the
way sums over the rows are taken, as in Σ_i w_i M_ij.

Left to LLVM's vectoriser, rows of 20 numbers would mostly be remainders, and compiling would take several
times as long. Here everything is in vectors of 64 bytes on every machine, the last of them under a mask; the
sums stay in registers while the rows go by, and their order is that of the rows.
"""

import functools

import numpy as np
from numba import types

from tinyattn.kernels.language.formula import Value
from tinyattn.kernels.language.passes import several
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.simd_dot import COLUMNS, dot_columns
from tinyattn.kernels.language.vectors import WORD, Vectors, at, constant, plus

_BYTES = 64
"""Width of vectors, whatever the machine has."""


def sweep(real, matrices: int, columns: int, rows: int, formula, sums: int = 0):
    """``(matrix…, column…, row…, result, sum…, count, width)``: a formula applied to the ``count`` rows of
    matrices.

    ``formula(element…, number of the column…, number of the row…)`` gives the element of the result, and
    after it what is added to each of the sums over the rows, ``width`` numbers each. All are addresses of
    contiguous numbers; the result may be one of the matrices.
    """
    if PURE:
        return _pure_sweep(real, (matrices, columns, rows, sums), formula)
    v, inputs = Vectors(real.name, _BYTES // real.size), matrices + columns + rows

    def write(builder, values):
        *addresses, count, width = values
        pointers = [at(builder, a) for a in addresses]
        stride = builder.mul(width, constant(v.size))

        def strip(first, mask):
            """All rows of one vector of columns."""
            column = builder.mul(first, constant(v.size))
            before = builder.block
            fixed = [
                Value(builder, v.load(builder, plus(builder, p, column), mask))
                for p in pointers[matrices : matrices + columns]
            ]
            loop, end = map(builder.append_basic_block, ("row", "rows"))
            builder.cbranch(builder.icmp_signed(">", count, constant(0)), loop, end)
            builder.position_at_end(loop)
            index, totals = builder.phi(WORD), [builder.phi(v.type) for _ in range(sums)]
            place = builder.add(column, builder.mul(index, stride))
            elements = [
                Value(builder, v.load(builder, plus(builder, p, place), mask)) for p in pointers[:matrices]
            ]
            numbers = []
            for p in pointers[matrices + columns : inputs]:
                numbers.append(Value(builder, v.repeat(builder, v.place(builder, p, index))))
            result, *terms = several(formula(*elements, *fixed, *numbers))
            v.store(builder, result.value, plus(builder, pointers[inputs], place), mask)
            added = [(Value(builder, t) + term).value for t, term in zip(totals, terms, strict=True)]
            following = builder.add(index, constant(1))
            builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
            zeros = [v.zero] * sums
            for phi, start, value in zip(
                [index, *totals], [constant(0), *zeros], [following, *added], strict=True
            ):
                phi.add_incoming(start, before)
                phi.add_incoming(value, loop)
            builder.position_at_end(end)
            finals = [builder.phi(v.type) for _ in range(sums)]
            for final, value, p in zip(finals, added, pointers[inputs + 1 :], strict=True):
                final.add_incoming(v.zero, before)
                final.add_incoming(value, loop)
                v.store(builder, final, plus(builder, p, column), mask)

        v.each(builder, constant(0), width, strip)

    return instructions(types.void(*[types.int64] * (inputs + 1 + sums + 2)), write)


@functools.cache
def dot_rows(real):
    """``(matrix, count, width, vector, target)``: dot products of the rows of a contiguous matrix with a vector.

    Writes up to :data:`tinyattn.kernels.calls.memory.ROW_ROOM` numbers past the ``count``-th.
    """
    size, dot, step = real.size, dot_columns(real), COLUMNS

    @inline
    def dots(matrix, count, width, vector, target):
        for i in range(0, count, step):
            dot(
                width,
                vector,
                matrix + i * width * size,
                width * size,
                min(step, count - i),
                target + i * size,
            )

    return dots


# ---- the same in plain Python ----


def _read(real, address, count):
    pointer = real.pointer(address)
    return np.array([pointer[k] for k in range(count)], real.type)


def _write(real, address, values):
    pointer = real.pointer(address)
    for k, value in enumerate(values):
        pointer[k] = value


def _pure_sweep(real, counts, formula):
    matrices, columns, rows, sums = counts
    inputs = matrices + columns + rows

    def swept(*values):
        *addresses, count, width = values
        fixed = [_read(real, a, width) for a in addresses[matrices : matrices + columns]]
        totals = [np.zeros(width, real.type) for _ in range(sums)]
        for i in range(count):
            line = i * width * real.size
            elements = [_read(real, a + line, width) for a in addresses[:matrices]]
            numbers = [_read(real, a + i * real.size, 1)[0] for a in addresses[matrices + columns : inputs]]
            with np.errstate(all="ignore"):
                result, *terms = several(formula(*elements, *fixed, *numbers))
                totals = [total + term for total, term in zip(totals, terms, strict=True)]
            _write(real, addresses[inputs] + line, result)
        for address, total in zip(addresses[inputs + 1 :], totals, strict=True):
            _write(real, address, total)

    return swept
