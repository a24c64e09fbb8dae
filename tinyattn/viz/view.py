"""``GraphView``: a picture that can be saved, shown and printed."""

import os
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tinyattn.viz import collapse, dot, layout, output, page, repeats
from tinyattn.viz.model import Picture
from tinyattn.viz.room import Shown

if TYPE_CHECKING:
    import graphviz

FORMATS = ("svg", "png", "pdf", "gv", "json", "html")
_FALLBACKS = (250, 3)
"""Nodes of the pictures that are tried when dot can't finish; the last is one node for each phase."""


class GraphView:
    """A drawn graph. ``picture``: its nodes, edges and clusters as data; ``notes``: remarks, for instance that
    modules were collapsed.

    ``str(view)`` is the picture as text; in a notebook it shows itself.

    ``depth``, ``repeated``: see ``draw``; ``shown``: what pages show beside it.
    """

    def __init__(
        self, picture: Picture, depth: int | None = None, repeated: bool = False, shown: Shown | None = None
    ):
        self.whole, self.depth, self.shown = picture, depth, shown
        if depth is not None:
            picture = collapse.to_depth(picture if repeated else repeats.fold(picture), depth)
        self.picture = picture

    @cached_property
    def drawn(self) -> Picture:
        """What is laid out: the picture, collapsed further if it is too large."""
        return collapse.fit(self.picture)

    @property
    def notes(self) -> list[str]:
        """Remarks for the reader; they also stand below the picture."""
        return self.drawn.notes

    @property
    def digraph(self) -> "graphviz.Digraph":
        """The picture as a ``graphviz.Digraph``."""
        return dot.digraph(self.drawn)

    @property
    def source(self) -> str:
        """The picture as DOT text."""
        return self.digraph.source

    @cached_property
    def svg(self) -> str:
        """The picture as an ``<svg>`` element. Raises TinyattnError without the program dot."""
        return page.clean_svg(self.render("svg").decode(), self.picture.title)

    def save(self, path: str | os.PathLike) -> "GraphView":
        """Write the picture to a file; its name says in which format: .svg, .png, .pdf, .html (a page to
        zoom in), .gv (DOT) or .json.

        Raises DataError for other names and places that can't be written to, TinyattnError if the program
        dot is needed and missing.
        """
        kind = output.kind_of(path, FORMATS)
        if kind == "json":
            output.write(path, self.picture.to_json())
        elif kind == "gv":
            output.write(path, self.source)
        elif kind == "html":
            output.write(path, self.html())
        else:
            output.write(path, self.svg + "\n" if kind == "svg" else self.render(kind))
        return self

    def html(self) -> str:
        """A page of its own: the picture to walk through, and of each node the formula, what it is made of, and its values,
        which can be changed where they are those of a leaf. Without the program dot, the picture as text.
        """
        if not layout.available():
            return page.text_page(self.picture.title, f"{layout.INSTALL}\n\n{self}")
        # Derivations and what they need take as long to import as all pictures.
        from tinyattn.viz.page import graph

        return graph.page(self)

    def show(self) -> None:
        """Display the picture in the notebook or in a browser."""
        output.show(self, self.html())

    def __str__(self) -> str:
        return page.as_text(self.picture)

    def __repr__(self) -> str:
        return f"<GraphView: {self.picture.title}, {len(self.picture.nodes)} nodes, {len(self.picture.edges)} edges>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        bundle = {"text/plain": str(self)}
        if layout.available():
            bundle["image/svg+xml"] = self.svg
            bundle["text/html"] = output.frame(self.html())
        else:
            bundle["text/plain"] = f"{layout.INSTALL}\n\n{self}"
        return bundle

    def render(self, kind: str, room: Mapping[str, int] = MappingProxyType({})) -> bytes:
        """Run dot for a ``kind`` of file, such as "svg"; if it can't finish, on a collapsed picture. ``room``: see
        :func:`dot.digraph`.
        """
        sharp = max(60, min(120, round(120 * (80 / max(len(self.drawn.nodes), 1)) ** 0.5)))
        sharp = self.picture.dpi or sharp
        options = {"png": ["-Gbgcolor=white", f"-Gdpi={sharp}"], "pdf": ["-Gbgcolor=white"]}.get(kind, [])
        for largest in _FALLBACKS:
            try:
                return layout.run(dot.digraph(self.drawn, room).source, kind, *options)
            except layout.Unfinished as problem:
                count = len(self.drawn.nodes)
                self.drawn = collapse.fit(self.picture, min(largest, count - 1))
                self.drawn.notes.insert(0, f"dot {problem} for {count:,} nodes.")
        try:
            return layout.run(dot.digraph(self.drawn, room).source, kind, *options)
        except layout.Unfinished as problem:
            layout.give_up(f"it {problem}, even for all in one node", "Save .gv or .json.")
