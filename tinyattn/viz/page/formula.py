"""The formulas on nodes, read back into trees, so that a page shows them as MathML and copies them as LaTeX.

A picture's formulas are text, ``P ⊙ (dP − rowsum(P ⊙ dP))``: users' names stand in them, and words where there is no
sign. What can't be read as a formula is shown as the text that it is.
"""

import re
from functools import lru_cache

from tinyattn import markup
from tinyattn.viz.derivation.tree import Latex, MathML, Tree, name, number, tex_words

_TOKEN = re.compile(
    r"\s*(?:(?P<number>∞|\d+(?:\.\d+)?(?:e[+−-]?\d+)?)"
    r"|(?P<part>\[[^\[\]]*[:…][^\[\]]*\])"
    r"|(?P<name>[^\W\d_ᵀ][\u0300-\u036f]*(?:[^\W_ᵀ²³][\u0300-\u036f]*|[.′₀-₉])*'?|\.{3}|…|½)"
    r"|(?P<sign>∗ᵀ|[-−+·⊙∘∗/^_(){}\[\]|⌊⌋⌈⌉⟨⟩,;?:√ΣΠ¬²³ᵀ<>≤≥=≠∧∨⊕~]))"
)
_RELATIONS = ("<", ">", "≤", "≥", "=", "≠", "∧", "∨", "⊕", "~")
_PRODUCTS = {"·": "matmul", "⊙": "hadamard", "∘": "hadamard", "/": "quotient"}
_FENCES = {"|": "|", "⌊": "⌋", "⌈": "⌉", "⟨": "⟩", "[": "]"}
_SUPERSCRIPTS = {"²": "2", "³": "3"}
_BEGINNINGS = ("(", "|", "⌊", "⌈", "⟨", "[", "√", "Σ", "Π", "¬")
_DEEPEST = 60
"""Brackets in brackets; what has more is shown as text."""


class _Unreadable(Exception):
    """A text that is no formula."""


class _Reader:
    """Reads one formula, by recursive descent."""

    def __init__(self, text: str):
        self.tokens: list[tuple[str, str]] = []
        self.place, self.depth = 0, 0
        at, text = 0, text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None or match.end() == at:
                raise _Unreadable
            self.tokens.append((match.lastgroup or "", match[match.lastgroup or 0]))
            at = match.end()

    def next(self) -> tuple[str, str]:
        return self.tokens[self.place] if self.place < len(self.tokens) else ("", "")

    def take(self, *signs: str) -> str:
        """The next sign, if it is one of these."""
        kind, text = self.next()
        if kind == "sign" and text in signs:
            self.place += 1
            return text
        return ""

    def need(self, sign: str) -> None:
        if not self.take(sign):
            raise _Unreadable

    def whole(self) -> list[Tree]:
        """Formulas with commas between them, to the end."""
        found = [self.condition()]
        while self.take(","):
            found.append(self.condition())
        if self.place < len(self.tokens):
            raise _Unreadable
        return found

    def condition(self) -> Tree:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise _Unreadable
        tree = self.relation()
        if self.take("?"):
            first = self.condition()
            self.need(":")
            tree = Tree("choice", (tree, first, self.condition()))
        self.depth -= 1
        return tree

    def relation(self) -> Tree:
        tree = self.sum()
        while sign := self.take(*_RELATIONS):
            tree = Tree("relation", (tree, self.sum()), sign)
        return tree

    def sum(self) -> Tree:
        tree = Tree("neg", (self.product(),)) if self.take("−", "-") else self.product()
        while sign := self.take("+", "−", "-"):
            tree = Tree("add" if sign == "+" else "sub", (tree, self.product()))
        return tree

    def product(self) -> Tree:
        if sign := self.take("Σ", "Π"):
            below = self.subscript()
            return Tree("big", (self.product(),), sign + below)
        tree = self.power()
        while True:
            kind, text = self.next()
            if sign := self.take(*_PRODUCTS):
                tree = Tree(_PRODUCTS[sign], (tree, self.power()))
            elif sign := self.take("∗", "∗ᵀ"):
                tree = Tree("between", (tree, self.power()), sign)
            elif kind in ("number", "name") or text in ("Σ", "Π"):
                tree = Tree("product", (tree, self.product() if text in ("Σ", "Π") else self.power()))
            elif text in _BEGINNINGS and not (text == "|" and self.closing == "|"):
                tree = Tree("product", (tree, self.power()))
            else:
                return tree

    closing = ""
    """The bracket that is open, where it looks the same at both ends."""

    def subscript(self) -> str:
        if not self.take("_"):
            return ""
        if not self.take("("):
            self.place += 1
            return self.tokens[self.place - 1][1]
        words, depth = [], 1
        while depth:
            kind, text = self.next()
            if not kind:
                raise _Unreadable
            depth += (text == "(") - (text == ")")
            self.place += 1
            words.append(text)
        return " ".join(words[:-1])

    def power(self) -> Tree:
        tree = self.atom()
        while True:
            if sign := self.take(*_SUPERSCRIPTS):
                tree = Tree("power", (tree, number(_SUPERSCRIPTS[sign])))
            elif self.take("ᵀ"):
                tree = Tree("transpose", (tree,))
            elif self.take("^"):
                tree = Tree("power", (tree, self.power()))
            elif self.next()[0] == "part":
                self.place += 1
                tree = Tree("part", (tree,), self.tokens[self.place - 1][1])
            elif self.next() == ("sign", "_"):
                tree = Tree("below", (tree,), self.subscript())
            elif self.next() == ("sign", "[") and tree.kind in ("name", "transpose", "call"):
                self.place += 1
                tree = Tree("at", (tree, self.condition()))
                self.need("]")
            else:
                return tree

    def atom(self) -> Tree:
        kind, text = self.next()
        self.place += 1
        if kind == "number":
            return number(text)
        if kind == "name":
            if self.next() == ("sign", "("):
                self.place += 1
                return Tree("call", self.arguments(")"), text)
            return name(text)
        if text == "(":
            (tree,) = self.arguments(")", (",",))[:1] or (None,)
            if tree is None:
                raise _Unreadable
            return tree
        if text == "√":
            return Tree("root", (self.power(),))
        if text == "¬":
            return Tree("call", (self.power(),), "not")
        if text in _FENCES:
            outer, self.closing = self.closing, _FENCES[text]
            tree = Tree("fence", self.arguments(_FENCES[text], (",", ";")), text + _FENCES[text])
            self.closing = outer
            return tree
        raise _Unreadable

    def arguments(self, end: str, between: tuple[str, ...] = (",",)) -> tuple[Tree, ...]:
        outer, self.closing = self.closing, end
        found = [self.condition()]
        while self.take(*between):
            found.append(self.condition())
        self.closing = outer
        self.need(end)
        return tuple(found)


class _PageMathML(MathML):
    def big(self, tree, a):
        sign = "∑" if tree.text[0] == "Σ" else "∏"
        below = f"<munder><mo>{sign}</mo><mtext>{markup.escape(tree.text[1:])}</mtext></munder>"
        return self._row(below if tree.text[1:] else f"<mo>{sign}</mo>", a)

    def between(self, tree, a, b):
        sign = "<msup><mo>∗</mo><mo>⊤</mo></msup>" if tree.text == "∗ᵀ" else "<mo>∗</mo>"
        return self._row(a, sign, b)

    def fence(self, tree, *parts):
        comma = "<mo>;</mo>" if tree.text == "[]" else "<mo>,</mo>"
        return self._row(f"<mo>{tree.text[0]}</mo>", comma.join(parts), f"<mo>{tree.text[1]}</mo>")

    def below(self, tree, a):
        return f"<msub>{a}<mtext>{markup.escape(tree.text)}</mtext></msub>"

    def at(self, tree, a, b):
        return self._row(a, "<mo>[</mo>", b, "<mo>]</mo>")


class _PageLatex(Latex):
    def big(self, tree, a):
        below = f"_{{{tex_words(tree.text[1:])}}}" if tree.text[1:] else ""
        return (r"\sum" if tree.text[0] == "Σ" else r"\prod") + f"{below} {a}"

    def between(self, tree, a, b):
        return a + (r" \ast^{\top} " if tree.text == "∗ᵀ" else r" \ast ") + b

    def fence(self, tree, *parts):
        left, right = {
            "||": (r"\left|", r"\right|"),
            "⌊⌋": (r"\lfloor ", r"\rfloor "),
            "⌈⌉": (r"\lceil ", r"\rceil "),
            "⟨⟩": (r"\langle ", r"\rangle "),
        }.get(tree.text, ("[", "]"))
        return f"{left}{('; ' if tree.text == '[]' else ', ').join(parts)}{right}"

    def below(self, tree, a):
        return rf"{a}_{{\text{{{tex_words(tree.text)}}}}}"

    def at(self, tree, a, b):
        return f"{a}[{b}]"


_MATHML, _LATEX = _PageMathML(), _PageLatex()


@lru_cache(4096)
def trees(text: str) -> list[Tree] | None:
    """The formulas in a text, one for each between commas; None if it isn't mathematics alone."""
    try:
        return _Reader(text).whole()
    except _Unreadable:
        return None


@lru_cache(4096)
def mathml(text: str, left: str = "") -> str:
    """A formula, or ``left`` = formula, as a MathML element; as words, if it can't be read."""
    said = [_written(part, _MATHML, "<mtext>{}</mtext>", markup.escape, ",") for part in (left, text) if part]
    return f"<math><mrow>{'<mo>=</mo>'.join(said)}</mrow></math>"


@lru_cache(4096)
def latex(text: str, left: str = "") -> str:
    """The same as LaTeX, for a displayed equation."""
    said = [_written(part, _LATEX, r"\text{{{}}}", tex_words, r",\quad ") for part in (left, text) if part]
    return " = ".join(said)


def _written(text: str, printer, words: str, escape, comma: str) -> str:
    found = trees(text)
    if found is None:
        return words.format(escape(markup.clean(text)))
    return (f"<mo>{comma}</mo>" if comma == "," else comma).join(map(printer, found))
