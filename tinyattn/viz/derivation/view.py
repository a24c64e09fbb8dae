"""``Derivation``: steps that can be read as text, LaTeX, MathML or a page, and saved."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tinyattn import markup
from tinyattn.viz import labels, output, page
from tinyattn.viz.derivation.steps import Step
from tinyattn.viz.derivation.tree import LATEX, MATHML, TEXT, tex_words

FORMATS = ("txt", "tex", "html")
_LATEX_PAGE = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage{amsmath,amssymb}
\allowdisplaybreaks
\begin{document}
%s
\end{document}
"""
_LOOKS = """
main { padding: 0 1em 2em; overflow: auto; }
main div { overflow-x: auto; }
math { width: max-content; margin: .6em 0 .2em .5em; font-size: 1.15em; }
math mtr:first-child { opacity: .7; }
p { margin: .3em 0 1em; overflow-wrap: anywhere; } small { opacity: .8; display: block; margin-left: 2em; }
"""


@dataclass(frozen=True)
class Derivation:
    """A derivation. ``title``: of what; ``note``: what its letters mean; ``steps``: see
    :class:`~tinyattn.viz.derivation.steps.Step`. ``str(derivation)`` is its text; a notebook shows it as mathematics.
    """

    title: str
    note: str
    steps: tuple[Step, ...]

    @property
    def holds(self) -> bool:
        """Whether every step is confirmed by its numbers."""
        return all(step.holds for step in self.steps)

    def stages(self) -> Iterator[tuple[str, list[Step]]]:
        """The stages and their steps, in order."""
        for stage in dict.fromkeys(step.stage for step in self.steps):
            yield stage, [step for step in self.steps if step.stage == stage]

    def text(self) -> str:
        """The derivation as plain text, each step with its rule, and by how much its two sides differ."""
        rows = [self.title, *([self.note] if self.note else [])]
        for number, (stage, steps) in enumerate(self.stages(), 1):
            rows += ["", f"{number}. {stage}"]
            for step in steps:
                first = [TEXT.equation(equation) for equation in step.before]
                later = [TEXT.equation(equation) for equation in step.after]
                rows += [f"   {row}" for row in first]
                rows += [f"     → {later[0]}", *(f"       {row}" for row in later[1:])]
                rows.append(f"     [{step.rule}; {_checked(step)}]")
        return "\n".join([*rows, "", self._verdict()])

    def latex(self) -> str:
        """The derivation for a LaTeX document with the package amsmath."""
        rows = [rf"\section*{{{tex_words(self.title)}}}", tex_words(self.note)]
        for stage, steps in self.stages():
            rows.append(rf"\subsection*{{{stage.capitalize()}}}")
            for step in steps:
                rows += [r"\begin{align*}", " \\\\\n".join(_aligned(step)), r"\end{align*}"]
                rows.append(rf"\noindent\textit{{{tex_words(step.rule)}; {tex_words(_checked(step))}}}\par")
        return "\n".join([*rows, tex_words(self._verdict())])

    def mathml(self) -> str:
        """The equations as one MathML element, a row for each."""
        rows = []
        for stage, steps in self.stages():
            rows.append(f'<mtr><mtd columnspan="3"><mtext>{markup.escape(stage)}</mtext></mtd></mtr>')
            rows += [_mathml_row(step) for step in steps]
        return _math(rows)

    def html(self) -> str:
        """A page of its own, which loads nothing."""
        head = f"<header><h1>{markup.escape(self.title)}</h1></header>"
        return page.document(self.title, f"{head}\n<main>{self._fragment()}</main>\n", looks=_LOOKS)

    def _fragment(self) -> str:
        rows = [f"<p>{markup.escape(self.note)}</p>"] if self.note else []
        for stage, steps in self.stages():
            rows.append(f"<h2>{markup.escape(stage.capitalize())}</h2>")
            for step in steps:
                said = markup.escape(f"{step.rule}; {_checked(step)}")
                colour = "" if step.holds else ' style="color:#D55E00"'
                rows.append(f"<div>{_math([_mathml_row(step)])}<p><small{colour}>{said}</small></p></div>")
        return "\n".join([*rows, f"<p>{markup.escape(self._verdict())}</p>"])

    def save(self, path: str | os.PathLike) -> "Derivation":
        """Write it to a file whose name ends in .txt, .tex (a whole document) or .html. Raises DataError for other names
        and for places that can't be written to.
        """
        kind = output.kind_of(path, FORMATS)
        text = {
            "txt": lambda: self.text() + "\n",
            "tex": lambda: _LATEX_PAGE % self.latex(),
            "html": self.html,
        }
        output.write(path, text[kind]())
        return self

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Derivation: {self.title}, {len(self.steps)} steps, {'all hold' if self.holds else 'WRONG'}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return {"text/plain": self.text(), "text/latex": self.latex(), "text/html": self._fragment()}

    def _verdict(self) -> str:
        wrong = sum(not step.holds for step in self.steps)
        largest = max((step.error for step in self.steps if step.error is not None), default=0.0)
        if wrong:
            return f"{wrong} of {len(self.steps)} steps do NOT hold."
        where = " wherever the function is smooth" if any(step.kinks for step in self.steps) else ""
        return f"All {len(self.steps)} steps hold{where}: the largest difference is {_small(largest)}."


def _small(error: float) -> str:
    return "below 1e-12" if error < 1e-12 else f"{error:.0e}"


def _checked(step: Step) -> str:
    said = "nothing to compare"
    if step.error is not None:
        agree = f"both sides agree, difference {_small(step.error)}"
        said = agree if step.holds else f"WRONG: both sides differ by {labels.number(step.error)}"
    if not step.kinks:
        return said
    where = f"{step.kinks} of {step.size} elements" if step.size > 1 else "its element"
    rest = f"; {'at the others ' if step.kinks < step.size else ''}{said}" if step.error is not None else ""
    return f"not smooth at {where}, where differences say nothing{rest}"


def _aligned(step: Step) -> list[str]:
    return [
        f"{arrow}{LATEX(equation.left)} &= {LATEX(equation.right)}"
        for arrow, equations in (("", step.before), (r"\to\quad ", step.after))
        for equation in equations
    ]


def _math(rows: Sequence[str]) -> str:
    return (
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"><mtable>'
        + "".join(rows)
        + "</mtable></math>"
    )


_CELL = '<mtd style="text-align:left;padding:.2em .1em">{}</mtd>'


def _mathml_row(step: Step) -> str:
    """A row of a table for each equation; their signs = stand below each other."""
    rows = [("", equation) for equation in step.before]
    rows += [("<mo>→</mo>" if not k else "", equation) for k, equation in enumerate(step.after)]
    return "".join(
        "<mtr>"
        + _CELL.format(arrow)
        + _CELL.format(MATHML(equation.left))
        + _CELL.format(f"<mrow><mo>=</mo>{MATHML(equation.right)}</mrow>")
        + "</mtr>"
        for arrow, equation in rows
    )
