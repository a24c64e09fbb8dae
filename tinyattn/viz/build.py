"""From Tensors to a picture.

Each Tensor becomes one node, but for three kinds: a constant of one element is written into the label of its
user; the outputs of a node with several of them are labels on its arrows; and a ``scan`` becomes a cluster
that holds its body once, with a loop edge from what each carry becomes back to the carry. A hand-derived
operation named in ``expand`` becomes a cluster holding its definition.
"""

from collections.abc import Callable, Iterable, Sequence

from tinyattn.graph import scope
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.names import carries as carries_of
from tinyattn.graph.names import names as names_of
from tinyattn.graph.names import subscript
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.text import structural_ids
from tinyattn.graph.traverse import topological
from tinyattn.viz import labels, symbols, textbook
from tinyattn.viz.model import Cluster, Edge, Node, Path, Picture
from tinyattn.viz.owners import named, owners, places, shared
from tinyattn.viz.places import Places
from tinyattn.viz.room import LEAVES, Room, Shown, Source, Where
from tinyattn.viz.symbols import Names, Symbol, Written


class Builder:
    """Draws levels into one picture."""

    def __init__(self, title: str, expand: frozenset[str], order: Iterable[Tensor]):
        self.picture = Picture(title)
        self.places = Places(self.picture, order)
        self.expand = expand
        self.names = Names()
        self.drawn: dict[Tensor, str] = {}
        """The node or cluster of each Tensor of the outermost level."""
        self.pages: dict[tuple, textbook.Page] = {}
        """The attentions that are opened, and the nodes of these."""
        self.opened: list[Tensor] = []
        self.carries: dict[Tensor, list[str]] = {}
        """Of each loop, what its floating-point carries are called."""
        self.seeds: dict[Tensor, Tensor] = {}
        """Cotangent of an output → that output."""
        self.begun: list[tuple[str, Tensor]] = []
        """Nodes with which a derivative that the user took begins, and a forward operation that it goes through."""
        self.shown = Shown()

    def level(self, roots: Sequence[Tensor], room: Room, bound: Where) -> Where:
        """Draw everything below ``roots`` but what is ``bound`` already; return where each Tensor is."""
        where = dict(bound)
        self.names.taken.update(room.names.values())
        order = topological(roots, where)
        owner = owners(order)
        several = shared(order, owner)
        where_made = places(order, owner, several)
        differentiated = symbols.orders(order, owner)
        room = room._replace(
            owner=owner,
            shared=several,
            places=where_made,
            order=differentiated,
            longest=symbols.longest(order, differentiated, where_made),
        )
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
                where[node] = parts[node.inputs[0]](node)
            elif node.op.name == "scan":
                parts[node] = self._scan(node, room, where, asked.get(node, ()))
            elif node.op.name in self.expand and node.op.name in (textbook.FORWARD, textbook.BACKWARD):
                parts[node] = self._textbook(node, room, where, asked.get(node, ()))
            elif (
                node.op.name in self.expand or node.op.name == "checkpoint"
            ) and node.op.definition is not None:
                results = self._definition(node, node.op.definition, room, where)
                parts[node] = lambda part, results=results: results[part.attrs["key"]]
                if node.dtype is not None:
                    where[node] = results[0]
            else:
                used = asked.get(node, ())
                where[node], outputs = self._box(node, room, where, used)
                parts[node] = outputs.__getitem__
            at = where.get(node)
            if isinstance(at, Source):
                if not room.prefix:
                    self.drawn[node] = at.node
                if room.order[node] == 0:
                    self.names.known[node] = at.symbol
        return where

    def module_path(self, node: Tensor, room: Room | None = None) -> Path:
        """The clusters around a node, made if new: the room's, then the modules."""
        scope = node.scope if room is None else room.places[node]
        base = len(room.scope) if room is not None else 0
        inner = scope[base:] if room is None or scope[:base] == room.scope else ()
        return self.places.path(inner, room.path if room is not None else ())

    def _operands(self, node: Tensor, where: Where) -> list[Symbol]:
        starts = [where[source] for source in node.inputs]
        return [symbols.of_number(s) if isinstance(s, str) else s.symbol for s in starts]

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

    def _box(
        self, node: Tensor, room: Room, where: Where, used: Sequence[Tensor]
    ) -> tuple[Source, dict[Tensor, Source]]:
        """Draw one node; return where it is, and where each of its outputs is."""
        ident = room.prefix + room.ids[node]
        own = room.of(node)
        kind = LEAVES.get(node.op.name) or ("view" if labels.is_view(node) else "op")
        operands, outputs = self._operands(node, where), {}
        if node in self.seeds:
            begun = where[self.seeds[node]]
            order = self.picture.nodes[begun.node].order + 1 if isinstance(begun, Source) else 1
            name = symbols.derivative_of(self.output_symbol(begun), order)
            kind, title, written = "seed", f"{name} = 1", Written("", "", Symbol(name))
        elif node.inputs:
            order = room.order[node] if room.phase(own) == "gradient" else 0
            title, given = labels.title(node), room.names.get(node, "")
            used = sorted(used, key=lambda part: str(part.attrs["key"]))
            called = {part: room.names.get(part, "") for part in used}
            if order:
                for part in used:
                    called[part] = (
                        called[part]
                        or self.names.cotangent(part)
                        or self.names.invented(order, room.places[node])
                    )
            given = given or ", ".join(name for name in called.values() if name)
            written = self.names.write(node, operands, given, order, room.longest[node], room.places[node])
            for part, name in called.items():
                label = labels.output_label(node, part.attrs["key"], name) if len(used) > 1 else ""
                name = name or (written.name if part.attrs["key"] == 0 else f"{written.name}.{label}")
                outputs[part] = Source(ident, label, Symbol(name))
        else:
            title = room.names.get(node) or node.name or ("numbers" if kind == "constant" else node.op.name)
            written = Written(
                "", "", Symbol(symbols.cleaned(title.rpartition(".")[2] if kind == "parameter" else title))
            )
        values = [node] if node.dtype is not None else used
        types = [labels.type_text(value.type) for value in values]
        self.shown.of[ident] = list(values)
        origin = self.drawn.get(own.origin) if own.origin is not None else None
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
            bytes=sum(value.size * value.dtype.itemsize for value in values) if node.inputs else 0,
            name=written.name,
            formula=self._formula(own, operands, written),
            order=room.order[node],
            arrow=labels.arrow(node, written.name) if kind == "view" else "",
            rule=labels.gradient_rule(node, [symbol.text for symbol in operands]),
            attrs="" if kind == "constant" else labels.attributes(node),
            shared=named(room.shared.get(node, ()), room.places[node]),
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
            and node.cotangent_of is None
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
        return Source(ident, symbol=written.symbol), outputs

    def output_symbol(self, start: Source | str) -> Symbol:
        """What an output is called: y, if it has no name."""
        named = isinstance(start, Source) and self.picture.nodes[start.node].name
        return Symbol(named) if named else Symbol("y")

    def _formula(self, node: Tensor, operands: Sequence[Symbol], written: Written) -> str:
        """The formula of a node; of a derived operation that has none, the rule of what it was derived from."""
        origin = node.origin
        if origin is None or not operands:
            return written.formula
        result = self.names.known.get(origin, Symbol("y")).text
        return symbols.rule(node, operands, result, operands[-1].text) or written.formula

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

    def _scan(self, node: Tensor, room: Room, where: Where, asked: Sequence[Tensor]) -> Callable:
        attrs = node.attrs
        body, carries, elements = attrs["body"], attrs["carries"], attrs["carries"] + attrs["sequences"]
        label = f"scan × {attrs['length']}" + (", last step first" if attrs["reverse"] else "")
        cluster, path = self._open(node, room, label, "scan")
        prefix, phase = f"{cluster.id}__", cluster.phase
        self.shown.loops[cluster.id] = node
        roots = [*body.outputs, *(part.attrs["key"][1] for part in asked if part.attrs["key"][0] == "stack")]
        used = set(topological(roots))
        named = names_of(roots)
        given_names = carries_of(node.line, carries) if node.line is not None and node.origin is None else []
        bound: Where = {}
        for k, (argument, given) in enumerate(zip(body.arguments, node.inputs, strict=True)):
            start = where[given]
            if k >= elements:
                bound[argument] = start
            elif k < carries or argument in used:
                role = "carry" if k < carries else "element"
                ident = f"{prefix}{role}{k if k < carries else k - carries}"
                if role == "carry":
                    after = body.outputs[k]
                    known = dict(enumerate(self.carries.get(node.origin, ())))  # type: ignore[arg-type]
                    name = symbols.derivative_of(Symbol(known[k]), room.order[node]) if k in known else ""
                    name = name or "".join(body.names[k : k + 1])
                    name = name or named.get(after) or self.names.carry(after)
                    name = name or (
                        given_names[k] if given_names else "carry" + (subscript(k) if carries > 1 else "")
                    )
                    if room.order[node] == 0 and argument.dtype.kind == "f":
                        self.carries.setdefault(node, []).append(name)
                    if after.op.name != "argument":
                        named[after] = f"{name}′"
                else:
                    name = start if isinstance(start, str) else start.symbol.text
                    name += "" if labels.is_stack(given) else "[t]"
                self.picture.nodes[ident] = Node(
                    id=ident,
                    op=role,
                    kind=role,
                    phase=phase,
                    title=name,
                    types=[labels.type_text(argument.type)],
                    path=path,
                    order=room.order[node],
                    attrs=f"starts at {start}" if role == "carry" and isinstance(start, str) else "",
                )
                self.shown.of[ident] = [argument]
                if role == "element" and phase == "gradient" and isinstance(start, Source):
                    outer = self.picture.nodes[start.node]
                    self.picture.nodes[ident].operand = outer.operand or outer.phase == "forward"
                self._connect(start, ident, k)
                bound[argument] = Source(ident, symbol=Symbol(self.picture.nodes[ident].title))
        if room.order[node] == 0:
            self.names.known |= {a: start.symbol for a, start in bound.items() if isinstance(start, Source)}
        inner = Room(structural_ids(roots), prefix, path, node.scope, lambda _: phase, named)
        inside = self.level(roots, inner, bound)
        for k, after in enumerate(body.outputs):
            start, carry = inside[after], f"{prefix}carry{k}"
            if isinstance(start, Source) and start.node != carry:
                self._connect(start, carry, k, "loop")

        def output(part):
            kind, what = part.attrs["key"]
            start = inside[body.outputs[what] if kind == "final" else what]
            if isinstance(start, str):
                return start
            name = room.names.get(part)
            symbol = Symbol(name) if name else start.symbol
            return Source(start.node, "last" if kind == "final" else "all t", symbol)

        return output

    def _textbook(self, node: Tensor, room: Room, where: Where, asked: Sequence[Tensor]) -> Callable:
        """Open an attention, or its derivative beside it, as the textbook has it."""
        operands = self._operands(node, where)
        name = node.op.name.replace("_", " ")
        cluster, path = self._open(node, room, f"{name} = {symbols.formula(node, operands)[0]}", "definition")
        known = textbook.key(node)
        page = self.pages.get(known)
        if page is None:
            page = self.pages[known] = textbook.open_forward(node)
            count = sum(other.scope == node.scope for other in self.opened)
            self.opened.append(node)
            page.names = {
                value: name + (subscript(count + 1) if count else "") for value, name in page.names.items()
            }
        if node.op.name == textbook.FORWARD:
            results: list = [page.out, None, None]
            own = [room.names[part] for part in asked if part.attrs["key"] == 0 and part in room.names]
            page.names[page.out] = own[0] if own else page.names[page.out]
            bound: Where = {}
        else:
            cotangent, results = textbook.open_backward(page, node)
            bound = {**page.drawn, cotangent: where[node.inputs[-1]]}
            self.shown.stand([cotangent], node.inputs[-1:])
        self.shown.stand(page.variables, node.inputs)
        for variable, source in zip(page.variables, node.inputs, strict=False):
            bound[variable] = start = where[source]
            if isinstance(start, Source):
                self.names.known.setdefault(variable, start.symbol)
        roots = [result for result in results if result is not None]
        inner = Room(
            structural_ids(roots), f"{cluster.id}__", path, node.scope, lambda _: cluster.phase, page.names
        )
        inside = self.level(roots, inner, bound)
        page.drawn = {**inside, **page.drawn}

        def output(part):
            """Where an output is; a number of each row that only the kernels need is nowhere."""
            result = results[part.attrs["key"]]
            return labels.output_name(node, part.attrs["key"]) if result is None else inside[result]

        return output

    @scope.isolated
    def _definition(self, node: Tensor, definition: Callable, room: Room, where: Where) -> list[Source | str]:
        operands = self._operands(node, where)
        name, formula = node.op.name.replace("_", " "), symbols.formula(node, operands)[0]
        cluster, path = self._open(
            node, room, formula if formula.startswith(name) else f"{name} = {formula}", "definition"
        )
        variables = [placeholder(source.type) for source in node.inputs]
        self.shown.stand(variables, node.inputs)
        with scope.on_behalf_of(node, node.origin):
            made = definition(*variables, **node.attrs)
        results = list(made) if isinstance(made, tuple) else [made]
        bound = {variable: where[source] for variable, source in zip(variables, node.inputs, strict=True)}
        called = room.names.get(node) or (self.names.cotangent(node) if room.order[node] else "")
        names = {results[0]: called} if called and node.dtype is not None else {}
        inner = Room(
            structural_ids(results), f"{cluster.id}__", path, node.scope, lambda _: cluster.phase, names
        )
        inside = self.level(results, inner, bound)
        return [inside[result] for result in results]
