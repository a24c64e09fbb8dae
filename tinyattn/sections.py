"""The words in which tasks and models say what a report shows. They hold data only and lie below everything, so
that each floor may name them; `viz.report` turns them into a page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Figure:
    """A number by which models are compared. form: how it is printed; better: "higher" or "lower"."""

    key: str
    name: str
    form: str = "{:.1%}"
    better: str = "higher"

    def say(self, value: float) -> str:
        """The value as people read it."""
        return self.form.format(value)

    def goal(self, value: float) -> str:
        """A target as people read it: "≥ 99.0%"."""
        return f"{'≥' if self.better == 'higher' else '≤'} {self.say(value)}"


@dataclass
class Line:
    """A curve. style: its colour, 0 … 3; dashed: for the second of a pair (validation beside training)."""

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    style: int = 0
    dashed: bool = False


@dataclass
class Curves:
    """Lines over a common axis."""

    title: str
    lines: Sequence[Line]
    x_label: str
    y_label: str
    caption: str = ""


@dataclass
class Table:
    """Rows of text under a head; all columns but the first two are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""


@dataclass
class Bars:
    """Bars side by side: name → (place on the x axis → value from 0 to 1)."""

    title: str
    groups: Mapping[str, Mapping[str, float]]
    x_label: str
    y_label: str
    caption: str = ""


@dataclass
class Map:
    """Weights (rows, columns), with a word at each row and column."""

    weights: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    name: str = ""


@dataclass
class Heat:
    """Maps of weights, one under the other."""

    title: str
    maps: Sequence[Map]
    caption: str = ""


@dataclass
class Samples:
    """Examples: each is a list of (who, text, right), where right is None for what is not judged."""

    title: str
    samples: Sequence[Sequence[tuple[str, str, bool | None]]]
    caption: str = ""


@dataclass
class Images:
    """Pictures (n, H, W) or (n, H, W, 3) with values from 0 to 1, `columns` of them in a row; or, each with a name
    below it, as many in a row as there is room for."""

    title: str
    images: np.ndarray
    columns: int = 8
    caption: str = ""
    names: Sequence[str] = ()


@dataclass
class Graph:
    """A drawing as SVG text, or a sentence that says why there is none. link: the file it is in; page: the page of it,
    where it can be walked through; inside: that page itself, as text."""

    title: str
    svg: str
    link: str = ""
    caption: str = ""
    page: str = ""
    inside: str = ""


@dataclass
class Drawing:
    """Points (n, 2) in the plane, with arrows between them, and in grey those that are right."""

    points: np.ndarray
    arrows: Sequence[tuple[int, int]]
    right: Sequence[tuple[int, int]] = ()
    name: str = ""


@dataclass
class Points:
    """Drawings of points, side by side."""

    title: str
    drawings: Sequence[Drawing]
    caption: str = ""


@dataclass
class Looks:
    """An image (H, W) or (H, W, 3) from 0 to 1, and where it was looked at for each word: weights (words, h, w)."""

    title: str
    image: np.ndarray
    weights: np.ndarray
    words: Sequence[str]
    caption: str = ""


@dataclass
class Film:
    """Where the heads of a memory look: name → weights (steps, places), with a word for each step."""

    title: str
    addresses: Mapping[str, np.ndarray]
    steps: Sequence[str]
    caption: str = ""


@dataclass
class Arcs:
    """Texts, each as its n words and weights (n, n) that say where a word, a row, looks."""

    title: str
    texts: Sequence[tuple[Sequence[str], np.ndarray]]
    caption: str = ""


@dataclass
class Text:
    """Text as it is typed."""

    title: str
    text: str = ""
    caption: str = ""


Section = Curves | Table | Bars | Heat | Samples | Images | Graph | Points | Looks | Film | Arcs | Text
