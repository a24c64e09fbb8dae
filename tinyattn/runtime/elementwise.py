"""Fused elementwise chains as programs of the vector machine (``tinyattn/kernels/elementwise.py``).

A chain's nodes become instructions on slots: inputs, outputs, and registers that are reused as soon as their
value is dead.
"""

import functools
from collections.abc import Sequence

from tinyattn.graph.body import Body
from tinyattn.graph.op import NotDifferentiable, Op, register
from tinyattn.graph.tensor import Tensor, constant_value
from tinyattn.graph.types import FLOAT32, FLOAT64, SHORT
from tinyattn.kernels import tiling
from tinyattn.kernels.opcodes import CONTIGUOUS, KINDS, OPCODES, SCALAR, STRIDED
from tinyattn.runtime import reference
from tinyattn.runtime.memory import Ref
from tinyattn.runtime.moves import coalesce

_COST_PER_OPERATION = {
    "exp": 0.3,
    "log": 0.4,
    "tanh": 0.4,
    "sigmoid": 0.4,
    "pow": 1.0,
    "softplus": 0.8,
    "erf": 0.6,
    "sin": 0.6,
    "cos": 0.6,
}
"""Rough nanoseconds an element; 0.06 for everything else."""


def _kind(node: Tensor) -> str:
    short = SHORT[node.dtype]
    return "real" if short in ("f32", "f64") else short


def _steps(node: Tensor) -> list[tuple[str, str, tuple]]:
    """A node as machine operations: (operation, kind, operands), where operand −1 − k is the result of step
    k and k is input k.
    """
    name, kind = node.op.name, _kind(node.inputs[-1])
    arguments = tuple(range(len(node.inputs)))
    if name == "cast":
        target = _kind(node)
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
    if name in ("floor_divide", "mod") and kind == "real":
        quotient = [("div", kind, (0, 1)), ("floor", kind, (-1,))]
        return (
            quotient
            if name == "floor_divide"
            else [*quotient, ("mul", kind, (-2, 1)), ("sub", kind, (0, -3))]
        )
    return [(name, kind, arguments)]


def _operands(nodes: Sequence[Tensor], outputs: Sequence[Tensor]) -> dict[Tensor, tuple[Tensor, ...]]:
    """What each node reads. A product that only a sum reads is left out: the sum becomes a·b + c and reads
    the factors.
    """
    uses: dict[Tensor, int] = dict.fromkeys(outputs, 2)
    for node in nodes:
        for source in node.inputs:
            uses[source] = uses.get(source, 0) + 1
    operands = {node: node.inputs for node in nodes}
    for node in nodes:
        if node.op.name == "add" and _kind(node) == "real":
            for product, other in (node.inputs, reversed(node.inputs)):
                if (
                    product.op.name in ("mul", "square")
                    and uses[product] == 1
                    and operands.get(product) is product.inputs
                ):
                    operands[node] = (product.inputs[0], product.inputs[-1], other)
                    del operands[product]
                    break
    return operands


class Chain:
    """The machine program of a body: instructions on slots, without addresses."""

    def __init__(self, body: Body):
        self.nodes = [n for n in body.nodes() if n.inputs]
        operands = _operands(self.nodes, body.outputs)
        self.nodes = [n for n in self.nodes if n in operands]
        self.constants = [n for n in body.nodes() if n.op.name == "constant"]
        self.outputs = list(body.outputs)
        n_inputs = self.inputs = len(body.arguments) + len(self.constants)
        slots: dict[Tensor, int] = {a: k for k, a in enumerate([*body.arguments, *self.constants])}
        slots |= {y: n_inputs + k for k, y in enumerate(self.outputs)}
        first = n_inputs + len(self.outputs)
        last_use = {s: k for k, node in enumerate(self.nodes) for s in operands[node]}
        free: list[int] = []
        count = 0

        def register() -> int:
            nonlocal count
            if free:
                return free.pop()
            count += 1
            return first + count - 1

        self.instructions: list[tuple[int, int, int, int, int]] = []
        self.reads: list[set[int]] = []  # slots each instruction reads
        self.cost = 0.0
        for k, node in enumerate(self.nodes):
            given = operands[node]
            steps = _steps(node) if given is node.inputs else [("multiply_add", "real", (0, 1, 2))]
            temporaries: list[int] = []
            for i, (operation, kind, places) in enumerate(steps):
                sources = [slots[given[p]] if p >= 0 else temporaries[-1 - p] for p in places]
                final = i == len(steps) - 1
                if not final:
                    target = register()
                elif node in slots:
                    target = slots[node]
                else:
                    target = slots[node] = register()
                temporaries.append(target)
                a, b, c = (*sources, 0, 0, 0)[:3]
                self.instructions.append((OPCODES[operation, kind].number, target, a, b, c))
                self.reads.append(set(sources))
                self.cost += _COST_PER_OPERATION.get(operation, 0.06)
            free.extend(temporaries[:-1])
            for source in dict.fromkeys(given):
                if last_use[source] == k and slots[source] >= first:
                    free.append(slots[source])
        self.registers = count
        self.real = FLOAT64 if any(n.dtype == FLOAT64 for n in (*self.nodes, *body.arguments)) else FLOAT32

    def in_place(self, argument: int, output: int) -> bool:
        """Whether output ``output`` may lie where input ``argument`` is: nothing reads the input after the
        output is written.
        """
        slot = self.inputs + output
        writes = [k for k, step in enumerate(self.instructions) if step[1] == slot]
        return all(argument not in read for read in self.reads[writes[0] + 1 :])


@functools.lru_cache(maxsize=4096)
def chain_of(body: Body) -> Chain:
    """The machine program of a body (bodies of equal structure share it)."""
    return Chain(body)


def may_overwrite(fused: Tensor, argument: Tensor, output: int) -> bool:
    """Whether a fused node's output may be written where its input ``argument`` is."""
    body, chain = fused.attrs["body"], chain_of(fused.attrs["body"])
    same = [k for k, source in enumerate(fused.inputs) if source is argument]
    return all(
        body.arguments[k].shape == body.outputs[output].shape
        and body.arguments[k].dtype.itemsize == body.outputs[output].dtype.itemsize
        and chain.in_place(k, output)
        for k in same
    )


def lower_fused(node: Tensor, emit) -> None:
    """Emit one kernel for a fused node."""
    body: Body = node.attrs["body"]
    chain = chain_of(body)
    sources = [emit.value(s) for s in node.inputs] + [
        emit.constant(constant_value(c)) for c in chain.constants
    ]
    targets = [emit.result(node, k) for k in range(len(body.outputs))]
    emit_chain(emit, chain, sources, targets, node)


def emit_chain(
    emit,
    chain: Chain,
    sources: Sequence[Ref],
    targets: Sequence[Ref],
    node: Tensor | None = None,
    region=None,
) -> None:
    """The kernel row of a machine program on given memory."""
    shape = targets[0].shape
    size = targets[0].size
    if size == 0:
        return
    seen = [source.broadcast(shape) for source in sources]
    extents, strides = coalesce(shape, *(ref.strides for ref in seen))
    inputs: list = []
    direct: list[bool] = []
    for ref, steps in zip(seen, strides, strict=True):
        scalar = all(s == 0 or e == 1 for s, e in zip(steps, extents, strict=True))
        plain = len(extents) == 1 and steps[0] == 1 or _plain(extents, steps)
        mode = CONTIGUOUS if plain and not (scalar and size > 1) else SCALAR if scalar else STRIDED
        if size == 1:
            mode = CONTIGUOUS
        direct.append(mode == CONTIGUOUS)
        inputs += [ref, KINDS.index(SHORT[ref.dtype]), mode, list(steps) if mode == STRIDED else 0]
    outputs: list = []
    for ref in targets:
        outputs += [ref, KINDS.index(SHORT[ref.dtype]), 0, 0]
    instructions = [word for step in chain.instructions for word in step]
    words = [
        size,
        len(extents),
        list(extents),
        len(chain.instructions),
        instructions,
        len(sources),
        inputs,
        len(targets),
        outputs,
        chain.registers,
    ]
    pairs = []
    if node is not None:
        for k, target in enumerate(targets):
            for j in range(len(node.inputs)):
                if direct[j] and sources[j].dtype.itemsize == target.dtype.itemsize and chain.in_place(j, k):
                    pairs.append((target, sources[j]))
    emit.kernel(
        "elementwise.run",
        words,
        tiling.tiles_of_elementwise(size),
        reads=list(sources),
        writes=list(targets),
        dtype=chain.real,
        cost=size * (chain.cost + 0.05 * (len(sources) + len(targets))),
        in_place=pairs,
        region=region,
        flops=float(size * len(chain.nodes)),
    )


def _plain(extents, steps) -> bool:
    expected = 1
    for extent, step in zip(reversed(extents), reversed(steps), strict=True):
        if step != expected:
            return False
        expected *= extent
    return True


def _reference(*arrays, body: Body):
    return tuple(reference.evaluate(body.outputs, dict(zip(body.arguments, arrays, strict=True))))


register(
    Op(
        "fused",
        lambda *inputs, body: tuple(y.type for y in body.outputs),
        NotDifferentiable("it exists only in compiled programs"),
        reference=_reference,
        lower=lower_fused,
        formula="fused",
    )
)
