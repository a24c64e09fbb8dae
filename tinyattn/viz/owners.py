"""Whose a shared value is.

Equal expressions are one node, with the place (module, line, forward operation) of whoever built it first. Of values
that are made of constants alone, such as ones of some shape, that may be another graph, if it is still alive, which
the picture of this one must not depend on. Here they belong to their first user. What several modules of this graph
build lies in none of them, but in the module around them, and says who they are.
"""

from collections.abc import Mapping, Sequence

from tinyattn.graph.scope import Holder
from tinyattn.graph.tensor import Tensor

Scope = tuple[str, ...]
"""A module path, outermost first."""


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


def users_of(order: Sequence[Tensor]) -> dict[Tensor, list[Tensor]]:
    """For each node of a topological order, and for what is drawn elsewhere, its users."""
    found: dict[Tensor, list[Tensor]] = {node: [] for node in order}
    for node in order:
        for source in node.inputs:
            found.setdefault(source, []).append(node)
    return found


def shared(order: Sequence[Tensor], owner: Mapping[Tensor, Tensor]) -> dict[Tensor, tuple[Scope, ...]]:
    """For each value of ``order`` that several modules of this graph have built, or another one than had it first, these
    modules.

    A node knows all module paths in which somebody asked for it, those of other living graphs, too. One is of this graph
    if something else was made in it, if a user was, or if a user lies right around it, where the module's result went.
    """
    forward = [node for node in order if node.origin is None]
    made = {
        node.scope[: depth + 1]
        for node in forward
        if node.inputs and node not in owner and set(node.elsewhere) <= {node.scope}
        for depth in range(len(node.scope))
    }
    users = users_of(order)
    found: dict[Tensor, tuple[Scope, ...]] = {}
    for node in reversed(forward):
        if set(node.elsewhere) <= {node.scope}:
            continue
        around = {
            place for user in users[node] if user.origin is None for place in found.get(user, (user.scope,))
        }
        around |= set() if users[node] else {()}
        places = tuple(
            place
            for place in dict.fromkeys((node.scope, *node.elsewhere))
            if place in made or place in around or _caller(place) in around
        )
        if places and places != (node.scope,):
            found[node] = places
    return found


def _caller(place: Scope) -> Scope:
    """The module path in which the innermost module of this one was called."""
    place = place[:-1]
    while place and isinstance(place[-1], Holder):
        place = place[:-1]
    return place


def places(
    order: Sequence[Tensor], owner: Mapping[Tensor, Tensor], shared: Mapping[Tensor, tuple[Scope, ...]]
) -> dict[Tensor, Scope]:
    """In which module each node lies: what is shared in the innermost module that holds all who build it, and a derivative
    beside what it is the derivative of.
    """
    found: dict[Tensor, Scope] = {}
    for node in order:
        own = owner.get(node, node)
        forward = node if node in shared else own if own.origin is None else own.origin
        is_beside = node in shared or own.scope == forward.scope
        found[node] = _common(shared[forward]) if forward in shared and is_beside else own.scope
    return found


def _common(places: Sequence[Scope]) -> Scope:
    """The innermost module around all of these."""
    same = 0
    for steps in zip(*places, strict=False):
        if len(set(steps)) > 1:
            break
        same += 1
    return places[0][:same]


MOST = 3
"""Modules of a shared value that are named."""


def named(places: Sequence[Scope], inside: Scope) -> str:
    """``left, right``: what is said of a value of several modules, as they are seen from ``inside``."""
    if len(places) < 2:
        return ""
    names = [".".join(place[len(inside) :]) or "what is around them" for place in places]
    names, more = names[:MOST], len(names[MOST:])
    return ", ".join(names) + (f" and {more} more" if more else "")
