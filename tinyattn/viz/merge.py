"""Several nodes as one: how a group is called, what it says of what is inside, and what becomes of the arrows."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from tinyattn.viz.labels import superscript
from tinyattn.viz.model import Edge, Node, Picture

_ROLE = {"forward": "", "gradient": "∂ ", "update": "update of "}


def merge(
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


def shared_parameters_as_one(picture: Picture) -> Picture:
    """The parameters that nothing but closed calls of one module use, and their gradients, as one node each."""
    users: dict[str, set[str]] = {}
    for edge in picture.edges:
        users.setdefault(edge.source, set()).add(edge.target)
    owner: dict[str, str] = {}
    for ident, node in picture.nodes.items():
        if node.kind == "parameter":
            calls = {picture.nodes[user].call for user in users.get(ident, ())}
            if len(calls) == 1 and (module := calls.pop()):
                owner[ident] = f"parameters of {module}"
    for ident, node in picture.nodes.items():
        if node.kind == "result" and node.origin in owner:
            owner[ident] = owner[node.origin]
    return merge(picture, lambda node: owner.get(node.id), {title: title for title in owner.values()})


def _group_node(picture: Picture, ident: str, name: str, first: Node, title: str) -> Node:
    cluster = picture.clusters.get(name)
    if cluster is not None:
        title, path = cluster.label, cluster.path[:-1]
    elif title or name == "everything":
        title, path = title or name, first.path if first.kind in ("parameter", "result") else ()
    else:
        title, path = _shortened(first.source) or first.line, first.path
    return Node(
        ident,
        "parameters" if cluster is None and first.kind == "parameter" else "group",
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
        call=cluster.dotted if cluster is not None and cluster.kind == "module" else "",
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
