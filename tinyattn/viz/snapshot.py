"""Attention of many heads as one picture that stays as it is: for paper, and where no script runs.

A map is one image, enlarged; around it stand its layer and head, and as many tokens as there is room for.
"""

import base64

import numpy as np

from tinyattn.markup import escape, label
from tinyattn.viz import mapspage, output, style
from tinyattn.viz.heat import width_of

_SIDE, _GAP, _HEAD = 150, 16, 18
"""Of a map: its longer side, the room between two, and the height of a line of text."""
_ACROSS = 4
"""Maps of one layer in a row."""
_LETTERS, _LINE = 12, 10
"""Of a token: how many of its letters are shown, and the height that it needs."""


def svg(contents: mapspage.Contents) -> str:
    """The maps that a view shows first as an ``<svg>`` element: those of the heads of the open layer, or, of a
    ``model_view``, a row of heads for each layer. Colours run from 0, or from −m, to the largest weight of each map, which
    stands above it.
    """
    maps = contents.blocks[0]
    weights = next(iter(maps.kinds.values()))
    layers = range(len(maps.layers)) if contents.small == "all" else [contents.layer]
    heads = range(len(maps.heads))
    across = len(heads) if contents.small == "all" else min(len(heads), _ACROSS)
    n, m = weights.shape[2:]
    cell = _SIDE / max(n, m)
    rows, columns = (_shown(tokens, cell) for tokens in (maps.rows, maps.columns))
    left, top = _room(rows), _HEAD + _room(columns)
    wide, high = left + m * cell + _GAP, top + n * cell + _GAP
    parts = []
    for k, (layer, head) in enumerate((layer, head) for layer in layers for head in heads):
        x, y = k % across * wide + left, k // across * high + top
        array = weights[layer, head]
        most = float(np.abs(array[np.isfinite(array)]).max(initial=0.0))
        data = base64.b64encode(output.png(style.pixels(array, most or 1.0))).decode()
        title = f"layer {maps.layers[layer]}, head {maps.heads[head]}: ≤ {most:.2g}"
        parts += [
            f'<text x="{x:.1f}" y="{y - top + _HEAD - 6:.1f}" font-weight="bold">{escape(label(title, 40))}</text>',
            f'<image x="{x:.1f}" y="{y:.1f}" width="{m * cell:.1f}" height="{n * cell:.1f}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>',
        ]
        for i, token in rows:
            parts.append(
                f'<text x="{x - 4:.1f}" y="{y + (i + 0.5) * cell + 3:.1f}" text-anchor="end">{escape(token)}</text>'
            )
        for j, token in columns:
            place = f"{x + (j + 0.5) * cell + 3:.1f} {y - 4:.1f}"
            parts.append(f'<text transform="translate({place}) rotate(-90)">{escape(token)}</text>')
    width, height = across * wide, -(-len(layers) * len(heads) // across) * high
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(contents.title)}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" font-family="{style.FONT}" font-size="9" '
        f'fill="{style.GREY}">{"".join(parts)}</svg>'
    )


def _shown(tokens, cell: float) -> list[tuple[int, str]]:
    """The tokens that there is room for, with their places."""
    return [(k, label(str(tokens[k]), _LETTERS)) for k in range(0, len(tokens), max(1, round(_LINE / cell)))]


def _room(shown: list[tuple[int, str]]) -> float:
    return 8 + 0.8 * max((width_of(token) for _, token in shown), default=0)
