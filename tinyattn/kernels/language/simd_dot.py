"""Dot products of one vector with several columns at once, as LLVM vector instructions.

As in :mod:`tinyattn.kernels.language.lanes`, a product has 128 bytes of partial sums, which are added in halves at
the end, so that the bits are the same on every machine. Most of the work for short columns is in those
halvings; several columns share it, since two half-empty vectors make one full one:

    x₀ x₁ x₂ x₃ , y₀ y₁ y₂ y₃   →   x₀+x₂  x₁+x₃  y₀+y₂  y₁+y₃   →   …
"""

import functools

from numba import types

from tinyattn.kernels.language import lanes, processor
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import Vectors, at, constant, lane_numbers, plus

COLUMNS = 8 if processor.VECTOR_BYTES == 64 else 2
"""Columns that are done at once: as many as there are registers for their sums."""


@functools.cache
def dot_columns(real):
    """``(depth, a, b, stride, count, target)``: ``COLUMNS`` dot products of a with columns of B, one after
    another.

    Numbers of a and of each column are contiguous. Column j is at ``b + min(j, count - 1) · stride`` bytes.
    """
    if PURE:
        return _pure_dot_columns(real)
    v = Vectors(real.name)
    parts = lanes.ROW_BYTES // v.bytes  # vectors of partial sums of a column

    def write(builder, values):
        depth, a, b, stride, count, target = values
        a, b, columns = at(builder, a), at(builder, b), []
        for j in map(constant, range(COLUMNS)):
            exists = builder.icmp_signed("<", j, count)
            column = builder.select(exists, j, builder.sub(count, constant(1)))
            columns.append(plus(builder, b, builder.mul(column, stride)))

        def step(sums, offset, masks):
            """The sums with the products of the next row of 128 bytes added."""
            result = []
            for p in range(parts):
                place = builder.add(offset, constant(p * v.bytes))
                x = v.load(builder, plus(builder, a, place), masks[p])
                for j, column in enumerate(columns):
                    y = v.load(builder, plus(builder, column, place), masks[p])
                    result.append(v.multiply_add(builder, x, y, sums[p * COLUMNS + j]))
            return result

        def merged(choices):
            """What each of several blocks brings along."""
            results = [builder.phi(value.type) for value in choices[0][1]]
            for block, incoming in choices:
                for result, value in zip(results, incoming, strict=True):
                    result.add_incoming(value, block)
            return results

        before, zeros = builder.block, [v.zero] * (parts * COLUMNS)
        loop, rest, tail, end = map(builder.append_basic_block, ("row", "rest", "last", "end"))
        left = builder.and_(depth, constant(real.lanes - 1))
        whole = builder.mul(builder.sub(depth, left), constant(v.size))  # bytes
        builder.cbranch(builder.icmp_signed(">", whole, constant(0)), loop, rest)

        builder.position_at_end(loop)
        offset, *sums = merged([(before, [constant(0), *zeros])])
        added = step(sums, offset, [None] * parts)
        following = builder.add(offset, constant(lanes.ROW_BYTES))
        for value, new in zip([offset, *sums], [following, *added], strict=True):
            value.add_incoming(new, loop)
        builder.cbranch(builder.icmp_signed("<", following, whole), loop, rest)

        builder.position_at_end(rest)
        sums = merged([(before, zeros), (loop, added)])
        builder.cbranch(builder.icmp_signed(">", left, constant(0)), tail, end)

        builder.position_at_end(tail)
        masks = [v.mask(builder, builder.sub(left, constant(p * v.lanes))) for p in range(parts)]
        added = step(sums, whole, masks)
        builder.branch(end)

        builder.position_at_end(end)
        sums = merged([(rest, sums), (tail, added)])
        while len(sums) > COLUMNS:
            half = len(sums) // 2
            sums = [builder.fadd(x, y) for x, y in zip(sums[:half], sums[half:], strict=True)]
        totals = _halved(builder, sums, v.lanes)
        builder.store(totals, builder.inttoptr(target, totals.type.as_pointer()), align=v.size)

    return instructions(types.void(*[types.int64] * 6), write)


def _halved(builder, vectors, width):
    """The sums of the lanes of several vectors, as one vector, by halvings that neighbours share."""
    while width > 1:
        width //= 2
        # One that is left alone is its own neighbour, and only half of what comes out is of use.
        pairs = zip(vectors[::2], vectors[1::2], strict=True) if len(vectors) > 1 else [vectors * 2]
        low = [i for i in range(vectors[0].type.count * min(2, len(vectors))) if not i & width]
        low, high = lane_numbers(low), lane_numbers([i + width for i in low])
        vectors = [
            builder.fadd(builder.shuffle_vector(x, y, low), builder.shuffle_vector(x, y, high))
            for x, y in pairs
        ]
    return vectors[0]


def _pure_dot_columns(real):
    pointer, size = real.pointer, real.size

    def dot(depth, a, b, stride, count, target):
        for j in range(COLUMNS):
            column = pointer(b + min(j, count - 1) * stride)
            pointer(target + j * size)[0] = lanes.dot(pointer(a), column, depth)

    return dot
