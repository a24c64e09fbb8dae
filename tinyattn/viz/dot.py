"""A picture as DOT text, by the ``graphviz`` package (which quotes what isn't ``<a label>``; those are escaped here).

Saved values are dotted arrows that rank in long pictures alone, to keep values beside the derivatives that read them, and
there is a cluster for each module: both keep large graphs fast to lay out and free of long detours.
Cotangents flow from the loss upwards beside the values they belong to.
"""

import textwrap
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from tinyattn import markup
from tinyattn.viz import labels, layout, style
from tinyattn.viz.model import Edge, Node, Path, Picture, as_id

if TYPE_CHECKING:
    import graphviz

WIDEST, LONGEST = 48, 240
"""Letters in a line of a formula, and in all of it."""
DETAILED = 40
"""Pictures of more nodes don't write on arrows that only the shape changes; it is in their tooltips."""
SIGN = 3
"""Letters of what stands at an arrow's head. More of them would lie on those of its neighbours: they have room of their own
beside the arrow, or, where arrows are many or don't rank, where dot finds some when everything else has its place.
"""
SHAPE, STACK = "→ ", "all t"
"""What begins a word on a shape, and what is said of a value of all steps."""
QUICK_NODES, QUICK_SECONDS = 600, 1.0
"""Above this many nodes, or predicted seconds, dot's slow phases are limited."""


def digraph(picture: Picture, room: Mapping[str, int] = MappingProxyType({})) -> "graphviz.Digraph":
    """The picture as a ``graphviz.Digraph``. ``room``: below the words on these nodes, how much room a page needs for a map
    of their values.
    """
    import graphviz  # here, because importing it takes longer than everything else in this package

    limits = _limits(picture)
    caption = "<br/>".join(f'<font point-size="9">{text(note)}</font>' for note in picture.notes)
    graph = graphviz.Digraph(
        graph_attr={
            "id": "picture",
            "class": "picture",
            "rankdir": picture.rankdir,
            "nodesep": "0.22",
            "ranksep": "0.32",
            "fontname": style.FONT,
            "fontsize": "10",
            "fontcolor": style.GREY,
            "bgcolor": "transparent",
            "labelloc": "b",
            "tooltip": tip(picture.title),
            **limits,
            **({"label": f"<{caption}>"} if caption else {}),
        },
        node_attr={
            "fontname": style.FONT,
            "fontsize": "10",
            "fontcolor": style.INK,
            "margin": "0.11,0.04",
            "height": "0.2",
            "width": "0.3",
        },
        edge_attr={
            "arrowsize": "0.7",
            "fontname": style.FONT,
            "fontsize": "9",
            "fontcolor": style.INK,
            "labeldistance": "2.2",
            "labelangle": "-18",
        },
    )
    _fill(graph, picture, (), _rooms(picture), room)
    for edge in picture.edges:
        _edge(graph, edge, picture)
    return graph


def _limits(picture: Picture) -> dict[str, str]:
    """How thoroughly dot works on a picture of this size."""
    if layout.is_entangled(picture):
        return {"nslimit": ".1", "nslimit1": "2", "mclimit": ".1", "splines": "line"}
    if len(picture.nodes) > layout.VAST_NODES:
        return {"nslimit": ".5", "nslimit1": "2", "mclimit": ".1"}
    if len(picture.nodes) > QUICK_NODES or layout.seconds(picture) > QUICK_SECONDS:
        return {"nslimit": "2", "nslimit1": "2", "mclimit": ".5"}
    return {}


_BACKSLASH = str.maketrans("\\", "∖")
"""Versions of Graphviz differ in where they take a backslash for an escape, so labels have a sign that looks
like one.
"""


def text(plain: str) -> str:
    """Plain text inside an HTML-like label, which must not be empty."""
    return markup.escape(plain.translate(_BACKSLASH)) or " "


def tip(plain: str) -> str:
    """Plain text as a tooltip, where Graphviz reads entities and ends lines at \\n. It is quoted even if it
    looks like a label, ``<…>``.
    """
    import graphviz

    plain = markup.clean(plain).translate(_BACKSLASH)
    return graphviz.nohtml(plain.replace("&", "&amp;").replace("\n", "\\n"))


def _rooms(picture: Picture) -> dict[Path, tuple[list[Node], list[Path]]]:
    """For each place, the nodes that lie right in it and the clusters below, in order of appearance."""
    rooms: dict[Path, tuple[list[Node], list[Path]]] = {(): ([], [])}
    for node in picture.nodes.values():
        for depth in range(len(node.path)):
            inner = node.path[: depth + 1]
            if inner not in rooms:
                rooms[inner] = ([], [])
                rooms[node.path[:depth]][1].append(inner)
        rooms[node.path][0].append(node)
    return rooms


def _fill(graph, picture: Picture, path: Path, rooms, room: Mapping[str, int]) -> None:
    nodes, inner = rooms[path]
    for node in nodes:
        graph.node(
            node.id,
            label=label(node, room.get(node.id, 0)),
            id=node.id,
            tooltip=tip(tooltip(node, picture)),
            **style.node_style(node),
            **{"class": node.classes},
        )
    for place in inner:
        cluster = picture.clusters[place[-1]]
        with graph.subgraph(name=f"cluster_{cluster.id}") as frame:
            look = style.cluster_style(cluster)
            frame.attr(
                label=f"<{text(cluster.label)}>",
                id=f"cluster_{cluster.id}",
                tooltip=tip(cluster.note or cluster.label),
                labelloc="t",
                labeljust="l",
                fontsize="10",
                margin="8",
                **look,
                **{"class": f"{cluster.kind} {cluster.phase}"},
            )
            _fill(frame, picture, place, rooms, room)


def label(node: Node, room: int = 0) -> str:
    """The HTML-like label: title, then types, value and contents in small print, and an empty line as high as ``room``."""
    below = f'<br/><font point-size="{room}">\u2003</font>' if room else ""
    if node.kind == "view":
        value = f" = {node.value}" if node.value else ""
        return f'<<font point-size="8" color="{style.FADED}">{text(node.title)} {text(_shape(node) + value)}</font>{below}>'
    equation = [node.equation] if node.equation and node.kind != "view" else []
    small = [*_types(node), *([node.value] if node.value else [])]
    if node.kind in ("group", "carry", "input", "parameter") and node.attrs:
        small = [node.attrs, *small]
    if node.shared:
        small += textwrap.wrap(f"shared by {node.shared}", WIDEST * 3 // 4)
    lines = "".join(f'<br/><font point-size="8" color="{style.FADED}">{text(line)}</font>' for line in small)
    lines = (
        "".join(f'<br/><font point-size="8" color="{style.BLUE}">{text(row)}</font>' for row in node.held)
        + lines
    )
    said = "".join(f"<br/>{text(line)}" for whole in equation for line in _wrapped(whole))
    return f"<<b>{text(node.title)}</b>{said}{lines}{below}>"


def _types(node: Node) -> list[str]:
    """Shapes of what comes out, of a group those of what comes in, too; and how much memory it takes."""
    rows = [*node.types[:2], *(["…"] if len(node.types) > 2 else [])]
    if node.takes:
        taken = f"{', '.join(node.takes[:2])}{', …' if len(node.takes) > 2 else ''}"
        rows = [f"{taken} → {', '.join(rows)}" if rows else taken]
    if rows and node.bytes >= 1024:
        rows[-1] += f" · {labels.size(node.bytes)}"
    return rows


def _wrapped(whole: str) -> list[str]:
    """A formula in lines of about the same length."""
    whole = markup.label(whole, LONGEST)
    lines = -(-len(whole) // WIDEST) or 1
    return textwrap.wrap(whole, len(whole) // lines + WIDEST // 6, break_long_words=False)


def _shape(node: Node) -> str:
    """A view changes the shape only, so the element type is left out."""
    return "→ " + " ".join(kind.partition(" ")[2] for kind in node.types)


def _said(picture: Picture, ident: str) -> str:
    """What a node or cluster is called where only its id is known."""
    if ident in picture.nodes:
        return picture.nodes[ident].equation or picture.nodes[ident].title
    return picture.clusters[ident].label if ident in picture.clusters else "another picture"


def tooltip(node: Node, picture: Picture) -> str:
    """What shows when the pointer rests on a node."""
    rows = [
        f"{node.op}: {node.equation}" if node.formula else node.title,
        node.attrs,
        ", ".join(node.types),
        f"pulls back: {node.rule}" if node.rule else "",
        f"by the rule of {_said(picture, node.origin)}" if node.origin else "",
        "/".join(picture.clusters[ident].label for ident in node.path),
        f"shared by {node.shared}" if node.shared else "",
        f"{node.line}  {node.source}".strip(),
    ]
    return "\n".join(row for row in rows if row)


def _edge(graph, edge: Edge, picture: Picture) -> None:
    look = style.edge_style(edge, picture.nodes[edge.target])
    if edge.kind == "saved":
        look |= {"minlen": "0"} if layout.is_long(picture) else {"constraint": "false"}
    said = _said_on(edge, picture)
    if said and len(said) <= SIGN:
        look["headlabel"] = f"<{text(said)}>"
        look |= {"labelfontsize": "14"} if said == "ᵀ" else {}  # (a small sign)
    elif said and len(picture.nodes) <= DETAILED and edge.kind != "saved":
        look["label"] = f"<{text(said)}>"
        look |= {"fontsize": "8", "fontcolor": style.GREY} if said.startswith(SHAPE) else {}
    elif said:
        look["xlabel"] = f"<{text(said)}>"
    look |= {
        "id": edge_id(edge),
        "class": f"{edge.kind} {edge.change}".rstrip(),
        "tooltip": tip(_edge_tip(edge, picture)),
    }
    if edge.kind in layout.UPWARDS:
        # The arrow keeps its direction; an invisible one the other way round ranks the target above the
        # source.
        graph.edge(edge.source, edge.target, constraint="false", **look)
        graph.edge(edge.target, edge.source, style="invis")
    else:
        graph.edge(edge.source, edge.target, **look)


def _said_on(edge: Edge, picture: Picture) -> str:
    """What stands on an arrow: of a shape only where there is room, and nothing where the target is it, step by step."""
    if edge.label == STACK and picture.nodes[edge.target].kind == "element":
        return ""
    return edge.label if len(picture.nodes) <= DETAILED else edge.label.partition(SHAPE)[0].rstrip(": ")


def edge_id(edge: Edge) -> str:
    """Unique: two arrows between the same nodes differ in their operands, or in what they carry."""
    return "--".join(
        [
            edge.source,
            edge.target,
            edge.kind,
            *map(str, edge.operands),
            *([as_id(edge.label)] if edge.label else []),
        ]
    )


def _edge_tip(edge: Edge, picture: Picture) -> str:
    source, target = picture.nodes[edge.source].title, picture.nodes[edge.target].title
    return f"{source} → {target} ({edge.kind}{', ' + edge.label if edge.label else ''})"
