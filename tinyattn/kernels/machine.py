"""The vector machine's instructions as machine code: one loop each, and a switch that calls them.

A loop runs over blocks of ``LANES`` elements. Its operands are slots of a table of word pairs ``(address,
step)``: the step is 1, or 0 for a slot that holds one block to be used over and over (a number for all).
Writing the loops here, over vectors, rather than leaving them to LLVM's vectoriser keeps them free of
overlap checks and remainders, and compiles many times faster.
"""

import ctypes

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tinyattn.kernels.arithmetic import formulas
from tinyattn.kernels.opcodes import OPCODES
from tinyattn.kernels.simd import PURE
from tinyattn.kernels.vector import LLVM, NUMPY, SIZES, Value

LANES = 16
"""Elements in a block."""
_BYTE, _WORD = ir.IntType(8), ir.IntType(64)
_SCALAR_ONLY = {("floor_divide", "i64"), ("mod", "i64")}
"""Operations that no machine has vector instructions for."""


def _constant(value):
    return ir.Constant(_WORD, value)


def _emit(module, name, formula, arguments, result, lanes):
    """An LLVM function ``(instruction, slots, blocks)`` that applies a formula to its operands."""
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [_WORD] * 3), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("optsize")  # don't unroll: a third of the compile time, and not faster
    instruction, slots, blocks = function.args
    entry, body, end = (function.append_basic_block(label) for label in ("entry", "body", "end"))
    builder = ir.IRBuilder(entry)

    def word(address, index):
        pointer = builder.inttoptr(address, _WORD.as_pointer())
        return builder.load(builder.gep(pointer, [index]), align=8)

    def slot(position):
        first = builder.mul(word(instruction, _constant(position)), _constant(2))
        return word(slots, first), word(slots, builder.add(first, _constant(1)))

    def memory(kind):
        element = _BYTE if kind == "bool" else LLVM[kind]
        return ir.VectorType(element, lanes)

    destination, _ = slot(1)
    operands = []
    for i, kind in enumerate(arguments):
        address, step = slot(2 + i)
        operands.append((address, builder.mul(step, _constant(lanes * SIZES[kind])), kind))
    count = builder.mul(blocks, _constant(LANES // lanes))
    builder.branch(body)

    builder.position_at_end(body)
    index = builder.phi(_WORD)
    index.add_incoming(_constant(0), entry)
    values = []
    for address, step, kind in operands:
        place = builder.add(address, builder.mul(index, step))
        loaded = builder.load(builder.inttoptr(place, memory(kind).as_pointer()), align=SIZES[kind])
        if kind == "bool":
            loaded = builder.icmp_unsigned("!=", loaded, ir.Constant(loaded.type, [0] * lanes))
        values.append(Value(builder, loaded))
    outcome = formula(*values).value
    if result == "bool":
        outcome = builder.zext(outcome, memory(result))
    place = builder.add(destination, builder.mul(index, _constant(lanes * SIZES[result])))
    builder.store(outcome, builder.inttoptr(place, outcome.type.as_pointer()), align=SIZES[result])
    after = builder.add(index, _constant(1))
    index.add_incoming(after, body)
    builder.cbranch(builder.icmp_signed("<", after, count), body, end)

    builder.position_at_end(end)
    builder.ret_void()
    return function


def _view(address, count, kind):
    """Memory as a NumPy array."""
    size = count * SIZES[kind]
    return np.frombuffer((ctypes.c_byte * size).from_address(address), NUMPY[kind])


def execute(real):
    """``(instruction, slots, blocks)``: carry out the instruction at an address on ``blocks`` ≥ 1 blocks of
    its operands.
    """
    table = formulas(real.name)

    def kinds(opcode):
        named = {"real": real.name}
        return [named.get(kind, kind) for kind in (*opcode.arguments, opcode.result)]

    if PURE:
        by_number = {opcode.number: (table[key], *kinds(opcode)) for key, opcode in OPCODES.items()}

        def pure(instruction, slots, blocks):
            number, destination, *operands = _view(instruction, 5, "i64")
            formula, *arguments, result = by_number[int(number)]
            pairs = _view(slots, 2 * (1 + int(max(destination, *operands))), "i64").reshape(-1, 2)
            values = []
            for slot, kind in zip(operands, arguments, strict=False):
                address, step = (int(word) for word in pairs[slot])
                block = _view(address, LANES * (blocks if step else 1), kind)
                values.append(np.tile(block, 1 if step else blocks))
            with np.errstate(all="ignore"):
                outcome = formula(*values)
            _view(int(pairs[destination][0]), LANES * blocks, result)[:] = outcome

        return pure

    @intrinsic
    def compiled(typing, instruction, slots, blocks):
        def generate(context, builder, signature, values):
            pointer = builder.inttoptr(values[0], _WORD.as_pointer())
            end = builder.append_basic_block("end")
            switch = builder.switch(builder.load(pointer, align=8), end)
            for (operation, kind), opcode in OPCODES.items():
                *arguments, result = kinds(opcode)
                lanes = 1 if (operation, kind) in _SCALAR_ONLY else LANES
                formula = table[operation, kind]
                name = f"{real.name}_{operation}_{kind}"
                function = _emit(builder.module, name, formula, arguments, result, lanes)
                block = builder.append_basic_block(name)
                switch.add_case(_constant(opcode.number), block)
                builder.position_at_end(block)
                builder.call(function, values)
                builder.branch(end)
            builder.position_at_end(end)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.int64), generate

    return compiled
