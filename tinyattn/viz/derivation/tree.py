"""Mathematics as a small tree, printed as text, LaTeX or MathML, and evaluated where it is written with indices.

One tree has three spellings, so that none of them can say something else than the others.
"""

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyattn import markup

RELATION, SUM, PRODUCT, POWER, ATOM = 1, 2, 3, 5, 9
"""How tightly a tree binds."""
Index = tuple[str | None, ...]
"""A letter for each axis; None for an axis of length 1, which isn't written."""


@dataclass(frozen=True)
class Tree:
    """``kind`` says what it is, ``text`` its name, number or sign. An element of an array has an ``index``, a sum over
    indices the ``range`` of each; a call has the ``function`` that computes it.
    """

    kind: str
    parts: "tuple[Tree, ...]" = ()
    text: str = ""
    index: Index = ()
    range: tuple[int, ...] = ()
    function: Callable | None = None
    value: float | None = None
    """Of a constant, the number it is."""


@dataclass(frozen=True)
class Equation:
    """``left = right``."""

    left: Tree
    right: Tree


_LEVELS = {
    "relation": RELATION, "choice": RELATION, "add": SUM, "sub": SUM, "neg": SUM, "bigsum": PRODUCT,
    "product": PRODUCT, "matmul": PRODUCT, "hadamard": PRODUCT, "quotient": PRODUCT, "power": POWER,
    "transpose": POWER,
}  # fmt: skip
_LEAST = {
    "relation": (SUM, SUM), "choice": (SUM, SUM, SUM), "add": (SUM, SUM), "sub": (SUM, PRODUCT), "neg": (PRODUCT,),
    "bigsum": (PRODUCT,), "product": (PRODUCT, PRODUCT), "matmul": (PRODUCT, POWER), "hadamard": (PRODUCT, POWER),
    "quotient": (PRODUCT, POWER), "power": (ATOM, SUM), "transpose": (ATOM,), "part": (ATOM,),
}  # fmt: skip
"""How tightly the parts of a tree must bind to stand without parentheses."""


def name(text: str) -> Tree:
    """A value by its name."""
    return Tree("name", text=text)


def number(text: str) -> Tree:
    """A number."""
    return Tree("neg", (number(text[1:]),)) if text.startswith("−") else Tree("number", text=text)


class _Printer:
    """Prints trees; a subclass says what each kind looks like."""

    bracket = "({})"

    def __call__(self, tree: Tree) -> str:
        return getattr(self, tree.kind)(tree, *self.parts(tree))

    def parts(self, tree: Tree) -> list[str]:
        """The parts, in parentheses where they bind too loosely."""
        least = _LEAST.get(tree.kind) or (0,) * len(tree.parts)
        return [
            self._part(tree.kind, k, part, limit)
            for k, (part, limit) in enumerate(zip(tree.parts, least, strict=True))
        ]

    def _part(self, kind: str, place: int, part: Tree, least: int) -> str:
        mixed = {kind, part.kind} in ({"matmul", "hadamard"}, {"quotient", "hadamard"}) or (
            part.kind == "bigsum" and kind in ("product", "hadamard", "matmul", "quotient") and place == 0
        )
        text = self(part)
        return text if _LEVELS.get(part.kind, ATOM) >= least and not mixed else self.bracket.format(text)

    def equation(self, equation: Equation) -> str:
        """An equation."""
        return f"{self(equation.left)} = {self(equation.right)}"


class Text(_Printer):
    """Plain text."""

    def name(self, tree):
        return tree.text

    number = name

    def element(self, tree):
        letters = [letter for letter in tree.index if letter]
        return f"{tree.text}_{','.join(letters) if any(len(x) > 1 for x in letters) else ''.join(letters)}"

    def add(self, tree, a, b):
        return f"{a} + {b}"

    def sub(self, tree, a, b):
        return f"{a} − {b}"

    def neg(self, tree, a):
        return f"−{a}"

    def product(self, tree, a, b):
        return f"{a} {b}"

    matmul = product

    def hadamard(self, tree, a, b):
        return f"{a} ∘ {b}"

    def quotient(self, tree, a, b):
        return f"{a} / {b}"

    def power(self, tree, a, b):
        return f"{a}{'²' if b == '2' else '³' if b == '3' else f'^{b}' if b.isalnum() else f'^({b})'}"

    def transpose(self, tree, a):
        return f"{a}ᵀ"

    def part(self, tree, a):
        return f"{a}{tree.text}"

    def root(self, tree, a):
        return f"√{a}" if _LEVELS.get(tree.parts[0].kind, ATOM) == ATOM else f"√({a})"

    def call(self, tree, *parts):
        return f"{tree.text}({', '.join(parts)})"

    def bigsum(self, tree, a):
        return f"Σ_{''.join(map(str, tree.index))} {a}"

    def relation(self, tree, a, b):
        return f"{a} {tree.text} {b}"

    def choice(self, tree, a, b, c):
        return f"{a} ? {b} : {c}"


_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρστφχψω",
        "alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau varphi chi psi "
        "omega".split(),
        strict=True,
    )
)  # fmt: skip
_ACCENTS = {"\u0303": "tilde", "\u0302": "hat", "\u0304": "bar"}
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "−": "-", "…": r"\dots{}",
    "∂": r"$\partial$", "∘": r"$\circ$",
}  # fmt: skip
_SIGNS = {"≠": r"\ne", "≤": r"\le", "≥": r"\ge", "∧": r"\wedge", "∨": r"\vee", "<": "<", ">": ">", "=": "="}


def tex_words(text: str) -> str:
    return "".join(_SPECIAL.get(c, f"$\\{_GREEK[c]}$" if c in _GREEK else c) for c in text)


def _split(text: str) -> tuple[str, str, str, str]:
    """(sign of a derivative or "", letter or word, accent, subscript) of a name."""
    found = re.fullmatch(r"(d(?=[^\W\d_]))?(.*?)([\u0302-\u0304]?)([₀-₉]*)", text, re.DOTALL)
    assert found is not None
    prefix, body, accent, below = (part or "" for part in found.groups())
    if text in _WORDS:
        prefix, body = "", text
    return prefix, body, accent, below.translate(_SUBSCRIPTS)


_WORDS = ("data", "delta", "depth", "decay", "dim")
"""Words that begin with d and are no derivative."""


class Latex(_Printer):
    """LaTeX, for inside of a displayed formula."""

    bracket = r"\left({}\right)"

    def name(self, tree):
        prefix, body, accent, below = _split(tree.text)
        if len(body) == 1 and body in _GREEK:
            body = f"\\{_GREEK[body]}"
        elif not (len(body) == 1 and body.isascii() and body.isalpha()):
            body = rf"\text{{{tex_words(body)}}}"
        body = rf"\{_ACCENTS[accent]}{{{body}}}" if accent else body
        return f"{prefix}{body}" + (f"_{{{below}}}" if below else "")

    def number(self, tree):
        return tree.text.replace("−", "-").replace("∞", r"\infty ")

    def element(self, tree):
        return f"{{{self.name(tree)}}}_{{{' '.join(letter for letter in tree.index if letter)}}}"

    def add(self, tree, a, b):
        return f"{a} + {b}"

    def sub(self, tree, a, b):
        return f"{a} - {b}"

    def neg(self, tree, a):
        return f"-{a}"

    def product(self, tree, a, b):
        return rf"{a}\,{b}"

    matmul = product

    def hadamard(self, tree, a, b):
        return rf"{a} \circ {b}"

    def quotient(self, tree, a, b):
        return rf"\frac{{{self(tree.parts[0])}}}{{{self(tree.parts[1])}}}"

    def power(self, tree, a, b):
        return f"{{{a}}}^{{{b}}}"

    def transpose(self, tree, a):
        return rf"{{{a}}}^{{\top}}"

    def part(self, tree, a):
        return rf"{a}\text{{{tex_words(tree.text)}}}"

    def root(self, tree, a):
        return rf"\sqrt{{{a}}}"

    def call(self, tree, *parts):
        return rf"\operatorname{{{tex_words(tree.text)}}}\left({', '.join(parts)}\right)"

    def bigsum(self, tree, a):
        return rf"\sum_{{{''.join(map(str, tree.index))}}} {a}"

    def relation(self, tree, a, b):
        return f"{a} {_SIGNS.get(tree.text, tree.text)} {b}"

    def choice(self, tree, a, b, c):
        return rf"\begin{{cases}} {b} & \text{{if }} {a} \\ {c} & \text{{else}} \end{{cases}}"


class MathML(_Printer):
    """Presentation MathML, without the element around it."""

    bracket = "<mrow><mo>(</mo>{}<mo>)</mo></mrow>"

    def name(self, tree):
        if not _split(tree.text)[0] and not tree.text.startswith("∂"):
            return f"<mi>{markup.escape(tree.text)}</mi>"
        sign, rest = tree.text[0], markup.escape(tree.text[1:])
        return f'<mrow><mi mathvariant="normal">{sign}</mi><mi>{rest}</mi></mrow>'

    def number(self, tree):
        return f"<mn>{markup.escape(tree.text)}</mn>"

    def element(self, tree):
        letters = "".join(f"<mi>{letter}</mi>" for letter in tree.index if letter)
        return f"<msub>{self.name(tree)}<mrow>{letters}</mrow></msub>"

    def _row(self, *parts):
        return f"<mrow>{''.join(parts)}</mrow>"

    def add(self, tree, a, b):
        return self._row(a, "<mo>+</mo>", b)

    def sub(self, tree, a, b):
        return self._row(a, "<mo>−</mo>", b)

    def neg(self, tree, a):
        return self._row("<mo>−</mo>", a)

    def product(self, tree, a, b):
        return self._row(a, '<mspace width="0.17em"/>', b)

    matmul = product

    def hadamard(self, tree, a, b):
        return self._row(a, "<mo>∘</mo>", b)

    def quotient(self, tree, a, b):
        return f"<mfrac>{self(tree.parts[0])}{self(tree.parts[1])}</mfrac>"

    def power(self, tree, a, b):
        return f"<msup>{a}{b}</msup>"

    def transpose(self, tree, a):
        return f"<msup>{a}<mo>⊤</mo></msup>"

    def part(self, tree, a):
        return self._row(a, f"<mtext>{markup.escape(tree.text)}</mtext>")

    def root(self, tree, a):
        return f"<msqrt>{a}</msqrt>"

    def call(self, tree, *parts):
        return self._row(
            f"<mi>{markup.escape(tree.text)}</mi><mo>(</mo>", "<mo>,</mo>".join(parts), "<mo>)</mo>"
        )

    def bigsum(self, tree, a):
        letters = "".join(f"<mi>{letter}</mi>" for letter in tree.index)
        return self._row(f"<munder><mo>∑</mo><mrow>{letters}</mrow></munder>", a)

    def relation(self, tree, a, b):
        return self._row(a, f"<mo>{markup.escape(tree.text)}</mo>", b)

    def choice(self, tree, a, b, c):
        return self._row(a, "<mo>?</mo>", b, "<mo>:</mo>", c)


TEXT, LATEX, MATHML = Text(), Latex(), MathML()


def evaluate(tree: Tree, arrays: Mapping[str, np.ndarray], at: Mapping[str, int]):
    """The number that a tree with indices stands for, element by element and sum by sum: no part of the engine that
    made the equation takes part in it. ``at``: where each letter stands.
    """
    if tree.value is not None:
        return tree.value
    if tree.kind == "number":
        return float(tree.text)
    if tree.kind == "element" or tree.kind == "name":
        return arrays[tree.text][tuple(0 if letter is None else at[letter] for letter in tree.index)]
    if tree.kind == "bigsum":
        ranges = map(range, tree.range)
        places = (dict(zip(map(str, tree.index), where, strict=True)) for where in itertools.product(*ranges))
        return sum(evaluate(tree.parts[0], arrays, {**at, **place}) for place in places)
    parts = [evaluate(part, arrays, at) for part in tree.parts]
    return tree.function(*parts) if tree.function is not None else _ARITHMETIC[tree.kind](*parts)


_ARITHMETIC: dict[str, Callable] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "neg": lambda a: -a,
    "product": lambda a, b: a * b,
    "quotient": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "root": np.sqrt,
    "choice": lambda a, b, c: b if a else c,
}


def elements(tree: Tree, index: Sequence[str | None], shape: Sequence[int], arrays) -> np.ndarray:
    """All elements of what a tree with indices says of the element at ``index``."""
    result = np.empty(tuple(shape))
    for where in np.ndindex(*shape):
        at = {letter: k for letter, k in zip(index, where, strict=True) if letter is not None}
        result[where] = evaluate(tree, arrays, at)
    return result
