"""Passes enter bodies here: those of loops and of checkpointed functions.

A pass rebuilds a graph node by node. What it does outside of a loop it does to the loop's body, too, of which only what
somebody asks for stays: the carries, sequences and constants that nothing needs are left out, so the loop's outputs
get new names. A checkpoint is opened: its body takes its place.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from tinyattn.graph import scope
from tinyattn.graph.body import Body
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.traverse import topological

ENTERED = frozenset(["scan", "checkpoint", "output"])
"""Operations that :meth:`Bodies.enter` may know something of."""
Pass = Callable[[list[Tensor], Collection[Tensor]], list[Tensor]]
"""``(roots, nodes that are settled) -> new roots``."""


class Bodies:
    """The loops and checkpoints of a graph, whose nodes are ``order`` (a topological one), during a pass: ``within`` is
    that pass for their bodies.
    """

    def __init__(self, order: Iterable[Tensor], within: Pass):
        self.within = within
        self._asked: dict[Tensor, list] = {}  # of each loop, the keys of the outputs that are used
        for node in order:
            if node.op.name == "output" and node.inputs[0].op.name == "scan":
                self._asked.setdefault(node.inputs[0], []).append(node.attrs["key"])
        self._outputs: dict[Tensor, Callable[[Any], Tensor]] = {}  # of what has been entered: key ↦ new node

    def enter(self, node: Tensor, inputs: Sequence[Tensor]) -> Tensor | None:
        """What becomes of a loop or checkpoint with these new inputs, or of an output of one; None for other nodes."""
        name = node.op.name
        if name == "output":
            outputs = self._outputs.get(node.inputs[0])
            return None if outputs is None else outputs(node.attrs["key"])
        if name == "checkpoint":
            self._outputs[node] = self.within(node.attrs["body"](*inputs), set(inputs)).__getitem__
            return node
        if name == "scan":
            new, names = _rebuilt(
                node, inputs, self._asked.get(node, []), lambda roots: self.within(roots, ())
            )
            self._outputs[node] = lambda key: output(new, names[key])
            return new
        return None


def _rebuilt(node: Tensor, inputs: Sequence[Tensor], keys: list, rewrite: Callable) -> tuple[Tensor, dict]:
    """A scan with its body rewritten and without the carries, sequences and constants that nothing needs;
    and the new name of each output.
    """
    attrs = node.attrs
    body, n_carries, n_xs = attrs["body"], attrs["carries"], attrs["sequences"]
    stacked = [key[1] for key in keys if key[0] == "stack"]
    roots = rewrite([*body.outputs, *stacked])
    following, values = roots[:n_carries], roots[n_carries:]
    # A carry is alive if its last value is asked for, or a living value depends on it.
    alive = {key[1] for key in keys if key[0] == "final"}
    while True:
        used = set(topological([following[k] for k in sorted(alive)] + values))
        more = {k for k in range(n_carries) if body.arguments[k] in used} | alive
        if more == alive:
            break
        alive = more
    kept = [k for k, a in enumerate(body.arguments) if (k in alive if k < n_carries else a in used)]
    renamed, _ = Body.closing(
        [body.arguments[k] for k in kept], [*(following[k] for k in kept if k < n_carries), *values]
    )
    count = sum(k < n_carries for k in kept)
    with scope.on_behalf_of(node, node.origin):
        new = make(
            "scan",
            *(inputs[k] for k in kept),
            body=Body(renamed.arguments, renamed.outputs[:count]),
            carries=count,
            sequences=sum(n_carries <= k < n_carries + n_xs for k in kept),
            length=attrs["length"],
            reverse=attrs["reverse"],
        )
    names: dict = {("final", k): ("final", i) for i, k in enumerate(kept) if k < n_carries}
    for value, renewed in zip(stacked, renamed.outputs[count:], strict=True):
        names["stack", value] = ("stack", renewed)
    return new, names
