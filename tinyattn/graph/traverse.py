"""Walks over graphs. All of them are loops, not recursion: a chain of 100,000 nodes is an ordinary graph."""

from collections.abc import Callable, Container, Iterable, Sequence

from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor, make


def topological(roots: Iterable[Tensor], known: Container[Tensor] = ()) -> list[Tensor]:
    """Every node that ``roots`` depend on, inputs before users, in an order that depends on structure only.

    Nodes in ``known`` are listed, but nothing below them.
    """
    order: list[Tensor] = []
    done: set[Tensor] = set()
    stack: list[Tensor | None] = [*reversed(list(roots))]
    while stack:
        node = stack.pop()
        if node is None:  # all that the node below on the stack needs is in order
            order.append(stack.pop())  # type: ignore[arg-type]
        elif node not in done:
            done.add(node)
            if not node.inputs or node in known:
                order.append(node)
            else:
                stack += (node, None, *node.inputs[::-1])
    return order


def depends_on(
    roots: Iterable[Tensor], leaves: Iterable[Tensor], order: Sequence[Tensor] | None = None
) -> set[Tensor]:
    """The nodes below ``roots`` that depend on one of ``leaves`` (those included); ``order``: all nodes in topological
    order, if it is known.
    """
    found = set(leaves)
    for node in topological(roots) if order is None else order:
        if not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def consumers(order: Sequence[Tensor]) -> dict[Tensor, list[Tensor]]:
    """For each node of ``order``, the nodes of ``order`` that use it."""
    users: dict[Tensor, list[Tensor]] = {node: [] for node in order}
    for node in order:
        for source in dict.fromkeys(node.inputs):
            users[source].append(node)
    return users


def rebuild(node: Tensor, inputs: Sequence[Tensor], attrs: dict | None = None) -> Tensor:
    """The same operation on other inputs, with the same scope, line and origin."""
    if attrs is None:
        attrs = node.attrs
        for old, new in zip(node.inputs, inputs, strict=True):
            if old is not new:
                break
        else:
            return node
    state = scope.state
    if state.line is node.line and state.origin is node.origin and state.scope is node.scope and node.line:
        new = make(node.op.name, *inputs, **attrs)
    else:
        with scope.on_behalf_of(node, node.origin):
            new = make(node.op.name, *inputs, **attrs)
    if node.name is not None and new.name is None:
        new.name = node.name
    return new


def substitute(roots: Sequence[Tensor], mapping: dict[Tensor, Tensor]) -> list[Tensor]:
    """``roots`` with every key of ``mapping`` replaced by its value, all at once."""

    def change(node: Tensor, inputs: list[Tensor]) -> Tensor:
        new = rebuild(node, inputs)
        if node.cotangent_of is not None and new.cotangent_of is None:
            new.cotangent_of = node.cotangent_of
        return new

    return transform(roots, change, mapping)


def transform(
    roots: Sequence[Tensor],
    change: Callable[[Tensor, list[Tensor]], Tensor],
    mapping: dict[Tensor, Tensor] | None = None,
    order: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Rebuild a graph bottom-up: ``change(node, new inputs) -> new node``. ``mapping`` gives nodes that are
    settled beforehand, ``order`` the nodes in topological order, if it is known.
    """
    new = dict(mapping or {})
    for node in topological(roots, new) if order is None else order:
        if node not in new:
            new[node] = change(node, [new[source] for source in node.inputs])
    return [new[root] for root in roots]
