"""Leaves that are read all over a large picture, drawn beside each of their users instead of once.

One arrow over r ranks costs dot r points, so that a leaf with hundreds of users costs more than everything else: the
layout of 1,444 nodes takes a sixteenth of the time when each user has an ``x`` of its own, and nobody could follow the
arrows of the one ``x`` anyway.
"""

from collections import Counter
from dataclasses import replace

from tinyattn.viz import layout
from tinyattn.viz.model import Edge, Node, Picture

MANY = 8
"""Users of a leaf that may be drawn once."""


def beside_users(picture: Picture) -> Picture:
    """The picture with a copy of a leaf for each user, for leaves with many of them; the picture itself if its arrows
    aren't too many and too long, or if there is no such leaf.
    """
    if not layout.is_entangled(picture):
        return picture
    users = Counter(edge.source for edge in picture.edges)
    shared = {
        ident: node
        for ident, node in picture.nodes.items()
        if node.kind in ("input", "parameter", "constant") and users[ident] > MANY
    }
    if not shared:
        return picture
    made: dict[str, list[Node]] = {ident: [] for ident in shared}
    edges = []
    for edge in picture.edges:
        if edge.source in shared:
            copies = made[edge.source]
            copies.append(replace(shared[edge.source], id=f"{edge.source}.{len(copies) + 1}"))
            # (What the derivative reads is ranked beside its reader, as this copy has no other place.)
            kind = "operand" if edge.kind == "saved" else edge.kind
            edge = Edge(copies[-1].id, edge.target, kind, edge.label, list(edge.operands))
        edges.append(edge)
    nodes: dict[str, Node] = {}
    for ident, node in picture.nodes.items():
        nodes |= {copy.id: copy for copy in made[ident]} if ident in made else {ident: node}
    smaller = picture.part(nodes, edges)
    said = ", ".join(f"{node.title} ({users[ident]})" for ident, node in shared.items())
    smaller.notes.append(f"Drawn beside each of its users, not once: {said}.")
    return smaller
