"""Recomputation: cheap values are made again for the derivative instead of being kept for it.

The derivative of h = gelu(z) w reads both z (for z̄) and gelu(z) (for w̄), so both would wait in memory for the
backward pass. But where z waits anyway, gelu(z) can be computed again when it is wanted. That is done with
elementwise values and normalised rows, all of whose inputs are there in the backward pass: parameters, small,
read by the derivative too, or made again themselves. (The costlier choice, for whole functions, is the user's:
``ta.checkpoint``.)
"""

from collections.abc import Sequence

from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import rebuild, topological
from tinyattn.rewrite.rule import Log, Rule

RECOMPUTE = Rule("recompute", "cheap f(x), read by the derivative → f(x) once more")
LEAST_BYTES = 1 << 16
"""Smaller values are kept: they are not worth a kernel."""
SMALL = 8
"""A value this many times smaller than another may be kept in its stead."""
MOST_OPERATIONS = 6
"""Most operations that are repeated for one value."""


def recompute(roots: Sequence[Tensor], log: Log, order: Sequence[Tensor] | None = None) -> list[Tensor]:
    """``roots`` with cheap forward values computed again where the derivative reads them; ``order``: all nodes in
    topological order, if it is known.
    """
    order = topological(roots) if order is None else order
    if all(_bytes(node) < LEAST_BYTES for node in order):
        return list(roots)
    late: set[Tensor] = set()  # derivatives, and what depends on them
    for node in order:
        if node.inputs and (node.origin is not None or any(source in late for source in node.inputs)):
            late.add(node)
    owner: dict[Tensor, Tensor] = {}  # seen through views
    for node in order:
        owner[node] = owner[node.inputs[0]] if node.op.view is not None else node
    chosen, cheap = _choose(order, late, owner, {owner[root] for root in roots})
    if not chosen:
        return list(roots)

    copies = _Copies(cheap, owner)
    new, made = copies.new, copies.made
    for node in order:
        inputs = [new[source] for source in node.inputs]
        if node in late and node.op.view is None:
            arrived = [k for k, s in enumerate(node.inputs) if s in late and owner[s] in late and s.shape]
            for k, source in enumerate(node.inputs):
                value = owner[source]
                if value not in chosen:
                    continue
                if value not in made:
                    if not arrived:  # nothing says when: keep it
                        chosen.discard(value)
                        cheap.discard(value)
                        continue
                    made[value] = copies.again(value, inputs[arrived[0]])
                    log.steps.append(("recompute", RECOMPUTE, value, made[value]))
                inputs[k] = copies.seen(source, value)
        new[node] = rebuild(node, inputs)
    return [new[root] for root in roots]


class _Copies:
    """What the nodes have become (``new``), and the values made again (``made``)."""

    def __init__(self, cheap: set[Tensor], owner: dict[Tensor, Tensor]):
        self.cheap, self.owner = cheap, owner
        self.new: dict[Tensor, Tensor] = {}
        self.made: dict[Tensor, Tensor] = {}

    def again(self, value: Tensor, cotangent: Tensor) -> Tensor:
        """``value`` from what is kept, after ``cotangent`` is there."""
        if value.op.name == "constant":
            return value
        with scope.on_behalf_of(value, value):
            if value.op.view is None and value not in self.cheap:
                return make("after", self.new[value], cotangent)
            return make(value.op.name, *(self.again(s, cotangent) for s in value.inputs), **value.attrs)

    def seen(self, source: Tensor, value: Tensor) -> Tensor:
        """``source``, a view of ``value`` or this itself, of the value made again."""
        if source is value:
            return self.made[value]
        return rebuild(
            source, [self.seen(source.inputs[0], value), *(self.new[s] for s in source.inputs[1:])]
        )


def _choose(order, late: set[Tensor], owner: dict[Tensor, Tensor], held: set[Tensor]):
    """The values to make again, and all that can be made again on the way to them."""
    early_readers: set[Tensor] = set()
    late_readers: set[Tensor] = set()
    for node in order:
        if node.op.view is None:
            (late_readers if node in late else early_readers).update(owner[source] for source in node.inputs)
    chosen: set[Tensor] = set()
    operations: dict[Tensor, int] = {}  # to make a value again
    for value in order:
        size = _bytes(value)
        if not value.inputs or value in late or value in held or size < LEAST_BYTES:
            continue
        maker = value.inputs[0] if value.op.name == "output" else value
        if (
            maker.op.view is not None
            or not maker.op.recompute
            or (maker is not value and value.attrs["key"] != 0)
        ):
            continue
        count = 1
        for below in dict.fromkeys(owner[source] for source in maker.inputs):
            if below in operations:
                count += operations[below]
            elif (
                below.inputs and _bytes(below) * SMALL > size and (below in late or below not in late_readers)
            ):
                count = MOST_OPERATIONS + 1  # neither there in the backward pass, nor worth keeping
        if count > MOST_OPERATIONS:
            continue
        if value in late_readers and value in early_readers:
            chosen.add(value)
        if value in chosen or value not in late_readers:
            operations[value] = operations[maker] = count
    return chosen, set(operations)


def _bytes(value: Tensor) -> int:
    return value.size * value.dtype.itemsize if value.dtype is not None else 0
