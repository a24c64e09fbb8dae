"""A profile as a picture: one row of boxes under the other, and the width of a box is its time.

From top to bottom: the step; forward pass, backward pass and update; the modules, from outer to inner; the
operation; the kernel. Boxes keep the order of the program, and say their time where there is room; each has a tooltip
with its figures, and as .html the picture can be enlarged. (Turned upside
down it is Gregg's flame graph, 2011.)
"""

from dataclasses import dataclass, field

from tinyattn.markup import escape
from tinyattn.runtime.profile import BACKWARD, FORWARD, UPDATE, Cost, Profile, seconds_text
from tinyattn.viz.model import as_id
from tinyattn.viz.style import BLUE, FADED, FONT, INK, PURPLE, VERMILLION

WIDTH, MARGIN, ROW, LETTER = 1200, 12, 24, 6.3
NARROWEST = 0.4
"""Boxes of less than so many pixels are left out."""
_LOOK = {
    FORWARD: ("#CFE6F5", BLUE),
    BACKWARD: ("#FBE6D9", VERMILLION),
    UPDATE: ("#F6E6EF", PURPLE),
    "": ("#EDEDED", FADED),
}
"""Fill and border, as in pictures of graphs."""


@dataclass
class Box:
    """A box and what lies below it. ``place``: the names from the top, its identity."""

    name: str
    place: tuple[str, ...]
    phase: str
    kind: str
    line: str = ""
    cost: Cost = field(default_factory=Cost)
    inner: "dict[str, Box]" = field(default_factory=dict)

    def below(self, name: str, kind: str, phase: str, line: str = "") -> "Box":
        """The box of that name below this one, made if new."""
        if name not in self.inner:
            self.inner[name] = Box(name, (*self.place, name), phase, kind, line)
        return self.inner[name]

    @property
    def depth(self) -> int:
        return 1 + max((box.depth for box in self.inner.values()), default=0)


def boxes(profile: Profile) -> Box:
    """The profile as a tree."""
    top = Box("step", ("step",), "", "step")
    for phase in profile.phases():
        top.below(phase, "part", phase)
    for row in profile.rows:
        here = top
        here.cost.add(row.cost)
        names = [(row.phase, "part"), *((name, "module") for name in row.scope)]
        for name, kind in [*names, (row.op, "operation"), (row.kernel, "kernel")]:
            here = here.below(name, kind, row.phase, row.line if kind == "operation" else "")
            here.cost.add(row.cost)
    return top


def flame(profile: Profile, title: str) -> str:
    """The picture as SVG text that needs nothing else."""
    top = boxes(profile)
    head = 64
    height = head + top.depth * ROW + MARGIN
    total = profile.total
    about = (
        f"{seconds_text(profile.seconds)} a step, {seconds_text(total.seconds)} in kernels; "
        f"{total.flops / profile.seconds / 1e9:.0f} GFLOP/s, "
        f"{total.flops / profile.seconds / profile.machine.flops['f32']:.0%} of the peak; "
        f"memory {profile.peak_bytes / 1e6:.1f} MB"
    )
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="{FONT}" font-size="11">',
        f"<title>{escape(title)}</title>",
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{MARGIN}" y="24" font-size="16" fill="{INK}">{escape(title)}</text>',
        f'<text x="{MARGIN}" y="44" fill="{FADED}">{escape(about)}</text>',
        *_legend(profile),
    ]
    scale = (WIDTH - 2 * MARGIN) / max(top.cost.seconds, 1e-12)
    _draw(top, MARGIN, head, scale, top.cost.seconds, parts)
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _legend(profile: Profile) -> list[str]:
    parts, x = [], WIDTH - MARGIN
    for phase, cost in reversed(profile.phases().items()):
        text = f"{phase} {seconds_text(cost.seconds)}"
        fill, border = _LOOK[phase]
        x -= round(len(text) * LETTER) + 26
        parts.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{fill}" stroke="{border}"/>')
        parts.append(f'<text x="{x + 17}" y="44" fill="{INK}">{escape(text)}</text>')
    return parts


def _draw(box: Box, x: float, y: int, scale: float, whole: float, parts: list[str]) -> None:
    width = box.cost.seconds * scale
    if width < NARROWEST:
        return
    fill, border = _LOOK[box.phase]
    share = box.cost.seconds / whole if whole else 0.0
    what = f"{box.kind} {' / '.join(box.place[2:]) or box.name}" if box.phase else "the whole step"
    tip = f"{what}: {share:.1%} of the kernels' time\n{box.cost}"
    if box.line:
        tip += f"\n{box.line}"
    ident = as_id("/".join(box.place))
    parts.append(f'<g id="{escape(ident)}"><title>{escape(tip)}</title>')
    parts.append(
        f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="{ROW - 2}" rx="2" fill="{fill}" '
        f'stroke="{border}" stroke-width="{0.8 if width > 3 else 0.2}"/>'
    )
    if width > 3 * LETTER + 8:  # (a frame of its own cuts off what is wider than letters usually are)
        took, room = seconds_text(box.cost.seconds), int((width - 8) / LETTER)
        said = f"{box.name}  {took}"
        if len(said) > room:
            said = box.name if len(box.name) <= room else box.name[: room - 1] + "…"
        parts.append(
            f'<svg x="{x + 4:.2f}" y="{y}" width="{width - 6:.2f}" height="{ROW - 2}">'
            f'<text x="0" y="15" fill="{INK}">{escape(said)}</text></svg>'
        )
    parts.append("</g>")
    for inner in box.inner.values():
        _draw(inner, x, y + ROW, scale, whole, parts)
        x += inner.cost.seconds * scale
