"""What the page knows of a picture, as JSON: nodes with their formulas as MathML and LaTeX, arrows, frames."""

import base64
import json
import zlib
from typing import Any

from tinyattn.viz import dot, labels
from tinyattn.viz.model import Node, Picture
from tinyattn.viz.page import formula


def level_of(picture: Picture, name: str, room: dict[str, int]) -> dict[str, Any]:
    """One picture; ``room``: for nodes with a map of their values, how high it is."""
    loss = next((node.id for node in picture.nodes.values() if node.output and node.phase == "forward"), None)
    return {
        "name": name,
        "loss": loss or next(iter(picture.nodes), None),
        "nodes": [_node(node, picture, room.get(node.id, 0)) for node in picture.nodes.values()],
        "edges": [
            [dot.edge_id(edge), edge.source, edge.target, edge.kind, edge.label, edge.operands, edge.change]
            for edge in picture.edges
        ],
        "clusters": [
            {
                "id": cluster.id,
                "label": cluster.label,
                "kind": cluster.kind,
                "path": cluster.path,
                "phase": cluster.phase,
            }
            for cluster in picture.clusters.values()
        ],
    }


def _node(node: Node, picture: Picture, room: int) -> dict[str, Any]:
    said = node.formula if node.kind != "view" or node.name else ""
    return {
        "id": node.id,
        "title": node.title,
        "name": node.name,
        "op": node.op.replace("_", " "),
        "kind": node.kind,
        "phase": node.phase,
        "types": node.types,
        "path": node.path,
        "bytes": labels.size(node.bytes) if node.bytes else "",
        "saved": node.saved,
        "origin": node.origin,
        "formula": node.equation,
        "equation": formula.mathml(said, node.name) if said else "",
        "latex": formula.latex(said, node.name) if said else "",
        "rule": formula.mathml(node.rule) if node.rule and node.phase == "forward" else "",
        "ruleLatex": formula.latex(node.rule) if node.rule and node.phase == "forward" else "",
        "attrs": node.attrs,
        "line": node.line,
        "source": node.source,
        "held": node.held,
        "shared": node.shared,
        "members": node.members * node.times,
        "change": node.change,
        "room": room,
        "tip": dot.tooltip(node, picture),
    }


def packed(data: dict[str, Any]) -> str:
    """JSON, deflated, in base64: the names of a large graph repeat, and a page should be light."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()
