"""Parameters and buffers drawn inside of the node of their layer, as a line of its label, and their gradients inside of the node that
makes them. Parameters that lie in no module, or that several operations use, stay nodes of their own, so that sharing is
seen.
"""

from collections.abc import Collection
from dataclasses import replace

from tinyattn.viz.model import Edge, Node, Picture


def draw_in_layers(picture: Picture, apart: Collection[str]) -> Picture:
    """The picture with parameters as lines of their layers, but for those ``apart``."""
    users: dict[str, dict[str, None]] = {}
    makers: dict[str, list[Edge]] = {}
    for edge in picture.edges:
        if edge.kind == "data":
            users.setdefault(edge.source, {})[edge.target] = None
        makers.setdefault(edge.target, []).append(edge)
    nodes = {ident: replace(node) for ident, node in picture.nodes.items()}
    home: dict[str, str] = {}
    for ident, node in picture.nodes.items():
        if (
            node.kind not in ("parameter", "input")
            or not node.path
            or node.value is not None
            or node.output
            or ident in apart
        ):
            continue
        found = list(users.get(ident, {}))
        if len(found) == 1 and nodes[found[0]].path[: len(node.path)] == node.path:
            home[ident] = user = found[0]
            nodes[user].held.append(_row(node))
            nodes[user].parameters += node.kind == "parameter"
    gone = set(home)
    for ident, node in picture.nodes.items():
        if node.kind == "result" and node.origin in home and len(makers.get(ident, ())) == 1:
            edge = makers[ident][0]
            if edge.kind == "gradient":
                nodes[edge.source].held.append(_row(node))
                nodes[edge.source].results += 1
                gone.add(ident)
    made = Picture(nodes=nodes)
    for edge in picture.edges:
        source, target = home.get(edge.source, edge.source), home.get(edge.target, edge.target)
        if edge.target in gone and edge.target not in home or edge.source in home and edge.kind == "data":
            continue
        if (source, target) != (edge.source, edge.target):
            name = picture.nodes[edge.source if edge.source in home else edge.target].title
            label = f"{name} {edge.label}".strip() if not edge.label.startswith("ᵀ") else name + edge.label
            edge = Edge(source, target, edge.kind, label, list(edge.operands))
        made.connect(edge)
    for node in nodes.values():
        node.origin = home.get(node.origin or "", node.origin)
    return picture.part({ident: node for ident, node in nodes.items() if ident not in gone}, made.edges)


def _row(node: Node) -> str:
    shapes = " ".join(kind.partition(" ")[2] for kind in node.types)
    return f"{node.title} {shapes}"
