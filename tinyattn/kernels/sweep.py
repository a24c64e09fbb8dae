"""One pass over the rows of a matrix with a formula, as a loop of LLVM vector instructions.

The operations on a memory of N rows of W numbers all have this form: each element of the result comes from
elements at the same place, from a number of its row and from a number of its column, as in M_ij + w_i a_j;
and on the way some sums over the rows are taken, as in Σ_i w_i M_ij. LLVM's own vectoriser makes little of
rows of 20 numbers. Here a row is taken in vectors of 64 bytes, the last of them under a mask; the sums stay
in registers while the rows go by. The order of additions is that of the rows, on every machine.
"""

import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import PURE
from tinyattn.kernels.simd_dot import COLUMNS, dot_columns
from tinyattn.kernels.simd_gemm import Vectors, at, constant, plus
from tinyattn.kernels.vector import Value

_WORD = ir.IntType(64)


class _Rows(Vectors):
    """Vectors of 64 bytes, whatever the machine has."""

    def __init__(self, real):
        super().__init__(real)
        self.bytes = 64
        self.lanes = self.bytes // self.size
        self.type = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.type, None)


def sweep(real, matrices: int, columns: int, rows: int, formula, sums: int = 0):
    """``(table, count, width)``: apply ``formula`` to ``count`` rows of ``width`` numbers.

    ``formula(m…, c…, r…)`` of as many elements of matrices, numbers of columns and numbers of rows returns
    the element of the result, and after it what is added to each of the ``sums`` over the rows. The table
    holds the addresses, all contiguous: matrices, columns, rows, the result (which may be one of the
    matrices), sums (width numbers each, which begin at 0).
    """
    size = real.size
    if PURE:
        return _pure(real, (matrices, columns, rows, sums), formula)
    v = _Rows(real)

    @intrinsic
    def swept(typing, table, count, width):
        def generate(context, builder, signature, values):
            table, count, width = values
            words = builder.inttoptr(table, _WORD.as_pointer())
            addresses = [
                at(builder, builder.load(builder.gep(words, [constant(k)])))
                for k in range(matrices + columns + rows + 1 + sums)
            ]
            stride = builder.mul(width, constant(size))

            def strip(column, mask):
                """All rows of one vector of columns; ``column`` in bytes."""
                before = builder.block
                fixed = [
                    Value(builder, v.load(builder, plus(builder, a, column), mask))
                    for a in addresses[matrices : matrices + columns]
                ]
                loop, end = builder.append_basic_block("row"), builder.append_basic_block("end")
                builder.cbranch(builder.icmp_signed(">", count, constant(0)), loop, end)
                builder.position_at_end(loop)
                index = builder.phi(_WORD)
                totals = [builder.phi(v.type) for _ in range(sums)]
                place = builder.add(column, builder.mul(index, stride))
                elements = [
                    Value(builder, v.load(builder, plus(builder, a, place), mask))
                    for a in addresses[:matrices]
                ]
                numbers = []
                for a in addresses[matrices + columns : matrices + columns + rows]:
                    number = builder.bitcast(
                        plus(builder, a, builder.mul(index, constant(size))), v.number.as_pointer()
                    )
                    numbers.append(Value(builder, v.spread(builder, builder.load(number))))
                result, *added = _several(formula(*elements, *fixed, *numbers))
                v.store(
                    builder, result.value, plus(builder, addresses[matrices + columns + rows], place), mask
                )
                new = [
                    (Value(builder, total) + term).value for total, term in zip(totals, added, strict=True)
                ]
                following = builder.add(index, constant(1))
                builder.cbranch(builder.icmp_signed("<", following, count), loop, end)
                for phi, start, value in zip(
                    [index, *totals], [constant(0), *[v.zero] * sums], [following, *new], strict=True
                ):
                    phi.add_incoming(start, before)
                    phi.add_incoming(value, loop)
                builder.position_at_end(end)
                for k, value in enumerate(new):
                    total = builder.phi(v.type)
                    total.add_incoming(v.zero, before)
                    total.add_incoming(value, loop)
                    new[k] = total
                for a, total in zip(addresses[matrices + columns + rows + 1 :], new, strict=True):
                    v.store(builder, total, plus(builder, a, column), mask)

            whole = builder.and_(stride, constant(-v.bytes))
            entry = builder.block
            head, body, rest, tail, done = map(
                builder.append_basic_block, ("head", "whole", "rest", "tail", "done")
            )
            builder.branch(head)
            builder.position_at_end(head)
            column = builder.phi(_WORD)
            column.add_incoming(constant(0), entry)
            builder.cbranch(builder.icmp_signed("<", column, whole), body, rest)
            builder.position_at_end(body)
            strip(column, None)
            column.add_incoming(builder.add(column, constant(v.bytes)), builder.block)
            builder.branch(head)
            builder.position_at_end(rest)
            builder.cbranch(builder.icmp_signed("<", whole, stride), tail, done)
            builder.position_at_end(tail)
            strip(whole, v.mask(builder, builder.and_(width, constant(v.lanes - 1))))
            builder.branch(done)
            builder.position_at_end(done)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return swept


def _several(result):
    return result if isinstance(result, tuple) else (result,)


def _pure(real, counts, formula):
    """The same in plain Python, a row at a time."""
    matrices, columns, rows, sums = counts

    def read(address, count):
        pointer = real.pointer(address)
        return np.array([pointer[k] for k in range(count)], real.type)

    def write(address, values):
        pointer = real.pointer(address)
        for k, value in enumerate(values):
            pointer[k] = value

    def swept(table, count, width):
        from tinyattn.kernels.simd import i64

        addresses = [i64(table)[k] for k in range(matrices + columns + rows + 1 + sums)]
        fixed = [read(a, width) for a in addresses[matrices : matrices + columns]]
        totals = [np.zeros(width, real.type) for _ in range(sums)]
        for i in range(count):
            at_row = i * width * real.size
            elements = [read(a + at_row, width) for a in addresses[:matrices]]
            numbers = [
                read(a + i * real.size, 1)[0]
                for a in addresses[matrices + columns : matrices + columns + rows]
            ]
            with np.errstate(all="ignore"):
                result, *added = _several(formula(*elements, *fixed, *numbers))
                totals = [total + term for total, term in zip(totals, added, strict=True)]
            write(addresses[matrices + columns + rows] + at_row, result)
        for address, total in zip(addresses[matrices + columns + rows + 1 :], totals, strict=True):
            write(address, total)

    return swept


@functools.cache
def dot_rows(real):
    """``(matrix, count, width, vector, target)``: dot products of the rows of a contiguous matrix with a vector.

    Writes up to :data:`tinyattn.kernels.tiling.ROW_ROOM` numbers past the ``count``-th.
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
