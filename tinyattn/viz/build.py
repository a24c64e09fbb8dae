"""From Tensors to a picture.

Each Tensor becomes one node, but for three kinds: a constant of one element is written into the label of its
user; the outputs of a node with several of them are labels on its arrows; and a ``scan`` becomes a cluster
that holds its body once, with a loop edge from what each carry becomes back to the carry. A hand-derived
operation named in ``expand`` becomes a cluster holding its definition.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from tinyattn.graph import scope
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.text import attrs_text, structural_ids
from tinyattn.graph.traverse import topological
from tinyattn.viz import labels
from tinyattn.viz.model import Cluster, Edge, Node, Path, Picture, as_id
from tinyattn.viz.owners import owners

LEAVES = {"tensor": "input", "input": "input", "parameter": "parameter", "constant": "constant"}


class Source(NamedTuple):
    """Where an arrow starts: a node of the picture, and which of its outputs."""

    node: str
    label: str = ""


Where = dict[Tensor, Source | str]
"""Where each Tensor is drawn; a string is a constant written into its users' labels."""


class Room(NamedTuple):
    """What the nodes of one level have in common: the whole graph, the body of a loop, or an opened
    definition.
    """

    ids: Mapping[Tensor, str]
    prefix: str
    path: Path
    scope: tuple[str, ...]
    phase: Callable[[Tensor], str]
    owner: Mapping[Tensor, Tensor] = {}
    """The nodes that stand for others where it is asked to what a node belongs."""

    def of(self, node: Tensor) -> Tensor:
        """The node whose module, line, phase and forward operation are those of ``node``."""
        return self.owner.get(node, node)


class Builder:
    """Draws levels into one picture. ``names``: what values are called."""

    def __init__(
        self, title: str, expand: frozenset[str] = frozenset(), names: Mapping[Tensor, str] | None = None
    ):
        self.picture = Picture(title)
        self.expand = expand
        self.names = names or {}
        self.drawn: dict[Tensor, str] = {}
        """The node or cluster of each Tensor of the outermost level."""
        self.seeds: dict[Tensor, Tensor] = {}
        """Cotangent of an output → that output."""
        self.begun: list[tuple[str, Tensor]] = []
        """Nodes with which a derivative that the user took begins, and a forward operation that it goes through."""

    def level(self, roots: Sequence[Tensor], room: Room, bound: Where) -> Where:
        """Draw everything below ``roots`` but what is ``bound`` already; return where each Tensor is."""
        where = dict(bound)
        order = topological(roots, where)
        room = room._replace(owner=owners(order))
        asked: dict[Tensor, list[Tensor]] = {}
        for node in order:
            if node.op.name == "output":
                asked.setdefault(node.inputs[0], []).append(node)
        parts: dict[Tensor, Callable] = {}
        wanted = set(roots)
        for node in order:
            if node in where:
                continue
            text = None if node in wanted else labels.filled(node)
            if text is not None:
                where[node] = text
            elif node.op.name == "within":  # a look at indices, of no interest to who looks at the graph
                where[node] = where[node.inputs[0]]
            elif node.op.name == "output":
                where[node] = parts[node.inputs[0]](node.attrs["key"])
            elif node.op.name == "scan":
                parts[node] = self._scan(
                    node, room, where, [part.attrs["key"] for part in asked.get(node, ())]
                )
            elif (
                node.op.name in self.expand or node.op.name == "checkpoint"
            ) and node.op.definition is not None:
                results = self._definition(node, node.op.definition, room, where)
                parts[node] = results.__getitem__
                if node.dtype is not None:
                    where[node] = results[0]
            else:
                used = asked.get(node, ())
                where[node] = start = self._box(node, room, where, used)
                parts[node] = lambda key, start=start, used=used, node=node: Source(
                    start.node, labels.output_name(node, key) if len(used) > 1 else ""
                )
            if not room.prefix and isinstance(at := where.get(node), Source):
                self.drawn[node] = at.node
        return where

    def module_path(self, node: Tensor, room: Room | None = None) -> Path:
        """The clusters around a node, made if new: the room's, then the modules."""
        node = node if room is None else room.of(node)
        base = len(room.scope) if room is not None else 0
        inner = node.scope[base:] if room is None or node.scope[:base] == room.scope else ()
        path = room.path if room is not None else ()
        for name in inner:
            own = as_id(name)
            cluster = f"{path[-1]}/{own}" if path else own
            path = (*path, cluster)
            self.picture.clusters.setdefault(cluster, Cluster(cluster, name, "module", path))
        return path

    def _names_of_inputs(self, node: Tensor, where: Where) -> list[str]:
        found = []
        for source in node.inputs:
            start = where[source]
            if isinstance(start, str):
                found.append(start)
            else:
                box = self.picture.nodes[start.node]
                plain = box.kind in ("input", "parameter", "carry", "element")
                found.append(self.names.get(source) or (box.title if plain else box.op))
        return found

    def begin(self, outputs: Sequence[Tensor], where: Where) -> None:
        """Lead from outputs to the derivatives of them that the user took, which begin with a constant 1."""
        below = {node: y for y in reversed(outputs) for node in topological([y])} if self.begun else {}
        for ident, origin in self.begun:
            if origin in below:
                self._connect(where[below[origin]], ident, 0, "seed")

    def _connect(self, start: Source | str, target: str, operand: int, kind: str = "") -> None:
        if isinstance(start, str):
            return
        source = self.picture.nodes[start.node]
        if not kind:
            inside = source.phase == self.picture.nodes[target].phase == "gradient"
            kind = (
                "operand"
                if source.operand
                else "gradient"
                if inside
                else "saved"
                if self.picture.nodes[target].phase == "gradient"
                else "data"
            )
        if kind == "saved":
            source.saved = True
        self.picture.connect(Edge(start.node, target, kind, start.label, [operand]))

    def _box(self, node: Tensor, room: Room, where: Where, used: Sequence[Tensor]) -> Source:
        ident = room.prefix + room.ids[node]
        names = self._names_of_inputs(node, where)
        kind = LEAVES.get(node.op.name) or ("view" if node.op.view is not None else "op")
        if node in self.seeds:
            title, kind = "ȳ = 1", "seed"
        elif kind == "op" or kind == "view":
            title = labels.title(
                node, [s if isinstance(s := where[source], str) else None for source in node.inputs]
            )
            title = f"{self.names[node]} = {title}" if node in self.names else title
        else:
            title = self.names.get(node) or node.name or ("numbers" if kind == "constant" else node.op.name)
        types = [labels.type_text(value.type) for value in ([node] if node.dtype is not None else used)]
        own = room.of(node)
        origin = self.drawn.get(own.origin) if own.origin is not None else None
        attrs = "" if kind == "constant" else attrs_text(node)
        line, text = labels.place(own.line)
        self.picture.nodes[ident] = Node(
            id=ident,
            op=node.op.name,
            kind=kind,
            phase=room.phase(own),
            title=title,
            types=list(dict.fromkeys(types)),
            path=self.module_path(node, room),
            origin=origin,
            formula=labels.formula(node, names) if node.inputs else "",
            rule=labels.gradient_rule(node, names),
            attrs=attrs,
            line=line,
            source=text,
        )
        starts = [
            self.picture.nodes[at.node] for source in node.inputs if isinstance(at := where[source], Source)
        ]
        if (
            self.picture.nodes[ident].phase == "gradient"
            and node not in self.seeds
            and (starts or self.seeds)
        ):
            self.picture.nodes[ident].operand = all(
                start.operand or start.phase == "forward" for start in starts
            )
        for k, source in enumerate(node.inputs):
            self._connect(where[source], ident, k)
        if node in self.seeds:
            self._connect(where[self.seeds[node]], ident, 0, "seed")
        elif self.picture.nodes[ident].phase == "gradient" and not (starts or self.seeds):
            if own.origin is not None:
                self.begun.append((ident, own.origin))
        return Source(ident)

    def _open(self, node: Tensor, room: Room, label: str, kind: str) -> tuple[Cluster, Path]:
        """A cluster for the inside of ``node``."""
        ident = room.prefix + room.ids[node]
        path = (*self.module_path(node, room), ident)
        line, text = labels.place(room.of(node).line)
        cluster = Cluster(ident, label, kind, path, f"{line}  {text}".strip(), room.phase(room.of(node)))
        self.picture.clusters[ident] = cluster
        if not room.prefix:
            self.drawn[node] = ident
        return cluster, path

    def _scan(self, node: Tensor, room: Room, where: Where, keys: Sequence) -> Callable:
        attrs = node.attrs
        body, carries, elements = attrs["body"], attrs["carries"], attrs["carries"] + attrs["sequences"]
        label = f"scan × {attrs['length']}" + (", last step first" if attrs["reverse"] else "")
        cluster, path = self._open(node, room, label, "scan")
        prefix, phase = f"{cluster.id}__", cluster.phase
        roots = [*body.outputs, *(key[1] for key in keys if key[0] == "stack")]
        used = set(topological(roots))
        bound: Where = {}
        for k, (argument, given) in enumerate(zip(body.arguments, node.inputs, strict=True)):
            start = where[given]
            if k >= elements:
                bound[argument] = start
            elif k < carries or argument in used:
                role, ident = (
                    ("carry", f"{prefix}carry{k}")
                    if k < carries
                    else ("element", f"{prefix}element{k - carries}")
                )
                title = (
                    f"carry {k}"
                    if role == "carry"
                    else f"{start if isinstance(start, str) else self._short(start.node)} [t]"
                )
                self.picture.nodes[ident] = Node(
                    id=ident,
                    op=role,
                    kind=role,
                    phase=phase,
                    title=title,
                    types=[labels.type_text(argument.type)],
                    path=path,
                    attrs=f"starts at {start}" if role == "carry" and isinstance(start, str) else "",
                )
                if role == "element" and phase == "gradient" and isinstance(start, Source):
                    outer = self.picture.nodes[start.node]
                    self.picture.nodes[ident].operand = outer.operand or outer.phase == "forward"
                self._connect(start, ident, k)
                bound[argument] = Source(ident)
        inner = Room(structural_ids(roots), prefix, path, node.scope, lambda _: phase)
        inside = self.level(roots, inner, bound)
        for k, after in enumerate(body.outputs):
            start, carry = inside[after], f"{prefix}carry{k}"
            if isinstance(start, Source) and start.node != carry:
                self._connect(start, carry, k, "loop")

        def part(key):
            kind, what = key
            start = inside[body.outputs[what] if kind == "final" else what]
            return (
                start
                if isinstance(start, str)
                else Source(start.node, "last" if kind == "final" else "all t")
            )

        return part

    def _short(self, ident: str) -> str:
        box = self.picture.nodes[ident]
        return box.title if box.kind in ("input", "parameter", "element") else box.op

    @scope.isolated
    def _definition(self, node: Tensor, definition: Callable, room: Room, where: Where) -> list[Source | str]:
        names = self._names_of_inputs(node, where)
        name, formula = node.op.name.replace("_", " "), labels.formula(node, names)
        cluster, path = self._open(
            node, room, formula if formula.startswith(name) else f"{name} = {formula}", "definition"
        )
        variables = [placeholder(source.type) for source in node.inputs]
        with scope.on_behalf_of(node, node.origin):
            made = definition(*variables, **node.attrs)
        results = list(made) if isinstance(made, tuple) else [made]
        bound = {variable: where[source] for variable, source in zip(variables, node.inputs, strict=True)}
        inner = Room(structural_ids(results), f"{cluster.id}__", path, node.scope, lambda _: cluster.phase)
        inside = self.level(results, inner, bound)
        return [inside[result] for result in results]
