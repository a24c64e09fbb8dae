"""Smaller pictures of the same graph: clusters become single nodes, and whatever crossed their border stays.

Forward, gradient and update parts of a module become a node each, side by side, so that the flow from output
to gradient stays readable. Arrows between the same two nodes are merged; an arrow that goes around a
collapsed module (a residual connection) joins two other nodes and survives.
"""

from collections.abc import Callable
from functools import partial

from tinyattn.viz import copies, layout, repeats
from tinyattn.viz.merge import merge, shared_parameters_as_one
from tinyattn.viz.model import Node, Picture, as_id

LARGEST, SLOWEST = 3000, 8.0
"""Pictures of more nodes than this, or that dot will need more seconds for, are collapsed before layout."""


def to_depth(picture: Picture, depth: int) -> Picture:
    """Every module nested deeper than ``depth`` as one node; 0 leaves no module open. Loops and definitions
    are as open as the module they are in. Parameters that several calls of a closed module share are one node, too.
    """

    def group(node: Node) -> str | None:
        modules = picture.modules(node)
        return modules[depth] if len(modules) > depth else None

    return shared_parameters_as_one(merge(picture, group))


def by_line(picture: Picture) -> Picture:
    """All operations that one line of the user's program made in one module, as one node."""

    def group(node: Node) -> str | None:
        return (
            f"{'/'.join(node.path[-1:])}@{as_id(node.line)}"
            if node.kind in ("op", "view") and node.line
            else None
        )

    return merge(picture, group)


STRETCHES = 24
"""Nodes that a program of more lines than can be shown is folded into."""


def by_stretch(picture: Picture) -> Picture:
    """Lines that follow each other in the user's program as one node, so that there are STRETCHES of them or fewer."""
    lines: dict[str, int] = {}
    for node in picture.nodes.values():
        if node.kind in ("op", "view") and node.line:
            lines.setdefault(node.line, len(lines))
    size = -(-len(lines) // STRETCHES) or 1
    names = list(lines)
    titles = {}
    for k in range(0, len(names), size):
        first, last = names[k], names[min(k + size, len(names)) - 1]
        file, (other, _, end) = first.rpartition(":")[0], last.rpartition(":")
        titles[f"lines{k // size}"] = first if first == last else f"{first}–{end if file == other else last}"

    def group(node: Node) -> str | None:
        inside = node.kind in ("op", "view") and node.line
        return f"lines{lines[node.line] // size}" if inside else None

    return merge(picture, group, titles)


def to_one(picture: Picture) -> Picture:
    """All operations as one node for each phase: the last resort."""
    return merge(picture, lambda node: "everything")


def fit(picture: Picture, largest: int = LARGEST) -> Picture:
    """The picture itself if it can be laid out, else the most detailed one that can, with a note that says
    so.
    """
    apart = copies.beside_users(picture)
    if len(picture.nodes) <= largest and layout.seconds(apart) <= SLOWEST:
        return apart
    whole = picture
    depths = range(picture.depth - 1, -1, -1)
    folded = repeats.fold(picture)
    if len(folded.nodes) < len(picture.nodes):
        if _fits(folded, largest):
            return _noted(folded, picture, "equal modules are drawn once")
        picture = folded
    candidates: list[tuple[str, Callable[[], Picture]]] = [
        *(
            (f"modules nested deeper than {d} are one node each (depth={d})", partial(to_depth, picture, d))
            for d in depths
        ),
        ("operations of one source line are one node each", lambda: by_line(to_depth(picture, 0))),
        ("neighbouring source lines are one node each", lambda: by_stretch(to_depth(picture, 0))),
        ("all operations are one node", lambda: to_one(picture)),
    ]
    for made in candidates:
        what, smaller = made[0], made[1]()
        if _fits(smaller, largest):
            break
    return _noted(smaller, whole, what)


def _noted(smaller: Picture, whole: Picture, what: str) -> Picture:
    smaller.notes.append(f"{len(whole.nodes):,} nodes are too many for one legible picture: {what}.")
    return smaller


def _fits(picture: Picture, largest: int) -> bool:
    return len(picture.nodes) <= largest and layout.seconds(picture) <= SLOWEST
