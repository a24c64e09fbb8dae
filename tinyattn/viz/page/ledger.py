"""What stands in memory, and when: the plan of the program that computes what is drawn, for the page to show.

The program keeps every value from the kernel that makes it to the last that reads it, at a place in one arena. What
forward makes and the derivative still reads is what is *kept*. Values that are made where they are read (fused, or computed
again) take no memory and are not in the ledger.
"""

from typing import Any

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.runtime.memory import Buffer
from tinyattn.runtime.plan import planned, rows_of, size_of
from tinyattn.runtime.program import Program
from tinyattn.viz import labels
from tinyattn.viz.model import Node, Picture
from tinyattn.viz.room import Shown

MOST = 700
"""Nodes of a picture whose program is made for its ledger: more take long to compile."""


def program_behind(picture: Picture, shown: Shown) -> Program:
    """The program of the outputs that are drawn, and of their gradients."""
    results = [value for ident, parts in shown.of.items() if ident.startswith("gradient_") for value in parts]
    roots = list(dict.fromkeys([*shown.outputs, *results]))
    return Program(roots, [node for node in topological(roots) if node.op.name == "input"])


def ledger_of(picture: Picture, shown: Shown | None) -> dict[str, Any] | None:
    """The arena, block by block, and its bytes; None for what is too large, or has no memory of its own."""
    if shown is None or len(picture.nodes) > MOST:
        return None
    try:
        program = program_behind(picture, shown)
    except errors.TinyattnError:
        return None
    rows = list(rows_of(program.lowered.main))
    backward = next(
        (k for k, row in enumerate(rows) if row.node is not None and row.node.origin is not None), len(rows)
    )
    makers: dict[Buffer, list[tuple[int, Tensor]]] = {}
    for k, row in enumerate(rows):
        for ref in row.writes:
            if row.node is not None:
                makers.setdefault(ref.buffer.root(), []).append((k, row.node))
    known = _Known(picture, shown)
    blocks = []
    for buffer, life in planned(program.lowered).items():
        made = makers.get(buffer, [])
        kept = life.first < backward <= life.last
        # A value may be made where one stood that nothing reads any more: of what is kept, the last that forward made.
        held = [maker for k, maker in made if k < backward or not kept] or [maker for _, maker in made]
        node = known.node(held[-1], buffer.nbytes) if held else None
        blocks.append(
            {
                "id": node.id if node is not None else None,
                "name": (node.name or node.title)
                if node is not None
                else _described(held[-1] if held else None),
                "from": life.first,
                "to": life.last,
                "at": buffer.offset,
                "bytes": size_of(buffer),
                "kept": kept,
                "gradient": life.first >= backward,
            }
        )
    if not blocks:
        return None
    return {
        "blocks": blocks,
        "peak": program.peak_bytes,
        "alive": program.plan.alive,
        "kernels": len(rows),
        "backward": backward,
    }


class _Known:
    """Which node of the picture a node of the program is: rules have rewritten and fused what is drawn, but have kept the
    user's line and the size.
    """

    def __init__(self, picture: Picture, shown: Shown):
        self.same: dict[Tensor, Node] = {}
        self.near: dict[tuple, dict[str, Node]] = {}
        for ident, parts in shown.of.items():
            for value in parts if ident in picture.nodes else ():
                node = picture.nodes[ident]
                self.same.setdefault(value, node)
                if node.kind == "op" and value.line is not None:
                    nbytes = value.size * value.dtype.itemsize
                    self.near.setdefault(_place(value, nbytes), {})[value.op.name] = node

    def node(self, maker: Tensor, nbytes: int) -> Node | None:
        """None if it is nothing that is drawn."""
        found = self.same.get(maker)
        if found is None and maker.line is not None:
            near = self.near.get(_place(maker, nbytes), {})
            # A fused chain ends in what its line makes last.
            found = near.get(maker.op.name) or (
                list(near.values())[-1] if near and maker.op.name == "fused" else None
            )
        return found


def _place(value: Tensor, nbytes: int) -> tuple:
    line = value.line
    assert line is not None
    return line.file, line.number, nbytes, value.origin is None


def _described(maker: Tensor | None) -> str:
    if maker is None:
        return "work space"
    where = labels.place(maker.line)[0]
    return labels.title(maker) + (f", {where}" if where else "")
