"""Equal blocks drawn once: twelve layers of the same class, shapes and operations are one frame, "Block × 12", with a bold
arrow from what a block hands to the next one back to where that takes it.
"""

from dataclasses import replace

from tinyattn.viz.model import Cluster, Edge, Node, Picture

FEWEST = 3
"""Equal blocks in a row that are worth folding."""


def fold(picture: Picture) -> Picture:
    """The picture with the first of each row of equal modules alone, the outermost rows first."""
    while (run := _longest_run(picture)) is not None:
        picture = _folded(picture, *run)
    return picture


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
        if cluster.kind == "module" and cluster.times == 1:
            siblings.setdefault(cluster.path[:-1], []).append(cluster)
    for around in sorted(siblings, key=len):
        group = siblings[around]
        start = 0
        while start < len(group):
            end = start + 1
            if len(group) - start >= FEWEST and inside[group[start].id]:
                wanted = _contents(picture, group[start], inside, arrows)
                while end < len(group) and wanted == _contents(picture, group[end], inside, arrows):
                    end += 1
            if end - start >= FEWEST:
                return group[start:end], inside
            start = end
    return None


def _contents(picture: Picture, cluster: Cluster, inside: Inside, arrows: dict[str, list[Edge]]) -> list:
    """What makes two modules equal: operations, shapes and arrows, but not what they are called."""
    number = {ident: k for k, ident in enumerate(inside[cluster.id])}
    depth = len(cluster.path)
    found: list = [cluster.label.partition("⟨")[2].partition(",")[0]]
    for ident in number:
        node = picture.nodes[ident]
        places = [picture.clusters[part].label for part in node.path[depth:]]
        out = [(number[e.target], e.kind, e.operands) for e in arrows.get(ident, ()) if e.target in number]
        found.append(
            (node.op, node.kind, node.phase, node.order, node.types, node.attrs, node.held, places, out)
        )
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
    title = f"{kind} × {count}: {names[0]} … {names[1]}"
    smaller.clusters[first.id] = replace(first, label=title, times=count)
    return smaller
