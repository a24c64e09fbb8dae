"""Lowering: from a rewritten graph to rows of kernels over buffers.

Each op's ``lower(node, emit)`` asks the :class:`Emitter` where its inputs are (``emit.value``) and where its
result goes (``emit.result``), and adds kernels (``emit.kernel``). Views cost nothing. A scan becomes a
region (``loops.py``); what doesn't change from step to step (copies, packed matrices) is placed before the
loop.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyattn.graph.leaf import Storage, constant_value
from tinyattn.graph.tensor import Tensor, output_type
from tinyattn.graph.trace import refuse_traced
from tinyattn.graph.types import FLOAT32, FLOAT64, SHORT
from tinyattn.kernels.calls.words import WORDS
from tinyattn.kernels.language.chains import Chain
from tinyattn.kernels.language.row_chains import RowChain
from tinyattn.runtime.announce import Listener
from tinyattn.runtime.copies import emit_copy, emit_fill
from tinyattn.runtime.joining import place_parts
from tinyattn.runtime.kinds import check_kinds
from tinyattn.runtime.loops import lower_scan
from tinyattn.runtime.memory import Buffer, Ref, Region, full_ref
from tinyattn.runtime.rows import emit_rows
from tinyattn.runtime.schedule import schedule


@dataclass(eq=False)
class Row:
    """One kernel call. ``words`` is its argument block: integers, Refs (their address), nested lists (the
    address of a table) and names of kernels that the kernel calls (theirs).
    """

    kernel: str
    dtype: str
    words: list[Any]
    tiles: int
    reads: list[Ref]
    writes: list[Ref]
    cost: float
    """Rough nanoseconds on one thread, to decide whether sharing pays."""
    node: Tensor | None = None
    in_place: tuple[tuple[Sequence[Ref], Sequence[Ref]], ...] = ()
    """(outputs, inputs): any of these outputs may share memory with any of these inputs."""
    region: Any = None
    flops: float = 0.0
    chain: Chain | RowChain | None = None
    """What the kernel computes, if it is a chain of operations: its code is generated."""


SHARE_ABOVE = 4000.0
"""Kernels estimated to take longer than this many nanoseconds are shared between threads."""


@dataclass(eq=False)
class Lowered:
    """The result of lowering: the whole program as a region, and where inputs and outputs are: each of them all of
    a buffer of its own, numbered, inputs first.
    """

    main: Region
    outputs: list[Ref]
    inputs: list[Ref]
    stores: list[Row] = field(default_factory=list)
    """Copies of new values into the leaves they update, at the end of the program."""
    leaves: list[tuple[Storage, np.ndarray]] = field(default_factory=list)
    """The leaves that are read or updated, and where their numbers are."""


class Emitter:
    """What an op's ``lower`` sees of the compiler."""

    def __init__(self):
        self.main = self.region = Region()
        self.node: Tensor | None = None
        self._values: dict[Tensor, Any] = {}
        self._placed: dict[Tensor, Ref] = {}
        self._asked: dict[Tensor, dict[Any, Tensor]] = {}
        self._leaves: dict[int, Buffer] = {}
        self.leaves: list[tuple[Storage, np.ndarray]] = []

    # Where things are.
    def value(self, node: Tensor) -> Ref:
        """Where a node's value is."""
        return self._values[node]

    def result(self, node: Tensor, key: int | None = None, like: Ref | None = None) -> Ref:
        """Where a node's value (or one of its several) is to be written: contiguous memory, in row-major
        order, or if it may be in another, in the order of the axes of ``like``.
        """
        if key is None:
            target = self._placed.get(node) or self.new(node.shape, node.dtype)
            self._values[node] = target
            return target
        asked = self.asked(node).get(key)
        placed = self._placed.get(asked) if asked is not None else None
        if placed is None:
            kind = output_type(node, key)
            placed = self._laid_out(kind.shape, kind.dtype, like)
        self.places(node)[key] = placed
        return placed

    def places(self, node: Tensor) -> dict[Any, Ref]:
        """Where the outputs of a node that has several are, by their keys."""
        return self._values.setdefault(node, {})

    def _laid_out(self, shape, dtype, like: Ref | None) -> Ref:
        """New memory with the axes in the order that they have in ``like``, the last one last."""
        if like is None or len(like.shape) != len(shape):
            return self.new(shape, dtype)
        order = sorted(range(len(shape) - 1), key=lambda a: (-abs(like.strides[a]), a)) + [len(shape) - 1]
        back = sorted(range(len(shape)), key=order.__getitem__)
        return self.new([shape[a] for a in order], dtype).transposed(back)

    def is_asked(self, node: Tensor, key: int) -> bool:
        """Whether output ``key`` of a node is used."""
        return key in self.asked(node)

    def asked(self, node: Tensor) -> dict[Any, Tensor]:
        """The outputs that are used of a node that has several, by their keys."""
        return self._asked.get(node, {})

    def new(self, shape: Sequence[int], dtype, region: Region | None = None) -> Ref:
        """Memory for a value, owned by the current region."""
        dtype = np.dtype(dtype)
        buffer = Buffer(math.prod(shape) * dtype.itemsize, region or self.region)
        return full_ref(buffer, shape, dtype)

    def constant(self, array: np.ndarray) -> Ref:
        """Memory that holds fixed numbers."""
        array = np.asarray(array, order="C")  # (ascontiguousarray would make a scalar 1-D)
        return full_ref(Buffer(array.nbytes, self.main, array=array), array.shape, array.dtype)

    def _leaf(self, node: Tensor) -> Ref:
        array = node.storage.array
        buffer = self._leaves.get(id(array))
        if buffer is None:
            buffer = self._leaves[id(array)] = Buffer(
                array.nbytes, self.main, array=array, label=node.name or node.op.name
            )
            self.leaves.append((node.storage, array))
        return full_ref(buffer, node.shape, node.dtype)

    # What is done.
    def kernel(
        self,
        name: str,
        words: dict[str, Any] | list,
        tiles: int,
        *,
        reads: Sequence[Ref],
        writes: Sequence[Ref],
        dtype=None,
        cost: float = 0.0,
        flops: float = 0.0,
        in_place=(),
        region: Region | None = None,
        chain: Chain | RowChain | None = None,
    ) -> None:
        """Add a kernel. Its argument ``words`` are given by their names; in order only to a product or a chain,
        whose words are made where it is planned. ``dtype`` picks its float32 or float64 variant (default: that
        of the first write, float32 if that isn't a float).
        """
        if tiles <= 0:
            return
        if isinstance(words, dict):
            words = WORDS[name].pack(words)
        elif name in WORDS:
            raise TypeError(f"{name} takes its words by name")
        variant = np.dtype(dtype if dtype is not None else writes[0].dtype)
        variant = FLOAT64 if variant == FLOAT64 else FLOAT32
        check_kinds(name, variant, (*reads, *writes), self.node)
        row = Row(
            name,
            SHORT[variant],
            words,
            tiles,
            list(reads),
            list(writes),
            cost,
            self.node,
            tuple(in_place),
            region or self.region,
            flops,
            chain,
        )
        row.region.items.append(row)

    def contiguous(self, ref: Ref) -> Ref:
        """The same elements in row-major order: ``ref`` itself, or a copy made as far out of the loops as it
        can be.
        """
        if ref.contiguous:
            return ref
        return self.once(("copy", ref), ref.region, lambda region: self._copied(ref, region))

    def once(self, key, region: Region, build: Callable[[Region], Ref]) -> Ref:
        """The result of ``build(region)``, made once for each key, in a region that encloses the current
        one.
        """
        found = region.copies.get(key)
        if found is None:
            found = region.copies[key] = build(region)
        return found

    def _copied(self, ref: Ref, region: Region) -> Ref:
        target = self.new(ref.shape, ref.dtype, region)
        self.copy(ref, target, region)
        return target

    def copy(self, source: Ref, target: Ref, region: Region | None = None) -> None:
        """Copy elements between any strides."""
        emit_copy(self, source, target, region)

    def fill(self, target: Ref, value: float) -> None:
        """Set contiguous memory to one number."""
        emit_fill(self, target, value)

    def rows(self, op: str, operands: Sequence[Ref], results: dict[Any, Ref], attrs, weights: bool) -> None:
        """Compute the outputs of an op by its definition, which goes over rows, in one kernel."""
        emit_rows(self, op, operands, results, attrs, weights)

    # The walk.
    def lower(
        self,
        roots: Sequence[Tensor],
        values: dict[Tensor, Ref],
        placed: dict[Tensor, Ref],
        updates: dict[Tensor, Tensor] | None = None,
    ) -> None:
        """Emit the kernels that compute ``roots`` and ``updates`` in the current region; ``values`` are known,
        ``placed`` says where some results must go.
        """
        outer = self._values, self._placed, self._asked
        self._values, self._placed = values, placed
        order = schedule(roots, values, updates)
        place_parts(self, order, {*roots, *(updates or {}).values()}, values, placed)
        self._asked = {}
        for node in order:
            if node.op.name == "output":
                self._asked.setdefault(node.inputs[0], {})[node.attrs["key"]] = node
        for node in order:
            if node not in values:
                self.node = node
                self._lower_node(node)
        self._values, self._placed, self._asked = outer

    def _lower_node(self, node: Tensor) -> None:
        values = self._values
        if node.storage is not None:
            values[node] = self._leaf(node)
        elif node.op.name == "constant":
            values[node] = self.constant(constant_value(node))
        elif node.op.name == "output":
            values[node] = values[node.inputs[0]][node.attrs["key"]]
        elif node.op.name == "scan":
            lower_scan(self, node)
        elif node.op.view is not None:
            seen = node.op.view(values[node.inputs[0]], node)
            if seen is None:  # a reshape that strides cannot express
                seen = self.contiguous(values[node.inputs[0]]).reshaped(node.shape)
            values[node] = seen
        elif node.op.lower is not None:
            node.op.lower(node, self)
        elif node.op.name in ("input", "argument"):
            refuse_traced("function", node)
        else:
            raise NotImplementedError(f"operation {node.op.name} has no kernel")


def lower_graph(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    updates: dict[Tensor, Tensor],
    listener: Listener | None = None,
) -> Lowered:
    """Lower a whole rewritten graph: its outputs, which the ``listener`` is told of, and the leaves it updates."""
    emit = Emitter()
    values: dict[Tensor, Ref] = {}
    given = []
    for slot, node in enumerate(inputs):
        given.append(emit.new(node.shape, node.dtype))
        given[-1].buffer.slot, given[-1].buffer.label = slot, node.name or "input"
        values[node] = given[-1]
    emit.lower(outputs, values, {}, updates)
    changing = {emit._leaf(leaf).buffer for leaf in updates}

    def copied(ref: Ref) -> Ref:
        new = emit.new(ref.shape, ref.dtype)
        emit.copy(ref, new)
        return new

    def kept(ref: Ref) -> Ref:
        """What is a view of a leaf that changes is copied while it has its old value."""
        return copied(ref) if ref.buffer in changing else ref

    results = []
    for slot, node in enumerate(outputs, len(given)):
        ref, emit.node = values[node], node
        alone = ref.buffer.planned and ref.buffer.home is emit.main and ref.whole
        results.append(ref if alone else copied(ref))
        results[-1].buffer.slot = slot
    result = Lowered(emit.main, results, given, leaves=emit.leaves)
    news = {
        leaf: values[v] if values[v] == emit._leaf(leaf) else kept(values[v]) for leaf, v in updates.items()
    }
    for leaf, source in news.items():
        target = emit._leaf(leaf)
        if source != target:
            count = len(emit.main.items)
            emit.copy(source, target)
            result.stores += emit.main.items[count:]
    if listener is not None:
        listener.announce(emit, results)
    return result
