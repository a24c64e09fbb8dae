"""Pictures for readers: the SVG cleaned, a self-contained page around it, and the text twin.

The page loads nothing from anywhere; its content security policy forbids it to, and allows no script but its own.
"""

import base64
import hashlib
import re

from tinyattn.markup import escape
from tinyattn.viz import style
from tinyattn.viz.model import Picture

_SCRIPT = """
const svg = document.querySelector("main svg"), whole = svg.getAttribute("viewBox").split(/[ ,]+/).map(Number);
let box = [...whole], held = null;
const paint = () => svg.setAttribute("viewBox", box.join(" "));
const at = e => { const p = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse()); return [p.x, p.y]; };
const zoom = (factor, [x, y]) => {
  factor = Math.min(Math.max(factor, whole[2] / 200 / box[2]), 2 * whole[2] / box[2]);
  box = [x + (box[0] - x) * factor, y + (box[1] - y) * factor, box[2] * factor, box[3] * factor];
  paint();
};
const middle = () => [box[0] + box[2] / 2, box[1] + box[3] / 2];
const fit = () => { box = [...whole]; paint(); };
svg.addEventListener("wheel", e => { e.preventDefault(); zoom(Math.exp(e.deltaY / 500), at(e)); }, { passive: false });
svg.addEventListener("pointerdown", e => { held = at(e); svg.setPointerCapture(e.pointerId); });
svg.addEventListener("pointermove", e => {
  if (!held) return;
  const [x, y] = at(e);
  box[0] += held[0] - x; box[1] += held[1] - y;
  paint();
});
svg.addEventListener("pointerup", () => { held = null; });
svg.addEventListener("dblclick", fit);
addEventListener("keydown", e => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
  if (step) { box[0] += step[0] * box[2] / 10; box[1] += step[1] * box[3] / 10; paint(); e.preventDefault(); }
  else if (e.key === "+" || e.key === "=") zoom(0.8, middle());
  else if (e.key === "-") zoom(1.25, middle());
  else if (e.key === "0") fit();
});
"""

_STYLE = f"""
:root {{ color-scheme: light dark; --page: #ffffff; --ink: {style.INK}; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #15171a; --ink: #e6e6e6; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; height: 100vh; display: flex; flex-direction: column; background: var(--page); color: var(--ink); font: 14px {style.FONT}; }}
header, footer {{ padding: .5em 1em; }}
header {{ display: flex; flex-wrap: wrap; gap: .3em 1.2em; align-items: baseline; }}
h1 {{ font-size: 1em; margin: 0; }}
i {{ display: inline-block; width: .9em; height: .9em; margin-right: .35em; vertical-align: -.1em; border: 2px solid; }}
main {{ flex: 1; min-height: 0; }}
main svg {{ width: 100%; height: 100%; cursor: grab; touch-action: none; }}
main .node:hover > * {{ filter: brightness(.93); }}
pre {{ padding: 1em; overflow: auto; white-space: pre-wrap; }}
footer {{ opacity: .7; font-size: .85em; }}
"""


def clean_svg(text: str, title: str) -> str:
    """The ``<svg>`` element alone (no prolog, no comments), with the font said once and a name for screen readers."""
    font = f' font-family="{style.FONT}"'
    element = re.sub(r"<!--.*?-->\n?", "", text[text.index("<svg") :].rstrip()).replace(font, "")
    return element.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"{font}', 1)


def document(title: str, body: str, script: str = "", looks: str = "") -> str:
    """A whole page: the one script that may run in it, and further rules of style."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"script-src 'sha256-{digest}'" if script else "script-src 'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {allowed}; base-uri 'none'; form-action 'none'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{policy}">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title><style>{_STYLE}{looks}</style></head>\n'
        f"<body>{body}{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def zoom_page(title: str, svg: str, legend: str = "") -> str:
    """A page with a picture to zoom and pan."""
    body = (
        f"<header><h1>{escape(title)}</h1>{legend}</header>\n<main>{svg}</main>\n"
        "<footer>Wheel or + and − to zoom, drag or arrow keys to move, 0 or a double click to see everything; rest on anything to learn more.</footer>\n"
    )
    return document(title, body, _SCRIPT)


def text_page(title: str, text: str) -> str:
    """A page with plain text."""
    return document(title, f"<header><h1>{escape(title)}</h1></header>\n<pre>{escape(text, None)}</pre>\n")


def as_text(picture: Picture) -> str:
    """The picture as lines of text: ``%3 = matmul(%1, %2)  f32 (2, 4)  # decoder``, forward, gradient and update apart."""
    numbers = {ident: f"%{k}" for k, ident in enumerate(picture.nodes)}
    inputs: dict[str, list[tuple[int, str]]] = {ident: [] for ident in picture.nodes}
    loops: dict[str, list[str]] = {}
    for edge in picture.edges:
        if edge.kind in ("loop", "update"):
            loops.setdefault(edge.target, []).append(numbers[edge.source])
        else:
            shown = numbers[edge.source] + (f" {edge.label}" if edge.label else "")
            inputs[edge.target] += [(operand, shown) for operand in edge.operands or [0]]
    rows = [f"{picture.title}: {len(picture.nodes)} nodes, {len(picture.edges)} edges"]
    for phase in ("forward", "gradient", "update"):
        nodes = [node for node in picture.nodes.values() if node.phase == phase]
        rows += [f"\n{phase}"] if nodes else []
        for node in nodes:
            operands = ", ".join(shown for _, shown in sorted(inputs[node.id]))
            rows.append(
                f"  {numbers[node.id]} = {node.title}{f'({operands})' if operands else ''}  {', '.join(node.types)}".rstrip()
                + (f" = {node.value}" if node.value else "")
                + (f"  {node.equation}" if node.name and node.formula else "")
                + (f"  next: {', '.join(loops[node.id])}" if node.id in loops else "")
                + (f"  # {picture.clusters[node.path[-1]].label}" if node.path else "")
                + (f"  # shared by {node.shared}" if node.shared else "")
            )
    return "\n".join([*rows, *(f"\n{note}" for note in picture.notes)])
