"""Chains of elementwise operations as machine code: one loop each, written for it.

All that lies between a chain's inputs and its outputs stays in registers; memory is read and written once,
however long the chain. The loop runs over rows, along each row over vectors, and is written here in LLVM's
vector instructions, so that LLVM has only to choose registers: a chain of ten operations takes about 5 ms to
compile, and its object code is kept on disk like that of every kernel.

    for each row of the tile:  for each vector of columns:  load the inputs, compute, store the outputs

Every vector's inputs are loaded before its outputs are stored: an output may lie where an input is that goes
along with it. A product that is only added to something becomes one fused multiply-add. Measured against a
machine that interpreted chains tile by tile: small chains of a training step take half the time, Adam on
large arrays a third, and compiling all chains of a model takes no longer than compiling that machine.
"""

import ctypes
import functools
import itertools

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinyattn.kernels.language import processor
from tinyattn.kernels.language.arithmetic import formulas
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, REPEATED, SCALAR, SPACED, SUMMED, Chain
from tinyattn.kernels.language.formula import NUMPY, Value
from tinyattn.kernels.language.opcodes import OPCODES, SIZES
from tinyattn.kernels.language.vectors import I32, WORD, Vectors, constant, loop

_ONE_BY_ONE = {("floor_divide", "i64"), ("mod", "i64")}
"""Operations that no machine has vector instructions for."""


class Writer:
    """Writes the function of a chain into an LLVM module."""

    def __init__(self, chain, symbol: str, lanes: int):
        self.chain = chain
        self.lanes = lanes
        self.words = self._vectors("i64")
        self.module = ir.Module(symbol)
        self.module.triple = llvm.get_default_triple()
        kernel = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [WORD] * 4), symbol)
        self.builder = ir.IRBuilder(kernel.append_basic_block())
        self.block, first, last, scratch = kernel.args
        self._words = 0
        self._write(first, last, scratch)

    def _write(self, first, last, scratch) -> None:
        chain, builder = self.chain, self.builder
        rows, columns, tile_rows, tile_columns = (self._next() for _ in range(4))
        extents = [self._next() for _ in range(chain.outer)]
        inputs = [self._operand(kind, mode) for kind, mode in chain.inputs]
        outputs = [self._operand(kind, CONTIGUOUS) for kind, _ in chain.outputs]
        same = {
            k: self._load_one(kind, address)
            for k, ((kind, mode), (address, _, _)) in enumerate(zip(chain.inputs, inputs, strict=True))
            if mode in (NUMBER, SCALAR)
        }
        across = builder.sdiv(builder.add(columns, builder.sub(tile_columns, constant(1))), tile_columns)
        with loop(builder, first, last) as tile:
            row, column = builder.sdiv(tile, across), builder.srem(tile, across)
            row, column = builder.mul(row, tile_rows), builder.mul(column, tile_columns)
            row_end = self._least(builder.add(row, tile_rows), rows)
            column_end = self._least(builder.add(column, tile_columns), columns)
            with loop(builder, row, row_end) as r:
                starts = self._starts(r, extents, [*inputs, *outputs])
                values = dict(same)
                for k, (kind, mode) in enumerate(chain.inputs):
                    if mode == REPEATED:
                        values[k] = self._load_one(kind, starts[k])
                steps = [step for _, _, step in inputs]
                self._row(column, column_end, values, starts, steps)
        builder.ret_void()

    def _next(self):
        """The next argument word."""
        pointer = self.builder.inttoptr(self.block, WORD.as_pointer())
        self._words += 1
        return self.builder.load(self.builder.gep(pointer, [constant(self._words - 1)]), align=8)

    def _operand(self, kind: str, mode: int):
        """An operand's address, strides along the outer dimensions, and stride along a row."""
        if mode == NUMBER:
            address = self.builder.add(self.block, constant(8 * self._words))
            self._words += 1
            return address, [], None
        address = self._next()
        strides = [self._next() for _ in range(self.chain.outer)] if mode != SCALAR else []
        return address, strides, self._next() if mode == SPACED else constant(SIZES[kind])

    def _least(self, a, b):
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def _starts(self, r, extents, operands):
        """Where row r of each operand begins: r as a position in the outer dimensions, times the strides."""
        builder, places, rest = self.builder, [], r
        for extent in reversed(extents[1:]):
            places.append(builder.srem(rest, extent))
            rest = builder.sdiv(rest, extent)
        places = [rest, *reversed(places)]
        starts = []
        for address, strides, _ in operands:
            for place, stride in zip(places, strides, strict=False):
                address = builder.add(address, builder.mul(place, stride))
            starts.append(address)
        return starts

    def _row(self, start, end, values, starts, steps) -> None:
        """Columns ``start <= c < end`` of a row."""

        def body(c, mask):
            self._vector(c, mask, values, starts, steps)

        self.words.each(self.builder, start, end, body)

    def _vector(self, c, mask, values, starts, steps) -> None:
        """One vector of columns, from ``c``."""
        chain, values = self.chain, dict(values)
        for k, (kind, mode) in enumerate(chain.inputs):
            if mode == CONTIGUOUS:
                v = self._vectors(kind)
                values[k] = Value(
                    self.builder, v.load(self.builder, v.place(self.builder, starts[k], c), mask)
                )
            elif mode == SPACED:
                values[k] = self._gather(kind, starts[k], steps[k], c, mask)
        for k in range(len(chain.inputs), len(chain.inputs) + len(chain.steps)):
            values[k] = self._step(k, values)
        for (kind, k), place in zip(chain.outputs, starts[len(chain.inputs) :], strict=True):
            v = self._vectors(kind)
            value = self._as(values[k], kind).value
            v.store(self.builder, value, v.place(self.builder, place, c), mask)

    def _step(self, k: int, values) -> Value:
        """Value number k, the result of a step."""
        operation, kind, operands = self.chain.steps[k - len(self.chain.inputs)]
        wants = self._wants(operation, kind)
        given = [self._as(values[o], want) for o, want in zip(operands, wants, strict=True)]
        formula = _table(self.chain.real)[operation, kind]
        return self._one_by_one(formula, given) if (operation, kind) in _ONE_BY_ONE else formula(*given)

    def _wants(self, operation: str, kind: str) -> list[str]:
        """The kinds of an operation's arguments."""
        return [self.chain.real if k == "real" else k for k in OPCODES[operation, kind].arguments]

    def _as(self, value: Value, kind: str) -> Value:
        """A real in the width asked for: float32 inputs of a float64 chain are widened, its float32 outputs
        rounded.
        """
        if value.kind == kind:
            return value
        cast = self.builder.fpext if kind == "f64" else self.builder.fptrunc
        return Value(self.builder, cast(value.value, value.type(kind)))

    def _one_by_one(self, formula, operands) -> Value:
        builder, result = self.builder, ir.Constant(operands[0].value.type, ir.Undefined)
        for lane in range(self.lanes):
            place = ir.Constant(I32, lane)
            numbers = [Value(builder, builder.extract_element(x.value, place)) for x in operands]
            result = builder.insert_element(result, formula(*numbers).value, place)
        return Value(builder, result)

    # Memory.
    def _vectors(self, kind: str) -> Vectors:
        return Vectors(kind, self.lanes)

    def _load_one(self, kind: str, address) -> Value:
        return Value(self.builder, self._vectors(kind).repeat(self.builder, address))

    def _gather(self, kind: str, start, step, c, mask) -> Value:
        builder, words = self.builder, self.words
        numbers = ir.Constant(words.type, list(range(self.lanes)))
        columns = builder.add(words.spread(builder, c), numbers)
        offsets = builder.mul(columns, words.spread(builder, step))
        addresses = builder.add(words.spread(builder, start), offsets)
        return Value(builder, self._vectors(kind).gather(builder, addresses, mask))


@functools.cache
def _table(real: str) -> dict:
    return formulas(real)


@functools.cache
def _target():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = processor.target()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=cpu, features=features, opt=1, jit=True
    )


def machine_code(writer: Writer) -> bytes:
    """What was written, as an object file."""
    return _target().emit_object(llvm.parse_assembly(str(writer.module)))


def assembly(chain: Chain) -> str:
    """The loop's machine code as text."""
    writer = Writer(chain, "loop", processor.lanes(chain.real))
    return _target().emit_assembly(llvm.parse_assembly(str(writer.module)))


def object_code(chain: Chain, symbol: str) -> bytes:
    """The loop as an object file that defines ``symbol``, a kernel like any other."""
    return machine_code(Writer(chain, symbol, processor.lanes(chain.real)))


def view(address, count, kind):
    """Memory as a NumPy array."""
    return np.frombuffer((ctypes.c_byte * (count * SIZES[kind])).from_address(address), NUMPY[kind])


def read_words(arguments, outer, ways):
    """Of the argument words of a chain: the first four, the outer extents, and of each operand, ``(kind, way)``, its
    address, its outer strides and its stride along a row.
    """
    words = (int(view(arguments + 8 * k, 1, "i64")[0]) for k in itertools.count())
    sizes, extents = [next(words) for _ in range(4)], [next(words) for _ in range(outer)]
    operands, at = [], 4 + outer
    for kind, mode in ways:
        address = arguments + 8 * at if mode == NUMBER else 0
        count = 1 + (outer + (mode == SPACED) if mode not in (NUMBER, SCALAR, SUMMED) else 0)
        given = [next(words) for _ in range(count)]
        at += count
        spaced = given.pop() if mode == SPACED else SIZES[kind]
        operands.append((address or given[0], given[1:], spaced if mode in (CONTIGUOUS, SPACED) else 0))
    return sizes, extents, operands


def pure(chain: Chain):
    """The same kernel in plain Python, for readers and debuggers."""
    table = formulas(chain.real)

    def kernel(arguments, first, last, scratch):
        ways = [*chain.inputs, *((kind, CONTIGUOUS) for kind, _ in chain.outputs)]
        (rows, columns, tile_rows, tile_columns), extents, operands = read_words(arguments, chain.outer, ways)
        across = -(-columns // tile_columns)
        for tile in range(first, last):
            row, column = tile // across * tile_rows, tile % across * tile_columns
            for r in range(row, min(row + tile_rows, rows)):
                places = np.unravel_index(r, extents) if extents else ()
                span = range(column, min(column + tile_columns, columns))
                values = []
                starts = [
                    address + sum(int(p) * s for p, s in zip(places, strides, strict=False))
                    for address, strides, _ in operands
                ]
                for (kind, _), start, (_, _, step) in zip(chain.inputs, starts, operands, strict=False):
                    numbers = [view(start + c * step, 1, kind)[0] for c in span]
                    values.append(np.array(numbers, NUMPY[kind]))
                for operation, kind, which in chain.steps:
                    wants = [chain.real if k == "real" else k for k in OPCODES[operation, kind].arguments]
                    given = [values[k].astype(NUMPY[w]) for k, w in zip(which, wants, strict=True)]
                    with np.errstate(all="ignore"):
                        values.append(np.asarray(table[operation, kind](*given)))
                for (kind, k), start in zip(chain.outputs, starts[len(chain.inputs) :], strict=True):
                    view(start + column * SIZES[kind], len(span), kind)[:] = values[k]

    return kernel
