"""What values are called in the formulas of a picture.

A value has the user's name, or the variable of its source line; a cotangent is called after the value it belongs to, dS
for that of S, and ∂²S when it is found by differentiating a derivative. A value without a name stands in the formulas
of others as its own formula, ``S = Q·Kᵀ / 8``, as long as that is short; else it is called after its module or its
operation.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tinyattn import markup
from tinyattn.graph.names import subscript
from tinyattn.graph.op import OPS
from tinyattn.graph.tensor import Tensor
from tinyattn.viz import labels, notation
from tinyattn.viz.owners import Scope, users_of

SHORT, SHORT_SHARED, SHORT_GRADIENT = 20, 12, 30
"""Letters of a formula that may stand inside of others: in the forward part, there in several others, and in the
derivative.
"""
LONGEST = 40
"""Letters of a name in a formula."""
_LETTERS = "abcefghijklmnopqrstuvw"  # (d is the sign of a derivative)
ATOM = 9
"""How tightly a name binds (see ``notation.level``)."""
_NOTHING = "the derivative of"


class Symbol(NamedTuple):
    """How a value is written as an operand."""

    text: str
    level: int = ATOM


class Written(NamedTuple):
    """A node's own text: its name, or "", its formula, and how others write it."""

    name: str
    formula: str
    symbol: Symbol


def of_number(text: str) -> Symbol:
    """A constant, written into the formulas of its users."""
    return Symbol(text, 2 if text.startswith("−") else ATOM)


def orders(order: Sequence[Tensor], owner) -> dict[Tensor, int]:
    """How often each node of a topological order has been differentiated: 0 in the forward part."""
    found: dict[Tensor, int] = {}
    for node in order:
        rank = max(
            (found.get(source, 0) for source in node.inputs), default=0
        )  # (what is drawn elsewhere: 0)
        if rank == 0 and node.inputs and owner.get(node, node).origin is not None:
            rank = 1
        if node.inputs and node.cotangent_of is not None:
            rank = max(rank, node.cotangent_of[1].order)
        found[node] = rank
    return found


def longest(
    order: Sequence[Tensor],
    differentiated: Mapping[Tensor, int],
    places: Mapping[Tensor, Scope],
) -> dict[Tensor, int]:
    """For each node of a topological order, how long its formula may be to stand inside of others. What leaves a module
    has a name. ``places``: in which module each lies.
    """
    users = users_of(order)
    found: dict[Tensor, int] = {}
    for node in reversed(order):
        forward = [user for user in users[node] if not differentiated[user]]
        leaves = any(places[user][: len(places[node])] != places[node] for user in forward)
        leaves |= any(labels.is_view(user) and found[user] == 0 for user in forward)
        if differentiated[node]:
            found[node] = SHORT_GRADIENT
        else:
            found[node] = 0 if leaves else SHORT_SHARED if len(users[node]) > 1 else SHORT
    return found


def cleaned(name: str) -> str:
    """A user's name as part of a formula."""
    return markup.label(name, LONGEST)


def derivative_sign(order: int) -> str:
    """``d`` of a first derivative, ``∂²`` of a second one."""
    return "d" if order <= 1 else f"∂{labels.superscript(order)}"


def derivative_of(symbol: Symbol, order: int) -> str:
    """What the cotangent of a value is called."""
    atom = symbol.level == ATOM and " " not in symbol.text
    return derivative_sign(order) + (symbol.text if atom else f"({symbol.text})")


def view(node: Tensor, seen: Symbol) -> Symbol:
    """How a view of a value is written: transposed and sliced values say so, others look like the value itself."""
    if node.op.name == "slice":
        return Symbol(f"{notation.wrapped(*seen, 9)}{labels.slice_text(node)}")
    if node.op.name == "transpose" and labels.swaps(node):
        if seen.text.endswith("ᵀ") and seen.level >= 4:
            return Symbol(seen.text[:-1])
        return Symbol(f"{notation.wrapped(*seen, 9)}ᵀ", 4 if seen.level < ATOM else ATOM)
    return seen


def formula(node: Tensor, operands: Sequence[Symbol]) -> tuple[str, int]:
    """The formula of a node and how tightly it binds."""
    return notation.written(node, operands)


def rule(node: Tensor, operands: Sequence[Symbol], result: str, cotangent: str) -> str:
    """What a derived operation computes, in the words of the operation that it derives: its vector-Jacobian product,
    with the names of the operands, of the result and of its cotangent. "" for an operation that has its own formula.
    """
    name = node.op.name.removesuffix("_backward")
    if not node.op.formula.startswith(_NOTHING) or name == node.op.name or name not in OPS:
        return ""
    text = notation.fill(OPS[name].vjp_formula, operands)
    text = re.sub("(\\w)\u0304", r"d\1", text).replace("'", "′")
    return notation.with_words(text, {"ḡ": cotangent, "y": result})


class Names:
    """Gives each value of one picture its name."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        """Names that the user gave: no other value has them."""
        self.count: dict[str, int] = {}
        self.known: dict[Tensor, Symbol] = {}
        """Of all forward values that are drawn, those inside of loops, too."""

    def write(
        self,
        node: Tensor,
        operands: Sequence[Symbol],
        given: str,
        order: int,
        longest: int,
        place: Scope,
    ) -> Written:
        """The texts of an operation. ``given``: its name, if it has one; ``order``: see :func:`orders`; ``longest``:
        letters of a formula that may stand inside of those of its users; ``place``: the module in which it lies.
        """
        text, level = formula(node, operands)
        if not given and labels.is_view(node):
            return Written("", text, view(node, operands[0]))
        if not given and order:
            given = self.cotangent(node)
        if not given and (len(text) > longest or node.dtype is None):
            given = self.invented(order, place)
        return Written(given, text, Symbol(given) if given else Symbol(text, level))

    def cotangent(self, node: Tensor) -> str:
        """What a cotangent is called; "" if ``node`` is none, or that of something that isn't drawn."""
        if node.cotangent_of is None:
            return ""
        value, walk = node.cotangent_of
        return derivative_of(self.known[value], walk.order) if value in self.known else ""

    def carry(self, after: Tensor) -> str:
        """What a carry is called, by the node that it becomes: an output of a cell, a cotangent, or a sum of them."""
        name = self.cotangent(after)
        if not name and after.op.name == "add" and after.inputs[0].op.name == "argument":
            total = self.cotangent(after.inputs[1])
            return f"Σ {total}" if total else ""
        if not name and after.op.name == "output" and isinstance(after.attrs["key"], int):
            name = labels.output_name(after.inputs[0], after.attrs["key"])
        return "" if name.isdigit() else name

    def invented(self, order: int, place: Scope) -> str:
        """A name for a value that has none, in the module ``place``."""
        return next(name for name in self._proposals(order, place) if name not in self.taken)

    def _proposals(self, order: int, place: Scope) -> Iterator[str]:
        module = next((step for step in reversed(place) if not step.isdigit()), "")
        letters = not order and not module  # a, b, c, …, and after the last letter a₂, b₂, …
        key = "" if letters else "t" if order else "/".join(place)
        while True:
            count = self.count[key] = self.count.get(key, -1) + 1
            round, letter = divmod(count, len(_LETTERS)) if letters else (count, 0)
            name = _LETTERS[letter] if letters else "t" if order else cleaned(module)
            yield name + (subscript(round + 1) if round else "")
