"""Definitions that go over rows, lowered to one kernel (``tinyattn/kernels/language/row_chains.py``).

A hand-derived op such as a softmax or a norm needs no kernel of its own if its definition is made of elementwise
operations and of sums and maxima over the last axis: the definition *is* the kernel. Operands are seen as they lie in
memory, through the views that the definition takes of them. A sum over all axes but the last, as of the gradient of a
weight, is taken tile by tile, and what the tiles leave is added up.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinyattn.graph.leaf import constant_value, placeholder
from tinyattn.graph.op import OPS
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import SHORT, Type, is_float
from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.reduce import tiles_of_reduce_columns
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, REPEATED, SPACED, SUMMED, way
from tinyattn.kernels.language.opcodes import FOLDS
from tinyattn.kernels.language.row_chains import RowChain, block_of_rows, fits, phases
from tinyattn.runtime.copies import coalesce
from tinyattn.runtime.elementwise import OPERAND_COST, alike, bits_of, steps_of_node
from tinyattn.runtime.kinds import ROWS
from tinyattn.runtime.memory import Ref

_FOLD_COST = 0.05
"""Rough nanoseconds an element of a sum or maximum."""
_Value = tuple[str, int]
"""``"source"``, ``"number"`` or ``"step"``, and which."""


class _Program(NamedTuple):
    """A definition as steps on numbered values: first its sources, then its numbers, then results of steps."""

    shape: tuple[int, ...]
    """Of what it goes over."""
    arguments: tuple[Tensor, ...]
    sources: tuple[tuple[Tensor, bool], ...]
    """What is read, arguments and constants of the definition or views of them, and whether it lacks the last axis."""
    numbers: tuple[np.ndarray, ...]
    steps: tuple[tuple[str, str, tuple[int, ...]], ...]
    outputs: tuple[tuple[Any, int, int], ...]
    """Key, value and way of each output."""
    real: np.dtype
    cost: float
    flops: int


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    """Whether an array of one shape is seen in another by repetition alone."""
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(mine in (1, theirs) for mine, theirs in pairs)


class _Translation:
    """Numbers the values of a definition in the order of its nodes."""

    def __init__(self, op: str, order: list[Tensor], shape: tuple[int, ...], weights: bool):
        self.op, self.shape, self.weights = op, shape, weights
        self.sources: dict[tuple[Tensor, bool], _Value] = {}
        self.numbers: dict[Tensor, _Value] = {}
        self.steps: list[tuple[str, str, tuple[_Value, ...]]] = []
        self.at: dict[Tensor, _Value] = {}
        self.single: set[Tensor] = set()
        """Nodes that have one number a row, or one in all."""
        self.sums: dict[Tensor, _Value] = {}
        """Nodes that are sums of a value over all rows."""
        self.cost, self.flops = 0.0, 0
        for node in order:
            if not node.inputs:
                continue
            if node.op.view is not None or node.op.name == "stop_gradient":
                self._view(node)
            elif (node.op.name, "real") in FOLDS:
                self._fold(node)
            elif node.op.elementwise or node.op.name in ("cast", "softplus"):
                self._elementwise(node)
            else:
                self._refuse(node)

    def _refuse(self, node: Tensor):
        raise NotImplementedError(f"the definition of {self.op} does more than go over rows: {node!r}")

    def _view(self, node: Tensor) -> None:
        """A value in another shape: if it is one number a row, what counts is in which order they are."""
        (source,) = node.inputs
        if source not in self.at:
            return  # of a source: seen by strides
        rows = self.shape[:-1]
        if source in self.single:
            if node.shape not in (rows, (*rows, 1), self.shape) or (
                node.shape == self.shape != (*rows, 1) and source.shape != (*rows, 1)
            ):
                self._refuse(node)
            self.single.add(node)
        elif node.shape != source.shape:
            self._refuse(node)
        self.at[node] = self.at[source]

    def operand(self, node: Tensor, shape: tuple[int, ...]) -> _Value:
        """The value of an operand of an operation on ``shape``."""
        rows = self.shape[:-1]
        bare = node.shape == shape == rows
        if not bare and not _broadcasts(node.shape, self.shape):
            self._refuse(node)
        if node in self.at:
            aligned = node.size == 1 or node.shape[-1:] == (1,) or node.shape == self.shape
            if node in self.single and not (bare or aligned):
                self._refuse(node)
            return self.at[node]
        root = node
        while root.inputs and (root.op.view is not None or root.op.name == "stop_gradient"):
            root = root.inputs[0]
        if root.inputs:
            self._refuse(node)
        if root.op.name == "constant" and root.size == 1:
            self.single.add(node)
            return self.numbers.setdefault(root, ("number", len(self.numbers)))
        if bare or node.shape != self.shape and (node.size == 1 or node.shape[-1:] == (1,)):
            self.single.add(node)
        return self.sources.setdefault((node, bare), ("source", len(self.sources)))

    def _fold(self, node: Tensor) -> None:
        (source,), axes, last = node.inputs, node.attrs["axes"], len(self.shape) - 1
        if source.shape != self.shape or not is_float(source.dtype):
            self._refuse(node)
        value = self.operand(source, self.shape)
        if axes == (last,):
            name = "largest" if node.op.name == "max" and self.weights else node.op.name
            self.steps.append((name, "real", (value,)))
            self.at[node] = ("step", len(self.steps) - 1)
            self.single.add(node)
            self.cost, self.flops = self.cost + _FOLD_COST, self.flops + (node.op.name == "sum")
        elif node.op.name == "sum" and axes == tuple(range(last)) and not node.attrs["keepdims"]:
            self.sums[node] = value
        else:
            self._refuse(node)

    def _elementwise(self, node: Tensor) -> None:
        values = [self.operand(source, node.shape) for source in node.inputs]
        single = all(source in self.single for source in node.inputs)
        if not single and not _broadcasts(node.shape, self.shape):
            self._refuse(node)
        first = len(self.steps)
        for operation, kind, places in steps_of_node(node):
            name = "weight" if operation == "exp" and self.weights else operation
            operands = tuple(values[p] if p >= 0 else ("step", first - 1 - p) for p in places)
            self.steps.append((name, kind, operands))
        self.at[node] = ("step", len(self.steps) - 1)
        if single:
            self.single.add(node)
        else:
            self.cost, self.flops = self.cost + node.op.cost, self.flops + node.op.flops

    def output(self, node: Tensor) -> tuple[_Value, int]:
        """The value of an output, and its way."""
        if node in self.sums:
            return self.sums[node], SUMMED
        value = self.operand(node, node.shape)
        if node.shape == self.shape and not (node in self.single and self.shape[-1] == 1):
            return value, CONTIGUOUS
        if node not in self.single:
            self._refuse(node)
        return value, REPEATED


@functools.lru_cache(maxsize=1024)
def _program(name: str, types: tuple, attrs: tuple, asked: tuple, weights: bool) -> _Program:
    """The definition of an op for operands of these types, as far as the outputs ``asked`` need it."""
    arguments = tuple(placeholder(kind) for kind in types)
    definition = OPS[name].definition
    assert definition is not None
    results = definition(*arguments, **dict(attrs))
    wanted = [results if key is None else results[key] for key in asked]
    found = _Translation(name, topological(wanted), types[0].shape, weights)
    outputs = [(key, *found.output(node)) for key, node in zip(asked, wanted, strict=True)]
    before = {"source": 0, "number": len(found.sources), "step": len(found.sources) + len(found.numbers)}

    def number(value: _Value) -> int:
        return before[value[0]] + value[1]

    kinds = [kind.dtype for kind in types if is_float(kind.dtype)]
    return _Program(
        types[0].shape,
        arguments,
        tuple(found.sources),
        tuple(constant_value(root) for root in found.numbers),
        tuple((operation, kind, tuple(map(number, operands))) for operation, kind, operands in found.steps),
        tuple((key, number(value), mode) for key, value, mode in outputs),
        max(kinds, key=lambda kind: kind.itemsize),
        found.cost,
        found.flops,
    )


def _seen(emit, node: Tensor, known: dict[Tensor, Ref]) -> Ref:
    """Where a source of a program is."""
    if node in known:
        return known[node]
    if not node.inputs:
        return emit.constant(constant_value(node))
    source = _seen(emit, node.inputs[0], known)
    if node.op.view is None:  # stop_gradient
        return source
    seen = node.op.view(source, node)
    return _reshaped(emit, source, node.shape) if seen is None else seen


def _reshaped(emit, ref: Ref, shape: tuple[int, ...]) -> Ref:
    seen = ref.reshaped(shape)
    return emit.contiguous(ref).reshaped(shape) if seen is None else seen


def _sources(emit, program: _Program, operands: Sequence[Ref]) -> list[Ref]:
    """Where the sources of a program are; the numbers of a row follow one another, or are one."""
    known, columns, sources = dict(zip(program.arguments, operands, strict=True)), program.shape[-1], []
    for source, bare in program.sources:
        ref = _seen(emit, source, known)
        ref = _reshaped(emit, ref, (*ref.shape, 1)) if bare else ref
        if columns > 1 and ref.shape[-1:] == (columns,) and ref.strides[-1] not in (0, 1):
            ref = emit.contiguous(ref)
        sources.append(ref)
    return sources


def _laid_out(
    program: _Program, seen: Sequence[Ref], targets: Sequence[Ref]
) -> tuple[list[int], list[list[int]]]:
    """The iteration space, its last axis a row's, and the strides of what is read and written in it."""
    shape = program.shape
    along = [ref.strides for ref in seen]
    for ref, (_, _, mode) in zip(targets, program.outputs, strict=True):
        if mode == CONTIGUOUS:
            along.append(ref.strides)
        elif mode == REPEATED:
            numbers = ref.reshaped(shape[:-1])
            assert numbers is not None
            along.append((*numbers.strides, 0))
        else:
            along.append((0,) * len(shape))
    extents, strides = coalesce(shape[:-1], *(steps[:-1] for steps in along))
    return [*extents, shape[-1]], [[*s, whole[-1]] for s, whole in zip(strides, along, strict=True)]


def emit_rows(emit, op: str, operands: Sequence[Ref], results: dict[Any, Ref], attrs, weights: bool) -> None:
    """Emit the kernel of an op whose definition goes over the rows of its first operand. ``results``: where the
    outputs go that are asked for, by their keys (None if there is but one).
    """
    types = tuple(Type(ref.shape, ref.dtype) for ref in operands)
    program = _program(op, types, tuple(attrs.items()), tuple(results), weights)
    wanted, modes = [results[key] for key, _, _ in program.outputs], [mode for _, _, mode in program.outputs]
    rows, columns, real = math.prod(program.shape[:-1]), program.shape[-1], SHORT[program.real]
    if rows == 0:  # nothing to go over, and sums of nothing
        for ref, mode in zip(wanted, modes, strict=True):
            if mode == SUMMED:
                emit.fill(ref, 0)
        return
    block = block_of_rows(rows, columns, real, SUMMED in modes)
    tiles = ceiling(rows, block[0])
    targets = [
        emit.new((tiles, columns), ref.dtype) if mode == SUMMED and tiles > 1 else ref
        for ref, mode in zip(wanted, modes, strict=True)
    ]
    sources = _sources(emit, program, operands)
    seen = [source.broadcast(program.shape) for source in sources]
    extents, strides = _laid_out(program, seen, targets)
    ways = [way(extents, steps) for steps in strides[: len(seen)]]
    ways = [CONTIGUOUS if mode == SPACED else mode for mode in ways]  # (a single column)
    chain = RowChain(
        real,
        program.steps,
        (
            *((SHORT[ref.dtype], mode) for ref, mode in zip(sources, ways, strict=True)),
            *((SHORT[value.dtype], NUMBER) for value in program.numbers),
        ),
        tuple(
            (SHORT[ref.dtype], k, mode) for ref, (_, k, mode) in zip(targets, program.outputs, strict=True)
        ),
        len(extents) - 1,
        True,
    )
    if not fits(columns, real, len(phases(chain).kept) * block[1]):
        chain = chain._replace(keeps=False)
    strides[len(seen) : len(seen)] = [[]] * len(program.numbers)
    read = {ref.buffer for ref in sources}
    late = phases(chain).list[phases(chain).last].outputs
    last = [targets[n] for n in late if modes[n] == CONTIGUOUS and targets[n].buffer not in read]
    emit.kernel(
        f"{ROWS}{op}",
        chain.arguments(extents, block, [*sources, *map(bits_of, program.numbers)], strides, targets),
        tiles,
        reads=sources,
        writes=targets,
        dtype=program.real,
        cost=rows * columns * (program.cost + OPERAND_COST * (len(sources) + len(targets))),
        in_place=alike(sources, seen, ways, last),
        flops=float(rows * columns * program.flops),
        chain=chain,
    )
    for ref, target in zip(wanted, targets, strict=True):
        if ref is not target:
            _add_up(emit, target, ref)


def _add_up(emit, parts: Ref, result: Ref) -> None:
    """Sum what the tiles left."""
    tiles, columns = parts.shape
    words = {
        "outer": 1, "length": tiles, "inner": columns, "x": parts, "y": result, "fold": FOLDS["sum", "real"],
        "size": parts.dtype.itemsize, "scale": bits_of(np.ones((), parts.dtype)),
    }  # fmt: skip
    emit.kernel(
        "reduce.columns",
        words,
        tiles_of_reduce_columns(1, columns),
        reads=[parts],
        writes=[result],
        cost=parts.size * 0.1,
        flops=float(parts.size),
    )
