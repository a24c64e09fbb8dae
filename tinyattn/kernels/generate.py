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

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from tinyattn.kernels import blocking
from tinyattn.kernels.arithmetic import formulas
from tinyattn.kernels.chains import CONTIGUOUS, NUMBER, REPEATED, SCALAR, SIZES, SPACED, Chain
from tinyattn.kernels.opcodes import OPCODES
from tinyattn.kernels.vector import LLVM, NUMPY, Value

_BYTE, _I32, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_ONE_BY_ONE = {("floor_divide", "i64"), ("mod", "i64")}
"""Operations that no machine has vector instructions for."""


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_WORD, value)


class _Loop:
    """A counting loop under construction: ``for index in range(start, end, step)``, as a context."""

    def __init__(self, builder, start, end, step: int = 1):
        self.builder, self.start, self.end, self.step = builder, start, end, _constant(step)

    def __enter__(self):
        builder = self.builder
        before = builder.block
        self.head, body, self.after = (builder.append_basic_block() for _ in range(3))
        builder.branch(self.head)
        builder.position_at_end(self.head)
        self.index = builder.phi(_WORD)
        self.index.add_incoming(self.start, before)
        builder.cbranch(builder.icmp_signed("<", self.index, self.end), body, self.after)
        builder.position_at_end(body)
        return self.index

    def __exit__(self, *error):
        builder = self.builder
        self.index.add_incoming(builder.add(self.index, self.step), builder.block)
        builder.branch(self.head)
        builder.position_at_end(self.after)


class _Writer:
    """Writes the function of a chain into an LLVM module."""

    def __init__(self, chain: Chain, symbol: str):
        self.chain = chain
        self.lanes = blocking.lanes(chain.real)
        self.module = ir.Module(symbol)
        self.module.triple = llvm.get_default_triple()
        kernel = ir.Function(self.module, ir.FunctionType(ir.VoidType(), [_WORD] * 4), symbol)
        self.builder = ir.IRBuilder(kernel.append_basic_block())
        self.block, first, last, _ = kernel.args
        self._words = 0
        self._write(first, last)

    def _write(self, first, last) -> None:
        chain, builder = self.chain, self.builder
        rows, columns, tile_rows, tile_columns = (self._next() for _ in range(4))
        extents = [self._next() for _ in range(chain.outer)]
        inputs = [self._operand(kind, mode) for kind, mode in chain.inputs]
        targets = [self._next() for _ in chain.outputs]
        same = {
            k: self._load_one(kind, address)
            for k, ((kind, mode), (address, _, _)) in enumerate(zip(chain.inputs, inputs, strict=True))
            if mode in (NUMBER, SCALAR)
        }
        across = builder.sdiv(builder.add(columns, builder.sub(tile_columns, _constant(1))), tile_columns)
        with _Loop(builder, first, last) as tile:
            row, column = builder.sdiv(tile, across), builder.srem(tile, across)
            row, column = builder.mul(row, tile_rows), builder.mul(column, tile_columns)
            row_end = self._least(builder.add(row, tile_rows), rows)
            column_end = self._least(builder.add(column, tile_columns), columns)
            with _Loop(builder, row, row_end) as r:
                starts = self._starts(r, extents, inputs)
                values = dict(same)
                for k, (kind, mode) in enumerate(chain.inputs):
                    if mode == REPEATED:
                        values[k] = self._load_one(kind, starts[k])
                before = builder.mul(r, columns)
                outs = [
                    builder.add(target, builder.mul(before, _constant(SIZES[kind])))
                    for target, (kind, _) in zip(targets, chain.outputs, strict=True)
                ]
                steps = [step for _, _, step in inputs]
                self._row(column, column_end, values, starts, steps, outs)
        builder.ret_void()

    def _next(self):
        """The next argument word."""
        pointer = self.builder.inttoptr(self.block, _WORD.as_pointer())
        self._words += 1
        return self.builder.load(self.builder.gep(pointer, [_constant(self._words - 1)]), align=8)

    def _operand(self, kind: str, mode: int):
        """An input's address, strides along the outer dimensions, and stride along a row."""
        if mode == NUMBER:
            address = self.builder.add(self.block, _constant(8 * self._words))
            self._words += 1
            return address, [], None
        address = self._next()
        strides = [self._next() for _ in range(self.chain.outer)] if mode != SCALAR else []
        return address, strides, self._next() if mode == SPACED else _constant(SIZES[kind])

    def _least(self, a, b):
        return self.builder.select(self.builder.icmp_signed("<", a, b), a, b)

    def _starts(self, r, extents, inputs):
        """Where row r of each input begins: r as a position in the outer dimensions, times the strides."""
        builder, places, rest = self.builder, [], r
        for extent in reversed(extents[1:]):
            places.append(builder.srem(rest, extent))
            rest = builder.sdiv(rest, extent)
        places = [rest, *reversed(places)]
        starts = []
        for address, strides, _ in inputs:
            for place, stride in zip(places, strides, strict=False):
                address = builder.add(address, builder.mul(place, stride))
            starts.append(address)
        return starts

    def _row(self, start, end, values, starts, steps, outs) -> None:
        """Columns ``start <= c < end`` of a row. Where masked stores cost nothing, all vectors are masked;
        elsewhere only the last one is, in a loop of its own.
        """
        builder = self.builder
        if blocking.MASKED_STORES:
            with _Loop(builder, start, end, self.lanes) as c:
                self._vector(c, self._mask(builder.sub(end, c)), values, starts, steps, outs)
            return
        count = builder.sub(end, start)
        whole = builder.sub(end, builder.srem(count, _constant(self.lanes)))
        with _Loop(builder, start, whole, self.lanes) as c:
            self._vector(c, None, values, starts, steps, outs)
        with _Loop(builder, whole, end, self.lanes) as c:
            self._vector(c, self._mask(builder.sub(end, c)), values, starts, steps, outs)

    def _vector(self, c, mask, values, starts, steps, outs) -> None:
        """One vector of columns, from ``c``."""
        chain, table = self.chain, _table(self.chain.real)
        values = dict(values)
        for k, (kind, mode) in enumerate(chain.inputs):
            if mode == CONTIGUOUS:
                values[k] = self._load(kind, starts[k], c, mask)
            elif mode == SPACED:
                values[k] = self._gather(kind, starts[k], steps[k], c, mask)
        for operation, kind, operands in chain.steps:
            given = [
                self._as(values[k], want)
                for k, want in zip(operands, self._wants(operation, kind), strict=True)
            ]
            formula = table[operation, kind]
            if (operation, kind) in _ONE_BY_ONE:
                values[len(values)] = self._one_by_one(formula, given)
            else:
                values[len(values)] = formula(*given)
        for (kind, k), place in zip(chain.outputs, outs, strict=True):
            self._store(self._as(values[k], kind), kind, place, c, mask)

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
            place = ir.Constant(_I32, lane)
            numbers = [Value(builder, builder.extract_element(x.value, place)) for x in operands]
            result = builder.insert_element(result, formula(*numbers).value, place)
        return Value(builder, result)

    # Memory.
    def _mask(self, left):
        """The lanes of which ``left`` are left."""
        left = self._least(left, _constant(self.lanes))
        lanes = ir.Constant(ir.VectorType(_I32, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", lanes, self._spread(self.builder.trunc(left, _I32)))

    def _spread(self, number):
        kind = ir.VectorType(number.type, self.lanes)
        one = self.builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(_I32, 0))
        places = ir.Constant(ir.VectorType(_I32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), places)

    def _element(self, kind: str):
        return _BYTE if kind == "bool" else LLVM[kind]

    def _value(self, loaded, kind: str) -> Value:
        if kind == "bool":
            loaded = self.builder.icmp_unsigned("!=", loaded, ir.Constant(loaded.type, None))
        return Value(self.builder, loaded)

    def _load_one(self, kind: str, address) -> Value:
        pointer = self.builder.inttoptr(address, self._element(kind).as_pointer())
        return self._value(self._spread(self.builder.load(pointer, align=SIZES[kind])), kind)

    def _load(self, kind: str, start, c, mask) -> Value:
        builder, vector = self.builder, ir.VectorType(self._element(kind), self.lanes)
        place = builder.add(start, builder.mul(c, _constant(SIZES[kind])))
        pointer = builder.inttoptr(place, vector.as_pointer())
        if mask is None:
            return self._value(builder.load(pointer, align=SIZES[kind]), kind)
        return self._value(self._masked("load", vector, vector, pointer, kind, mask), kind)

    def _gather(self, kind: str, start, step, c, mask) -> Value:
        builder, vector = self.builder, ir.VectorType(self._element(kind), self.lanes)
        lanes = ir.Constant(ir.VectorType(_WORD, self.lanes), list(range(self.lanes)))
        offsets = builder.mul(builder.add(self._spread(c), lanes), self._spread(step))
        places = builder.add(self._spread(start), offsets)
        pointers = builder.inttoptr(places, ir.VectorType(vector.element.as_pointer(), self.lanes))
        if mask is None:
            mask = ir.Constant(ir.VectorType(ir.IntType(1), self.lanes), [1] * self.lanes)
        return self._value(self._masked("gather", vector, vector, pointers, kind, mask), kind)

    def _store(self, value: Value, kind: str, start, c, mask) -> None:
        builder, vector = self.builder, ir.VectorType(self._element(kind), self.lanes)
        numbers = builder.zext(value.value, vector) if kind == "bool" else value.value
        place = builder.add(start, builder.mul(c, _constant(SIZES[kind])))
        pointer = builder.inttoptr(place, vector.as_pointer())
        if mask is None:
            builder.store(numbers, pointer, align=SIZES[kind])
        else:
            self._masked("store", ir.VoidType(), vector, pointer, kind, mask, numbers)

    def _masked(self, name: str, result, vector, pointer, kind: str, mask, stored=None):
        """A memory access of the lanes in the mask; the others are 0, and their memory isn't touched."""
        element = f"i{8 * SIZES[kind]}" if kind in ("bool", "i32", "i64") else kind
        pointers = f"v{self.lanes}p0" if name == "gather" else "p0"
        given = [pointer, ir.Constant(_I32, SIZES[kind]), mask]
        given = [*given, ir.Constant(vector, None)] if stored is None else [stored, *given]
        full = f"llvm.masked.{name}.v{self.lanes}{element}.{pointers}"
        function = self.module.globals.get(full) or ir.Function(
            self.module, ir.FunctionType(result, [value.type for value in given]), full
        )
        return self.builder.call(function, given)


@functools.cache
def _table(real: str) -> dict:
    return formulas(real)


@functools.cache
def _target():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    return llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features, opt=1, jit=True
    )


def assembly(chain: Chain) -> str:
    """The loop's machine code as text."""
    return _target().emit_assembly(llvm.parse_assembly(str(_Writer(chain, "loop").module)))


def object_code(chain: Chain, symbol: str) -> bytes:
    """The loop as an object file that defines ``symbol``, a kernel like any other."""
    return _target().emit_object(llvm.parse_assembly(str(_Writer(chain, symbol).module)))


def pure(chain: Chain):
    """The same kernel in plain Python, for readers and debuggers."""
    table = formulas(chain.real)

    def view(address, count, kind):
        return np.frombuffer((ctypes.c_byte * (count * SIZES[kind])).from_address(address), NUMPY[kind])

    def kernel(arguments, first, last, scratch):
        words = iter(view(arguments, 4 + chain.outer + 8 * len(chain.inputs) + 8 * 16, "i64").tolist())
        rows, columns, tile_rows, tile_columns = (next(words) for _ in range(4))
        extents = [next(words) for _ in range(chain.outer)]
        operands, at = [], 4 + chain.outer
        for kind, mode in chain.inputs:
            address = arguments + 8 * at if mode == NUMBER else 0
            count = 1 + (chain.outer + (mode == SPACED) if mode not in (NUMBER, SCALAR) else 0)
            given = [next(words) for _ in range(count)]
            at += count
            spaced = given.pop() if mode == SPACED else SIZES[kind]
            operands.append((address or given[0], given[1:], spaced if mode in (CONTIGUOUS, SPACED) else 0))
        targets = [next(words) for _ in chain.outputs]
        across = -(-columns // tile_columns)
        for tile in range(first, last):
            row, column = tile // across * tile_rows, tile % across * tile_columns
            for r in range(row, min(row + tile_rows, rows)):
                places = np.unravel_index(r, extents) if extents else ()
                span = range(column, min(column + tile_columns, columns))
                values = []
                for (kind, _), (address, strides, step) in zip(chain.inputs, operands, strict=True):
                    start = address + sum(int(p) * s for p, s in zip(places, strides, strict=False))
                    numbers = [view(start + c * step, 1, kind)[0] for c in span]
                    values.append(np.array(numbers, NUMPY[kind]))
                for operation, kind, which in chain.steps:
                    wants = [chain.real if k == "real" else k for k in OPCODES[operation, kind].arguments]
                    given = [values[k].astype(NUMPY[w]) for k, w in zip(which, wants, strict=True)]
                    with np.errstate(all="ignore"):
                        values.append(np.asarray(table[operation, kind](*given)))
                for (kind, k), target in zip(chain.outputs, targets, strict=True):
                    size = SIZES[kind]
                    view(target + (r * columns + column) * size, len(span), kind)[:] = values[k]

    return kernel
