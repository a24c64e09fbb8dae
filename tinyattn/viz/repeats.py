"""Equal blocks drawn once: twelve layers of the same class, shapes and operations are one frame, "Block × 12", with a bold
arrow from what a block hands to the next one back to where that takes it. Of a module that is called twice the first
call is open, the second one node; and a layer that learns nothing, such as a leaky relu, is one node whatever it is made of.
"""

from collections import Counter
from dataclasses import replace
from itertools import takewhile

from tinyattn.viz.merge import merge
from tinyattn.viz.model import Cluster, Edge, Node, Picture

FEWEST = 3
"""Equal blocks in a row that are worth folding."""
SMALL = 4
"""Nodes of a call that are as good as one."""


def fold(picture: Picture) -> Picture:
    """The picture with the first of each row of equal modules alone, the outermost rows first; with later calls of a module,
    and with layers that learn nothing, as one node each.
    """
    closed = _closed(picture)

    def group(node: Node) -> str | None:
        return next((ident for ident in node.path if ident in closed), None)

    picture = merge(picture, group) if closed else picture
    while (run := _longest_run(picture)) is not None:
        picture = _folded(picture, *run)
    return picture


def _closed(picture: Picture) -> set[str]:
    """The modules that are drawn as one node each."""
    inside: Counter[str] = Counter()
    forward: Counter[str] = Counter()
    learned: set[str] = set()
    """Frames around parameters, and the ends of modules' names that parameters begin with."""
    for node in picture.nodes.values():
        inside.update(node.path)
        forward.update(node.path if node.phase == "forward" else ())
        if node.parameters or node.kind == "parameter":
            learned |= {*node.path, node.title.rpartition(".")[0]}
    around = {ident for cluster in picture.clusters.values() for ident in cluster.path[:-1]}
    calls = [cluster for cluster in picture.clusters.values() if "⟨" in cluster.label]
    later = {call.id for call in calls if call.again > 1 and inside[call.id] > SMALL}
    simple = {call.id for call in calls if forward[call.id] > 1} - around - learned
    return later | {ident for ident in simple if learned.isdisjoint(_ends(picture.clusters[ident].dotted))}


def _ends(dotted: str) -> set[str]:
    """``decoder.cell``, ``cell``: a parameter doesn't know which of the frames around it are modules."""
    parts = dotted.split(".")
    return {".".join(parts[k:]) for k in range(len(parts))}


Inside = dict[str, dict[str, None]]
"""The nodes in each cluster, in order."""


def _longest_run(picture: Picture) -> tuple[list[Cluster], Inside] | None:
    """The outermost row of equal neighbours that isn't folded yet."""
    inside: Inside = {ident: {} for ident in picture.clusters}
    for node in picture.nodes.values():
        for ident in node.path:
            inside[ident][node.id] = None
    arrows: dict[str, list[Edge]] = {}
    for edge in picture.edges:
        arrows.setdefault(edge.source, []).append(edge)
    siblings: dict[tuple, list[Cluster]] = {}
    for cluster in picture.clusters.values():
        if cluster.kind == "module":
            siblings.setdefault(cluster.path[:-1], []).append(cluster)
    for around in sorted(siblings, key=len):
        group = siblings[around]
        start = 0
        while start < len(group):
            row = [group[start], *takewhile(lambda cluster: cluster.times == 1, group[start + 1 :])]
            run = _equal(picture, row, inside, arrows)
            if len(run) < FEWEST and _holds_modules(picture, row[0]):
                run = _equal(picture, _chain(row, inside, arrows), inside, arrows, sized=False)
            if len(run) >= FEWEST:
                return run, inside
            start += len(run)
    return None


def _chain(row: list[Cluster], inside: Inside, arrows: dict[str, list[Edge]]) -> list[Cluster]:
    """The first modules of a row each of which hands something to the next one."""
    found = row[:1]
    for last, following in zip(row, row[1:], strict=False):
        handed = [edge for ident in inside[last.id] for edge in arrows.get(ident, ()) if edge.kind == "data"]
        if not any(edge.target in inside[following.id] for edge in handed):
            break
        found.append(following)
    return found


def _equal(
    picture: Picture,
    row: list[Cluster],
    inside: Inside,
    arrows: dict[str, list[Edge]],
    sized: bool = True,
) -> list[Cluster]:
    """The first modules of a row that are equal to the very first one."""
    first = row[0]
    if len(row) < FEWEST or first.times > 1 or not inside[first.id]:
        return row[:1]
    wanted = _contents(picture, first, inside, arrows, sized)
    return [*takewhile(lambda one: _contents(picture, one, inside, arrows, sized) == wanted, row)]


def _holds_modules(picture: Picture, cluster: Cluster) -> bool:
    """A block of several layers is known again when it is wider; two linear layers of other sizes tell two things."""
    return any(cluster.id in other.path[:-1] for other in picture.clusters.values())


def _contents(
    picture: Picture, cluster: Cluster, inside: Inside, arrows: dict[str, list[Edge]], sized: bool
) -> list:
    """What makes two modules equal: operations and arrows, but not what they are called; and, if ``sized``, shapes."""
    number = {ident: k for k, ident in enumerate(inside[cluster.id])}
    depth = len(cluster.path)
    found: list = [cluster.label.partition("⟨")[2].partition(",")[0]]
    for ident in number:
        node = picture.nodes[ident]
        places = [picture.clusters[part].label for part in node.path[depth:]]
        out = [(number[e.target], e.kind, e.operands) for e in arrows.get(ident, ()) if e.target in number]
        sizes = (node.types, node.attrs, node.held) if sized else len(node.held)
        found.append((node.op, node.kind, node.phase, node.order, sizes, places, out))
    return found


def _folded(picture: Picture, run: list[Cluster], inside: Inside) -> Picture:
    first, count = run[0], len(run)
    members = [list(inside[cluster.id]) for cluster in run]
    stands = {ident: kept for copy in members for ident, kept in zip(copy, members[0], strict=True)}
    block = {ident: k for k, copy in enumerate(members) for ident in copy}
    nodes: dict[str, Node] = {}
    for ident, node in picture.nodes.items():
        if block.get(ident, 0) == 0:
            times = node.times * (count if ident in block else 1)
            origin = stands.get(node.origin or "", node.origin)
            nodes[ident] = replace(node, times=times, origin=origin)
    made = Picture(nodes=nodes)
    crossing: dict[tuple, Edge] = {}
    for edge in picture.edges:
        a, b = block.get(edge.source), block.get(edge.target)
        if a is not None and a == b and a > 0:
            continue  # (the first block has the same one)
        source, target = stands.get(edge.source, edge.source), stands.get(edge.target, edge.target)
        if a is None and b is None or a == b:
            made.connect(replace(edge))
            continue
        between = a is not None and b is not None
        if between and source == target:
            continue
        kind = "loop" if between and edge.kind in ("data", "gradient") else edge.kind
        label = "to the next one" if kind == "loop" else edge.label
        known = crossing.setdefault((source, target, kind, label), Edge(source, target, kind, label))
        known.operands = sorted({*known.operands, *edge.operands})
    for edge in crossing.values():
        nodes[edge.source].saved |= edge.kind == "saved"
        made.connect(edge)
    smaller = picture.part(nodes, made.edges)
    kind = first.label.partition("⟨")[2].partition("⟩")[0] or first.label
    names = [cluster.label.partition(" ⟨")[0] for cluster in (first, run[-1])]
    types = [{ident: picture.nodes[ident].types for ident in copy}.values() for copy in members]
    sizes = "" if all([*one] == [*types[0]] for one in types) else ", sizes of the first"
    title = f"{kind} × {count}{sizes}: {names[0]} … {names[1]}"
    smaller.clusters[first.id] = replace(first, label=title, times=count)
    return smaller
