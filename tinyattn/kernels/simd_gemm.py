"""The inner loops of matrix multiplication, as LLVM vector instructions behind Numba intrinsics.

The heart is the *micro-tile*: a block of C of a few rows and a few vectors of columns that stays in registers
while k runs,

    C[r, j] = α Σ_k A[r, k] B[k, j] + D[r, j]

Each step of k loads one row of B as vectors, and each number of A once, spread over a vector. With 14 × 2
vectors of sums that makes 28 fused multiply-adds for 16 loads: arithmetic is the limit, not memory. Every
element of C is one chain of additions in the order of k, whatever the shape of the micro-tile; hence the
same bits from every path, and from every machine that has fused multiply-add.

All addresses and strides here are in bytes. With ``NUMBA_DISABLE_JIT=1`` the plain Python twins at the end
are used.
"""

import functools

from llvmlite import ir
from numba import types

from tinyattn.kernels.calls import gemm_plan
from tinyattn.kernels.language import processor
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import BYTE, WORD, Vectors, at, constant, lane_numbers, plus

# ---- the micro-tile ----

_MICRO_WORDS = "shape depth a a_row a_row3 a_row5 a_step b b_step c c_row d d_row tail".split()
_GROUP = 7
"""Rows of A that are addressed from one pointer: x86 adds 1, 2, 4 or 8 times a register to an address, so
rows 0 … 6 need the pointer, the stride and its multiples by 3 and 5, and no pointers of their own."""


def _internal_function(module, v, name, *attributes):
    """A new LLVM function of ``_MICRO_WORDS`` and α."""
    kind = ir.FunctionType(ir.VoidType(), [WORD] * len(_MICRO_WORDS) + [v.number])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    for attribute in ("nounwind", "noinline", *attributes):
        function.attributes.add(attribute)
    return function


def _micro_function(module, v, rows, vectors):
    """The LLVM function of micro-tiles of ``rows`` × ``vectors``; of the last vector, ``tail`` lanes exist.

    Were it inlined, LLVM would find out that a_row3 is 3 a_row, and keep 14 pointers in place of 5 numbers.
    ``optsize`` keeps it from unrolling a loop that is long enough as it is.
    """
    function = _internal_function(module, v, f"tinyattn_micro_{rows}x{vectors}_{v.kind}", "optsize")
    word, alpha = dict(zip(_MICRO_WORDS, function.args, strict=False)), function.args[-1]
    entry, loop, done = (function.append_basic_block(name) for name in ("entry", "step", "done"))
    cells = [(r, j) for r in range(rows) for j in range(vectors)]

    builder = ir.IRBuilder(entry)
    a_row, a_row3, a_row5 = word["a_row"], word["a_row3"], word["a_row5"]
    a_row2, a_row4 = (builder.shl(a_row, constant(bits)) for bits in (1, 2))
    offsets = [constant(0), a_row, a_row2, a_row3, a_row4, a_row5, builder.shl(a_row3, constant(1))]
    starts = [at(builder, word["a"])]
    for _ in range(_GROUP, rows, _GROUP):
        starts.append(plus(builder, starts[-1], builder.add(a_row2, a_row5)))
    b_start, mask = at(builder, word["b"]), v.mask(builder, word["tail"])
    alpha = v.spread(builder, alpha)
    builder.cbranch(builder.icmp_signed(">", word["depth"], constant(0)), loop, done)

    builder.position_at_end(loop)

    def carried(start):
        value = builder.phi(start.type)
        value.add_incoming(start, entry)
        return value

    left, b, *groups = (carried(start) for start in (word["depth"], b_start, *starts))
    sums = {cell: carried(v.zero) for cell in cells}
    row_of_b = []
    for j in range(vectors):
        masked = processor.MASKED_LOADS and j == vectors - 1
        row_of_b.append(v.load(builder, plus(builder, b, j * v.bytes), mask if masked else None))
    added = {}
    for r in range(rows):
        place = plus(builder, groups[r // _GROUP], offsets[r % _GROUP])
        number = v.repeat(builder, place)
        for j in range(vectors):
            added[r, j] = v.multiply_add(builder, number, row_of_b[j], sums[r, j])
    rest = builder.sub(left, constant(1))
    left.add_incoming(rest, loop)
    b.add_incoming(plus(builder, b, word["b_step"]), loop)
    for group in groups:
        group.add_incoming(plus(builder, group, word["a_step"]), loop)
    for cell in cells:
        sums[cell].add_incoming(added[cell], loop)
    builder.cbranch(builder.icmp_signed(">", rest, constant(0)), loop, done)

    builder.position_at_end(done)
    totals = {cell: carried(v.zero) for cell in cells}
    for cell in cells:
        totals[cell].add_incoming(added[cell], loop)
    d = at(builder, word["d"])
    for r in range(rows):
        for j in range(vectors):
            term = v.load(builder, plus(builder, d, j * v.bytes), mask if j == vectors - 1 else None)
            totals[r, j] = v.multiply_add(builder, alpha, totals[r, j], term)
        d = plus(builder, d, word["d_row"])

    def store(last_mask):
        c = at(builder, word["c"])
        for r in range(rows):
            for j in range(vectors):
                place = plus(builder, c, j * v.bytes)
                v.store(builder, totals[r, j], place, last_mask if j == vectors - 1 else None)
            c = plus(builder, c, word["c_row"])
        builder.ret_void()

    if not processor.MASKED_STORES:
        whole, part = (function.append_basic_block(name) for name in ("whole", "part"))
        builder.cbranch(builder.icmp_signed("==", word["tail"], constant(v.lanes)), whole, part)
        builder.position_at_end(whole)
        store(None)
        builder.position_at_end(part)
    store(mask)
    return function


def _dispatch_function(module, v):
    """The LLVM function that goes on to the one for micro-tiles of shape ``8 rows + vectors - 1``."""
    name = f"tinyattn_micro_{v.kind}"
    if name in module.globals:
        return module.globals[name]
    function = _internal_function(module, v, name)
    builder = ir.IRBuilder(function.append_basic_block())
    other = function.append_basic_block("other")
    switch = builder.switch(function.args[0], other)
    builder.position_at_end(other)
    builder.ret_void()
    for rows in gemm_plan.HEIGHTS:
        for vectors in range(1, gemm_plan.panel_vectors(rows) + 1):
            block = function.append_basic_block(f"shape_{rows}x{vectors}")
            switch.add_case(constant(8 * rows + vectors - 1), block)
            builder.position_at_end(block)
            builder.call(_micro_function(module, v, rows, vectors), function.args, tail=True)
            builder.ret_void()
    return function


def _zeros(module):
    """Zeros in memory, as many as the widest micro-tile has columns: what is added if there is no D."""
    name = "tinyattn_zeros"
    if name in module.globals:
        return module.globals[name]
    kind = ir.ArrayType(BYTE, gemm_plan.panel_vectors(1) * processor.VECTOR_BYTES)
    zeros = ir.GlobalVariable(module, kind, name)
    zeros.linkage, zeros.global_constant, zeros.align = "internal", True, processor.VECTOR_BYTES
    zeros.initializer = ir.Constant(kind, None)
    return zeros


@functools.cache
def micro_tile(real):
    """``(rows, vectors, tail, depth, α, a, a_row, a_step, b, b_step, c, c_row, d, d_row)``: a block of C.

    ``rows`` is one of ``gemm_plan.HEIGHTS``; of ``vectors`` ≤ ``gemm_plan.panel_vectors(rows)`` vectors of
    columns the last has ``tail`` lanes. A has any strides; rows of B, C and D are contiguous; ``d`` is 0
    for no D, or may be ``c``.
    """
    if PURE:
        return _pure_micro_tile(real)
    v = Vectors(real.name)

    def write(builder, values):
        rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row = values
        shape = builder.sub(builder.add(builder.shl(rows, constant(3)), vectors), constant(1))
        a_row3, a_row5 = (builder.mul(a_row, constant(factor)) for factor in (3, 5))
        absent = builder.icmp_signed("==", d, constant(0))
        d = builder.select(absent, builder.ptrtoint(_zeros(builder.module), WORD), d)
        d_row = builder.select(absent, constant(0), d_row)
        words = [shape, depth, a, a_row, a_row3, a_row5, a_step, b, b_step, c, c_row, d, d_row, tail]
        builder.call(_dispatch_function(builder.module, v), [*words, alpha])

    return instructions(types.void(*[types.int64] * 4, real.numba_type, *[types.int64] * 9), write)


# ---- moving panels ----


@functools.cache
def copy_vector(real):
    """``(source, target, count)``: copy up to a vector of numbers, and fill up with zeros."""
    if PURE:
        return _pure_copy_vector(real)
    v = Vectors(real.name)

    def write(builder, values):
        source, target, count = values
        v.store(builder, v.load(builder, source, v.mask(builder, count)), target)

    return instructions(types.void(*[types.int64] * 3), write)


@functools.cache
def transpose_block(real):
    """``(source, stride, count, target, step)``: transpose a square block, as wide as a vector.

    Row r of the source is at ``source + min(r, count - 1) · stride``, row k of the result at
    ``target + k · step``. In log₂(lanes) rounds, blocks of half the size of the round before change places
    across the diagonal.
    """
    if PURE:
        return _pure_transpose_block(real)
    v = Vectors(real.name)

    def write(builder, values):
        source, stride, count, target, step = values
        source, target, rows = at(builder, source), at(builder, target), []
        for r in map(constant, range(v.lanes)):
            exists = builder.icmp_signed("<", r, count)
            row = builder.select(exists, r, builder.sub(count, constant(1)))
            rows.append(v.load(builder, plus(builder, source, builder.mul(row, stride))))
        half = v.lanes // 2
        while half:
            low, high = _exchange(v.lanes, half)
            for r in range(v.lanes):
                if not r & half:
                    x, y = rows[r], rows[r + half]
                    rows[r] = builder.shuffle_vector(x, y, low)
                    rows[r + half] = builder.shuffle_vector(x, y, high)
            half //= 2
        for row in rows:
            v.store(builder, row, target)
            target = plus(builder, target, step)

    return instructions(types.void(*[types.int64] * 5), write)


def _exchange(lanes, half):
    """Shuffles of two vectors that exchange odd ``half``-wide blocks of one with even blocks of the other."""
    low = [i if not i & half else lanes + i - half for i in range(lanes)]
    high = [i + half if not i & half else lanes + i for i in range(lanes)]
    return lane_numbers(low), lane_numbers(high)


# ---- the same in plain Python ----


def _pure_micro_tile(real):
    pointer, lanes, zero = real.pointer, processor.lanes(real.name), real.type(0)

    def tile(rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row):
        columns = (vectors - 1) * lanes + tail
        for r in range(rows):
            sums = [zero] * columns
            for k in range(depth):
                x, row = real.type(pointer(a + r * a_row + k * a_step)[0]), pointer(b + k * b_step)
                sums = [total + x * real.type(row[j]) for j, total in enumerate(sums)]
            result, added = pointer(c + r * c_row), pointer(d + r * d_row) if d else [zero] * columns
            for j in range(columns):
                result[j] = alpha * sums[j] + real.type(added[j])

    return tile


def _pure_copy_vector(real):
    pointer, lanes = real.pointer, processor.lanes(real.name)

    def copy(source, target, count):
        for i in range(lanes):
            pointer(target)[i] = pointer(source)[i] if i < count else 0

    return copy


def _pure_transpose_block(real):
    pointer, lanes = real.pointer, processor.lanes(real.name)

    def transpose(source, stride, count, target, step):
        for r in range(lanes):
            for k in range(lanes):
                pointer(target + k * step)[r] = pointer(source + min(r, count - 1) * stride)[k]

    return transpose
