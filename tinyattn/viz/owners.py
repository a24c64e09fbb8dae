"""Whose a shared value is.

Equal expressions are one node, with the place (module, line, forward operation) of whoever built it first. Of values
that are made of constants alone, such as ones of some shape, that may be another graph, if it is still alive, which
the picture of this one must not depend on. Here they belong to their first user.
"""

from collections.abc import Sequence

from tinyattn.graph.tensor import Tensor


def owners(order: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """For each value of ``order``, a topological order, that is made of constants alone and used in it: the first
    user that isn't, or else the last.
    """
    closed: set[Tensor] = set()
    found: dict[Tensor, Tensor] = {}
    for node in order:
        inside = [source for source in node.inputs if source in closed]
        for source in inside:
            found.setdefault(source, node)
        if node.op.name == "constant" or (inside and len(inside) == len(node.inputs)):
            closed.add(node)
    for node in reversed(order):
        if node in found:
            found[node] = found.get(found[node], found[node])
    return found
