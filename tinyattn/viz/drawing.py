"""``draw``: which Tensors belong in the picture, and what surrounds them (the seed, the gradients of the
leaves, the updates, values).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import tensor
from tinyattn.graph.names import names as names_of
from tinyattn.graph.op import OPS
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.text import structural_ids
from tinyattn.graph.traverse import depends_on, topological
from tinyattn.graph.types import Type, as_integer, fail, is_float
from tinyattn.runtime.function import Function
from tinyattn.runtime.program import Program
from tinyattn.viz import labels, symbols
from tinyattn.viz.build import Builder
from tinyattn.viz.model import Edge, Node, Picture
from tinyattn.viz.owners import owners
from tinyattn.viz.parameters import draw_in_layers
from tinyattn.viz.room import Room, Shown, Source, Where
from tinyattn.viz.through import draw_through_views
from tinyattn.viz.view import GraphView

DIRECTIONS = ("forward", "backward", "both")


def draw(
    y: Tensor | Sequence[Tensor] | Function,
    wrt: Tensor | Sequence[Tensor] | None = None,
    direction: str = "both",
    depth: int | None = None,
    expand: str | Iterable[str] = (),
    values: bool = False,
    *,
    views: bool = False,
    parameters: bool | None = False,
    repeats: bool = False,
) -> GraphView:
    """Draw the graph of ``y``, and of its gradient, in one picture.

    ``y``: a Tensor, several, or a function compiled by ``ta.function`` after a call (its latest signature is
    drawn, updates included).
    ``wrt``: the leaves to differentiate by; without it all parameters and named floating-point leaves,
    unless ``y`` holds a derivative already. Where
    ``y`` isn't a scalar, its cotangent is taken to be ones. ``direction``: "forward", "backward" (the
    derivative and the forward values it reads) or "both". ``depth``: modules nested deeper than this are
    drawn as one node each (0: every module is one node). ``expand``: names of hand-derived operations to
    open into their definitions, for instance ``("softmax",)``; ``"attention"`` opens as the textbook has it, with its
    derivative beside it, and ``("attention", "softmax", "softmax_backward")`` down to the numbers. ``values``: write out values of at most 8
    elements. ``views``: draw transposes, slices, reshapes, broadcasts and casts as nodes, not as words on the arrows
    that go through them. ``parameters``: draw parameters of modules as nodes, not as lines of their layers' nodes; those
    in ``wrt`` are nodes anyway, unless it is None. ``repeats``: with a ``depth``, draw each of several equal modules in a row, not one frame
    "Block × 12" for all.

    Raises DTypeError for a ``wrt`` that isn't a floating-point Tensor, ShapeError for a wrong direction,
    depth or name in ``expand``.
    """
    picture, shown = _drawn(y, wrt, direction, expand, values, views=views, parameters=parameters)
    return GraphView(picture, _checked_depth(depth), repeats, shown)


def picture_of(*arguments, **options) -> Picture:
    """The picture of :func:`draw`, all of it; ``names``: what leaves are called."""
    return _drawn(*arguments, **options)[0]


def _drawn(
    y,
    wrt=None,
    direction: str = "both",
    expand: str | Iterable[str] = (),
    values: bool = False,
    names: Mapping[Tensor, str] = MappingProxyType({}),
    views: bool = False,
    parameters: bool | None = False,
) -> tuple[Picture, Shown]:
    if direction not in DIRECTIONS:
        fail(
            errors.ShapeError,
            "draw",
            f"direction must be one of {', '.join(DIRECTIONS)}",
            f"got {direction!r}",
        )
    outputs, updates, arguments = _roots(y)
    names = {**arguments, **names}
    opened = _checked_expand(expand)
    forward = topological(outputs)
    leaves = (
        _leaves(topological([*outputs, *updates.values()]), wrt, names)
        if direction != "forward" or wrt is not None
        else []
    )
    seeds: dict[Tensor, Tensor] = {}
    notes: list[str] = []
    found: list[Tensor | None] = []
    if leaves and direction != "forward":
        found, seeds, notes = _gradients(outputs, leaves, explicit=wrt is not None)
    gradients = [g for g in found if g is not None]
    roots = [*outputs, *gradients, *updates.values()]
    ids = structural_ids([*roots, *leaves, *updates])
    phases = _phases(outputs, gradients, forward, set(seeds.values()))
    called = {node: symbols.cleaned(name) for node, name in {**names_of(forward), **names}.items()}
    if len(outputs) == 1 and outputs[0].cotangent_of is None:
        taken = set(called.values())
        called.setdefault(
            outputs[0], next(name for name in ("y", "loss", "result", "the result") if name not in taken)
        )
    title = _title(outputs, leaves if gradients else [], called)
    builder = Builder(title, opened, topological(roots))
    builder.seeds = {seed: output for output, seed in seeds.items()}
    where = builder.level(roots, Room(ids, "", (), (), phases, called), {})
    builder.begin([y for y in outputs if phases(y) == "forward"], where)
    _finish(builder, where, ids, outputs, list(zip(leaves, found, strict=False)), updates)
    picture = _without_loose_ends(builder.picture) if builder.pages else builder.picture
    picture.notes += notes
    if values:
        _write_values(builder, [n for n in topological(roots) if n in builder.drawn], picture)
    if not views:
        picture = draw_through_views(picture)
    if not parameters and direction != "backward":
        asked = leaves if wrt is not None and parameters is not None else []
        picture = draw_in_layers(
            picture, [at.node for leaf in asked if isinstance(at := where.get(leaf), Source)]
        )
    builder.shown.outputs, builder.shown.leaves, builder.shown.draw = outputs, leaves, draw
    return _only_backward(picture) if direction == "backward" else picture, builder.shown


def _without_loose_ends(picture: Picture) -> Picture:
    """What only the kernels of an attention need, when that is opened as the textbook has it, is left out."""
    nodes, edges = dict(picture.nodes), picture.edges
    while True:
        used = {edge.source for edge in edges}
        loose = {
            n.id
            for n in nodes.values()
            if n.phase == "gradient" and n.kind in ("op", "view") and not n.output and n.id not in used
        }
        if not loose:
            return picture.part(nodes, edges)
        nodes = {ident: node for ident, node in nodes.items() if ident not in loose}
        edges = [edge for edge in edges if edge.target not in loose]


def _roots(y: Any) -> tuple[list[Tensor], dict[Tensor, Tensor], dict[Tensor, str]]:
    """The outputs and updates that are meant by the first argument of ``draw``, and names of a function's arguments."""
    if isinstance(y, Function):
        compiled = [(key, entry) for key, entries in y._compiled.items() for entry in entries]
        if not compiled:
            fail(
                errors.TinyattnError,
                "draw",
                "a function must have been called before it is drawn",
                f"{y.fn.__name__!r} has not",
                "Call it once, or y.graph(*arguments), so that its shapes are known.",
            )
        (_, (positional, keywords)), entry = compiled[-1]
        names = [*y._names, *(f"argument {k}" for k in range(len(y._names), len(positional[1])))]
        found = [name for one in zip(names, positional[1], strict=False) for name in _places(*one)]
        found += [name for one in keywords[1] for name in _places(*one)]
        called = dict(zip(entry.inputs, found, strict=True))
        return list(entry.outputs), dict(entry.updates), called
    outputs = [y] if isinstance(y, Tensor) else list(y) if isinstance(y, (list, tuple)) else []
    if not outputs or not all(isinstance(value, Tensor) for value in outputs):
        fail(
            errors.DTypeError,
            "draw",
            "what is drawn must be a Tensor, a list of Tensors or a function compiled by ta.function",
            f"got {type(y).__name__}",
        )
    return list(dict.fromkeys(outputs)), {}, {}


def _places(name: str, signature) -> Iterator[str]:
    """The names of the arrays in one argument of a function: x, or, in a tree, x[0] and x.key."""
    if isinstance(signature, Type):
        yield name
    elif signature[0] == "dict":
        for key, part in signature[1]:
            yield from _places(f"{name}.{key}", part)
    elif signature[0] != "static":
        for k, part in enumerate(signature[1]):
            yield from _places(f"{name}[{k}]", part)


def _checked_depth(depth: int | None) -> int | None:
    if depth is not None and (as_integer(depth) is None or depth < 0):
        fail(errors.ShapeError, "draw", "depth must be None or a whole number from 0", f"got {depth!r}")
    return depth


def _checked_expand(expand: str | Iterable[str]) -> frozenset[str]:
    names = frozenset([expand] if isinstance(expand, str) else expand)
    for name in sorted(names):
        if name not in OPS or OPS[name].definition is None:
            known = ", ".join(sorted(op.name for op in OPS.values() if op.definition is not None))
            fail(
                errors.ShapeError,
                "draw",
                "expand takes names of hand-derived operations",
                f"got {name!r}",
                f"They are: {known}.",
            )
    return names | ({"attention_backward"} if "attention" in names else frozenset())


def _leaves(order: Sequence[Tensor], wrt, names: Mapping[Tensor, str]) -> list[Tensor]:
    if wrt is None:
        owner = owners(order)
        if any(owner.get(node, node).origin is not None and node.inputs for node in order):
            return []  # the picture holds a derivative already
        leaves = [
            n for n in order if n.op.name == "parameter" or n in names or (n.op.name == "tensor" and n.name)
        ]
        return [leaf for leaf in leaves if is_float(leaf.dtype)]
    leaves = [wrt] if isinstance(wrt, Tensor) else list(wrt)
    for leaf in leaves:
        if not isinstance(leaf, Tensor) or leaf.dtype is None or not is_float(leaf.dtype):
            fail(errors.DTypeError, "draw", "wrt must hold floating-point Tensors", f"got {leaf!r}")
    return list(dict.fromkeys(leaves))


def _gradients(outputs: Sequence[Tensor], leaves: Sequence[Tensor], explicit: bool):
    """Cotangents of the leaves, those of the outputs (ones, as leaves of their own so that the picture can
    show where the derivative begins), remarks.
    """
    moving = depends_on(outputs, leaves)
    seeds = {y: _seed(y) for y in outputs if is_float(y.dtype) and y in moving}
    try:
        return pull_back(seeds, leaves), seeds, []
    except errors.TinyattnError as error:
        if explicit or not str(error).startswith("[grad] every operation"):
            raise
        return [], {}, [f"No gradient: {str(error).splitlines()[0].removeprefix('[grad] ')}"]


@scope.isolated
def _seed(y: Tensor) -> Tensor:
    with scope.on_behalf_of(y):
        return tensor(np.ones(y.shape, y.dtype), name="ȳ")


def _phases(outputs, gradients, forward, seeds):
    before = set(forward)
    ordinary = before | set(topological([*outputs, *gradients]))

    def phase(node: Tensor) -> str:
        if node in seeds:
            return "gradient"
        if not node.inputs:
            return "forward"
        if node not in ordinary:
            return "gradient" if node.origin is not None else "update"
        return "gradient" if node not in before or node.origin is not None else "forward"

    return phase


def _title(outputs: Sequence[Tensor], leaves: Sequence[Tensor], called: Mapping[Tensor, str]) -> str:
    """``graph of loss f32 () and its gradient by 3 leaves``."""
    each = [" ".join(filter(None, (called.get(y, ""), labels.type_text(y.type)))) for y in outputs[:3]]
    return f"graph of {', '.join(each)}{', …' if len(outputs) > 3 else ''}" + (
        f" and its gradient by {len(leaves)} lea{'f' if len(leaves) == 1 else 'ves'}" if leaves else ""
    )


def _finish(builder: Builder, where: Where, ids, outputs, gradients, updates) -> None:
    """Mark the outputs, end each gradient in a node of its own, and lead updates back to their leaves."""
    nodes = builder.picture.nodes
    for y in outputs:
        start = where[y]
        if isinstance(start, str):
            continue
        if y.op.name == "output":  # one of several results, or of a loop: it has no box of its own
            ident = f"result_{ids[y]}"
            nodes[ident] = Node(
                ident,
                "result",
                "result",
                nodes[start.node].phase,
                "result",
                [labels.type_text(y.type)],
                path=builder.module_path(y),
                output=True,
            )
            builder.shown.of[ident] = [y]
            builder.picture.connect(Edge(start.node, ident, "data", start.label, [0]))
        else:
            nodes[start.node].output = True
    _assign_leaves_to_modules(builder)
    written = {builder.output_symbol(where[y]).text for y in outputs}
    output = written.pop() if len(written) == 1 else "y"
    for leaf, gradient in gradients:
        if gradient is None:
            continue  # no path leads from the output to this leaf
        start, at = where[gradient], where.get(leaf)
        if isinstance(start, str):
            continue
        name = nodes[at.node].title if isinstance(at, Source) else leaf.name or "x"
        ident = f"gradient_{ids[leaf]}"
        nodes[ident] = Node(
            ident,
            "gradient",
            "result",
            "gradient",
            f"∂{output}/∂{name}",
            [labels.type_text(gradient.type)],
            path=nodes[at.node].path if isinstance(at, Source) else (),
            output=True,
            order=nodes[start.node].order,
            origin=at.node if isinstance(at, Source) else None,
        )
        builder.shown.of[ident] = [gradient]
        builder.picture.connect(Edge(start.node, ident, "gradient", start.label, [0]))
    for leaf, after in updates.items():
        start, at = where[after], where.get(leaf)
        if isinstance(start, Source) and isinstance(at, Source):
            builder.picture.connect(Edge(start.node, at.node, "update", start.label, [0]))


def _assign_leaves_to_modules(builder: Builder) -> None:
    """Put parameters, buffers and tables of numbers that have no module of their own into the innermost module that
    holds all of their users.
    """
    picture = builder.picture
    users: dict[str, list[tuple[str, ...]]] = {}
    seen: dict[str, str] = {}  # a view of a leaf → the leaf
    for edge in picture.edges:
        target, source = picture.nodes[edge.target], seen.get(edge.source, edge.source)
        kind = picture.nodes[source].kind
        if edge.kind == "data" and (
            kind in ("parameter", "constant") or kind == "input" and "." in picture.nodes[source].title
        ):
            if target.kind == "view":
                seen[target.id] = source
            else:
                users.setdefault(source, []).append(target.path)
    for ident, paths in users.items():
        shared = []
        for steps in zip(*paths, strict=False):
            if len(set(steps)) > 1 or picture.clusters[steps[0]].kind != "module":
                break
            shared.append(steps[0])
        node = picture.nodes[ident]
        if node.kind == "input":  # (a buffer has the name of its module; other inputs come from outside)
            while shared and not node.title.startswith(f"{picture.clusters[shared[-1]].dotted}."):
                shared.pop()
        if not node.path:
            node.path = tuple(shared)
        if node.path:  # (what a parameter's name shares with that of its module goes without saying)
            node.title = node.title.removeprefix(f"{picture.clusters[node.path[-1]].dotted}.")


def _write_values(builder: Builder, order: Sequence[Tensor], picture: Picture) -> None:
    """Compute all small values in one program; what depends on a traced input is not computed, and says
    so.
    """
    free = depends_on(order, [n for n in order if n.op.name in ("input", "argument")])
    known = [n for n in order if n not in free and n.dtype is not None and n.size <= labels.LARGEST_VALUE]
    computed = Program(known, [], {}).run([]) if known else []
    texts = {
        builder.drawn[node]: labels.values(np.asarray(value))
        for node, value in zip(known, computed, strict=True)
    }
    small = {
        builder.drawn[node] for node in order if node.dtype is not None and node.size <= labels.LARGEST_VALUE
    }
    for ident in small:
        if ident in picture.nodes:
            picture.nodes[ident].value = texts.get(ident, "not computed")
    for edge in picture.edges:
        if picture.nodes[edge.target].kind == "result":
            picture.nodes[edge.target].value = picture.nodes[edge.source].value


def _only_backward(picture: Picture) -> Picture:
    """The derivative, and of the forward part only what it reads, as operands of what reads it."""
    kept = {n.id for n in picture.nodes.values() if n.phase != "forward" or n.saved}
    kept |= {edge.source for edge in picture.edges if edge.kind == "seed"}
    edges = [
        e
        for e in picture.edges
        if {e.source, e.target} <= kept and picture.nodes[e.target].phase != "forward"
    ]
    edges = [replace(edge, kind="operand") if edge.kind == "saved" else edge for edge in edges]
    return picture.part({ident: node for ident, node in picture.nodes.items() if ident in kept}, edges)
