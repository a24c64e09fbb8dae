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
    stack = [(root, False) for root in reversed(list(roots))]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            if node not in known:
                stack.extend((source, False) for source in reversed(node.inputs) if source not in done)
    return order


def depends_on(roots: Iterable[Tensor], leaves: Iterable[Tensor]) -> set[Tensor]:
    """The nodes below ``roots`` that depend on one of ``leaves`` (those included)."""
    found = set(leaves)
    for node in topological(roots):
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
    attrs = node.attrs if attrs is None else attrs
    if attrs is node.attrs and all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
        return node
    with scope.on_behalf_of(node, node.origin):
        return make(node.op.name, *inputs, **attrs)


def substitute(roots: Sequence[Tensor], mapping: dict[Tensor, Tensor]) -> list[Tensor]:
    """``roots`` with every key of ``mapping`` replaced by its value, all at once."""
    return transform(roots, rebuild, mapping)


def transform(
    roots: Sequence[Tensor],
    change: Callable[[Tensor, list[Tensor]], Tensor],
    mapping: dict[Tensor, Tensor] | None = None,
) -> list[Tensor]:
    """Rebuild a graph bottom-up: ``change(node, new inputs) -> new node``. ``mapping`` gives nodes that are settled beforehand."""
    new = dict(mapping or {})
    stack = [(root, False) for root in reversed(list(roots))]
    seen: set[Tensor] = set()
    while stack:
        node, expanded = stack.pop()
        if node in new:
            continue
        if expanded or not node.inputs:
            new[node] = change(node, [new[source] for source in node.inputs])
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source in reversed(node.inputs) if source not in new)
        # A node met again before it is finished can only be waiting on the stack below: skip it.
    return [new[root] for root in roots]
