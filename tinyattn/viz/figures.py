"""Attention over things that are no sentences: ``overlay`` on an image, a ``film`` of the places of a memory, ``pointers``
from point to point, and ``arcs`` between the words of one text.

Each is an SVG whose parts tell their numbers when the pointer rests on them. Greys and colours are such that they can be
read on white and on black.
"""

import base64
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.markup import escape, label
from tinyattn.viz import output, page, raster, style
from tinyattn.viz.heat import heatmap

_TILE, _GAP, _LINE = 160, 14, 18
"""Of an overlay: the side of an image, the room between two, and the height of a line of text."""
_ACROSS = 7
_SEEN = 0.02
"""The weight from which on a place of a memory has been looked at."""
_SQUARE, _MARGIN, _HEAD = 190, 16, 8
"""Of pointers: sides, and the heads of arrows."""
_BLUE = "#2088C8"


class FigureView:
    """A figure: its ``title`` and ``svg``, to be saved, shown and put into pages. Notebooks show it by themselves."""

    def __init__(self, title: str, svg: str):
        self.title, self.svg = title, svg

    def html(self) -> str:
        """A page of its own with the figure to zoom and pan."""
        return page.zoom_page(self.title, self.svg)

    def save(self, path: str | os.PathLike) -> "FigureView":
        """Write the figure to a .svg, .html or .png file. Raises DataError for other names and places, TinyattnError for a
        .png where no program is there to make it.
        """
        kind = output.kind_of(path, ("svg", "html", "png"))
        if kind == "png":
            output.write(path, raster.png_of(self.svg))
        else:
            output.write(path, self.svg + "\n" if kind == "svg" else self.html())
        return self

    def show(self) -> None:
        """Display the figure in the notebook or in a browser."""
        output.show(self, self.html())

    def __repr__(self) -> str:
        return f"<FigureView: {self.title}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        return {"image/svg+xml": self.svg, "text/plain": self.title}


def overlay(image, weights, words: Sequence[str] | None = None) -> FigureView:
    """An image, and once for each word lit where it was looked at when that was said, the largest weight in full light.

    image: (H, W) or (H, W, 3), floats from 0 to 1 or uint8. weights: (words, h, w), or (words, cells) of a square grid;
    of one word (h, w). words: what stands below, beside the largest weight. Each cell tells its weight.

    Raises ShapeError for other shapes, and another number of words.
    """
    pixels = _array("overlay", "image", image)
    if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,)) or pixels.size == 0:
        fail(errors.ShapeError, "overlay", "image must be (H, W) or (H, W, 3)", f"got {pixels.shape}")
    pixels = np.clip(pixels / 255 if pixels.dtype == np.uint8 else pixels, 0, 1)
    maps = _array("overlay", "weights", weights).astype(np.float64)
    if (
        maps.ndim == 2
        and words is not None
        and len(words) == len(maps)
        and math.isqrt(maps.shape[1]) ** 2 == maps.shape[1]
    ):
        maps = maps.reshape(len(maps), math.isqrt(maps.shape[1]), -1)
    maps = maps[None] if maps.ndim == 2 else maps
    if maps.ndim != 3 or maps.size == 0:
        must = "weights must be (words, h, w), or (words, cells) of a square grid with a word for each row"
        fail(errors.ShapeError, "overlay", must, f"got {np.shape(weights)}")
    if words is not None and len(words) != len(maps):
        fail(
            errors.ShapeError,
            "overlay",
            f"there must be {len(maps)} words, one for each map",
            f"got {len(words)}",
        )
    said = [label(str(word), 24) for word in words] if words is not None else [""] * len(maps)
    scale = max(1, -(-max(pixels.shape[:2]) // (2 * _TILE)))
    pixels = pixels[::scale, ::scale]
    side = _TILE / max(pixels.shape[:2])
    high, wide = (side * size for size in pixels.shape[:2])
    parts = [_tile(0, high, wide, pixels, None, "the image")]
    for k, (found, word) in enumerate(zip(maps, said, strict=True), 1):
        most = float(np.nanmax(found, initial=0.0)) or 1.0
        rows = np.arange(pixels.shape[0]) * found.shape[0] // pixels.shape[0]
        columns = np.arange(pixels.shape[1]) * found.shape[1] // pixels.shape[1]
        light = np.clip(np.nan_to_num(found) / most, 0, 1)[rows][:, columns]
        light = light.reshape(*light.shape, *(1,) * (pixels.ndim - 2))
        lit = 0.3 * pixels + light * (0.2 + 0.5 * pixels)  # (what is black is seen to be lit, too)
        parts.append(_tile(k, high, wide, lit, found, f"{word} ({most:.2g})".strip()))
    count = len(parts)
    width = min(count, _ACROSS) * (wide + _GAP)
    height = -(-count // _ACROSS) * (high + _GAP + _LINE)
    return FigureView(
        f"where an image was looked at for {len(maps)} words", _svg(width, height, parts, "image and weights")
    )


def _tile(k: int, high: float, wide: float, pixels: np.ndarray, weights, text: str) -> str:
    """An image with its cells, and a line of text below it."""
    x, y = k % _ACROSS * (wide + _GAP), k // _ACROSS * (high + _GAP + _LINE)
    data = base64.b64encode(output.png(np.rint(255 * pixels).astype(np.uint8))).decode()
    parts = [
        f'<image x="{x:g}" y="{y:g}" width="{wide:g}" height="{high:g}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    ]
    if weights is not None:
        n, m = weights.shape
        for i, j in np.ndindex(n, m):
            place = f'x="{x + j * wide / m:.1f}" y="{y + i * high / n:.1f}" width="{wide / m:.1f}" height="{high / n:.1f}"'
            parts.append(
                f'<rect class="lit" {place}><title>row {i}, column {j}: {weights[i, j]:.4g}</title></rect>'
            )
    parts.append(f'<text x="{x:g}" y="{y + high + _LINE - 4:g}">{escape(text)}</text>')
    return "".join(parts)


def film(addresses, steps: Sequence[str] | None = None, seen: float = _SEEN) -> FigureView:
    """Where the heads of a memory look, step by step: a column is a step, a row a place of the memory.

    addresses: name → weights (steps, places), or one such array; ``steps``: what stands above the columns. Places that
    no step gives ``seen`` or more are left out. Raises ShapeError for other shapes.
    """
    maps = addresses if isinstance(addresses, Mapping) else {"": addresses}
    parts, y, width = [], 0.0, 0.0
    for name, given in maps.items():
        weights = _array("film", "addresses", given)
        if weights.ndim != 2 or weights.size == 0:
            fail(errors.ShapeError, "film", "addresses must be (steps, places)", f"got {weights.shape}")
        places = np.flatnonzero(weights.max(axis=0) >= seen)
        places = places if places.size else np.arange(weights.shape[1])
        columns = range(1, len(weights) + 1) if steps is None else steps
        one = heatmap(weights[:, places].T, [*map(str, places)], [*map(str, columns)]).svg
        wide, high = (float(one.partition(f'{side}="')[2].partition('"')[0]) for side in ("width", "height"))
        if name:
            parts.append(f'<text class="name" x="4" y="{y + 14:g}">{escape(label(str(name)))}</text>')
            y += 18
        parts.append(one.replace('<svg xmlns="http://www.w3.org/2000/svg"', f'<svg x="0" y="{y:g}"', 1))
        y, width = y + high + 6, max(width, wide)
    return FigureView(f"addresses of {len(maps)} heads", _svg(width, y, parts, "places over steps"))


def pointers(
    points, arrows: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]] = (), name: str = ""
) -> FigureView:
    """Points in the plane, numbered from 1, with arrows from one to another, and in grey those that are right.

    ``name`` is the title; points: (n, 2); arrows, right: pairs of numbers of points from 0. Raises ShapeError for
    other shapes, and for numbers of points that aren't there.
    """
    places = _array("pointers", "points", points).astype(np.float64)
    if places.ndim != 2 or places.shape[1:] != (2,) or not len(places):
        fail(errors.ShapeError, "pointers", "points must be (n, 2)", f"got {places.shape}")
    for one in (*arrows, *right):
        if len(one) != 2 or not all(0 <= k < len(places) for k in one):
            fail(
                errors.ShapeError,
                "pointers",
                f"arrows must be pairs from 0 to {len(places) - 1}",
                f"got {one}",
            )
    low, high = places.min(axis=0), places.max(axis=0)
    inner = _SQUARE - 2 * _MARGIN
    across = (places - low) / (float((high - low).max()) or 1.0)
    spots = [(_MARGIN + inner * x, _SQUARE - _MARGIN - inner * y) for x, y in across.tolist()]
    parts = [_segment("known", spots[a], spots[b], f"right: {a + 1} → {b + 1}") for a, b in right]
    parts += [_arrow(spots[a], spots[b], f"{a + 1} → {b + 1}") for a, b in arrows]
    for number, (x, y) in enumerate(spots, 1):
        told = f"<title>point {number}: ({places[number - 1][0]:.3g}, {places[number - 1][1]:.3g})</title>"
        parts.append(f'<circle class="spot" cx="{x:.1f}" cy="{y:.1f}" r="3">{told}</circle>')
        parts.append(f'<text x="{x + 4:.1f}" y="{y - 5:.1f}">{number}</text>')
    return FigureView(
        name or f"arrows over {len(places)} points",
        _svg(_SQUARE, _SQUARE, parts, name or "points and arrows"),
    )


def _segment(kind: str, start: tuple[float, float], end: tuple[float, float], told: str) -> str:
    (x, y), (u, v) = start, end
    return f'<line class="{kind}" x1="{x:.1f}" y1="{y:.1f}" x2="{u:.1f}" y2="{v:.1f}"><title>{told}</title></line>'


def _arrow(start: tuple[float, float], end: tuple[float, float], told: str) -> str:
    """A line with a head of two short ones, in the middle, where the arrows from and to a point don't hide it."""
    (x, y), (u, v) = start, end
    length = math.hypot(u - x, v - y) or 1.0
    a, b = (u - x) / length * _HEAD, (v - y) / length * _HEAD
    m, n = x + 0.6 * (u - x), y + 0.6 * (v - y)
    head = f"{m - a - b / 2:.1f},{n - b + a / 2:.1f} {m:.1f},{n:.1f} {m - a + b / 2:.1f},{n - b - a / 2:.1f}"
    return _segment("arrow", start, end, told) + f'<polyline class="arrow" points="{head}"/>'


def arcs(tokens: Sequence[str], weights, least: float = 0.03) -> FigureView:
    """The words of a text in a row, and an arc from each to those that it looks at: above to earlier ones, below to later
    ones, as strong as the weight; a ring where it looks at itself.

    tokens: n words; weights (n, n), the row of a word says where it looks. Weights below ``least`` aren't drawn.
    Raises ShapeError for other shapes.
    """
    found = _array("arcs", "weights", weights)
    if found.shape != (len(tokens), len(tokens)) or not len(tokens):
        must = f"weights must be ({len(tokens)}, {len(tokens)}), a row and a column for each of the tokens"
        fail(errors.ShapeError, "arcs", must, f"got {found.shape}")
    shown = [label(str(token), 24) or "·" for token in tokens]
    widths = [7.0 * len(text) + 14 for text in shown]
    places = np.cumsum([0.0, *widths])[:-1] + np.array(widths) / 2
    reach = {way: 0.0 for way in (-1, 1)}
    drawn = []
    most = float(np.nanmax(np.abs(found), initial=0.0)) or 1.0
    for i, j in zip(*np.nonzero(np.nan_to_num(found) >= least), strict=True):
        apart = abs(places[i] - places[j])
        way = -1 if j < i else 1
        reach[way] = max(reach[way], min(apart / 2, 160.0))
        drawn.append((i, j, way, apart, float(found[i, j])))
    middle = reach[-1] + 18
    parts = []
    for i, j, way, apart, value in sorted(drawn, key=lambda one: one[-1]):
        told = f"<title>{escape(shown[i])} → {escape(shown[j])}: {value:.4g}</title>"
        look = f'stroke-opacity="{max(0.12, value / most):.2f}" stroke-width="{1 + 2.5 * value / most:.1f}"'
        y = middle + (8 if way > 0 else -14)
        if i == j:
            parts.append(
                f'<circle class="self" cx="{places[i]:.1f}" cy="{middle - 4:.1f}" r="11" {look}>{told}</circle>'
            )
            continue
        rise = min(apart / 2, 160.0)
        sweep = int((places[j] > places[i]) == (way < 0))
        parts.append(
            f'<path class="{"back" if way < 0 else "ahead"}" {look} '
            f'd="M{places[i]:.1f},{y:.1f} A{apart / 2:.1f},{rise:.1f} 0 0 {sweep} {places[j]:.1f},{y:.1f}">{told}</path>'
        )
    for place, text in zip(places, shown, strict=True):
        parts.append(f'<text class="token" x="{place:.1f}" y="{middle:.1f}">{escape(text)}</text>')
    height = middle + reach[1] + 16
    return FigureView(
        f"where {len(tokens)} words look", _svg(float(sum(widths)), height, parts, "words and arcs")
    )


_RULES = {
    "text": f"fill:{style.GREY}",
    ".name": "font-weight:bold",
    ".token": "font-weight:bold;text-anchor:middle",
    ".lit": "fill:#fff;fill-opacity:0",
    ".lit:hover": f"stroke:{style.ORANGE};stroke-width:2",
    ".known": "stroke:#8886;stroke-width:6",
    ".spot": f"fill:{style.GREY}",
    ".arrow": f"fill:none;stroke:{_BLUE};stroke-width:2",
    ".back": f"fill:none;stroke:{_BLUE}",
    ".ahead,.figure .self": f"fill:none;stroke:{style.ORANGE}",
    ".back:hover,.figure .ahead:hover,.figure .self:hover": f"stroke:{style.VERMILLION};stroke-opacity:1",
}
"""Of figures alone, as rules reach everything in a page."""


def _svg(width: float, height: float, parts: Sequence[str], told: str) -> str:
    rules = "".join(f".figure {what}{{{look}}}" for what, look in _RULES.items())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure" role="img" aria-label="{escape(told)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{style.FONT}" font-size="12">'
        f"<style>{rules}</style>{''.join(parts)}</svg>"
    )


def _array(op: str, name: str, given) -> np.ndarray:
    array = np.asarray(given.numpy() if isinstance(given, Tensor) else given)
    if array.dtype.kind not in "fiub":
        fail(errors.DataError, op, f"{name} must be numbers", f"got {array.dtype}")
    return array
