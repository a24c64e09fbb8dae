"""Expressions as mathematics: ``ta.show(ta.grad(ta.tanh(x).sum(), x))`` says ``1 − tanh(x)²``.

The graph is simplified by exact rules, and by a few that only reorder rounding, and then written with the formulas of
its operations. Values that have a name (the user's, or the variable of the source line), and long ones that are used
several times, stand in lines of their own below:

    dS = P ⊙ (dP − …)
      P = softmax(S)
"""

from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import constant, constant_value
from tinyattn.graph.names import names
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import consumers, topological
from tinyattn.graph.types import fail
from tinyattn.rewrite import rules
from tinyattn.rewrite.rule import RULES, NodeRule, Rewriter
from tinyattn.viz import labels, notation

_SILENT = ("reshape", "broadcast_to", "cast", "stop_gradient", "within")
"""What changes the form of a value, not its numbers."""
_LINEAR = ("sum", "transpose", "reshape", "broadcast_to")
"""What a number may be taken out of."""
_LONG = 24
"""Letters of an expression that is worth a line of its own when it is used twice."""
_ALPHABET = "abcdefghijklmnopqrstuvw"


class Shown(str):
    """The text of :func:`show`; an interactive session doesn't print it a second time."""

    def __repr__(self) -> str:
        return ""


def show(expression: Tensor | Sequence[Tensor]) -> Shown:
    """Print an expression (or several) as mathematics, simplified, and return the text."""
    text = Shown(mathematics(expression))
    print(text)
    return text


def mathematics(expression: Tensor | Sequence[Tensor]) -> str:
    """The text that :func:`show` prints."""
    roots: list = list(expression) if isinstance(expression, (list, tuple)) else [expression]
    for root in roots:
        if not isinstance(root, Tensor) or root.dtype is None:
            fail(errors.DTypeError, "show", "an expression must be a Tensor", f"got {root!r}")
    called = names(roots)
    simple = simplified(roots)
    writer = _Writer(simple, names(simple))
    rows = []
    for before, after in zip(roots, simple, strict=True):
        name = called.get(before)
        text = writer.expression(after, own=True)
        rows.append(text if name is None or text == name else f"{name} = {text}")
    return "\n".join([*rows, *(f"  {name} = {text}" for name, text in writer.definitions())])


_PASSES = 20
_OPENING = ("expand", "join-parts", "rows-of-sum", "logsumexp", "log-sigmoid")
"""Rules that serve the machine rather than the reader."""


def simplified(roots: Sequence[Tensor], more: Sequence[NodeRule] = ()) -> list[Tensor]:
    """``roots`` as a reader wants them; ``more``: rules besides those that :func:`show` uses."""
    kept = [rule for rule in RULES if rule.name not in _OPENING]
    rewrite = Rewriter(
        [*kept, *_DISPLAY, *more], ("exact", "stabilising", "reorders_rounding", *(r.soundness for r in more))
    )
    for _ in range(_PASSES):
        before, roots = list(roots), rewrite(roots, "show")
        if all(a is b for a, b in zip(before, roots, strict=True)):
            break
    return list(roots)


def _number(value: float, like: Tensor) -> Tensor:
    whole = constant(np.asarray(value), like.dtype)
    return whole if like.shape == () else make("broadcast_to", whole, shape=like.shape)


def _numbers_alone(node: Tensor) -> Tensor | None:
    """An elementwise operation on numbers is a number; a choice by a number is one of the two."""
    values = [rules.number(s) for s in node.inputs]
    if node.op.name == "where" and values[0] is not None:
        chosen = node.inputs[1 if values[0] else 2]
        return chosen if chosen.shape == node.shape else make("broadcast_to", chosen, shape=node.shape)
    if not node.op.elementwise or None in values or node.op.reference is None or not node.inputs:
        return None
    inputs = [np.asarray(v, s.dtype) for v, s in zip(values, node.inputs, strict=True)]
    with np.errstate(all="ignore"):
        return _number(np.asarray(node.op.reference(*inputs, **node.attrs)).item(), node)


def _factor(node: Tensor) -> tuple[float, Tensor]:
    """A node as number · rest."""
    if node.op.name == "neg":
        value, rest = _factor(node.inputs[0])
        return -value, rest
    if node.op.name == "mul" and (number := rules.number(node.inputs[0])) is not None:
        return number, node.inputs[1]
    return 1.0, node


def _times(value: float, rest: Tensor) -> Tensor:
    if value == 1:
        return rest
    if value < 0:
        return make("neg", _times(-value, rest))
    return make("mul", constant(np.asarray(value), rest.dtype), rest)


def _numbers_out(node: Tensor) -> Tensor | None:
    """Numbers come first, and once: a · 2 → 2 a, (−a) b → −(a b), 2 a + a → 3 a."""
    name, inputs = node.op.name, node.inputs
    if node.dtype.kind != "f" or any(s.shape != node.shape for s in inputs) and name in ("add", "sub"):
        return None
    numbers = [rules.number(s) for s in inputs]
    if name == "mul" and numbers[1] is not None and numbers[0] is None:
        return _times(numbers[1], inputs[0]) if inputs[0].shape == node.shape else None
    parts = [_factor(s) for s in inputs]
    if name in ("add", "sub") and parts[0][1] is parts[1][1]:
        return _times(parts[0][0] + (1 if name == "add" else -1) * parts[1][0], parts[0][1])
    if name == "neg" and parts[0][0] < 0:
        return _times(-parts[0][0], parts[0][1])
    if name == "mul" and numbers[0] is not None:
        value, rest = parts[1]
        return None if value == 1 or rest.shape != node.shape else _times(numbers[0] * value, rest)
    if name in ("mul", "matmul", "div") and any(f != 1 for f, _ in parts[: 1 if name == "div" else 2]):
        if name == "div":
            return _times(parts[0][0], make("div", parts[0][1], inputs[1]))
        return _times(parts[0][0] * parts[1][0], make(name, parts[0][1], parts[1][1]))
    if name in _LINEAR and parts[0][0] != 1:
        return _times(parts[0][0], make(name, parts[0][1], **node.attrs))
    return None


def _transposed_product(node: Tensor) -> Tensor | None:
    product, axes = node.inputs[0], node.attrs["axes"]
    rank = node.ndim
    if product.op.name != "matmul" or axes != (*range(rank - 2), rank - 1, rank - 2):
        return None
    if any(s.ndim != rank for s in product.inputs):
        return None
    left, right = (make("transpose", s, axes=axes) for s in product.inputs)
    return make("matmul", right, left)


_DISPLAY = [
    NodeRule("numbers-alone", "2 · 3 → 6", "exact", (), _numbers_alone),
    NodeRule(
        "numbers-out", "a · 2 → 2 a", "reorders_rounding",
        ("add", "sub", "neg", "mul", "div", "matmul", *_LINEAR), _numbers_out,
    ),
    NodeRule("transposed-product", "(A·B)ᵀ → Bᵀ·Aᵀ", "exact", ("transpose",), _transposed_product),
]  # fmt: skip


class _Writer:
    """Writes nodes; gathers the definitions that they need on the way."""

    def __init__(self, roots: Sequence[Tensor], known: dict[Tensor, str]):
        order = topological(roots)
        users = consumers(order)
        self.called = {node: name for node, name in known.items()}
        self.texts: dict[Tensor, tuple[str, int]] = {}
        self.wanted: dict[Tensor, str] = {}
        taken = set(self.called.values())
        letters = iter([c for c in _ALPHABET if c not in taken] + [f"t{k}" for k in range(len(order))])
        tops = set(roots)
        for node in order:
            text, level = self._write(node)
            if node.dtype is None:
                self.texts[node] = text, level
                continue
            shared = len(users[node]) > 1 and len(text) > _LONG and node.op.name not in _SILENT
            if node not in self.called and shared and node not in tops:
                self.called[node] = next(letters)
            self.texts[node] = text, level

    def expression(self, node: Tensor, own: bool = False) -> str:
        """A node's text: its name if it has one, unless ``own``."""
        return self._operand(node)[0] if not own else self.texts[node][0]

    def definitions(self) -> list[tuple[str, str]]:
        """Names that were written and what they stand for, the last ones first."""
        return [(n, self.texts[node][0]) for node, n in reversed(self.wanted.items()) if node.inputs]

    def _operand(self, node: Tensor) -> tuple[str, int]:
        if node in self.called:
            self.wanted.setdefault(node, self.called[node])
            return self.called[node], 9
        return self.texts[node]

    def _write(self, node: Tensor) -> tuple[str, int]:
        """(text, how tightly it binds): 9 a name or call, 4 a power, 3 a product, 2 a sum."""
        name = node.op.name
        value = rules.number(node)
        if value is not None:
            text = labels.number(value)
            return text, 9 if text[0] != "−" else 2
        if not node.inputs:
            return (
                labels.values(constant_value(node)) if name == "constant" else self.called.get(node, name)
            ), 9
        if name in _SILENT:
            return self._operand(node.inputs[0])
        if name == "output":
            inner = node.inputs[0]
            text, level = self.texts[inner]
            key = node.attrs["key"]
            if inner.op.name == "scan":
                return f"{text}.{'last' if key[0] == 'final' else 'all'}", 9
            return (text, level) if key == 0 else (f"({text}).{labels.output_name(inner, key)}", 9)
        if name == "scan":
            return f"scan×{node.attrs['length']}({', '.join(self._operand(s)[0] for s in node.inputs)})", 9
        if name == "slice":
            return f"{notation.wrapped(*self._operand(node.inputs[0]), 9)}{labels.slice_text(node)}", 9
        return notation.written(node, [self._operand(s) for s in node.inputs])
