"""Attention as a heat map: one cell for each query and key, with tokens, values and a colour scale.

The SVG is written here: a cell has its tooltip and the page's colours, which a plotting library's pictures lack. PNG and
PDF go through Graphviz's ``dot`` as one table of the same cells, with upright column labels. Of a large map the cells
are one image in all of them, for 512 tokens would be a quarter of a million elements; its page has a canvas
(mapspage.py), which tells the values.
"""

import base64
import math
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.markup import escape, label
from tinyattn.viz import labels, layout, mapspage, output, page, style

FORMATS = ("svg", "png", "pdf", "html")
_LONGEST = 60
"""Letters of a label."""
_DPI = 120
_LARGE = 4_096
"""From more cells on, they are one image."""
_BLOCKS = 32
"""Blocks of cells of a large map that tell their largest weight, in a row and in a column."""


def heatmap(
    weights,
    rows: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
    to_file: str | os.PathLike | None = None,
) -> "Heatmap":
    """Draw attention weights (queries, keys): a Tensor or array of two axes (further axes of size 1 are
    dropped), with ``rows`` and ``columns`` as labels.

    Colours run from 0 to the largest weight; with negative values, from −m to m. ``to_file``: .svg, .png,
    .pdf or .html. Each cell tells its value; of a map of more than 4,096 cells only in a notebook and in the .html
    page, where it can be enlarged. Raises ShapeError if the weights have other axes or the labels
    another number, DataError for other file names.
    """
    array = np.asarray(weights.numpy() if isinstance(weights, Tensor) else weights)
    shape = array.shape
    while array.ndim > 2 and 1 in array.shape[:-2]:
        array = array.squeeze(axis=array.shape.index(1))
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "fiub":
        fail(
            errors.ShapeError,
            "heatmap",
            "weights must be numbers of shape (queries, keys)",
            f"got shape {shape}",
            "Pick one example and head, for instance weights[0, 0]." if array.ndim > 2 else "",
        )
    for name, given, size in (("rows", rows, array.shape[0]), ("columns", columns, array.shape[1])):
        if given is not None and len(given) != size:
            fail(
                errors.ShapeError,
                "heatmap",
                f"{name} must hold {size} labels for weights {array.shape}",
                f"got {len(given)}",
            )
    n, m = array.shape
    view = Heatmap(
        array.astype(np.float64), range(n) if rows is None else rows, range(m) if columns is None else columns
    )
    if to_file is not None:
        view.save(to_file)
    return view


class Heatmap:
    """A heat map: ``weights`` (queries, keys), labels ``rows`` and ``columns``. Notebooks show it by
    itself.
    """

    def __init__(self, weights: np.ndarray, rows: Iterable, columns: Iterable):
        self.weights, self.rows, self.columns = (
            weights,
            [label(str(row), _LONGEST) for row in rows],
            [label(str(column), _LONGEST) for column in columns],
        )
        self._large = weights.size > _LARGE
        self._title = f"heat map of {weights.shape[0]} by {weights.shape[1]} weights"
        finite = weights[np.isfinite(weights)]
        self.low = float(min(finite.min(initial=0.0), 0.0))
        self.high = float(finite.max(initial=0.0)) or (1.0 if self.low == 0 else 0.0)
        if self.low < 0:
            self.high = max(self.high, -self.low)
            self.low = -self.high

    def colour(self, value: float) -> str:
        """The colour of a value, as #rrggbb; grey for what isn't a number, and for −∞ and ∞."""
        return style.shade(value / self.high)

    def _cells(self):
        """``(row, column, value, colour, text colour)`` of each cell."""
        for i, j in np.ndindex(self.weights.shape):
            fill = self.colour(self.weights[i, j])
            red, green, blue = (int(fill[k : k + 2], 16) for k in (1, 3, 5))
            yield (
                i,
                j,
                float(self.weights[i, j]),
                fill,
                "#FFFFFF" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else style.INK,
            )

    @property
    def svg(self) -> str:
        """The picture as an ``<svg>`` element."""
        n, m = self.weights.shape
        cell = max(2 if self._large else 6, min(34, 1600 // max(n, m)))
        wide = max(map(width_of, self.rows))
        left, slope = wide + 12, max(map(width_of, self.columns)) * 0.77
        top = slope + 14
        width, height = left + m * cell + max(slope, 76) + 8, top + max(n * cell, 80) + 8
        parts = self._image(left, top, cell) if self._large else self._drawn_cells(left, top, cell)
        each = max(1, -(-10 // cell))  # with small cells only every so many labels have room
        for i in range(0, n, each):
            parts.append(
                f'<text class="row" x="{left - 6:g}" y="{top + (i + 0.5) * cell + 4:g}">{escape(self.rows[i])}</text>'
            )
        for j in range(0, m, each):
            x, y = left + (j + 0.5) * cell, top - 6
            parts.append(
                f'<text class="column" x="{x:g}" y="{y:g}" transform="rotate(-50 {x:g} {y:g})">{escape(self.columns[j])}</text>'
            )
        parts.append(self._scale(left + m * cell + 18, top))
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{self._title}" width="{width:g}" height="{height:g}" '
            f'viewBox="0 0 {width:g} {height:g}" font-family="{style.FONT}" font-size="11" fill="{style.GREY}">'
            "<style>.block{fill:#fff;fill-opacity:0}.block:hover{stroke:#E69F00}.cell text{font-size:9px;text-anchor:middle}.row{text-anchor:end}.cell rect{stroke:#8886;stroke-width:.5}"
            f".cell:hover rect{{stroke:{style.ORANGE};stroke-width:2}}</style>" + "".join(parts) + "</svg>"
        )

    def _drawn_cells(self, left: float, top: float, cell: int) -> list[str]:
        """Each cell as an element with its value to be read."""
        parts = []
        for i, j, value, fill, ink in self._cells():
            x, y = left + j * cell, top + i * cell
            says = escape(f"{self.rows[i]} → {self.columns[j]}: {_exact(value)}")
            number = (
                f'<text x="{x + cell / 2:g}" y="{y + cell / 2 + 3:g}" fill="{ink}">{_short(value)}</text>'
                if cell >= 24
                else ""
            )
            parts.append(
                f'<g class="cell" data-row="{i}" data-column="{j}" data-value="{value!r}"><title>{says}</title>'
                f'<rect x="{x:g}" y="{y:g}" width="{cell}" height="{cell}" fill="{fill}"/>{number}</g>'
            )
        return parts

    def _image(self, left: float, top: float, cell: int) -> list[str]:
        """All cells as one image."""
        n, m = self.weights.shape
        data = base64.b64encode(output.png(self._pixels())).decode()
        return [
            f'<image x="{left:g}" y="{top:g}" width="{m * cell}" height="{n * cell}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>',
            *self._blocks(left, top, cell),
        ]

    def _blocks(self, left: float, top: float, cell: int) -> Iterator[str]:
        """Over an image, blocks of cells that tell the largest weight in them."""
        n, m = self.weights.shape
        down, across = -(-n // _BLOCKS), -(-m // _BLOCKS)
        for i in range(0, n, down):
            for j in range(0, m, across):
                part = self.weights[i : i + down, j : j + across]
                known = np.where(np.isnan(part), -1.0, np.abs(part))
                y, x = (int(k) for k in np.unravel_index(known.argmax(), part.shape))
                says = escape(
                    f"largest: {self.rows[i + y]} → {self.columns[j + x]}: {_exact(float(part[y, x]))}"
                )
                high, wide = part.shape
                yield (
                    f'<rect class="block" x="{left + j * cell:g}" y="{top + i * cell:g}" width="{wide * cell}" '
                    f'height="{high * cell}"><title>{says}</title></rect>'
                )

    def _pixels(self) -> np.ndarray:
        """The colours of the cells, (queries, keys, 3) uint8."""
        return style.pixels(self.weights, self.high)

    def _scale(self, x: float, y: float) -> str:
        """The colour scale with its two ends, and 0 between them if there are negative values."""
        steps = 40
        bars = "".join(
            f'<rect x="{x:g}" y="{y + 2 * k:g}" width="12" height="2.2" fill="{self.colour(self.high + (self.low - self.high) * k / (steps - 1))}"/>'
            for k in range(steps)
        )
        marks = [(0, self.high), (2 * steps, self.low)] + ([(steps, 0.0)] if self.low < 0 else [])
        texts = "".join(
            f'<text x="{x + 17:g}" y="{y + at + 4:g}">{labels.number(value)}</text>' for at, value in marks
        )
        return f'<g class="scale">{bars}{texts}</g>'

    def _table(self) -> str:
        """The same cells as DOT text: one node that is a table."""
        n, m = self.weights.shape
        values = max(n, m) <= 40
        wide = max(28, *map(width_of, self.columns)) if values else 8
        rows: list[list[str]] = [[] for _ in range(n)]
        for i, _, value, fill, ink in self._cells():
            number = f'<font point-size="8" color="{ink}">{_short(value)}</font>' if values else ""
            rows[i].append(
                f'<td bgcolor="{fill}" width="{wide:.0f}" height="{24 if values else 8}">{number}</td>'
            )
        head = "".join(f"<td>{escape(column) or ' '}</td>" for column in self.columns)
        body = "".join(
            f'<tr><td align="right">{escape(row) or " "}</td>{"".join(cells)}</tr>'
            for row, cells in zip(self.rows, rows, strict=True)
        )
        return self._with_scale(
            f'<table border="0" cellborder="0" cellspacing="1"><tr><td> </td>{head}</tr>{body}</table>'
        )

    def _with_scale(self, table: str) -> str:
        """DOT text of a table, and the colour scale beside it."""
        steps = 40
        marks = {0: self.high, steps - 1: self.low} | ({steps // 2: 0.0} if self.low < 0 else {})
        rows = []
        for k in range(steps):
            value = self.high + (self.low - self.high) * k / (steps - 1)
            bar = f'<td bgcolor="{self.colour(value)}" width="12" height="3"></td>'
            rows.append(f"<tr>{bar}</tr>")
        plain = '<table border="0" cellborder="0" cellspacing="0" cellpadding="{}">{}</table>'
        places = sorted(marks)
        told = "".join(
            f'<tr><td align="left" valign="{way}" height="{3 * steps / len(places):.0f}">{labels.number(marks[k])}</td></tr>'
            for k, way in zip(
                places, ("top", "middle", "bottom") if len(places) == 3 else ("top", "bottom"), strict=True
            )
        )
        scale = f'<td valign="top">{plain.format(0, "".join(rows))}</td><td valign="top">{plain.format(1, told)}</td>'
        beside = plain.format(0, f"<tr>{scale}</tr>")
        return _digraph(plain.format(6, f'<tr><td>{table}</td><td valign="top">{beside}</td></tr>'))

    def _image_table(self, file: str) -> str:
        """A large map as DOT text: its image, and as many labels as there is room for. Writes the image."""
        n, m = self.weights.shape
        tall, wide = (max(2, min(12, 1600 // size)) for size in (n, m))
        sharp = [-(-side * _DPI // 72) for side in (tall, wide)]  # dot makes an image smaller, but not larger
        output.write(file, output.png(self._pixels().repeat(sharp[0], axis=0).repeat(sharp[1], axis=1)))
        down, across = -(-12 // tall), math.ceil(max(map(width_of, self.columns)) / wide)
        table = '<table border="0" cellborder="0" cellspacing="0" cellpadding="0">{}</table>'

        def fixed(width: int, height: int, content: str, align: str) -> str:
            return f'<td fixedsize="true" width="{width}" height="{height}" align="{align}" valign="top">{content}</td>'

        left = math.ceil(max(map(width_of, self.rows))) + 8
        rows = [
            fixed(left, min(down, n - i) * tall, escape(self.rows[i]) if i + down <= n else "", "right")
            for i in range(0, n, down)
        ]
        columns = [
            fixed(min(across, m - j) * wide, 16, escape(self.columns[j]) if j + across <= m else "", "left")
            for j in range(0, m, across)
        ]
        head = table.format(f"<tr>{''.join(columns)}</tr>")
        side = table.format("".join(f"<tr>{row}</tr>" for row in rows))
        image = fixed(m * wide, n * tall, f'<img src="{escape(file, None)}" scale="both"/>', "left")
        whole = table.format(f"<tr><td></td><td>{head}</td></tr><tr><td>{side}</td>{image}</tr>")
        return (
            self._with_scale(whole) if n * tall >= 120 else _digraph(whole)
        )  # (a scale would stretch a strip)

    def save(self, path: str | os.PathLike) -> "Heatmap":
        """Write the heat map to a .svg, .png, .pdf or .html file; .png and .pdf need the program dot."""
        kind = output.kind_of(path, FORMATS)
        if kind == "svg":
            output.write(path, self.svg + "\n")
        elif kind == "html":
            output.write(path, self.html())
        else:
            try:
                with tempfile.TemporaryDirectory(prefix="tinyattn-") as folder:
                    source = (
                        self._image_table(os.path.join(folder, "map.png")) if self._large else self._table()
                    )
                    made = layout.run(source, kind, "-Gbgcolor=white", f"-Gdpi={_DPI}")
            except layout.Unfinished as problem:
                layout.give_up(f"it {problem}", "Save .svg or .html, which need no dot.")
            output.write(path, made)
        return self

    def html(self) -> str:
        """A page of its own with the heat map."""
        if not self._large:
            return page.zoom_page(self._title, self.svg)
        weights = {"weights": self.weights[None, None]}
        maps = mapspage.Maps(weights, ["0"], ["0"], self.rows, self.columns)
        return mapspage.render(mapspage.Contents(self._title, [maps]))

    def show(self) -> None:
        """Display the heat map in the notebook or in a browser."""
        output.show(self, self.html())

    def __str__(self) -> str:
        width = max(map(len, self.rows))
        return "\n".join(
            f"{row:>{width}}  " + " ".join(f"{_short(value):>5}" for value in line)
            for row, line in zip(self.rows, self.weights, strict=True)
        )

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        if self._large:
            return {"text/html": output.frame(self.html()), "text/plain": self._title}
        return {"image/svg+xml": self.svg, "text/plain": str(self)}


def _digraph(table: str) -> str:
    """DOT text of one node that is a table."""
    return (
        f'digraph {{ graph [pad="0.1"] node [shape=plain fontname="{style.FONT}" fontsize=9 fontcolor="{style.FADED}"] '
        f"heat [label=<{table}>] }}"
    )


def width_of(text: str) -> float:
    """About how wide a label is: Chinese, Japanese and Korean signs are as wide as they are high."""
    return sum(12 if unicodedata.east_asian_width(letter) in "WF" else 7 for letter in text)


def _short(value: float) -> str:
    """Two digits, as a cell has room for them."""
    if not np.isfinite(value) or value == int(value):
        return labels.number(int(value) if np.isfinite(value) else value)
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.3g}"
    return "0" if not float(text) else re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")


def _exact(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else labels.number(value)
