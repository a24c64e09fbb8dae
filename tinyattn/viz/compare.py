"""Two graphs in one picture: what both have stands once, what only one of them has is marked, + or −.

Nodes are the same if they do the same to the same. Of those that are left over, two that do the same at the same place, to
other operands, are one node that has changed; so a new operation early in a graph doesn't make all of it new.
"""

from collections.abc import Sequence
from dataclasses import replace

from tinyattn.graph.tensor import Tensor
from tinyattn.runtime.function import Function
from tinyattn.runtime.program import Program
from tinyattn.viz.drawing import draw
from tinyattn.viz.model import Edge, Node, Path, Picture
from tinyattn.viz.view import GraphView

Drawn = Tensor | Sequence[Tensor] | Function | GraphView
ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_NAMED = ("input", "parameter", "constant", "result")
"""Kinds of nodes that are what they are called."""
_SIGNS = {ADDED: "+ ", REMOVED: "− ", CHANGED: "± "}


def compare(before: Drawn, after: Drawn | None = None, **options) -> GraphView:
    """Two graphs, or two versions of one, in one picture with one layout.

    ``before``, ``after``: what :func:`draw` takes (with its ``options``), or views that it gave; without ``after``, what
    the compiler makes of a Tensor or of several: ``compare([y, *ta.grad(y, [w])])`` shows the rules at work. The page
    switches between the two. Raises what :func:`draw` raises.
    """
    if after is None and not isinstance(before, (GraphView, Function)):
        roots = [before] if isinstance(before, Tensor) else list(before)
        after = Program(roots).graph
        before, options = roots, {"direction": "forward"} | options
    first, second = (y if isinstance(y, GraphView) else draw(y, **options) for y in (before, after))  # type: ignore[arg-type]
    return GraphView(joined(first.picture, second.picture), shown=second.shown)


def joined(first: Picture, second: Picture) -> Picture:
    """The second picture, and what of the first isn't in it."""
    same = _matches(first, second)
    back = {new: old for old, new in same.items()}
    nodes: dict[str, Node] = {}
    clusters = dict(second.clusters)
    new_ids = {ident: same.get(ident) or _free(f"before_{ident}", second.nodes) for ident in first.nodes}
    places = {cluster.label: ident for ident, cluster in second.clusters.items()}
    for ident, cluster in first.clusters.items():
        if cluster.label not in places:
            places[cluster.label] = name = _free(f"before_{ident}", clusters)
            path = (*_moved(cluster.path[:-1], first, places), name)
            clusters[name] = replace(cluster, id=name, path=path)
    for node in first.nodes.values():
        if node.id not in same:
            gone = replace(
                node,
                id=new_ids[node.id],
                path=_moved(node.path, first, places),
                change=REMOVED,
                output=False,
                saved=False,
            )
            gone.origin = new_ids.get(node.origin or "")
            nodes[gone.id] = gone
    for node in second.nodes.values():
        old = first.nodes.get(back.get(node.id, ""))
        change = (
            ADDED
            if old is None
            else ""
            if _does(old) == _does(node) and _reads(first, old.id, same) == _reads(second, node.id)
            else CHANGED
        )
        nodes[node.id] = replace(node, change=change)
    for node in nodes.values():
        node.title = _SIGNS.get(node.change, "") + node.title
    made = Picture(nodes=nodes)
    old_edges = {(new_ids[e.source], new_ids[e.target], e.kind, e.label) for e in first.edges}
    for edge in second.edges:
        known = (edge.source, edge.target, edge.kind, edge.label) in old_edges
        made.connect(replace(edge, change="" if known else ADDED))
    now = {(e.source, e.target, e.kind, e.label) for e in second.edges}
    for edge in first.edges:
        moved = replace(edge, source=new_ids[edge.source], target=new_ids[edge.target], change=REMOVED)
        if (moved.source, moved.target, moved.kind, moved.label) not in now:
            made.connect(moved)
    counts = {
        change: sum(node.change == change for node in nodes.values()) for change in (ADDED, REMOVED, CHANGED)
    }
    said = ", ".join(f"{count} {change}" for change, count in counts.items())
    whole = replace(second, title=f"before → after: {said}", clusters=clusters)
    return whole.part(_in_order(nodes, made.edges), made.edges)


def _free(name: str, taken) -> str:
    while name in taken:
        name += "_"
    return name


def _moved(path: Path, picture: Picture, places) -> Path:
    return tuple(places[picture.clusters[ident].label] for ident in path)


def _does(node: Node) -> tuple:
    """What makes two operations the same but for their operands."""
    names = (node.title,) if node.kind in _NAMED else ()
    return node.op, node.kind, node.phase, node.order, *node.types, node.attrs, *names


def _reads(picture: Picture, ident: str, new_ids=None) -> list[tuple]:
    names = new_ids or {}
    return sorted(
        (names.get(e.source, e.source), e.label, *e.operands)
        for e in picture.edges
        if e.target == ident and e.kind not in ("loop", "update")
    )


def _matches(first: Picture, second: Picture) -> dict[str, str]:
    """Nodes of the first → the same nodes of the second."""
    exact: dict[tuple, list[str]] = {}
    for ident, key in _keys(second).items():
        exact.setdefault(key, []).append(ident)
    found: dict[str, str] = {}
    for ident, key in _keys(first).items():
        if exact.get(key):
            found[ident] = exact[key].pop(0)
    for with_names in (True, False):
        taken: set[str] = set(found.values())
        loose: dict[tuple, list[str]] = {}
        for node in second.nodes.values():
            if node.id not in taken:
                loose.setdefault(_seat(second, node, with_names), []).append(node.id)
        for node in first.nodes.values():
            if node.id not in found and loose.get(_seat(first, node, with_names)):
                found[node.id] = loose[_seat(first, node, with_names)].pop(0)
    return found


def _keys(picture: Picture) -> dict[str, tuple]:
    """What each node does, to what does what, …: numbers stand for what has been seen, so that keys stay short."""
    into: dict[str, list[Edge]] = {}
    for edge in picture.edges:
        if edge.kind not in ("loop", "update"):
            into.setdefault(edge.target, []).append(edge)
    keys: dict[str, tuple] = {}
    for node in picture.nodes.values():
        below = sorted((hash(keys.get(e.source, ())), e.label, *e.operands) for e in into.get(node.id, ()))
        keys[node.id] = (*_does(node), *below)
    return keys


def _seat(picture: Picture, node: Node, with_name: bool) -> tuple:
    """The place of a node, and its kind of work there; its name, if what it is called tells it from its neighbours."""
    place = tuple(picture.clusters[ident].label for ident in node.path)
    name = node.name if with_name else ""
    title = node.title if node.kind in _NAMED else ""  # (another leaf is another leaf)
    return node.op, node.kind, node.phase, node.order, place, name, title


def _in_order(nodes: dict[str, Node], edges: Sequence[Edge]) -> dict[str, Node]:
    """Producers before consumers, as in every picture; where that can't be (a cycle through both graphs), as they come."""
    waiting = dict.fromkeys(nodes, 0)
    out: dict[str, list[str]] = {}
    for edge in edges:
        if edge.kind not in ("loop", "update"):
            waiting[edge.target] += 1
            out.setdefault(edge.source, []).append(edge.target)
    free = [ident for ident, count in waiting.items() if count == 0]
    order: dict[str, Node] = {}
    for ident in free:  # (which grows)
        order[ident] = nodes[ident]
        for target in out.get(ident, ()):
            waiting[target] -= 1
            if waiting[target] == 0:
                free.append(target)
    return order | {ident: node for ident, node in nodes.items() if ident not in order}
