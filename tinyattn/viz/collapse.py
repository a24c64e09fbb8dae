"""Smaller pictures of the same graph: clusters become single nodes, and whatever crossed their border stays.

Forward, gradient and update parts of a module become a node each, side by side, so that the flow from output
to gradient stays readable. Arrows between the same two nodes are merged; an arrow that goes around a
collapsed module (a residual connection) joins two other nodes and survives.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from tinyattn.viz import copies, layout, repeats
from tinyattn.viz.labels import superscript
from tinyattn.viz.model import Edge, Node, Picture, as_id

LARGEST, SLOWEST = 3000, 8.0
"""Pictures of more nodes than this, or that dot will need more seconds for, are collapsed before layout."""

_ROLE = {"forward": "", "gradient": "∂ ", "update": "update of "}


def to_depth(picture: Picture, depth: int) -> Picture:
    """Every module nested deeper than ``depth`` as one node; 0 leaves no module open. Loops and definitions
    are as open as the module they are in.
    """

    def group(node: Node) -> str | None:
        modules = picture.modules(node)
        return modules[depth] if len(modules) > depth else None

    return _merge(picture, group)


def by_line(picture: Picture) -> Picture:
    """All operations that one line of the user's program made in one module, as one node."""

    def group(node: Node) -> str | None:
        return (
            f"{'/'.join(node.path[-1:])}@{as_id(node.line)}"
            if node.kind in ("op", "view") and node.line
            else None
        )

    return _merge(picture, group)


STRETCHES = 24
"""Nodes that a program of more lines than can be shown is folded into."""


def by_stretch(picture: Picture) -> Picture:
    """Lines that follow each other in the user's program as one node, so that there are STRETCHES of them or fewer."""
    lines: dict[str, int] = {}
    for node in picture.nodes.values():
        if node.kind in ("op", "view") and node.line:
            lines.setdefault(node.line, len(lines))
    size = -(-len(lines) // STRETCHES) or 1
    names = list(lines)
    titles = {}
    for k in range(0, len(names), size):
        first, last = names[k], names[min(k + size, len(names)) - 1]
        file, (other, _, end) = first.rpartition(":")[0], last.rpartition(":")
        titles[f"lines{k // size}"] = first if first == last else f"{first}–{end if file == other else last}"

    def group(node: Node) -> str | None:
        inside = node.kind in ("op", "view") and node.line
        return f"lines{lines[node.line] // size}" if inside else None

    return _merge(picture, group, titles)


def to_one(picture: Picture) -> Picture:
    """All operations as one node for each phase: the last resort."""
    return _merge(picture, lambda node: "everything")


def fit(picture: Picture, largest: int = LARGEST) -> Picture:
    """The picture itself if it can be laid out, else the most detailed one that can, with a note that says
    so.
    """
    apart = copies.beside_users(picture)
    if len(picture.nodes) <= largest and layout.seconds(apart) <= SLOWEST:
        return apart
    whole = picture
    depths = range(picture.depth - 1, -1, -1)
    folded = repeats.fold(picture)
    if len(folded.nodes) < len(picture.nodes):
        if _fits(folded, largest):
            return _noted(folded, picture, "equal modules are drawn once")
        picture = folded
    candidates: list[tuple[str, Callable[[], Picture]]] = [
        *(
            (f"modules nested deeper than {d} are one node each (depth={d})", partial(to_depth, picture, d))
            for d in depths
        ),
        ("operations of one source line are one node each", lambda: by_line(to_depth(picture, 0))),
        ("neighbouring source lines are one node each", lambda: by_stretch(to_depth(picture, 0))),
        ("all operations are one node", lambda: to_one(picture)),
    ]
    for made in candidates:
        what, smaller = made[0], made[1]()
        if _fits(smaller, largest):
            break
    return _noted(smaller, whole, what)


def _noted(smaller: Picture, whole: Picture, what: str) -> Picture:
    smaller.notes.append(f"{len(whole.nodes):,} nodes are too many for one legible picture: {what}.")
    return smaller


def _fits(picture: Picture, largest: int) -> bool:
    return len(picture.nodes) <= largest and layout.seconds(picture) <= SLOWEST


def _merge(
    picture: Picture, group: Callable[[Node], str | None], titles: Mapping[str, str] = MappingProxyType({})
) -> Picture:
    """Nodes of one group and phase become one node. ``group`` names a node's group, or None to keep it as it
    is; ``titles``: what to write on them.
    """
    sizes: Counter[tuple] = Counter()
    keys: dict[str, tuple | None] = {}
    for node in picture.nodes.values():
        name = group(node)
        keys[node.id] = key = None if name is None else (name, node.phase, _level(node))
        sizes[key or ()] += 1
    new: dict[str, str] = {}
    nodes: dict[str, Node] = {}
    members: dict[str, list[Node]] = {}
    for node in picture.nodes.values():
        key = keys[node.id]
        if key is None or (sizes[key] == 1 and key[0] not in picture.clusters):
            new[node.id], nodes[node.id] = node.id, replace(node)
            continue
        again = str(key[2]) if key[2] > 1 else ""
        new[node.id] = ident = key[0] + ("" if node.phase == "forward" else f"__{node.phase}{again}")
        if ident not in members:
            members[ident] = []
            nodes[ident] = _group_node(picture, ident, key[0], node, titles.get(key[0], ""))
        members[ident].append(node)
    for ident, inside in members.items():
        _summarise(nodes[ident], inside)
    for node in nodes.values():
        node.origin = new.get(node.origin or "", node.origin)
    merged = Picture(nodes=nodes)
    for edge in picture.edges:
        source, target = new[edge.source], new[edge.target]
        if source != target:
            grouped = source in members or target in members
            merged.connect(
                Edge(
                    source,
                    target,
                    edge.kind,
                    "" if grouped else edge.label,
                    [] if target in members else list(edge.operands),
                )
            )
    _types_that_leave(picture, new, {ident: nodes[ident] for ident in members})
    return picture.part(nodes, merged.edges)


def _group_node(picture: Picture, ident: str, name: str, first: Node, title: str) -> Node:
    cluster = picture.clusters.get(name)
    if cluster is not None:
        title, path = cluster.label, cluster.path[:-1]
    elif title or name == "everything":
        title, path = title or name, ()
    else:
        title, path = _shortened(first.source) or first.line, first.path
    return Node(
        ident,
        "group",
        "group",
        first.phase,
        _ROLE[first.phase].replace("∂", f"∂{superscript(_level(first))}" if _level(first) > 1 else "∂")
        + title,
        [],
        path=path,
        line=first.line if cluster is None else "",
        source=first.source if cluster is None else "",
        origin=first.origin,
        order=_level(first),
    )


def _level(node: Node) -> int:
    """Derivatives of different orders stay apart."""
    return max(node.order, 1) if node.phase == "gradient" else 0


def _shortened(text: str, width: int = 48) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _summarise(node: Node, inside: list[Node]) -> None:
    node.members = sum(member.members * member.times for member in inside)
    node.output = any(member.output for member in inside) and node.phase == "forward"
    node.saved = any(member.saved for member in inside)
    count = sum(member.members * member.times for member in inside if member.kind in ("op", "view", "group"))
    node.parameters = sum(
        (member.parameters + (member.kind == "parameter")) * member.times for member in inside
    )
    node.results = sum((member.results + (member.kind == "result")) * member.times for member in inside)
    parameters, results = node.parameters, node.results
    node.bytes = sum(member.bytes * member.times for member in inside)
    parts = [f"{count} op{'s' * (count != 1)}"] if count else []
    parts += [f"{parameters} parameter{'s' * (parameters != 1)}"] if parameters else []
    parts += [f"{results} gradient{'s' * (results != 1)}"] if results and node.phase == "gradient" else []
    node.attrs = ", ".join(parts)


def _types_that_leave(picture: Picture, new: dict[str, str], groups: dict[str, Node]) -> None:
    """Write on each collapsed node the types of what it takes from others, and of what it hands to them."""
    for edge in picture.edges:
        source, target = new[edge.source], new[edge.target]
        if source == target or edge.kind not in ("data", "gradient"):
            continue
        kinds = picture.nodes[edge.source].types
        if source in groups:
            groups[source].types = list(dict.fromkeys([*groups[source].types, *kinds]))
        if target in groups and picture.nodes[edge.source].kind != "parameter":
            groups[target].takes = list(dict.fromkeys([*groups[target].takes, *kinds]))
    for node in picture.nodes.values():
        if node.output and node.phase == "forward" and (group := groups.get(new[node.id])) is not None:
            group.types = list(dict.fromkeys([*group.types, *node.types]))
