"""A derivation, step by step, from the graph, and the numbers that each step is checked with.

    definition      the expression opened into values that have a name
    chain rule      value by value from the result back: v̄ = Σ over users u of v:  (∂u/∂v)ᵀ ū
    index form      the same, one element at a time
    matrix form     all that has no name put in; of a hand-derived operation, its own rule

Every value and every cotangent is an array of float64 numbers, and each step is evaluated on them in two ways: the
definition against the operation, the chain rule against finite differences of the values it goes through, the index
form against the sums written out in Python, the matrix form against finite differences of the whole.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from tinyattn.graph import scope
from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import constant, tensor
from tinyattn.graph.names import names as given_names
from tinyattn.graph.names import subscript
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import depends_on, substitute, topological
from tinyattn.rewrite import rules
from tinyattn.rewrite.rule import NodeRule
from tinyattn.runtime import reference
from tinyattn.viz import labels
from tinyattn.viz.derivation.differences import close, difference
from tinyattn.viz.derivation.forms import SILENT, NoForm, Writer, open_definitions, work
from tinyattn.viz.derivation.tree import Equation, Tree, elements, name, number
from tinyattn.viz.mathematics import simplified

TOLERANCE = 1e-8
"""What a step may be off by, relative to its largest number or to 1."""
_WORK = 20_000
"""Multiplications that an index form is evaluated with at most."""


@dataclass(frozen=True)
class Step:
    """One step. ``rule``: what it is called; ``before`` and ``after``: equations that say the same; ``error``: how far
    apart they are on the numbers of this derivation, None where there is nothing to compare. ``kinks``: at how many
    elements of ``size`` there is no derivative to compare with, see ``differences.py``.
    """

    stage: str
    rule: str
    before: tuple[Equation, ...]
    after: tuple[Equation, ...]
    error: float | None
    kinks: int = 0
    size: int = 0

    @property
    def holds(self) -> bool:
        """Whether both sides are the same number."""
        return self.error is None or self.error <= TOLERANCE


def _without_guard(node: Tensor) -> Tensor | None:
    """p · (p = 0 ? 0 : g) is p · g, and so with a difference: the guard keeps out NaN, where p is 0."""
    p, g = node.inputs
    if g.op.name == "where" and _guards(g, p):
        return make("mul", p, g.inputs[2])
    if g.op.name == "sub" and g.inputs[0].op.name == "where" and _guards(g.inputs[0], p):
        return make("mul", p, make("sub", g.inputs[0].inputs[2], g.inputs[1]))
    return None


def _guards(choice: Tensor, p: Tensor) -> bool:
    condition, nothing, _ = choice.inputs
    return condition.op.name == "eq" and condition.inputs[0] is p and rules.number(nothing) == 0


def _choice_of_equals(node: Tensor) -> Tensor | None:
    return node.inputs[1] if node.inputs[1] is node.inputs[2] else None


def _divisor_out(node: Tensor) -> Tensor | None:
    """A number that a factor is divided by is what the whole is divided by: (a / c)ᵀ b → aᵀ b / c."""
    for k, part in enumerate(node.inputs):
        divisor = rules.number(part.inputs[1]) if part.op.name == "div" else None
        if divisor is not None and part.inputs[0].shape == part.shape:
            factors = [*node.inputs[:k], part.inputs[0], *node.inputs[k + 1 :]]
            whole = make(node.op.name, *factors, **node.attrs)
            return make("div", whole, constant(np.asarray(divisor), node.dtype))
    return None


_READABLE = (
    NodeRule("guard", "p · (p = 0 ? 0 : g) → p · g", "assumes_finite", ("mul",), _without_guard),
    NodeRule("choice-of-equals", "c ? a : a → a", "exact", ("where",), _choice_of_equals),
    NodeRule(
        "divisor-out", "(a / c) b → a b / c", "reorders_rounding", ("matmul", "transpose"), _divisor_out
    ),
)


@dataclass(eq=False)
class Value:
    """One value of the forward part, or all outputs of one operation: ``nodes``, and ``local``, the same made of the
    ``sources`` right below them, which are leaves that have names and numbers.
    """

    nodes: list[Tensor]
    local: list[Tensor]
    sources: list[Tensor]


@dataclass
class Walk:
    """The forward part taken apart, and the cotangents found so far."""

    leaves: dict[Tensor, Tensor] = field(default_factory=dict)
    """For each value, the leaf that stands for it in what is made of it."""
    names: dict[Tensor, str] = field(default_factory=dict)
    """Of leaves and cotangents."""
    values: list[Value] = field(default_factory=list)
    cotangents: dict[Tensor, Tensor] = field(default_factory=dict)
    """Of each leaf, if it has one."""
    formulas: dict[Tensor, Tensor] = field(default_factory=dict)
    """Of each cotangent, what the chain rule says."""
    numbers: dict[float, Tree] = field(default_factory=dict)
    """Of constants, what they are called: 1/√d, and d is the ``dimension``."""
    dimension: int = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """All numbers by name."""
        found = {text: node.storage.array for node, text in self.names.items()}
        return found | ({"d": np.asarray(float(self.dimension))} if self.dimension else {})

    def writer(self) -> Writer:
        """Writes what is made of leaves and cotangents."""
        return Writer(self.names, self.numbers)


def _is_value(node: Tensor, named: Mapping[Tensor, str]) -> bool:
    """Whether a node is a value of its own in the derivation, rather than a form of another one."""
    if node in named or node.op.name == "stop_gradient":
        return True
    return not (labels.is_view(node) or node.op.name in SILENT or node.dtype is None)


def take_apart(results: Sequence[Tensor], result_names: Sequence[str], known: Mapping[Tensor, str]) -> Walk:
    """The values below ``results``, each as an expression of those right below it. ``known``: names of values."""
    walk = Walk()
    order = topological(results)
    named = {x: text for x, text in given_names(results).items() if not x.inputs} | dict(known)
    named |= dict(zip(results, result_names, strict=True))
    named |= {x: str(x.name) for x in results if not x.inputs and x.name}
    ends = set(results)
    floats = [n for n in order if n in ends or rules.number(n) is None and _is_value(n, named)]
    arrays = dict(zip(floats, reference.evaluate(floats), strict=True))
    taken = set(named.values())
    free = iter(
        [c for c in "abcefghuvwrst" if c not in taken] + [f"a{subscript(k)}" for k in range(len(order))]
    )
    groups: dict[Tensor, Value] = {}
    for node in floats:
        is_leaf = not node.inputs or node.op.name == "stop_gradient"
        text = named.get(node) or next(free)
        if node.op.name == "stop_gradient" and node.inputs[0] in walk.leaves:
            leaf = walk.leaves[node.inputs[0]]
            walk.leaves[node] = tensor(arrays[node], name=leaf.name)
            walk.names[walk.leaves[node]] = walk.names[leaf]
            continue
        leaf = tensor(arrays[node], name=text)
        if not is_leaf:
            (local,) = substitute([node], {k: v for k, v in walk.leaves.items() if k is not node})
            sources = [n for n in topological([local]) if n in walk.names]
            key = node.inputs[0] if node.op.name == "output" else node
            value = groups.setdefault(key, Value([], [], sources))
            if not value.nodes:
                walk.values.append(value)
            value.nodes.append(node)
            value.local.append(local)
        walk.leaves[node], walk.names[leaf] = leaf, text
    for node in order:
        _note_width(walk, node)
    return walk


def _note_width(walk: Walk, node: Tensor) -> None:
    """1/√d, where a product over d columns is scaled by it."""
    if node.op.name not in ("mul", "div"):
        return
    for k in (0, 1):
        other, product = rules.number(node.inputs[k]), node.inputs[1 - k]
        if product.op.name != "matmul" or other is None or node.op.name == "div" and k == 0:
            continue
        width = product.inputs[0].shape[-1]
        root = Tree("root", (name("d"),))
        if width > 1 and "d" not in walk.names.values() and walk.dimension in (0, width):
            if np.isclose(other, width**-0.5, rtol=1e-15):
                walk.numbers[other] = Tree("quotient", (number("1"), root))
                walk.dimension = width
            elif np.isclose(other, width**0.5, rtol=1e-15):
                walk.numbers[other] = root
                walk.dimension = width


def definition(walk: Walk, call: Equation, closed: Sequence[Tensor], opened: Sequence[Tensor]) -> Step:
    """The first step: the expression opened."""
    writer, rows = walk.writer(), []
    for value in walk.values:
        for node, local in zip(value.nodes, value.local, strict=True):
            rows.append(Equation(name(walk.names[walk.leaves[node]]), writer.matrix(local)))
    rows = rows or [Equation(call.left, name(", ".join(walk.names[walk.leaves[y]] for y in opened)))]
    error = max(
        close(walk.leaves[o].storage.array, v)
        for o, v in zip(opened, reference.evaluate(closed), strict=True)
    )
    return Step("definition", "definition", (call,), tuple(rows), error)


def chain_rule(
    walk: Walk, results: Sequence[Tensor], wanted: Sequence[Tensor], seeds: Sequence[np.ndarray]
) -> list[Step]:
    """The cotangent of each value on the way from ``results`` to ``wanted``, the last ones first."""
    above = depends_on(results, wanted)
    back = {leaf: node for node, leaf in walk.leaves.items() if node.op.name != "stop_gradient"}
    terms: dict[Tensor, list[tuple[Value, Tensor]]] = {}
    for node, array in zip(results, seeds, strict=True):
        _settle(walk, walk.leaves[node], array)
    steps = []
    order = [leaf for node, leaf in walk.leaves.items() if node in above and leaf in back]
    first: dict[Value, Tensor] = {}  # (of several outputs, the one that is reached last)
    owner = {node: value for value in walk.values for node in value.nodes}
    for leaf in order:
        if back[leaf] in owner:
            first.setdefault(owner[back[leaf]], leaf)
    for leaf in reversed(order):
        if leaf in terms:
            steps.append(_settled(walk, leaf, terms[leaf]))
        value = owner.get(back[leaf])
        if value is None or first[value] is not leaf:
            continue
        pairs = {loc: walk.cotangents[walk.leaves[n]] for n, loc in zip(value.nodes, value.local, strict=True)
                 if walk.leaves[n] in walk.cotangents}  # fmt: skip
        if not pairs:
            continue
        sources = [s for s in value.sources if s in back and back[s] in above and s.dtype.kind == "f"]
        results_as_leaves = {loc: walk.leaves[n] for n, loc in zip(value.nodes, value.local, strict=True)}
        for source, pulled in zip(sources, pull_back(pairs, sources), strict=True):
            if pulled is not None:
                opened = open_definitions([pulled], lambda n: n.op.name.endswith("_backward"))
                (pulled,) = simplified(substitute(opened, results_as_leaves), _READABLE)
                terms.setdefault(source, []).append((value, pulled))
    return steps


def _settle(walk: Walk, leaf: Tensor, array: np.ndarray, mark: str = "") -> Tensor:
    text = f"d{walk.names[leaf]}{mark}"
    while text in walk.names.values():  # (somebody has a value called dx)
        text += "′"
    new = walk.cotangents[leaf] = tensor(np.asarray(array, np.float64), name=text)
    walk.names[new] = text
    return new


def _settled(walk: Walk, leaf: Tensor, terms: list[tuple[Value, Tensor]]) -> Step:
    """The step that says what the cotangent of ``leaf`` is."""
    formula, text = terms[0][1], walk.names[leaf]
    for _, term in terms[1:]:
        formula = make("add", formula, term)
    own = walk.cotangents.get(leaf)
    right: np.ndarray = np.zeros(leaf.shape)
    kinks = np.zeros(leaf.shape, bool)
    before: Tree | None = None
    if own is not None:  # (a result that others are made of)
        formula, right, before = make("add", own, formula), own.storage.array, name(walk.names[own])
    for value, _ in terms:
        pairs = [(loc, walk.leaves[n]) for n, loc in zip(value.nodes, value.local, strict=True)
                 if walk.leaves[n] in walk.cotangents]  # fmt: skip
        weights = [walk.cotangents[u].storage.array for _, u in pairs]
        slopes, unsmooth = difference([loc for loc, _ in pairs], weights, leaf)
        right, kinks = right + slopes, kinks | unsmooth
        for _, user in pairs:
            slope = Tree("quotient", (name(f"∂{walk.names[user]}"), name(f"∂{text}")))
            cotangent = walk.names[walk.cotangents[user]]
            part = Tree("matmul", (Tree("transpose", (slope,)), name(cotangent)))
            before = part if before is None else Tree("add", (before, part))
    assert before is not None
    (found,) = reference.evaluate([formula])
    new = _settle(walk, leaf, found, "′" if own is not None else "")
    walk.formulas[new] = formula
    kinds = dict.fromkeys(v.nodes[0].inputs[0].op.name if v.nodes[0].op.name == "output" else v.nodes[0].op.name
                          for v, _ in terms)  # fmt: skip
    rule = "the rule of " + ", ".join(kind.replace("_", " ") for kind in kinds)
    left = walk.names[new]
    after = walk.writer().equations(left, formula, list(walk.names.values()))
    error = close(found, right, kinks) if not kinks.all() or not kinks.size else None
    told = (Equation(name(left), before),)
    return Step("chain rule", rule, told, tuple(after), error, int(kinks.sum()), kinks.size)


def index_forms(walk: Walk) -> list[Step]:
    """Cotangents that are sums, one element at a time."""
    steps = []
    for cotangent, formula in walk.formulas.items():
        writer = walk.writer()
        try:
            index, tree = writer.elements(formula)
        except (NoForm, IndexError):
            continue
        if not _sums(tree) or work(tree, formula.size) > _WORK:
            continue
        with np.errstate(all="ignore"):
            found = elements(tree, index, formula.shape, walk.arrays())
        text = walk.names[cotangent]
        left = Tree("element", text=text, index=index) if any(index) else name(text)
        before = Equation(name(text), writer.matrix(formula))
        error = close(found, cotangent.storage.array)
        steps.append(Step("index form", f"element of {text}", (before,), (Equation(left, tree),), error))
    return steps


def _sums(tree: Tree) -> bool:
    return tree.kind == "bigsum" or any(map(_sums, tree.parts))


def matrix_forms(
    walk: Walk, kept: Callable[[Tensor], bool]
) -> list[tuple[Tensor, tuple[Equation, ...], np.ndarray]]:
    """For each cotangent for which ``kept`` is true, its formula with all others put in: (cotangent, equations,
    numbers).
    """
    whole: dict[Tensor, Tensor] = {}
    rows = []
    for cotangent, formula in walk.formulas.items():
        (formula,) = substitute([formula], whole)
        if not kept(cotangent):
            whole[cotangent] = formula
            continue
        (formula,) = simplified([formula], _READABLE)
        equations = walk.writer().equations(walk.names[cotangent], formula, list(walk.names.values()))
        rows.append((cotangent, tuple(equations), reference.evaluate([formula])[0]))
    return rows


@scope.isolated
def own_rule(
    walk: Walk,
    closed: Sequence[Tensor],
    opened: Sequence[Tensor],
    seeds: Sequence[np.ndarray],
    x: Tensor,
    written: bool,
) -> tuple[np.ndarray, tuple[Equation, ...]]:
    """What the hand-derived rule says of the cotangent of ``x``: its numbers, and if ``written`` its equations, in which
    values have the names that the definition gives them.
    """
    texts = [walk.names[walk.leaves[y]] for y in opened]
    given = {y: tensor(array, name=f"d{text}") for y, array, text in zip(closed, seeds, texts, strict=True)}
    (pulled,) = pull_back(given, [x])
    if pulled is None:
        return np.zeros(x.shape), ()
    (array,) = reference.evaluate([pulled])
    if not written:
        return array, ()
    by_hand = {node.op for node in topological(closed) if node.op.definition is not None}
    (pulled,) = substitute([pulled], {y: walk.leaves[o] for y, o in zip(closed, opened, strict=True)})
    (pulled,) = open_definitions(
        [pulled], lambda node: node.op.name.endswith("_backward") or node.op in by_hand
    )
    names = walk.names | {g: str(g.name) for g in given.values()}
    (pulled,) = simplified(substitute([pulled], walk.leaves), _READABLE)
    left = f"d{walk.names[walk.leaves[x]]}"
    return array, tuple(Writer(names, walk.numbers).equations(left, pulled, list(names.values())))
