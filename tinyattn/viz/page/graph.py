"""The page of a graph: the picture to walk through, the inspector beside it, and the numbers to change."""

import re
from functools import cache
from pathlib import Path
from typing import Any

from tinyattn.markup import escape
from tinyattn.viz import collapse, dot, layout, repeats, style
from tinyattn.viz.model import Picture
from tinyattn.viz.page import base, data
from tinyattn.viz.page.certificate import certificates_of
from tinyattn.viz.page.ledger import ledger_of
from tinyattn.viz.page.program import Program, Unsuited, program_of
from tinyattn.viz.page.steps import steps_of
from tinyattn.viz.room import Shown

SCRIPTS = (
    "parts", "arithmetic", "arrays", "machine", "graph", "heat", "camera", "lens", "values", "inspector", "finding", "page",
    "provenance", "scrubber", "steps", "certificate", "ledger", "expression", "quiz", "difference", "begin",
)  # fmt: skip
"""The files of the page's script, in the order in which they need each other."""
SECONDS = 3.0
"""What laying out further depths may take together, as predicted."""
MAPPED = 150
"""Pictures of more nodes have no maps of values in their nodes."""
ROOM = 34
"""How high such a map is."""
PLAIN = 400_000
"""Letters of a picture that stands in the page as it is."""
_SAID = (("&#45;", "-"), (' text-anchor="start"', ""), (' font-size="10.00" fill="#1a1a1a"', ""))
"""What dot writes again and again, and what is enough: looks.css says the rest."""
_LEGEND = (
    ("#CFE6F5", style.BLUE, "leaf"),
    ("#EDEDED", "#8C8C8C", "operation"),
    ("#CDEDE2", style.GREEN, "output"),
    ("#FDF3DF", style.ORANGE, "saved for the derivative"),
    ("#FBE6D9", style.VERMILLION, "gradient"),
)


@cache
def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def script() -> str:
    """The page's script."""
    return "\n".join(_file(f"{name}.js") for name in SCRIPTS)


def looks() -> str:
    """Its rules of style."""
    return _file("looks.css")


def page(*views) -> str:
    """The page of a view, or of several."""
    parts = [fragment(view, f"v{k}-" if k else "") for k, view in enumerate(views)]
    return base.document(views[0].picture.title, "".join(parts), script(), looks())


def fragment(view, prefix: str = "") -> str:
    """A view as a part of a page that has :func:`script` and :func:`looks`; ``prefix`` stands before its ids, for where
    there are several.
    """
    program, unsuited = _program(view.whole, view.shown)
    title, first = view.picture.title, 0
    levels: list[dict[str, Any]] = []
    inline = _svg(view.render("svg", _rooms(view.drawn, program)), title, prefix)
    drawn = view.drawn  # (which is a smaller one if dot could not finish)
    for name, picture in _pictures(view):
        room, svg = _rooms(picture, program), None
        if picture is drawn:
            first = len(levels)
        else:
            try:
                svg = _svg(layout.run(dot.digraph(picture, room).source, "svg"), title, prefix)
            except layout.Unfinished:
                continue
        levels.append(data.level_of(picture, name, room) | {"svg": svg})
    if len(inline) > PLAIN:  # its words repeat: deflated it is a tenth
        levels[first]["svg"], inline = inline, ""
    values: dict[str, Any] = {
        "prefix": prefix, "levels": levels, "first": first, "notes": drawn.notes, "palette": style.PALETTE,
        "program": vars(program) if program else None, "unsuited": unsuited,
        "steps": steps_of(view.shown), "certificates": certificates_of(view.shown),
        "ledger": ledger_of(view.whole, view.shown),
    }  # fmt: skip
    return _body(title, inline, levels, first, data.packed(values), program is not None)


def _program(picture: Picture, shown: Shown | None) -> tuple[Program | None, str]:
    if shown is None:
        return None, ""
    try:
        return program_of(picture, shown), ""
    except Unsuited as reason:
        return None, str(reason)


def _pictures(view) -> list[tuple[str, Picture]]:
    """The picture at each depth of modules, as far as dot can lay them out in good time; the view's own is one of them."""
    drawn, found, spent = view.drawn, [], 0.0
    depths: list[int | None] = [*range(view.whole.depth), None]
    for depth in depths:
        if depth == view.depth or depth is None and view.depth is not None and view.depth >= view.whole.depth:
            found.append((_depth_name(view.depth), drawn))
            continue
        picture = view.whole if depth is None else collapse.to_depth(repeats.fold(view.whole), depth)
        spent += layout.seconds(picture)
        if spent <= SECONDS and len(picture.nodes) <= collapse.LARGEST:
            found.append((_depth_name(depth), picture))
    if all(picture is not drawn for _, picture in found):
        found.append((_depth_name(view.depth), drawn))
    return found


def _depth_name(depth: int | None) -> str:
    return "all" if depth is None else str(depth)


def _rooms(picture: Picture, program: Program | None) -> dict[str, int]:
    """The nodes that have a map, and how high it is: those with more numbers than one."""
    if program is None or len(picture.nodes) > MAPPED:
        return {}
    many = (ident for ident, node in picture.nodes.items() if any(" ()" not in kind for kind in node.types))
    return {ident: ROOM for ident in many if ident in program.values and picture.nodes[ident].kind != "group"}


def _svg(made: bytes, title: str, prefix: str) -> str:
    """dot's picture without what the page says better itself: a name and a tooltip for each group."""
    text = base.clean_svg(made.decode(), title)
    text = re.sub(r"<title>[^<]*</title>\n?", "", text)
    text = re.sub(r'<g id="a_[^"]*"><a [^>]*>\n?', "", text).replace("</a>\n</g>\n", "")
    text = text.replace(">\n<", "><")  # (each of them would be a node of the document)
    for said, less in _SAID:
        text = text.replace(said, less)
    text = re.sub(r' id="', f' id="{prefix}', text)
    # Its size is in pixels: a unit of the picture is one, and the page enlarges that.
    return re.sub(
        r' width="([0-9.]+)pt" height="([0-9.]+)pt"', r' class="graph" width="\1" height="\2"', text, count=1
    )


def _body(title: str, svg: str, levels: list, first: int, packed: str, computed: bool) -> str:
    legend = "".join(
        f'<span><i style="background:{fill};border-color:{line}"></i>{name}</span>'
        for fill, line, name in _LEGEND
    )
    depth = (
        f'<label class="depth">Depth <input type="range" min="0" max="{len(levels) - 1}" value="{first}">'
        f"<output>{levels[first]['name']}</output></label>"
        if len(levels) > 1
        else ""
    )
    reset = '<button class="reset">undo changes</button>' if computed else ""
    return (
        f'<div class="walk"><header><h1>{escape(title)}</h1><button class="list" title="outline">☰</button>'
        '<div class="search"><input type="search" placeholder="search /" aria-label="search"><div class="results" role="listbox" hidden></div></div>'
        f'{depth}<span class="tools"></span>{reset}<button class="theme" title="light or dark">◐</button></header>\n'
        f'<div class="body"><nav class="outline" aria-label="outline"></nav><main class="stage"><div class="paper">{svg}</div></main>'
        '<aside class="panel" tabindex="-1" aria-live="polite"></aside></div>\n'
        f'<footer>{legend}<span class="hint">Click a node; / searches, arrow keys walk along arrows, + − 0 zoom.</span><output class="status"></output></footer>'
        f'<noscript>This page needs its script.</noscript><script type="text/plain" class="data">{packed}</script></div>\n'
    )
