"""Arrows drawn through views. A transpose, slice, reshape, broadcast or cast computes nothing: it is a word on the arrow
from where the numbers are made to where they are used, ``ᵀ`` or ``[:, :64]``. About half of the nodes of a large model
are views.
"""

from dataclasses import replace

from tinyattn.viz.model import Edge, Node, Picture


def draw_through_views(picture: Picture) -> Picture:
    """The picture without its views, but for outputs, and those that begin a derivative."""
    into: dict[str, list[Edge]] = {}
    for edge in picture.edges:
        into.setdefault(edge.target, []).append(edge)
    gone = {
        node.id
        for node in picture.nodes.values()
        if node.kind == "view" and not node.output and [e.kind for e in into.get(node.id, ())] in _PLAIN
    }
    ends: dict[str, tuple[Edge, tuple[str, ...]]] = {}
    """For each view, the arrow into the first one of its chain, and what the chain does."""
    for ident in picture.nodes:  # (producers come before consumers)
        if ident in gone:
            edge = into[ident][0]
            first, done = ends.get(edge.source, (edge, ()))
            ends[ident] = first, (*done, picture.nodes[ident].arrow)
    kept = {ident: replace(node, saved=False) for ident, node in picture.nodes.items() if ident not in gone}
    made = Picture(nodes=kept)
    for edge in picture.edges:
        if edge.target in gone:
            continue
        if edge.source in gone:
            first, done = ends[edge.source]
            source, target = kept[first.source], kept[edge.target]
            kind = _kind(edge, source, target)
            words = [first.label, *_joined(done, shapes=kind in ("data", "gradient")), edge.label]
            edge = Edge(source.id, target.id, kind, " ".join(filter(None, words)), list(edge.operands))
        if edge.kind == "saved":
            kept[edge.source].saved = True
        made.connect(edge)
    for node in kept.values():
        if node.origin in ends:
            node.origin = ends[node.origin][0].source
    return picture.part(kept, made.edges)


_PLAIN = (["data"], ["gradient"], ["saved"], ["operand"])


def _kind(edge: Edge, source: Node, target: Node) -> str:
    """What an arrow is that begins at ``source`` now: a forward value that the derivative reads is a saved one."""
    if edge.kind == "operand" and source.phase == "forward" and target.phase == "gradient":
        return "saved"
    return edge.kind


_FORMS = ("→ ", "axes ", "as ")
"""Beginnings of what changes no number's place in the eyes of a reader."""


def _joined(done: tuple[str, ...], shapes: bool) -> tuple[str, ...]:
    """What is left of a chain of views: two transposes are none, and the last one of several shapes says what becomes of
    the axes before. Without ``shapes``, where arrows are many, only what else there is.
    """
    words: list[str] = []
    for word in done:
        if not shapes and word.startswith(_FORMS):
            continue
        if word == "ᵀ" and words[-1:] == ["ᵀ"]:
            words.pop()
            continue
        if word.startswith("→ "):
            while words and words[-1].startswith(("→ ", "axes ")):
                words.pop()
        words.append(word)
    return tuple(words)
