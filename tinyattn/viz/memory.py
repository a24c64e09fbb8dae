"""What stands in a program's memory, and when: as data, for the ledger of a page, and as a picture.

The program keeps every value from the kernel that makes it to the last that reads it, at a place in one arena. What
forward makes and the derivative still reads is what is *kept*. Values that are made where they are read (fused, or computed
again) take no memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.markup import escape, label
from tinyattn.runtime.memory import Buffer
from tinyattn.runtime.plan import planned, rows_of, size_of
from tinyattn.runtime.program import Program
from tinyattn.runtime.summary import human
from tinyattn.viz import labels, style
from tinyattn.viz.figures import FigureView

_WIDE, _HIGH, _TOP, _LEFT = 760, 300, 30, 64
_LETTER, _SHORT, _LEAST = 6.0, 7, 13
"""Of a block's name: the width of a letter, how many must find room, and the least height that it is written in."""
_KINDS = {
    "kept": (style.ORANGE, "made by forward, read by the derivative"),
    "here": (style.GREY, "read by forward alone"),
    "gradient": (style.GREEN, "made by the derivative or the update"),
}


@dataclass(frozen=True)
class Block:
    """A part of the arena: from which kernel to which it is used, the bytes, and where they begin. ``maker``: the node
    whose value stands there (None: work space of a kernel); ``nbytes``: without what fills it up to whole lines.
    """

    maker: Tensor | None
    first: int
    last: int
    offset: int
    size: int
    nbytes: int
    kept: bool
    gradient: bool

    @property
    def kind(self) -> str:
        return "kept" if self.kept else "gradient" if self.gradient else "here"


@dataclass(frozen=True)
class Arena:
    """All blocks of a program, how many kernels it has, and the first of them that belongs to the derivative."""

    blocks: Sequence[Block]
    kernels: int
    backward: int


def arena_of(program: Program) -> Arena:
    """What stands where, and when."""
    rows = list(rows_of(program.lowered.main))
    backward = next(
        (k for k, row in enumerate(rows) if row.node is not None and row.node.origin is not None), len(rows)
    )
    makers: dict[Buffer, list[tuple[int, Tensor]]] = {}
    for k, row in enumerate(rows):
        for ref in row.writes:
            if row.node is not None:
                makers.setdefault(ref.buffer.root(), []).append((k, row.node))
    blocks = []
    for buffer, life in planned(program.lowered).items():
        made = makers.get(buffer, [])
        kept = life.first < backward <= life.last
        # A value may be made where one stood that nothing reads any more: of what is kept, the last that forward made.
        held = [maker for k, maker in made if k < backward or not kept] or [maker for _, maker in made]
        maker = held[-1] if held else None
        place = (life.first, life.last, buffer.offset, size_of(buffer), buffer.nbytes)
        blocks.append(Block(maker, *place, kept, life.first >= backward))
    return Arena(blocks, len(rows), backward)


def described(maker: Tensor | None) -> str:
    """What a block is called."""
    if maker is None:
        return "work space"
    where = labels.place(maker.line)[0]
    return title(maker) + (f", {where}" if where else "")


def title(maker: Tensor) -> str:
    """Module and operation; of a fused chain, the operations that it ends in."""
    fused = maker.op.name == "fused"
    ends = [labels.title(end) for end in maker.attrs["body"].outputs] if fused else [labels.title(maker)]
    return "/".join([*maker.scope, ", ".join(dict.fromkeys(ends))])


def memory_plan(program: Program) -> FigureView:
    """The arena of a program as a picture: time goes to the right, kernel by kernel, addresses go up; a block is a value,
    from the kernel that makes it to the last that reads it, and as high as it has bytes.

    ``program``: a ``ta.Program``, or that of a compiled function, ``step.program(x, y)``. Orange is what forward keeps for
    the derivative; each block tells its name, bytes and kernels. Raises TinyattnError for anything else.
    """
    if not isinstance(program, Program):
        hint = "Take step.program(x, y) of a compiled function."
        fail(
            errors.TinyattnError, "memory_plan", "the program must be a ta.Program", f"got {program!r}", hint
        )
    arena, peak = arena_of(program), max(program.peak_bytes, 1)
    across, up = (_WIDE - _LEFT) / max(arena.kernels, 1), _HIGH / peak
    parts = [_legend(arena)]
    for block in arena.blocks:
        x, width = _LEFT + block.first * across, max((block.last + 1 - block.first) * across - 0.5, 0.5)
        y, height = _TOP + _HIGH - (block.offset + block.size) * up, max(block.size * up - 0.5, 0.5)
        when = f"kernels {block.first + 1} to {block.last + 1}"
        parts.append(
            f'<rect class="block {block.kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f"<title>{escape(f'{described(block.maker)}: {human(block.nbytes)}, {when}')}</title></rect>"
        )
        name = "" if block.maker is None else label(title(block.maker), int((width - 8) / _LETTER))
        if height >= _LEAST and width > _SHORT * _LETTER:
            parts.append(
                f'<text class="told" x="{x + 4:.1f}" y="{y + height / 2 + 4:.1f}">{escape(name)}</text>'
            )
    x = _LEFT + arena.backward * across
    foot = _TOP + _HIGH + 16
    parts += [
        f'<path class="border" d="M{x:.1f} {_TOP - 4}V{foot}"/>',
        f'<text x="{x - 4:.1f}" y="{foot}" text-anchor="end">forward</text>',
        f'<text x="{x + 4:.1f}" y="{foot}">derivative</text>' if arena.backward < arena.kernels else "",
        f'<text x="{_LEFT - 6}" y="{_TOP + 10}" text-anchor="end">{human(program.peak_bytes)}</text>',
        f'<text x="{_LEFT - 6}" y="{_TOP + _HIGH}" text-anchor="end">0</text>',
    ]
    return FigureView(f"the memory of {arena.kernels} kernels", _svg(parts))


def _legend(arena: Arena) -> str:
    parts, x = [], _LEFT
    for kind, (_, told) in _KINDS.items():
        if any(block.kind == kind for block in arena.blocks):
            parts.append(f'<rect class="block {kind}" x="{x}" y="4" width="12" height="12"/>')
            parts.append(f'<text x="{x + 17}" y="14">{told}</text>')
            x += 30 + round(len(told) * _LETTER)
    return "".join(parts)


def _svg(parts: Sequence[str]) -> str:
    rules = {
        f".{kind}": f"fill:{colour};fill-opacity:.55;stroke:{colour}" for kind, (colour, _) in _KINDS.items()
    }
    rules |= {
        "text": f"fill:{style.GREY}",
        ".told": "fill:currentColor;font-size:11px;pointer-events:none",
        ".block:hover": "fill-opacity:.9",
        ".border": f"fill:none;stroke:{style.GREY};stroke-dasharray:3 3",
    }
    sheet = "".join(f".plan {what}{{{look}}}" for what, look in rules.items())
    height = _TOP + _HIGH + 24
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plan" role="img" aria-label="what stands in memory, and when" '
        f'width="{_WIDE}" height="{height}" viewBox="0 0 {_WIDE} {height}" font-family="{style.FONT}" font-size="12">'
        f"<style>{sheet}</style>{''.join(parts)}</svg>"
    )
