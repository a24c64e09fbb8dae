"""Kernels that measure the machine and the executor: how fast numbers can be multiplied and moved at all."""

import functools

from tinyattn.kernels.calls import gemm_plan
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import processor

CHAINS = 24 if gemm_plan.ROWS == 14 else 12
"""Independent vectors of sums in ``multiply_add``: enough to hide the latency of an addition, few enough for the
registers."""
ROUNDS = 512
"""Fused multiply-adds of each chain in a tile."""
SCALED = 1024
"""Numbers in a tile of ``scale``."""


def operations(dtype: str) -> int:
    """Floating-point operations in a tile of ``multiply_add``."""
    return 2 * ROUNDS * CHAINS * processor.lanes(dtype)


@functools.cache
def _chains(real):
    """``(numbers)``: s ← s x + y in ``CHAINS`` vectors that never leave the registers, ``ROUNDS`` times; x, y
    and, in the end, the sum of a vector's first numbers are at the address ``numbers``.
    """
    from llvmlite import ir
    from numba import types

    from tinyattn.kernels.language.simd import instructions
    from tinyattn.kernels.language.vectors import WORD, Vectors, at, constant, plus

    v = Vectors(real.name)

    def write(builder, values):
        place = at(builder, values[0])
        x, y = v.repeat(builder, place), v.repeat(builder, plus(builder, place, v.size))
        entry = builder.block
        loop, done = (builder.append_basic_block(name) for name in ("round", "done"))
        builder.branch(loop)
        builder.position_at_end(loop)
        left = builder.phi(WORD)
        sums = [builder.phi(v.type) for _ in range(CHAINS)]
        rest = builder.sub(left, constant(1))
        left.add_incoming(constant(ROUNDS), entry)
        left.add_incoming(rest, loop)
        for k, value in enumerate(sums):
            value.add_incoming(v.all(k), entry)
            sums[k] = v.multiply_add(builder, value, x, y)
            value.add_incoming(sums[k], loop)
        builder.cbranch(builder.icmp_signed(">", rest, constant(0)), loop, done)
        builder.position_at_end(done)
        total = sums[0]
        for value in sums[1:]:
            total = builder.fadd(total, value)
        result = builder.bitcast(plus(builder, place, 2 * v.size), v.number.as_pointer())
        builder.store(builder.extract_element(total, ir.Constant(ir.IntType(32), 0)), result)

    return instructions(types.void(types.int64), write)


def multiply_add(real):
    """Arithmetic and nothing else."""
    w = place("microbenchmark.multiply_add")
    from tinyattn.kernels.language.simd import PURE, i64

    if PURE:

        def chains(numbers):
            place = real.pointer(numbers)
            total = place[0] * 0
            for k in range(CHAINS):
                value = real.type(k)
                for _ in range(ROUNDS):
                    value = value * place[0] + place[1]
                total += value
            place[2] = total
    else:
        chains = _chains(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        for _ in range(first, last):
            chains(word[w.numbers])

    return kernel


def scale(real):
    """y = 2 x: memory and next to nothing else; also the smallest example of a kernel."""
    w = place("microbenchmark.scale")
    pointer, two, tile = real.pointer, real.type(2), SCALED
    from tinyattn.kernels.language.simd import i64

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, y, size = pointer(word[w.x]), pointer(word[w.y]), word[w.size]
        for i in range(first * tile, min(last * tile, size)):
            y[i] = x[i] * two

    return kernel
