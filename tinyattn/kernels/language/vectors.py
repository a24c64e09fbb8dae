"""Vectors of numbers as LLVM instructions: in memory, under masks, in loops, and folded into one number.

Kernels that write their own instructions are made of these. A run of numbers is taken in vectors, and where
it ends within one, only the first lanes of that are read and written:

    x₀ … x₇ | x₈ … x₁₅ | x₁₆ x₁₇ x₁₈ · · · · ·

How wide a vector is, is the kernel's affair: as wide as the machine's where only speed counts, of a fixed
number of bytes where sums are to have the same bits on every machine. A *place* in memory is a pointer or an
address; offsets and strides are in bytes. What is computed with vectors is written as formulas (see
:mod:`tinyattn.kernels.language.formula`). Nothing here needs Numba.
"""

import contextlib

from llvmlite import ir

from tinyattn.kernels.language import processor
from tinyattn.kernels.language.formula import LLVM, Value
from tinyattn.kernels.language.opcodes import SIZES

BYTE, I32, WORD = (ir.IntType(bits) for bits in (8, 32, 64))


def constant(value):
    return ir.Constant(WORD, value)


def lane_numbers(indices):
    """Which lanes a shuffle takes."""
    return ir.Constant(ir.VectorType(I32, len(indices)), list(indices))


def at(builder, address):
    """The pointer to an address."""
    return builder.inttoptr(address, BYTE.as_pointer())


def plus(builder, place, offset):
    """The place ``offset`` bytes on."""
    offset = constant(offset) if isinstance(offset, int) else offset
    return builder.add(place, offset) if place.type == WORD else builder.gep(place, [offset])


def intrinsic_call(builder, name, result, *arguments):
    """Call one of LLVM's own functions."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, arguments)


@contextlib.contextmanager
def loop(builder, start, end, step=1):
    """``for index in range(start, end, step)``: what is written meanwhile is the body."""
    before = builder.block
    head, body, after = (builder.append_basic_block() for _ in range(3))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(WORD)
    index.add_incoming(start, before)
    builder.cbranch(builder.icmp_signed("<", index, end), body, after)
    builder.position_at_end(body)
    yield index
    index.add_incoming(builder.add(index, constant(step)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)


class Vectors:
    """Vectors of ``lanes`` numbers of a kind (``"f32"``, …, ``"bool"``, which is a byte in memory); of as many
    as the machine's vectors hold, if it isn't said.
    """

    def __init__(self, kind, lanes=None):
        self.kind, self.size = kind, SIZES[kind]
        self.lanes = lanes = lanes or processor.lanes(kind)
        self.bytes = lanes * self.size
        self.number = LLVM[kind]
        self.type = ir.VectorType(self.number, lanes)
        self.zero = ir.Constant(self.type, None)
        self._letter = f"i{8 * self.size}" if kind in ("bool", "i32", "i64") else kind
        self._stored_number = BYTE if kind == "bool" else self.number
        self._stored = ir.VectorType(self._stored_number, lanes)

    def all(self, number):
        """The constant that has a Python number in all lanes."""
        return ir.Constant(self.type, [number] * self.lanes)

    def spread(self, builder, number):
        """The vector that has ``number``, of any kind, in all lanes."""
        undefined = ir.Constant(ir.VectorType(number.type, self.lanes), ir.Undefined)
        first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
        return builder.shuffle_vector(first, undefined, lane_numbers([0] * self.lanes))

    def mask(self, builder, count):
        """The first ``count`` lanes; ``count`` < 2³¹."""
        numbers = lane_numbers(range(self.lanes))
        return builder.icmp_signed("<", numbers, self.spread(builder, builder.trunc(count, I32)))

    # Memory

    def place(self, builder, start, index):
        """Where number ``index`` is of those that begin at ``start``."""
        start = start if start.type == WORD else builder.bitcast(start, BYTE.as_pointer())
        return plus(builder, start, builder.mul(index, constant(self.size)))

    def load(self, builder, place, mask=None):
        """A vector from memory; lanes outside the mask are 0 and their memory isn't touched."""
        pointer = _pointer(builder, place, self._stored)
        if mask is None:
            return self._loaded(builder, builder.load(pointer, align=self.size))
        return self._loaded(builder, self._masked(builder, "load", pointer, mask, "p0"))

    def gather(self, builder, addresses, mask=None):
        """Numbers from a vector of addresses; lanes outside the mask are 0."""
        pointers = builder.inttoptr(addresses, ir.VectorType(self._stored_number.as_pointer(), self.lanes))
        if mask is None:
            mask = ir.Constant(ir.VectorType(LLVM["bool"], self.lanes), [1] * self.lanes)
        return self._loaded(builder, self._masked(builder, "gather", pointers, mask, f"v{self.lanes}p0"))

    def repeat(self, builder, place):
        """One number from memory, in all lanes."""
        number = builder.load(_pointer(builder, place, self._stored_number), align=self.size)
        return self._loaded(builder, self.spread(builder, number))

    def load_one(self, builder, place):
        """One number from memory."""
        number = builder.load(_pointer(builder, place, self._stored_number), align=self.size)
        return builder.trunc(number, self.number) if self.kind == "bool" else number

    def store_one(self, builder, number, place):
        number = builder.zext(number, BYTE) if self.kind == "bool" else number
        builder.store(number, _pointer(builder, place, self._stored_number), align=self.size)

    def store(self, builder, value, place, mask=None):
        pointer = _pointer(builder, place, self._stored)
        value = builder.zext(value, self._stored) if self.kind == "bool" else value
        if mask is None:
            builder.store(value, pointer, align=self.size)
        else:
            name = f"llvm.masked.store.v{self.lanes}{self._letter}.p0"
            align = ir.Constant(I32, self.size)
            intrinsic_call(builder, name, ir.VoidType(), value, pointer, align, mask)

    def _masked(self, builder, action, place, mask, letter):
        name = f"llvm.masked.{action}.v{self.lanes}{self._letter}.{letter}"
        given = place, ir.Constant(I32, self.size), mask, ir.Constant(self._stored, None)
        return intrinsic_call(builder, name, self._stored, *given)

    def _loaded(self, builder, value):
        if self.kind != "bool":
            return value
        return builder.icmp_unsigned("!=", value, ir.Constant(self._stored, None))

    # Arithmetic

    def multiply_add(self, builder, x, y, z):
        """``x y + z``, rounded once where the machine can."""
        return intrinsic_call(builder, f"llvm.fmuladd.v{self.lanes}{self.kind}", self.type, x, y, z)

    # Runs of numbers

    def each(self, builder, start, end, body):
        """``body(index, mask)`` for each vector of the numbers from ``start`` to ``end``.

        Where masked stores cost nothing all vectors are masked. Elsewhere only the last one is, if it isn't
        whole, and the others have None for a mask.
        """

        if processor.MASKED_STORES:
            with loop(builder, start, end, self.lanes) as index:
                left, most = builder.sub(end, index), constant(self.lanes)
                left = builder.select(builder.icmp_signed("<", left, most), left, most)
                body(index, self.mask(builder, left))
            return
        whole = builder.add(start, builder.and_(builder.sub(end, start), constant(-self.lanes)))
        with loop(builder, start, whole, self.lanes) as index:
            body(index, None)
        with builder.if_then(builder.icmp_signed("<", whole, end)):
            body(whole, self.mask(builder, builder.sub(end, whole)))

    def fold(self, builder, count, states, body):
        """``states = body(index, states, mask)`` for each vector of ``count`` numbers; returns the last states.

        The mask is None for whole vectors.
        """
        before = builder.block
        head, whole, rest, part, end = (builder.append_basic_block() for _ in range(5))
        builder.branch(head)
        builder.position_at_end(head)
        index, *carried = (builder.phi(kind) for kind in (WORD, *(state.type for state in states)))
        following = builder.add(index, constant(self.lanes))
        builder.cbranch(builder.icmp_signed("<=", following, count), whole, rest)

        builder.position_at_end(whole)
        stepped = body(index, carried, None)
        for phi, at_start, then in zip(
            (index, *carried), (constant(0), *states), (following, *stepped), strict=True
        ):
            phi.add_incoming(at_start, before)
            phi.add_incoming(then, builder.block)
        builder.branch(head)

        builder.position_at_end(rest)
        builder.cbranch(builder.icmp_signed("<", index, count), part, end)
        builder.position_at_end(part)
        stepped = body(index, carried, self.mask(builder, builder.sub(count, index)))
        part = builder.block  # (the body may have added some)
        builder.branch(end)

        builder.position_at_end(end)
        results = [builder.phi(state.type) for state in states]
        for result, of_whole, of_part in zip(results, carried, stepped, strict=True):
            result.add_incoming(of_whole, rest)
            result.add_incoming(of_part, part)
        return results

    def first(self, builder, vector):
        """The number in the first lane."""
        return builder.extract_element(vector, ir.Constant(I32, 0))

    def halved(self, builder, vector, step):
        """A vector folded by the formula ``step``, half on half, until one number is left."""
        lanes = self.lanes
        while lanes > 1:
            lanes //= 2
            halves = (lane_numbers(range(first, first + lanes)) for first in (0, lanes))
            vector = step(
                *(Value(builder, builder.shuffle_vector(vector, vector, half)) for half in halves)
            ).value
        return self.first(builder, vector)


def _pointer(builder, place, kind):
    """The place as a typed pointer."""
    cast = builder.inttoptr if place.type == WORD else builder.bitcast
    return cast(place, kind.as_pointer())
