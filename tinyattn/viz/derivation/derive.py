"""``derive``: what is derived, at which numbers, by which names."""

import inspect
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn import ops as _ops  # noqa: F401  (fills the table of public functions)
from tinyattn.graph.hints import near
from tinyattn.graph.leaf import tensor
from tinyattn.graph.names import names as given_names
from tinyattn.graph.names import subscript
from tinyattn.graph.point import Numbers, Point
from tinyattn.graph.public import CONSTANT, POINTS
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import depends_on, substitute, topological
from tinyattn.graph.types import fail, is_float
from tinyattn.viz import textbook
from tinyattn.viz.derivation import steps as work
from tinyattn.viz.derivation.differences import close, difference
from tinyattn.viz.derivation.forms import SILENT, open_definitions
from tinyattn.viz.derivation.steps import Step, Walk
from tinyattn.viz.derivation.tree import Equation, Tree, name
from tinyattn.viz.derivation.view import Derivation

_TEXTBOOK = {"query": "Q", "keys": "K", "values": "V", "mask": "M"}
"""What papers call the arguments of operations."""
_SHAPES = ((3, 3), (3,), (), (2, 3, 3))
"""What arguments of a function are tried with."""
_OPERANDS = ("", "x", "ab", "abc")
"""What operands are called that have no names of their own, by their number."""


@dataclass
class Subject:
    """What is derived: ``results`` of ``leaves``, which have names."""

    title: str
    results: list[Tensor]
    leaves: list[Tensor]
    whole: bool = False
    """Whether every hand-derived operation in it is opened, as when it is one by its name."""


def derive(
    fn_or_op: "str | Callable | Tensor", wrt: Any = None, inputs: Sequence | None = None
) -> Derivation:
    """The derivative, step by step: definition, chain rule value by value, index form, matrix form. Each step says its
    rule and is checked with numbers, in float64.

    ``fn_or_op``: the name of an operation, ``"softmax"``; a function of tensors, whose arguments keep their names; or
    an expression. ``wrt``: by what, a name or several (of an expression, Tensors, too); everything by default.
    ``inputs``: arrays at which a function is evaluated, square matrices or what else it takes by default.

        ta.derive("attention").save("attention.html")
        print(ta.derive(lambda Q, K, V: ta.softmax(Q @ K.T / 3**0.5) @ V, wrt="Q"))

    Raises TinyattnError for an unknown operation or one without a derivative, and for names that nothing has.
    """
    if isinstance(fn_or_op, str):
        subject = _of_operation(fn_or_op)
    elif isinstance(fn_or_op, Tensor):
        leaves = [n for n in topological([fn_or_op]) if n.storage is not None]
        subject = _of_expression(fn_or_op, leaves)
    elif callable(fn_or_op):
        subject = _of_function(fn_or_op, inputs)
    else:
        must = "what is derived must be the name of an operation, a function or an expression"
        fail(errors.TinyattnError, "derive", must, f"got {fn_or_op!r}")
    return _derivation(subject, _wanted(subject, wrt))


def _of_operation(op: str) -> Subject:
    if op in CONSTANT:
        must = "the operation must have a derivative"
        fail(errors.TinyattnError, "derive", must, f"{op} has none: {CONSTANT[op]}")
    if op not in POINTS:
        close_by = near(op.lower(), POINTS)
        hint = (
            f"Did you mean {close_by}?" if close_by else "Known are those that ta.gradcheck's command lists."
        )
        fail(
            errors.TinyattnError,
            "derive",
            "OP must be an operation that has a derivative",
            f"got {op!r}",
            hint,
        )
    function, points = POINTS[op]
    optional = {p.name for p in inspect.signature(function).parameters.values() if p.default is None}
    options = {k: v for k, v in points[0].options.items() if k not in optional or not isinstance(v, Numbers)}
    point = Point(points[0].arguments, options)
    arrays, words = point.arrays(), _argument_names(function, point.arguments, point.options)
    leaves = [
        tensor(array, name=_TEXTBOOK.get(word, word)) for array, word in zip(arrays, words, strict=True)
    ]
    return Subject(op, _floats(point.call(function)(*leaves)), leaves, whole=True)


def _argument_names(function: Callable, arguments: tuple, options: dict) -> list[str]:
    """A name for each array among the arguments."""
    words: list[str] = []
    parameters = list(inspect.signature(function).parameters.values())
    if (
        parameters[0].kind is inspect.Parameter.VAR_POSITIONAL
        and 0 < len(arguments) < len(_OPERANDS)
        and all(isinstance(a, Numbers) for a in arguments)
    ):
        return list(_OPERANDS[len(arguments)][: len(arguments)])
    for k, argument in enumerate(arguments):
        parameter = parameters[min(k, len(parameters) - 1)]
        several = parameter.kind is parameter.VAR_POSITIONAL
        words += _numbered(parameter.name, argument, k - len(parameters) + 2 if several else None)
    for word, argument in options.items():
        words += _numbered(word, argument, None)
    return words


def _numbered(word: str, argument, first: int | None) -> list[str]:
    if isinstance(argument, Numbers):
        return [word if first is None else word + subscript(first)]
    parts = argument.values() if isinstance(argument, dict) else argument
    if not isinstance(argument, (tuple, list, dict)):
        return []
    keys = argument if isinstance(argument, dict) else itertools.count(1)
    found = []
    for key, part in zip(keys, parts, strict=False):
        found += _numbered(str(key) if isinstance(argument, dict) else word + subscript(key), part, None)
    return found


def _of_function(function: Callable, inputs: Sequence | None) -> Subject:
    title = getattr(function, "__name__", type(function).__name__).replace("<lambda>", "the function")
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    words = [p.name for p in parameters]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        words = [f"x{subscript(k + 1)}" for k in range(len(inputs or (0,)))]
    if inputs is not None:
        if len(inputs) < len(words):
            must = f"there must be an array for each of {', '.join(words)}"
            fail(errors.TinyattnError, "derive", must, f"got {len(inputs)}")
        words += [f"x{subscript(k + 1)}" for k in range(len(words), len(inputs))]
        leaves = [_leaf(value, word) for value, word in zip(inputs, words, strict=True)]
        return Subject(title, _floats(function(*leaves)), leaves)
    refused = None
    for shape in _SHAPES:
        numbers = np.random.default_rng(0).uniform(0.5, 1.5, (len(words), *shape))
        leaves = [tensor(array, name=word) for array, word in zip(numbers, words, strict=True)]
        try:
            return Subject(title, _floats(function(*leaves)), leaves)
        except (errors.TinyattnError, ValueError, IndexError) as error:
            refused = refused or error
    must = "the function must take square matrices, vectors or numbers, or be given inputs"
    fail(errors.TinyattnError, "derive", must, f"it says: {refused}", "Write ta.derive(fn, inputs=[…]).")


def _leaf(value, word: str) -> Tensor:
    array = np.asarray(value.numpy() if isinstance(value, Tensor) else value)
    return tensor(array.astype(np.float64) if array.dtype.kind == "f" else array, name=word)


def _of_expression(y: Tensor, leaves: Sequence[Tensor]) -> Subject:
    """``y`` over float64 leaves with the numbers and names of its own."""
    called = given_names([y])
    wide = {x: _leaf(x.storage.array, called.get(x, f"x{subscript(k + 1)}")) for k, x in enumerate(leaves)}
    if any(x.dtype != w.dtype for x, w in wide.items()):
        must = "an expression must be one of float64 leaves"
        got = f"got {[str(x.type) for x in leaves]}"
        fail(errors.DTypeError, "derive", must, got, "Make them with dtype=ta.float64, or derive a function.")
    return Subject(called.get(y, "the expression"), substitute([y], wide), list(wide.values()))


def _floats(result) -> list[Tensor]:
    parts = list(result) if isinstance(result, (tuple, list)) else [result]
    found = [y for y in parts if isinstance(y, Tensor) and is_float(y.dtype)]
    if not found:
        must = "what is derived must give floating-point tensors"
        fail(errors.DTypeError, "derive", must, f"got {result!r}")
    return list(dict.fromkeys(found))


def _wanted(subject: Subject, wrt) -> list[Tensor]:
    """The leaves to derive by."""
    above = depends_on(subject.results, subject.leaves)
    moving = [x for x in subject.leaves if is_float(x.dtype) and x in above]
    if wrt is None:
        return moving
    asked = list(wrt) if isinstance(wrt, (list, tuple)) else [wrt]
    found = []
    for one in asked:
        word = one if isinstance(one, str) else one.name if isinstance(one, Tensor) else None
        same = [x for x in moving if x.name in (word, _TEXTBOOK.get(word or ""))]
        if not same or word is None:
            known = ", ".join(str(x.name) for x in moving)
            fail(errors.TinyattnError, "derive", f"wrt must be of {known}", f"got {one!r}")
        found += same[:1]
    return found


def _derivation(subject: Subject, wanted: list[Tensor]) -> Derivation:
    closed = subject.results
    opened, known, own = _opened(closed, subject.whole)
    called = {} if subject.whole else {n: text for n, text in given_names(closed).items() if n.inputs}
    known = called | known
    taken = {str(x.name) for x in subject.leaves} | set(known.values())
    letters = _result_names(
        [called.get(y) or known.get(o) for y, o in zip(closed, opened, strict=True)], taken
    )
    rng = np.random.default_rng(1)
    seeds = [rng.standard_normal(y.shape) for y in opened]
    walk = work.take_apart(opened, letters, known)
    arguments = tuple(name(str(x.name)) for x in subject.leaves)
    left = name(", ".join(letters))
    call = Equation(left, Tree("call", arguments, subject.title))
    found: list[Step] = [work.definition(walk, call, closed, opened)]
    found += work.chain_rule(walk, opened, wanted, seeds)
    found += work.index_forms(walk)
    found += _matrix_steps(walk, wanted, closed, opened, seeds, letters, known, own)
    width = f" d = {walk.dimension}, the width of what is multiplied." if walk.dimension else ""
    note = (
        "dX is the cotangent of X, the derivative of a scalar by X; ∘ multiplies element by element." + width
    )
    by = ", ".join(str(x.name) for x in wanted)
    return Derivation(f"The derivative of {subject.title} by {by}", note, tuple(found))


def _opened(results: Sequence[Tensor], whole: bool) -> tuple[list[Tensor], dict[Tensor, str], bool]:
    """``results`` with attention as the textbook has it, or else a hand-derived operation that stands alone as it is
    defined; names of values; and whether that operation has a rule of its own to show.
    """
    order = topological(results)
    by_hand = [node for node in order if node.op.definition is not None]
    if any(node.op.name.endswith("_backward") for node in by_hand):
        # A derivative reads numbers of each row that the operation left for it, and knows that they move with its
        # arguments. One value at a time shows what that means.
        return open_definitions(results, lambda node: True), {}, False
    known: dict[Tensor, str] = {}
    pages = {}
    for node in order:
        if node.op.name == "output" and node.inputs[0].op.name == "attention" and node.attrs["key"] == 0:
            one = textbook.open_forward(node.inputs[0])
            mapping = dict(zip(one.variables, node.inputs[0].inputs, strict=True))
            parts = list(one.names)
            moved = substitute([one.out, *parts], mapping)
            pages[node] = moved[0]
            known |= dict(zip(moved[1:], one.names.values(), strict=True))
    if pages:
        return substitute(list(results), pages), known, False
    made = [n for n in order if n.inputs and n.op.name not in (*SILENT, "output") and n.op.view is None]
    if by_hand and (whole or made == by_hand):
        return open_definitions(results, set(by_hand).__contains__), known, True
    return list(results), known, False


def _result_names(given: Sequence[str | None], taken: set[str]) -> list[str]:
    """``given`` names of results, and letters for those without."""
    letters = ("y", "z", "o", "q", "r", *(f"y{subscript(k)}" for k in range(1, 99)))
    free = iter(letter for letter in letters if letter not in taken)
    return [text or next(free) for text in given]


def _matrix_steps(walk: Walk, wanted, closed, opened, seeds, letters, known, own: bool) -> list[Step]:
    leaf_of = {walk.leaves[x]: x for x in wanted if x in walk.leaves}
    cotangent_of = {walk.cotangents[leaf]: x for leaf, x in leaf_of.items() if leaf in walk.cotangents}
    called = {
        cotangent: walk.names[leaf] for leaf, cotangent in walk.cotangents.items() if leaf in walk.names
    }
    by_hand = [v.nodes[0] for v in walk.values if v.nodes[0].op.definition is not None]
    apart = [n for node in by_hand for n in (node, *node.inputs)] if not own else []
    shown = {walk.cotangents.get(walk.leaves.get(n)) for n in (*known, *apart)}  # type: ignore[arg-type]
    found = []
    for cotangent, equations, numbers in work.matrix_forms(walk, lambda c: c in cotangent_of or c in shown):
        x, text = cotangent_of.get(cotangent), walk.names[cotangent]
        error = close(numbers, cotangent.storage.array)
        before = Equation(name(text), _by_chain_rule(letters, called.get(cotangent, text[1:])))
        rule, kinks = "all without a name put in", 0
        if x is not None:
            array, its_own = work.own_rule(walk, closed, opened, seeds, x, own)
            whole, unsmooth = difference(closed, seeds, x)
            error = max(error, close(array, numbers), close(array, whole, unsmooth))
            kinks = int(unsmooth.sum())
            if its_own:
                equations, rule = its_own, "the operation's own rule"
        found.append(Step("matrix form", rule, (before,), equations, error, kinks, numbers.size))
    return found


def _by_chain_rule(letters: Sequence[str], text: str) -> Tree:
    total = None
    for letter in letters:
        slope = Tree("quotient", (name(f"∂{letter}"), name(f"∂{text}")))
        term = Tree("matmul", (Tree("transpose", (slope,)), name(f"d{letter}")))
        total = term if total is None else Tree("add", (total, term))
    assert total is not None
    return total
