"""The inner loops of matrix multiplication, as LLVM vector instructions behind Numba intrinsics.

The heart is the *micro-tile*: a block of C of a few rows and a few vectors of columns that stays in registers while k runs,

    C[r, j] = alpha · Σ_k A[r, k] B[k, j]  +  D[r, j]

Each step of k loads one row of B as vectors, and each element of A once, spread over a vector: with 14 × 2 accumulators that is 28
fused multiply-adds for 16 loads, so arithmetic is the limit, not memory. Every element of C is one chain of additions in the order of
k, whatever the shape of the micro-tile; hence the same bits from every path and on every machine that has fused multiply-add.

All addresses and strides here are in bytes. With ``NUMBA_DISABLE_JIT=1`` the pure Python twins at the end are used.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels import blocking
from tinyattn.kernels.simd import PURE

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))
_WORD = types.int64


class _Vectors:
    """Vectors of a number type on this machine, and the LLVM instructions on them that need more than one line."""

    def __init__(self, real):
        self.name, self.size = real.name, real.size
        self.number = ir.FloatType() if real.name == "f32" else ir.DoubleType()
        self.lanes = blocking.lanes(real.name)
        self.vector = ir.VectorType(self.number, self.lanes)
        self.zero = ir.Constant(self.vector, None)
        self.suffix = f"v{self.lanes}{self.name}.p0"

    def pointer(self, builder, address, *offsets):
        """``address`` plus the byte offsets, as an untyped pointer."""
        for offset in offsets:
            address = builder.gep(address, [_constant(offset) if isinstance(offset, int) else offset])
        return address

    def load(self, builder, pointer):
        value = builder.load(builder.bitcast(pointer, self.vector.as_pointer()))
        value.align = self.size
        return value

    def store(self, builder, value, pointer):
        builder.store(value, builder.bitcast(pointer, self.vector.as_pointer())).align = self.size

    def splat(self, builder, scalar):
        lanes = ir.VectorType(scalar.type, self.lanes)
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), scalar, ir.Constant(_I32, 0))
        places = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), places)

    def mask(self, builder, count):
        """Which lanes have an index below ``count``."""
        indices = ir.Constant(ir.VectorType(_I32, self.lanes), list(range(self.lanes)))
        return builder.icmp_signed("<", indices, self.splat(builder, builder.trunc(count, _I32)))

    def _masked(self, builder, name, result, arguments):
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        return builder.call(_declared(builder.module, f"llvm.masked.{name}.{self.suffix}", kind), arguments)

    def masked_load(self, builder, pointer, mask):
        """Lanes outside the mask are 0 and their memory isn't touched."""
        pointer = builder.bitcast(pointer, self.vector.as_pointer())
        return self._masked(
            builder, "load", self.vector, [pointer, ir.Constant(_I32, self.size), mask, self.zero]
        )

    def masked_store(self, builder, value, pointer, mask):
        pointer = builder.bitcast(pointer, self.vector.as_pointer())
        self._masked(
            builder, "store", ir.VoidType(), [value, pointer, ir.Constant(_I32, self.size), mask]
        )

    def multiply_add(self, builder, x, y, z):
        """``x y + z``, rounded once where the machine can."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        return builder.call(
            _declared(builder.module, f"llvm.fmuladd.v{self.lanes}{self.name}", kind), [x, y, z]
        )


def _constant(value):
    return ir.Constant(_I64, value)


def _declared(module, name, kind):
    return module.globals.get(name) or ir.Function(module, kind, name)


def _at(builder, address):
    return builder.inttoptr(address, _I8.as_pointer())


# ---- the micro-tile ----

_MICRO_ARGUMENTS = (
    "shape depth a a_row a_row3 a_row5 a_step b b_step c c_row d d_row tail".split()
)  # and alpha, of the number's type
_GROUP = 7
"""Rows of A that are addressed from one pointer: 0, 1, 2, 4 times the stride are addressing modes, and 3, 5, 6 need two more registers."""


def _micro_function(module, v, rows, vectors):
    """An LLVM function for micro-tiles of ``rows`` × ``vectors``; only ``tail`` lanes of the last vector exist in memory."""
    name = f"tinyattn_micro_{rows}x{vectors}_{v.name}"
    kind = ir.FunctionType(ir.VoidType(), [_I64] * len(_MICRO_ARGUMENTS) + [v.number])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    # Inlined into its caller, the optimiser would work out that a_row3 is 3 a_row, and keep 14 pointers instead of 5 numbers.
    for attribute in ("noinline", "nounwind", "optsize"):
        function.attributes.add(attribute)
    named = dict(zip(_MICRO_ARGUMENTS, function.args, strict=False))
    depth, a_row, a_step, b_step = (named[key] for key in ("depth", "a_row", "a_step", "b_step"))
    entry, loop, done = (function.append_basic_block(label) for label in ("entry", "step", "done"))
    builder = ir.IRBuilder(entry)
    doubled = builder.shl(a_row, _constant(1))
    offsets = [
        *(0, a_row, doubled, named["a_row3"], builder.shl(a_row, _constant(2))),
        *(named["a_row5"], builder.shl(named["a_row3"], _constant(1))),
    ]
    stride = builder.add(doubled, named["a_row5"])
    starts = [_at(builder, named["a"])]
    for _ in range(_GROUP, rows, _GROUP):
        starts.append(v.pointer(builder, starts[-1], stride))
    b_start, mask = _at(builder, named["b"]), v.mask(builder, named["tail"])
    alpha = v.splat(builder, function.args[-1])
    builder.cbranch(builder.icmp_signed(">", depth, _constant(0)), loop, done)

    builder.position_at_end(loop)

    def carried(start):
        value = builder.phi(start.type)
        value.add_incoming(start, entry)
        return value

    left, b = carried(depth), carried(b_start)
    groups = [carried(start) for start in starts]
    sums = [[carried(v.zero) for _ in range(vectors)] for _ in range(rows)]
    row_of_b = [v.load(builder, v.pointer(builder, b, j * v.lanes * v.size)) for j in range(vectors - 1)]
    last = v.pointer(builder, b, (vectors - 1) * v.lanes * v.size)
    row_of_b.append(v.masked_load(builder, last, mask) if blocking.MASKED_LOADS else v.load(builder, last))
    added = []
    for r in range(rows):
        element = v.pointer(builder, groups[r // _GROUP], offsets[r % _GROUP])
        spread = v.splat(builder, builder.load(builder.bitcast(element, v.number.as_pointer())))
        added.append([v.multiply_add(builder, spread, row_of_b[j], sums[r][j]) for j in range(vectors)])
    rest = builder.sub(left, _constant(1))
    left.add_incoming(rest, loop)
    b.add_incoming(v.pointer(builder, b, b_step), loop)
    for group in groups:
        group.add_incoming(v.pointer(builder, group, a_step), loop)
    for r in range(rows):
        for j in range(vectors):
            sums[r][j].add_incoming(added[r][j], loop)
    builder.cbranch(builder.icmp_signed(">", rest, _constant(0)), loop, done)

    builder.position_at_end(done)
    totals = [[builder.phi(v.vector) for _ in range(vectors)] for _ in range(rows)]
    c_row, d_row = _at(builder, named["c"]), _at(builder, named["d"])
    for r in range(rows):
        for j in range(vectors):
            total, part = totals[r][j], j * v.lanes * v.size
            total.add_incoming(v.zero, entry)
            total.add_incoming(added[r][j], loop)
            masked = j == vectors - 1
            d_place, c_place = v.pointer(builder, d_row, part), v.pointer(builder, c_row, part)
            d = v.masked_load(builder, d_place, mask) if masked else v.load(builder, d_place)
            result = v.multiply_add(builder, alpha, total, d)
            if masked:
                v.masked_store(builder, result, c_place, mask)
            else:
                v.store(builder, result, c_place)
        c_row, d_row = v.pointer(builder, c_row, named["c_row"]), v.pointer(builder, d_row, named["d_row"])
    builder.ret_void()
    return function


def _dispatch_function(module, v):
    """An LLVM function that goes on to the micro-tile function for the shape in its first argument, ``8 rows + vectors - 1``."""
    name = f"tinyattn_micro_{v.name}"
    if name in module.globals:
        return module.globals[name]
    kind = ir.FunctionType(ir.VoidType(), [_I64] * len(_MICRO_ARGUMENTS) + [v.number])
    function = ir.Function(module, kind, name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block())
    other = function.append_basic_block("other")
    switch = builder.switch(function.args[0], other)
    builder.position_at_end(other)
    builder.ret_void()
    for rows in blocking.HEIGHTS:
        for vectors in range(1, blocking.panel_vectors(rows) + 1):
            block = function.append_basic_block(f"shape_{rows}x{vectors}")
            switch.add_case(_constant(8 * rows + vectors - 1), block)
            builder.position_at_end(block)
            builder.call(_micro_function(module, v, rows, vectors), function.args, tail=True)
            builder.ret_void()
    return function


def _zeros(module):
    """Constant zeros in memory, as long as the widest row of a micro-tile: what is added when there is no D."""
    name = "tinyattn_zeros"
    if name in module.globals:
        return module.globals[name]
    kind = ir.ArrayType(_I8, blocking.panel_vectors(1) * blocking.VECTOR_BYTES)
    zeros = ir.GlobalVariable(module, kind, name)
    zeros.linkage, zeros.global_constant, zeros.align = "internal", True, blocking.VECTOR_BYTES
    zeros.initializer = ir.Constant(kind, None)
    return zeros


@functools.cache
def micro_tile(real):
    """``(rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row) -> None``: a block of C in registers.

    ``rows`` ≤ ``blocking.ROWS`` and ``vectors`` ≤ ``blocking.panel_vectors(rows)`` vectors of columns, of which the last has ``tail``
    lanes. A has any strides; the rows of B, C and D are contiguous; ``d`` is 0 for no D, and may be ``c``.
    """
    if PURE:
        return _pure_micro_tile(real)
    v = _Vectors(real)

    @intrinsic
    def tile(
        typing, rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row
    ):
        def generate(context, builder, signature, values):
            rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row = values
            absent = builder.icmp_signed("==", d, _constant(0))
            d = builder.select(absent, builder.ptrtoint(_zeros(builder.module), _I64), d)
            d_row = builder.select(absent, _constant(0), d_row)
            shape = builder.sub(builder.add(builder.shl(rows, _constant(3)), vectors), _constant(1))
            a_row3, a_row5 = (builder.mul(a_row, _constant(factor)) for factor in (3, 5))
            arguments = [shape, depth, a, a_row, a_row3, a_row5, a_step, b, b_step, c, c_row, d, d_row, tail]
            builder.call(_dispatch_function(builder.module, v), [*arguments, alpha])
            return context.get_dummy_value()

        words = [_WORD] * 4 + [real.numba_type] + [_WORD] * 9
        return types.void(*words), generate

    return tile


# ---- moving panels ----


@functools.cache
def copy_vector(real):
    """``(source, target, count) -> None``: copy up to a vector of numbers and fill up with zeros."""
    if PURE:
        return _pure_copy_vector(real)
    v = _Vectors(real)

    @intrinsic
    def copy(typing, source, target, count):
        def generate(context, builder, signature, values):
            source, target, count = values
            value = v.masked_load(builder, _at(builder, source), v.mask(builder, count))
            v.store(builder, value, _at(builder, target))
            return context.get_dummy_value()

        return types.void(_WORD, _WORD, _WORD), generate

    return copy


@functools.cache
def transpose_block(real):
    """``(source, stride, count, target, step) -> None``: transpose a square block of as many numbers as a vector has lanes.

    Row r of the source is at ``source + min(r, count - 1) * stride``, row k of the result at ``target + k * step``.
    Log₂(lanes) rounds, each of which swaps the off-diagonal halves of blocks half as large as the round before.
    """
    if PURE:
        return _pure_transpose_block(real)
    v = _Vectors(real)

    @intrinsic
    def transpose(typing, source, stride, count, target, step):
        def generate(context, builder, signature, values):
            source, stride, count, target, step = values
            pointer, last = _at(builder, source), builder.sub(count, _constant(1))
            rows = []
            for r in range(v.lanes):
                row = builder.select(
                    builder.icmp_signed("<", _constant(r), count), _constant(r), last
                )
                rows.append(v.load(builder, v.pointer(builder, pointer, builder.mul(row, stride))))
            half = v.lanes // 2
            while half:
                low, high = _swap_halves(v.lanes, half)
                done = list(rows)
                for r in range(v.lanes):
                    if not r & half:
                        done[r] = builder.shuffle_vector(rows[r], rows[r + half], low)
                        done[r + half] = builder.shuffle_vector(rows[r], rows[r + half], high)
                rows, half = done, half // 2
            pointer = _at(builder, target)
            for k, row in enumerate(rows):
                v.store(builder, row, v.pointer(builder, pointer, builder.mul(step, _constant(k))))
            return context.get_dummy_value()

        return types.void(*[_WORD] * 5), generate

    return transpose


def _swap_halves(lanes, half):
    """Shuffles of two rows x, y that exchange the ``half``-wide odd blocks of x with the even blocks of y."""
    low = [i if not i & half else lanes + i - half for i in range(lanes)]
    high = [i + half if not i & half else lanes + i for i in range(lanes)]
    return [ir.Constant(ir.VectorType(_I32, lanes), places) for places in (low, high)]


# ---- the same in plain Python ----


def _pure_micro_tile(real):
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)

    def tile(rows, vectors, tail, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, d, d_row):
        columns = (vectors - 1) * lanes + tail
        for r in range(rows):
            sums = [real.type(0)] * columns
            for k in range(depth):
                x, row = real.type(pointer(a + r * a_row + k * a_step)[0]), pointer(b + k * b_step)
                sums = [total + x * real.type(row[j]) for j, total in enumerate(sums)]
            out, added = pointer(c + r * c_row), pointer(d + r * d_row) if d else None
            for j in range(columns):
                out[j] = alpha * sums[j] + (real.type(added[j]) if d else real.type(0))

    return tile


def _pure_copy_vector(real):
    pointer, lanes = real.pointer, blocking.lanes(real.name)

    def copy(source, target, count):
        for i in range(lanes):
            pointer(target)[i] = pointer(source)[i] if i < count else 0

    return copy


def _pure_transpose_block(real):
    pointer, lanes = real.pointer, blocking.lanes(real.name)

    def transpose(source, stride, count, target, step):
        for r in range(lanes):
            for k in range(lanes):
                pointer(target + k * step)[r] = pointer(source + min(r, count - 1) * stride)[k]

    return transpose
