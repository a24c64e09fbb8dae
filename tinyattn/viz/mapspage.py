"""The page of attention maps: maps of any size on a canvas, with small ones of other heads to choose from.

One element a cell would be half a million elements for 512 tokens; a canvas is one. The numbers stand packed in the
page (packed.py), and the page decodes a cell when it is asked for its value, and a map when it is drawn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinyattn.markup import clean, escape
from tinyattn.viz import page, style
from tinyattn.viz.mapsscript import LOOKS, SCRIPT
from tinyattn.viz.packed import LARGEST, pack


@dataclass(frozen=True)
class Maps:
    """Maps of one kind of attention. ``kinds``: name → weights (layers, heads, rows, columns); labels of layers, heads,
    rows and columns.
    """

    kinds: Mapping[str, np.ndarray]
    layers: Sequence[str]
    heads: Sequence[str]
    rows: Sequence[str]
    columns: Sequence[str]


@dataclass(frozen=True)
class Part:
    """What is shown at a time: of a block of maps, the rows and columns from one place to another."""

    name: str
    block: int
    rows: tuple[int, int]
    columns: tuple[int, int]


@dataclass(frozen=True)
class Contents:
    """What the page shows. ``blocks``: the maps, all of the same kinds; ``parts``: what there is to choose from, all of
    each block by default; ``small``: which small maps stand above the large one: those of "no" head, of the heads of
    one "layer", or of "all" layers; ``layer``, ``head``: those that are open first; ``scheme``: "dark" or "light", or
    "" for the reader's.
    """

    title: str
    blocks: Sequence[Maps]
    parts: Sequence[Part] = ()
    small: str = "no"
    layer: int = 0
    head: int = 0
    scheme: str = ""


def render(contents: Contents) -> str:
    """The page, complete in itself."""
    blocks, errors = [], []
    for maps in contents.blocks:
        packed = pack([*maps.kinds.values()], LARGEST // len(contents.blocks))
        errors.append(packed.error)
        blocks.append(
            {"kinds": [*maps.kinds], "data": packed.data, "levels": packed.levels, "scales": packed.scales, "signed": packed.signed}
            | {name: [clean(str(text)) for text in getattr(maps, name)] for name in ("layers", "heads", "rows", "columns")}
        )  # fmt: skip
    parts = contents.parts or [
        Part("", k, (0, len(maps.rows)), (0, len(maps.columns))) for k, maps in enumerate(contents.blocks)
    ]
    shown = [
        {"block": p.block, "from": [p.rows[0], p.columns[0]], "to": [p.rows[1], p.columns[1]]} for p in parts
    ]
    data = {
        "blocks": blocks, "parts": shown, "palette": style.PALETTE, "small": contents.small,
        "layer": contents.layer, "head": contents.head,
    }  # fmt: skip
    rounded = any(block["levels"] for block in blocks)
    precision = (
        f"Weights are rounded by up to {max(errors):.2g} of the largest of their map. " if rounded else ""
    )
    names = contents.blocks[0].kinds
    kinds = "".join(
        f'<label><input type="radio" name="kind" value="{k}"{" checked" if k == 0 else ""}>{escape(name)}</label>'
        for k, name in enumerate(names)
    )
    options = "".join(f'<option value="{k}">{escape(p.name)}</option>' for k, p in enumerate(parts))
    body = (
        f"<header><h1>{escape(contents.title)}</h1>"
        f'<label{" hidden" if len(parts) == 1 else ""}>Attention <select id="part">{options}</select></label>'
        '<label class="layer">Layer <select id="layer"></select></label><label class="head">Head <select id="head"></select></label>'
        f'<label{"" if contents.small == "layer" else " hidden"}><input type="checkbox" id="lines">Lines</label>'
        f'<span id="kinds"{" hidden" if len(names) == 1 else ""}>{kinds}</span></header>\n'
        '<main><div id="small"></div><p id="says" aria-live="polite"></p>'
        '<div id="large"><canvas id="map" tabindex="0" role="img"></canvas></div></main>\n'
        f"<footer>{precision}Rest on a cell or a token, or go there with the arrow keys, to see its value. Wheel or + and − to zoom, drag to move, 0 or a "
        "double click to see everything.</footer><noscript>This page needs its script.</noscript>\n"
        f'<script type="application/json" id="data">{_inside(json.dumps(data, ensure_ascii=False))}</script>\n'
    )
    return page.document(contents.title, body, SCRIPT, LOOKS + _SCHEMES[contents.scheme])


_SCHEMES = {
    "": "",
    "dark": ":root { color-scheme: dark; --page: #15171a; --ink: #e6e6e6; }",
    "light": f":root {{ color-scheme: light; --page: #ffffff; --ink: {style.INK}; }}",
}


def _inside(text: str) -> str:
    """JSON that no tag can end or begin in."""
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
