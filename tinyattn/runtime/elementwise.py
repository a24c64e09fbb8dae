"""Fused elementwise nodes as chains (``tinyattn/kernels/language/chains.py``), for each of which a native loop is
generated.

A node's body becomes steps on numbered values; how each input goes along, and single numbers that are known,
become part of the kernel row.
"""

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from tinyattn.graph.body import Body
from tinyattn.graph.leaf import constant_value
from tinyattn.graph.op import NotDifferentiable, Op, register
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import FLOAT32, FLOAT64, SHORT
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, Chain, block_of_chain, tiles_of_chain, way
from tinyattn.runtime import reference
from tinyattn.runtime.copies import coalesce
from tinyattn.runtime.memory import Buffer, Ref, Region

OPERAND_COST = 0.04
"""Rough nanoseconds to read or write an element."""


def kind_of(node: Tensor) -> str:
    short = SHORT[node.dtype]
    return "real" if short in ("f32", "f64") else short


def steps_of_node(node: Tensor) -> list[tuple[str, str, tuple]]:
    """A node as operations: (operation, kind, operands), where operand −1 − k is the result of step k and k is
    input k.
    """
    name, kind = node.op.name, kind_of(node.inputs[-1])
    arguments = tuple(range(len(node.inputs)))
    if name == "cast":
        target = kind_of(node)
        return [("copy", kind, (0,)) if target == kind else (f"to_{target}", kind, (0,))]
    if name == "softplus":  # max(x, 0) + log1p(exp(−|x|))
        return [
            ("abs", kind, (0,)),
            ("neg", kind, (-1,)),
            ("exp", kind, (-2,)),
            ("log1p", kind, (-3,)),
            ("relu", kind, (0,)),
            ("add", kind, (-4, -5)),
        ]
    return [(name, kind, arguments)]


class Steps:
    """A body as steps on numbered values: inputs (its arguments, then its constants), then results of steps."""

    def __init__(self, body: Body):
        nodes = [n for n in body.nodes() if n.inputs]
        self.flops = 0
        self.constants = [n for n in body.nodes() if n.op.name == "constant"]
        number: dict[Tensor, int] = {a: k for k, a in enumerate([*body.arguments, *self.constants])}
        inputs = len(number)
        steps: list[tuple[str, str, tuple[int, ...]]] = []
        self.cost = 0.0
        for node in nodes:
            first = inputs + len(steps)
            self.cost += node.op.cost
            self.flops += node.op.flops if kind_of(node.inputs[-1]) == "real" else 0
            for operation, kind, places in steps_of_node(node):
                sources = tuple(number[node.inputs[p]] if p >= 0 else first - 1 - p for p in places)
                steps.append((operation, kind, sources))
            number[node] = inputs + len(steps) - 1
        self.steps = tuple(steps)
        self.outputs = tuple(number[y] for y in body.outputs)
        wide = any(n.dtype == FLOAT64 for n in (*nodes, *body.arguments))
        self.real = FLOAT64 if wide else FLOAT32


_steps_of: "WeakKeyDictionary[Body, Steps]" = WeakKeyDictionary()
"""Held weakly: a body's nodes know where they come from, and so the whole graph with its leaves' arrays."""


def steps_of(body: Body) -> Steps:
    """The steps of a body (bodies of equal structure share them)."""
    found = _steps_of.get(body)
    if found is None:
        found = _steps_of[body] = Steps(body)
    return found


def may_overwrite(fused: Tensor, argument: Tensor, output: int) -> bool:
    """Whether a fused node's output may be written where its input ``argument`` is: both go along alike."""
    result = fused.attrs["body"].outputs[output]
    return argument.shape == result.shape and argument.dtype.itemsize == result.dtype.itemsize


def lower_fused(node: Tensor, emit) -> None:
    """Emit one kernel for a fused node."""
    body: Body = node.attrs["body"]
    sources = [emit.value(s) for s in node.inputs]
    targets = [emit.result(node, k) for k in range(len(body.outputs))]
    emit_chain(emit, steps_of(body), sources, targets)


def emit_chain(
    emit, steps: Steps, sources: Sequence[Ref], targets: Sequence[Ref], region: Region | None = None
) -> None:
    """The kernel row of a chain on given memory."""
    shape, size = targets[0].shape, targets[0].size
    if size == 0:
        return
    seen = [source.broadcast(shape) for source in sources]
    extents, strides = coalesce(shape, *(ref.strides for ref in (*seen, *targets)))
    ways = [CONTIGUOUS if size == 1 else way(extents, s) for s in strides[: len(seen)]]
    numbers = [constant_value(c) for c in steps.constants]
    kinds = [SHORT[ref.dtype] for ref in sources], [SHORT[value.dtype] for value in numbers]
    chain = Chain(
        SHORT[steps.real],
        steps.steps,
        (*zip(kinds[0], ways, strict=True), *((kind, NUMBER) for kind in kinds[1])),
        tuple((SHORT[ref.dtype], k) for ref, k in zip(targets, steps.outputs, strict=True)),
        len(extents) - 1,
    )
    block = block_of_chain(extents[-1])
    given = [*sources, *(bits_of(value) for value in numbers)]
    strides[len(seen) : len(seen)] = [[]] * len(numbers)
    emit.kernel(
        "elementwise.chain",
        chain.arguments(extents, block, given, strides, targets),
        tiles_of_chain(size // extents[-1], extents[-1]),
        reads=list(sources),
        writes=list(targets),
        dtype=steps.real,
        cost=size * (steps.cost + OPERAND_COST * (len(sources) + len(targets))),
        in_place=alike(sources, seen, ways, targets),
        region=region,
        flops=float(size * steps.flops),
        chain=chain,
    )


def alike(sources: Sequence[Ref], seen: Sequence[Ref], ways: Sequence[int], targets: Sequence[Ref]) -> list:
    """Which outputs may lie where which inputs are: those that are read element by element (``seen`` and ``ways`` say
    how), and whose memory is read in no other way.
    """
    ways_into: dict[Buffer, set[Ref]] = {}
    for source in sources:
        ways_into.setdefault(source.buffer, set()).add(source)
    steady = [
        source
        for k, source in enumerate(sources)
        if ways[k] == CONTIGUOUS and seen[k].contiguous and len(ways_into[source.buffer]) == 1
    ]
    found = []
    for size_of_one in dict.fromkeys(source.dtype.itemsize for source in steady):
        same = [[ref for ref in refs if ref.dtype.itemsize == size_of_one] for refs in (targets, steady)]
        found.append((same[0], same[1]))
    return found


def bits_of(value: np.ndarray) -> int:
    """A number as an argument word."""
    return int.from_bytes(value.tobytes().ljust(8, b"\0"), "little", signed=True)


def _reference(*arrays, body: Body):
    return tuple(reference.evaluate(body.outputs, dict(zip(body.arguments, arrays, strict=True))))


register(
    Op(
        "fused",
        lambda *inputs, body: body.types,
        NotDifferentiable("it exists only in compiled programs"),
        reference=_reference,
        lower=lower_fused,
        formula="fused",
        output_type=lambda node, key: node.attrs["body"].types[key],
        mixed=True,
    )
)
