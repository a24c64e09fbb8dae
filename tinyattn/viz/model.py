"""A picture as data: nodes, edges and nested clusters, ready for JSON. Nothing here knows Tensors or
Graphviz.

One arrow direction everywhere: from producer to consumer. What belongs to the derivative has ``phase``
"gradient", what belongs to an optimizer "update", everything else "forward". Ids come from structure alone,
so the same program gives the same picture, byte for byte. Users' words are cleaned as they come in.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field

from tinyattn import markup

Path = tuple[str, ...]
"""Where a node lies: the ids of the clusters around it, outermost first."""


_LONGEST_ID = 80


def as_id(name: str) -> str:
    """A name as part of an id: letters, digits, dots, dashes and underscores; a name that needed changes
    or was too long gets a digest, so that it stays apart from others.
    """
    safe = re.sub(r"[^\w.-]", "_", name)[:_LONGEST_ID]
    if safe == name != "":
        return name
    return f"{safe}_{hashlib.blake2b(name.encode(errors='surrogatepass'), digest_size=3).hexdigest()}"


@dataclass
class Node:
    """One box. ``kind``: "input", "parameter", "constant", "op", "view" (a reshape: no arithmetic), "carry"
    and "element" (what a loop reads), "seed", "result" or "group" (a collapsed cluster). ``saved``: a
    forward value that the derivative reads. ``origin``: the forward node or cluster a gradient belongs to."""

    id: str
    op: str
    kind: str
    phase: str
    title: str
    types: list[str]
    path: Path = ()
    value: str | None = None
    output: bool = False
    saved: bool = False
    operand: bool = False
    """In the gradient phase: not a cotangent but a forward value, seen otherwise or computed again for the
    derivative.
    """
    origin: str | None = None
    name: str = ""
    """What its value is called in the formulas of others; "" if they write its own formula."""
    formula: str = ""
    order: int = 0
    """How often it has been differentiated: 1 in a gradient, 2 in the gradient of one."""
    arrow: str = ""
    """Of a view: what stands on an arrow that is drawn through it."""
    rule: str = ""
    """Its vector-Jacobian product, ḡ being the cotangent of its result y."""
    attrs: str = ""
    line: str = ""
    source: str = ""
    """The user's source line: where, and its text."""
    members: int = 1
    times: int = 1
    """How many nodes of equal modules it stands for."""
    held: list[str] = field(default_factory=list)
    """Parameters of a layer, and gradients of parameters, that are drawn inside of it."""
    takes: list[str] = field(default_factory=list)
    """Of a group: the types that come in; ``types`` are those that go out."""
    bytes: int = 0
    """Of its results, or of all results inside of a group."""
    shared: str = ""
    """The modules that build the same expression, where there are several."""
    parameters: int = 0
    results: int = 0
    """How many of these there are."""
    change: str = ""
    """In a comparison: "added", "removed" or "changed"."""
    call: str = ""
    """Of a group: the module, ``transformer.h.0``, that it is a call of."""

    def __post_init__(self) -> None:
        self.title = markup.label(self.title)
        self.held = [markup.label(row) for row in self.held]
        self.name, self.arrow = markup.label(self.name), markup.label(self.arrow)
        for what in ("formula", "rule", "attrs", "line", "source", "shared"):
            setattr(self, what, markup.label(getattr(self, what), markup.PASSAGE))

    @property
    def equation(self) -> str:
        """``P = E / Z``, or the formula alone."""
        return f"{self.name} = {self.formula}" if self.name and self.formula else self.formula

    @property
    def classes(self) -> str:
        """CSS classes of the box in an SVG."""
        return " ".join(
            [self.phase, self.kind]
            + ["output"] * self.output
            + ["saved"] * self.saved
            + ["operand"] * self.operand
            + [f"order{self.order}"] * (self.order > 1)
            + [self.change] * bool(self.change)
        )


@dataclass
class Edge:
    """One arrow. ``kind``: "data", "gradient" (from cotangent to cotangent), "saved" (a forward value that
    the derivative reads), "operand" (the same, after a transpose or the like), "seed" (from an output to its
    cotangent), "loop" (a carry handed to the next step) or "update" (a leaf overwritten after the step).
    ``operands``: which inputs of the target it feeds."""

    source: str
    target: str
    kind: str
    label: str = ""
    operands: list[int] = field(default_factory=list)
    change: str = ""

    def __post_init__(self) -> None:
        self.label = markup.label(self.label)


def _key(edge: Edge) -> tuple:
    return edge.source, edge.target, edge.kind, edge.label, *edge.operands


@dataclass
class Cluster:
    """A frame around nodes. ``kind``: "module", "scan" or "definition" (an opened hand-derived operation)."""

    id: str
    label: str
    kind: str
    path: Path
    """Its own place: the clusters around it, then itself."""
    note: str = ""
    phase: str = "forward"
    dotted: str = ""
    """Of a module: its name in those of its parameters, ``transformer.h.0``."""
    times: int = 1
    """How many equal modules it stands for."""
    again: int = 1
    """Of a module: which call of it this is."""

    def __post_init__(self) -> None:
        self.label, self.dotted = markup.label(self.label), markup.label(self.dotted)
        self.note = markup.label(self.note, markup.PASSAGE)


@dataclass
class Picture:
    """Nodes by id (producers before consumers), edges, clusters by id, and remarks for the reader."""

    title: str = ""
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)
    clusters: dict[str, Cluster] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rankdir: str = "TB"
    """"TB": from top to bottom; "LR": from left to right."""
    dpi: int | None = None
    """Sharpness of a .png; None: as suits its size."""

    @property
    def depth(self) -> int:
        """Levels of nested modules."""
        return max((len(self.modules(node)) for node in self.nodes.values()), default=0)

    def modules(self, node: Node) -> Path:
        """The modules around a node, outermost first."""
        return tuple(ident for ident in node.path if self.clusters[ident].kind == "module")

    def connect(self, edge: Edge) -> None:
        """Add an edge, unless there is the same one already: for the same operands, with the same label."""
        known = self._edge_index.setdefault(_key(edge), edge)
        if known is edge:
            self.edges.append(edge)

    def __post_init__(self) -> None:
        self._edge_index = {_key(edge): edge for edge in self.edges}

    def part(self, nodes: dict[str, Node], edges: list[Edge]) -> "Picture":
        """A picture of these nodes and edges only, with the clusters that still hold something."""
        used = {cluster for node in nodes.values() for cluster in node.path}
        clusters = {ident: cluster for ident, cluster in self.clusters.items() if ident in used}
        return Picture(self.title, nodes, edges, clusters, list(self.notes), self.rankdir, self.dpi)

    def to_json(self) -> str:
        """The picture as JSON text; identical for identical programs."""
        data = {
            "title": self.title,
            "nodes": [asdict(node) for node in self.nodes.values()],
            "edges": [asdict(edge) for edge in self.edges],
            "clusters": [asdict(cluster) for cluster in self.clusters.values()],
            "notes": self.notes,
        }
        return json.dumps(data, ensure_ascii=False, indent=1) + "\n"
