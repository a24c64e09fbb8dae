"""The ledger of a page: what stands in the memory of the program that computes what is drawn, and when, with the nodes of
the picture whose values these are.
"""

from typing import Any

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.runtime.program import Program
from tinyattn.viz.memory import arena_of, described
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
    arena, known = arena_of(program), _Known(picture, shown)
    blocks = []
    for block in arena.blocks:
        node = known.node(block.maker, block.nbytes) if block.maker is not None else None
        blocks.append(
            {
                "id": node.id if node is not None else None,
                "name": (node.name or node.title) if node is not None else described(block.maker),
                "from": block.first,
                "to": block.last,
                "at": block.offset,
                "bytes": block.size,
                "kept": block.kept,
                "gradient": block.gradient,
            }
        )
    if not blocks:
        return None
    return {
        "blocks": blocks,
        "peak": program.peak_bytes,
        "alive": program.plan.alive,
        "kernels": arena.kernels,
        "backward": arena.backward,
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
