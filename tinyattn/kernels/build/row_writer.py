"""Row chains as machine code: loops over blocks of rows, phase by phase (see
:mod:`tinyattn.kernels.language.row_chains`).

    for each block of rows of a tile:
        for each phase:
            for each vector of rows:  what there is one number a row of
            for each row:  for each vector of columns:  load, compute, fold, keep, store

Numbers of rows stand in scratch, each value's side by side, and after them the values that are kept, each row
in whole vectors: rows that follow one another closely would be slow to write and read again, as a vector's end,
though masked, is at the place of the next row. Folds go over a row as in :mod:`tinyattn.kernels.language.lanes`.
"""

import numpy as np

from tinyattn.kernels.build.generate import Writer, machine_code, read_words, view
from tinyattn.kernels.language.arithmetic import formulas
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, REPEATED, SCALAR, SPACED, SUMMED
from tinyattn.kernels.language.fold import Fold, pure_run
from tinyattn.kernels.language.formula import NUMPY, Value
from tinyattn.kernels.language.opcodes import OPCODES, ROW_FOLDS, SIZES
from tinyattn.kernels.language.row_chains import MOST_ROWS, ROW_BYTES, RowChain, phases
from tinyattn.kernels.language.vectors import constant, loop, plus

_SLOT = 8 * MOST_ROWS
"""Bytes for the numbers of a block's rows."""


class RowWriter(Writer):
    """Writes the function of a row chain into an LLVM module."""

    def __init__(self, chain: RowChain, symbol: str):
        self.phases = phases(chain)
        super().__init__(chain, symbol, ROW_BYTES // SIZES[chain.real])

    def _write(self, first, last, scratch) -> None:
        chain, builder = self.chain, self.builder
        rows, self.columns, tile_rows, block_rows = (self._next() for _ in range(4))
        self.extents = [self._next() for _ in range(chain.outer)]
        self.inputs = [self._operand(kind, mode) for kind, mode in chain.inputs]
        self.targets = [
            (self._next(), [], constant(0)) if way == SUMMED else self._operand(kind, CONTIGUOUS)
            for kind, _, way in chain.outputs
        ]
        self.same = {
            k: self._load_one(kind, address)
            for k, ((kind, mode), (address, _, _)) in enumerate(zip(chain.inputs, self.inputs, strict=True))
            if mode in (NUMBER, SCALAR)
        }
        self.kinds = self._kinds()
        slots = [k for k in sorted(self.phases.slots) if k not in self.same]
        self.slots = {k: plus(builder, scratch, _SLOT * n) for n, k in enumerate(slots)}
        lanes = constant(-self.lanes)
        width = builder.and_(builder.add(self.columns, constant(self.lanes - 1)), lanes)
        self.kept = {}
        place = plus(builder, scratch, _SLOT * len(slots))
        for k in self.phases.kept:
            pitch = builder.mul(width, constant(SIZES[self.kinds[k]]))
            self.kept[k] = place, pitch
            place = builder.add(place, builder.mul(pitch, block_rows))

        with loop(builder, first, last) as tile:
            start = builder.mul(tile, tile_rows)
            end = self._least(builder.add(start, tile_rows), rows)
            self.sums = {}
            for n, ((kind, _, way), (address, _, _)) in enumerate(
                zip(chain.outputs, self.targets, strict=True)
            ):
                if way == SUMMED:
                    row = builder.mul(builder.mul(tile, self.columns), constant(SIZES[kind]))
                    self.sums[n] = builder.add(address, row)
                    self._clear(kind, self.sums[n])
            blocks = builder.sdiv(
                builder.add(builder.sub(end, start), builder.sub(block_rows, constant(1))), block_rows
            )
            with loop(builder, constant(0), blocks) as block:
                at = builder.add(start, builder.mul(block, block_rows))
                self._block(at, builder.sub(self._least(builder.add(at, block_rows), end), at))
        builder.ret_void()

    def _kinds(self) -> list[str]:
        """The kind of each value, ``"real"`` as what it is here."""
        chain = self.chain
        kinds = [kind for kind, _ in chain.inputs]
        for operation, kind, _ in chain.steps:
            result = kind if (operation, kind) in ROW_FOLDS else OPCODES[operation, kind].result
            kinds.append(chain.real if result == "real" else result)
        return kinds

    def _clear(self, kind, place) -> None:
        v = self._vectors(kind)

        def body(index, states, mask):
            v.store(self.builder, v.zero, v.place(self.builder, place, index), mask)
            return []

        v.fold(self.builder, self.columns, [], body)

    def _block(self, first, count) -> None:
        """All phases of ``count`` rows from row ``first``."""
        chain, builder, plan = self.chain, self.builder, self.phases
        numbers = {o for phase in plan.list for k in phase.numbers for o in plan.operands[k]}
        gathered = [k for k in plan.repeated if k in numbers or any(o[1] == k for o in chain.outputs)]
        if gathered:
            with loop(builder, constant(0), count) as r:
                starts = self._starts(builder.add(first, r), self.extents, [self.inputs[k] for k in gathered])
                for k, start in zip(gathered, starts, strict=True):
                    v = self._vectors(self.kinds[k])
                    self._move(v, start, v.place(builder, self.slots[k], r))
        for phase in plan.list:
            if phase.numbers:
                self._numbers(phase, count)
            if phase.goes_along:
                with loop(builder, constant(0), count) as r:
                    self._along(phase, builder.add(first, r), r, gathered)
        asked = [n for n, (_, _, way) in enumerate(chain.outputs) if way == REPEATED]
        if asked:
            with loop(builder, constant(0), count) as r:
                starts = self._starts(builder.add(first, r), self.extents, [self.targets[n] for n in asked])
                for n, start in zip(asked, starts, strict=True):
                    kind, k, _ = chain.outputs[n]
                    value = self._as(self._one(k, r), kind).value
                    v = self._vectors(kind)
                    v.store_one(builder, v.first(builder, value), start)

    def _move(self, v, source, target) -> None:
        """One number from a place to another."""
        v.store_one(self.builder, v.load_one(self.builder, source), target)

    def _numbers(self, phase, count) -> None:
        """The steps on one number a row, in vectors of rows."""
        builder, plan = self.builder, self.phases

        def body(index, states, mask):
            values = dict(self.same)
            for k in phase.numbers:
                for o in plan.operands[k]:
                    if o not in values:
                        v = self._vectors(self.kinds[o])
                        place = v.place(builder, self.slots[o], index)
                        values[o] = Value(builder, v.load(builder, place, mask))
                values[k] = self._step(k, values)
                if k in self.slots:
                    v = self._vectors(self.kinds[k])
                    v.store(builder, values[k].value, v.place(builder, self.slots[k], index), mask)
            return []

        self.words.fold(builder, count, [], body)

    def _one(self, k, r) -> Value:
        """A number of row r of the block, in all lanes."""
        if k in self.same:
            return self.same[k]
        v = self._vectors(self.kinds[k])
        return Value(self.builder, v.repeat(self.builder, v.place(self.builder, self.slots[k], r)))

    def _along(self, phase, row, r, gathered) -> None:
        """One row in one phase; it is number ``r`` of its block."""
        chain, builder, plan = self.chain, self.builder, self.phases
        used = {o for k in phase.steps for o in plan.operands[k]} | {plan.operands[k][0] for k in phase.folds}
        used |= {chain.outputs[n][1] for n in phase.outputs}
        direct = [k for k in plan.repeated if k in used and k not in gathered]
        read = [k for k in phase.loaded if k < len(chain.inputs)]
        written = [n for n in phase.outputs if chain.outputs[n][2] == CONTIGUOUS]
        operands = [*(self.inputs[k] for k in (*direct, *read)), *(self.targets[n] for n in written)]
        places = iter(self._starts(row, self.extents, operands) if operands else [])
        values = dict(self.same)
        for k in direct:
            values[k] = self._load_one(self.kinds[k], next(places))
        sources, targets = {k: next(places) for k in read}, {n: next(places) for n in written}
        targets |= {n: self.sums[n] for n in phase.outputs if n not in targets}
        for k in used:
            if k in self.slots and k not in values:
                values[k] = self._one(k, r)
        stages = {
            k: builder.add(place, builder.mul(pitch, r))
            for k, (place, pitch) in self.kept.items()
            if k in phase.kept or k in phase.loaded
        }
        operations = [chain.steps[k - len(chain.inputs)] for k in phase.folds]
        folds = [Fold(operation, kind, chain.real) for operation, kind, _ in operations]
        neutral = [fold.vectors.all(fold.neutral) for fold in folds]

        def body(c, states, mask):
            found = dict(values)
            for k in phase.loaded:
                v = self._vectors(self.kinds[k])
                if k in stages:
                    found[k] = Value(builder, v.load(builder, v.place(builder, stages[k], c)))
                elif chain.inputs[k][1] == SPACED:
                    found[k] = self._gather(self.kinds[k], sources[k], self.inputs[k][2], c, mask)
                else:
                    found[k] = Value(builder, v.load(builder, v.place(builder, sources[k], c), mask))
            for k in phase.steps:
                found[k] = self._step(k, found)
            for k in phase.kept:
                v = self._vectors(self.kinds[k])
                v.store(builder, found[k].value, v.place(builder, stages[k], c))
            for n in phase.outputs:
                kind, k, way = chain.outputs[n]
                v, value = self._vectors(kind), self._as(found[k], kind)
                place = v.place(builder, targets[n], c)
                if way == SUMMED:
                    value = Value(builder, v.load(builder, place, mask)) + value
                v.store(builder, value.value, place, mask)
            after = []
            for fold, k, state, start in zip(folds, phase.folds, states, neutral, strict=True):
                number = self._as(found[plan.operands[k][0]], fold.kind)
                value = (number * number if fold.squares else number).value
                value = value if mask is None else builder.select(mask, value, start)
                after.append(fold.step(Value(builder, state), Value(builder, value)).value)
            return after

        states = self.words.fold(builder, self.columns, neutral, body)
        for fold, k, state in zip(folds, phase.folds, states, strict=True):
            number = fold.vectors.halved(builder, state, fold.step)
            v = self._vectors(fold.kind)
            v.store_one(builder, number, v.place(builder, self.slots[k], r))


def object_code(chain: RowChain, symbol: str) -> bytes:
    """The loops as an object file that defines ``symbol``, a kernel like any other."""
    return machine_code(RowWriter(chain, symbol))


def pure(chain: RowChain):
    """The same kernel in plain Python, for readers and debuggers."""
    table, inputs = formulas(chain.real), len(chain.inputs)

    def spaced(address, count, kind, step):
        return np.array([view(address + c * step, 1, kind)[0] for c in range(count)], NUMPY[kind])

    def kernel(arguments, first, last, scratch):
        ways = [*chain.inputs, *((kind, way) for kind, _, way in chain.outputs)]
        (rows, columns, tile_rows, _), extents, operands = read_words(arguments, chain.outer, ways)
        for tile in range(first, last):
            summed: dict[int, np.ndarray] = {}
            for r in range(tile * tile_rows, min((tile + 1) * tile_rows, rows)):
                places = np.unravel_index(r, extents) if extents else ()
                starts = [
                    a + sum(int(p) * s for p, s in zip(places, strides, strict=False))
                    for a, strides, _ in operands
                ]
                values = [
                    spaced(start, columns, kind, step)
                    for (kind, _), start, (_, _, step) in zip(chain.inputs, starts, operands, strict=False)
                ]
                for operation, kind, which in chain.steps:
                    if (operation, kind) in ROW_FOLDS:
                        fold = Fold(operation, kind, chain.real)
                        run = values[which[0]].astype(NUMPY[fold.kind])
                        values.append(np.full(columns, pure_run(fold, run), NUMPY[fold.kind]))
                        continue
                    wants = [chain.real if k == "real" else k for k in OPCODES[operation, kind].arguments]
                    given = [values[k].astype(NUMPY[w]) for k, w in zip(which, wants, strict=True)]
                    with np.errstate(all="ignore"):
                        values.append(np.asarray(table[operation, kind](*given)))
                for n, ((kind, k, way), start) in enumerate(zip(chain.outputs, starts[inputs:], strict=True)):
                    if way == SUMMED:
                        summed[n] = summed.get(n, np.zeros(columns, NUMPY[kind])) + values[k]
                        view(start + tile * columns * SIZES[kind], columns, kind)[:] = summed[n]
                    else:
                        count = columns if way == CONTIGUOUS else 1
                        view(start, count, kind)[:] = values[k][:count]

    return kernel
