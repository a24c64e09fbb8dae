"""A report: one page that shows a run to somebody who was not there.

It is a single file that asks the network for nothing: styles and pictures are inside, and its content security policy
forbids everything else. All words from data are escaped. It can be read on a telephone (360 pixels), in the dark, and
on paper. Pages of graphs stand in frames, whose ids and rules of style are their own; a frame inherits the report's
policy, which therefore allows the scripts of these pages, each by its digest, and no other.
"""

import base64
import html
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn import files, sections
from tinyattn.markup import escape
from tinyattn.sections import Section
from tinyattn.viz import charts, figures, output
from tinyattn.viz.heat import heatmap

STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1f; --paper: #fff; --soft: #6b6b76; --rule: #dcdce3;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8ee; --paper: #17171b; --soft: #a0a0ac; --rule: #3a3a44;
  --c0: #56b4e9; --c1: #e69f00; --c2: #2fc79a; --c3: #e0a0c4; } }
* { box-sizing: border-box; } html { container-type: inline-size; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
@media (min-width: 2200px) { :root { font-size: 24px; } }
h1 { font-size: 1.5rem; line-height: 1.2; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
h3 { font-size: 1rem; margin-bottom: .3rem; }
p.about, figcaption, .legend, th { color: var(--soft); }
table { border-collapse: collapse; } th, td { padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top; }
td { border-top: 1px solid var(--rule); } td.number { text-align: right; font-variant-numeric: tabular-nums; }
.scroll table { overflow-wrap: normal; } .scroll td { white-space: nowrap; }
table.sample { margin-bottom: 1.5rem; } table.sample td { white-space: pre-wrap; } table.sample td:first-child { min-width: 6rem; overflow-wrap: normal; }
.scroll { overflow-x: auto; } figure { margin: 1rem 0; } svg.wide { width: 100%; height: auto; }
.graph { background: #fff; border: 1px solid var(--rule); padding: .5rem; max-height: 80vh; overflow: auto; }
.graph svg { max-width: 100%; height: auto; }
iframe { display: block; width: 100%; height: min(80vh, 56rem); border: 1px solid var(--rule); }
@container (min-width: 64rem) { figure.wide { width: min(94cqi, 100rem); margin-left: calc(50% - min(94cqi, 100rem) / 2); } }
@media screen { iframe + .graph { display: none; } } @media print { iframe { display: none; } .graph { border: 0; max-height: none; overflow: visible; }
  .scroll { overflow: visible; } .scroll svg { max-width: 100%; height: auto; } .scroll svg, .graph svg { max-height: 88vh; }
  figure, .scroll { break-inside: avoid; } h2 { break-after: avoid; } }
img { image-rendering: pixelated; max-width: 100%; }
pre { overflow-x: auto; white-space: pre-wrap; border: 1px solid var(--rule); padding: .7rem; font-size: .85rem; }
.tick { font: 12px system-ui, sans-serif; fill: var(--soft); } .grid { stroke: var(--rule); }
.line { fill: none; stroke-width: 2; } .dashed { stroke-dasharray: 5 4; }
.line.c0 { stroke: var(--c0); } .line.c1 { stroke: var(--c1); } .line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); } .bar.c0 { fill: var(--c0); } .bar.c1 { fill: var(--c1); } .bar.c2 { fill: var(--c2); }
.bar.c3 { fill: var(--c3); }
figure.tile { display: inline-block; margin: .3rem; }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.right { color: var(--c2); } .wrong { color: var(--c1); }
"""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; {}base-uri 'none'; form-action 'none'"
_DIGEST = re.compile(r"script-src ('sha256-[A-Za-z0-9+/=]+')")
"""Where the policy of a page, which stands before all words from data, names its script."""
PIXELS = 480
"""How wide a row of images is shown, about."""


def write(path: str | Path, title: str, about: str, parts: Sequence[Section]) -> None:
    """Write the page. Raises OSError."""
    files.replace(path, [render(title, about, parts).encode()])


def render(title: str, about: str, parts: Sequence[Section]) -> str:
    """The page as text: a heading, a line about it, and the sections in their order."""
    found = (_DIGEST.search(part.inside) for part in parts if isinstance(part, sections.Graph))
    scripts = dict.fromkeys(digest[1] for digest in found if digest)
    policy = POLICY.format(f"script-src {' '.join(scripts)}; " if scripts else "")
    body = [f"<h1>{escape(title)}</h1>", f'<p class="about">{escape(about)}</p>']
    for part in parts:
        body += [f"<h2>{escape(part.title)}</h2>", _DRAW[type(part)](part)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</body></html>\n"
    )


def _figure(chart: str, caption: str) -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{chart}{below}</figure>"


def _curves(part: sections.Curves) -> str:
    return _figure(charts.lines(part.lines, part.x_label, part.y_label), part.caption)


def _bars(part: sections.Bars) -> str:
    return _figure(charts.bars(part.groups, part.x_label, part.y_label), part.caption)


def _table(part: sections.Table) -> str:
    rows = ["".join(f"<th>{escape(name)}</th>" for name in part.head)]
    for row in part.rows:
        texts = "".join(f"<td>{escape(text)}</td>" for text in row[:2])
        rows.append(texts + "".join(f'<td class="number">{escape(text)}</td>' for text in row[2:]))
    table = "".join(f"<tr>{row}</tr>" for row in rows)
    return _figure(f'<div class="scroll"><table>{table}</table></div>', part.caption)


def _heat(part: sections.Heat) -> str:
    above = f"<p>{escape(part.caption)}</p>" if part.caption else ""
    maps = (
        (f"<h3>{escape(one.name)}</h3>" if one.name else "")
        + f'<figure class="scroll">{_bare(heatmap(one.weights, one.rows, one.columns).svg)}</figure>'
        for one in part.maps
    )
    return above + "".join(maps)


def _bare(svg: str) -> str:
    """Inside a page an SVG needs no namespace, and the page names no address at all."""
    return svg.replace(' xmlns="http://www.w3.org/2000/svg"', "", 1)


def _samples(part: sections.Samples) -> str:
    tables = []
    for sample in part.samples:
        rows = []
        for who, text, right in sample:
            verdict = "" if right is None else _VERDICTS[right]
            rows.append(f"<tr><td>{escape(who)}</td><td>{escape(text, None)}{verdict}</td></tr>")
        tables.append(f'<table class="sample">{"".join(rows)}</table>')
    return "".join(tables) + (f'<p class="about">{escape(part.caption)}</p>' if part.caption else "")


def _images(part: sections.Images) -> str:
    """A grid, as one picture inside the page; or pictures with names, one beside the other."""
    if not part.names:
        grid = grid_of(part.images, part.columns)
        width = max(1, round(PIXELS / grid.shape[1])) * grid.shape[1]
        return _figure(_picture(grid, width, f"{len(part.images)} images"), part.caption)
    tiles = (
        f'<figure class="tile">{_picture(grid_of(image[None], 1), image.shape[1], name)}'
        f"<figcaption>{escape(name)}</figcaption></figure>"
        for image, name in zip(part.images, part.names, strict=True)
    )
    return _figure("".join(tiles), part.caption)


def _picture(pixels: np.ndarray, width: int, alt: str) -> str:
    """uint8 pixels inside the page."""
    data = base64.b64encode(output.png(pixels)).decode()
    return f'<img width="{width}" alt="{escape(alt)}" src="data:image/png;base64,{data}">'


def grid_of(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, H, W) or (n, H, W, 3) from 0 to 1 as one uint8 picture, with a line of white between them."""
    count, height, width, *colours = images.shape
    columns = min(columns, count)
    rows = -(-count // columns)
    grid = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1, *colours), 255, np.uint8)
    for k, image in enumerate(np.round(255 * np.clip(np.nan_to_num(images), 0, 1)).astype(np.uint8)):
        y, x = k // columns * (height + 1), k % columns * (width + 1)
        grid[y : y + height, x : x + width] = image
    return grid


def _graph(part: sections.Graph) -> str:
    """An SVG without what stands in front of its first tag; anything else is a sentence."""
    if not part.svg.startswith(("<svg", "<?xml")):
        return f"<p>{escape(part.svg)}</p>"
    link = f'<a href="{escape(part.link)}">At full size</a>. ' if part.link else ""
    link = (
        f'<a href="{escape(part.page)}">On a page of its own</a>, with formulas and numbers. {link}'
        if part.page
        else link
    )
    plain = re.sub(r' id="[^"]*"', "", part.svg[part.svg.index("<svg") :])  # (there may be several)
    drawn = f'<div class="graph">{plain}</div>'
    below = f"<figcaption>{link}{escape(part.caption)}</figcaption>"
    if not part.inside:
        return f"<figure>{drawn}{below}</figure>"
    # On paper the picture stands in place of the page.
    frame = f'<iframe sandbox="allow-scripts" title="{escape(part.title)}" srcdoc="{html.escape(part.inside)}"></iframe>'
    return f'<figure class="wide">{frame}{drawn}{below}</figure>'


def _points(part: sections.Points) -> str:
    tiles = []
    for one in part.drawings:
        drawn = figures.pointers(one.points, one.arrows, one.right, one.name)
        below = f"<figcaption>{escape(one.name)}</figcaption>"
        tiles.append(f'<figure class="tile">{_bare(drawn.svg)}{below}</figure>')
    return _figure("".join(tiles), part.caption)


def _wide(figure: figures.FigureView) -> str:
    """A figure at its own size, to be scrolled where there is less room."""
    return f'<div class="scroll">{_bare(figure.svg)}</div>'


def _looks(part: sections.Looks) -> str:
    return _figure(_wide(figures.overlay(part.image, part.weights, part.words)), part.caption)


def _film(part: sections.Film) -> str:
    return _figure(_wide(figures.film(part.addresses, part.steps)), part.caption)


def _arcs(part: sections.Arcs) -> str:
    return _figure("".join(_wide(figures.arcs(*text)) for text in part.texts), part.caption)


def _text(part: sections.Text) -> str:
    return _figure(f"<pre>{escape(part.text, None)}</pre>", part.caption)


_VERDICTS = {True: ' <span class="right">✓</span>', False: ' <span class="wrong">✗</span>'}
_DRAW: dict[type, Callable[[Any], str]] = {
    sections.Curves: _curves, sections.Table: _table, sections.Bars: _bars, sections.Heat: _heat,
    sections.Samples: _samples, sections.Images: _images, sections.Graph: _graph, sections.Points: _points,
    sections.Looks: _looks, sections.Film: _film, sections.Arcs: _arcs, sections.Text: _text,
}  # fmt: skip
