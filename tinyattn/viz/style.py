"""How each kind of node, arrow and cluster looks: Okabe and Ito's palette, told apart by shape as well as
colour.

Text on nodes is dark on light fills, everything else is of middle brightness, so pictures stay readable on
white and on black pages.
"""

import math

import numpy as np

from tinyattn.viz.model import Cluster, Edge, Node

BLUE, ORANGE, GREEN, VERMILLION, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#7A7A7A",
)
INK, FADED = "#1A1A1A", "#555555"
FONT = "Helvetica,Arial,sans-serif"
_BLUES = ("#F4F9FD", "#56B4E9", "#0072B2", "#00304D")
_REDS = ("#F4F9FD", "#F0A36E", "#D55E00", "#5C2800")

_FILLS = {"input": "#CFE6F5", "parameter": "#CFE6F5", "constant": "#EDEDED"}
_SHAPES = {"input": "ellipse", "parameter": "ellipse", "constant": "ellipse"}


def shade(part: float) -> str:
    """The colour of a cell, as #rrggbb: ``part`` from −1 (the reds) over 0 (almost white) to 1 (the blues);
    grey for what isn't a number, and for −∞ and ∞.
    """
    if not math.isfinite(part):
        return "#BDBDBD"
    stops = _REDS if part < 0 else _BLUES
    at = min(abs(part), 1.0) * (len(stops) - 1)
    k = min(int(at), len(stops) - 2)
    ends = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops[k : k + 2]]
    return "#" + "".join(f"{round(a + (b - a) * (at - k)):02X}" for a, b in zip(*ends, strict=True))


SHADES = 120
"""Steps of the colour scale from 0 to its ends."""
PALETTE = [*(shade(k / SHADES) for k in range(-SHADES, SHADES + 1)), shade(math.nan)]
"""From −1 to 1, and last what isn't a number."""


def pixels(values: np.ndarray, most: float) -> np.ndarray:
    """The colours of numbers (rows, columns) from −``most`` to ``most``: (rows, columns, 3) uint8."""
    known = np.isfinite(values)
    index = np.where(known, np.rint(np.where(known, values, 0.0) / most * SHADES) + SHADES, -1)
    colours = np.array([[*bytes.fromhex(colour[1:])] for colour in PALETTE], np.uint8)
    return colours[index.astype(int)]


def node_style(node: Node) -> dict[str, str]:
    """DOT attributes of a node."""
    look = {
        "shape": "box",
        "style": "filled,rounded",
        "fillcolor": "#EDEDED",
        "color": "#8C8C8C",
        "penwidth": "1",
    }
    if node.phase == "gradient":
        look |= {
            "shape": "box",
            "style": "filled",
            "fillcolor": "#FBE6D9",
            "color": VERMILLION,
        }
        if node.order > 1:
            look |= {"fillcolor": "#F7D0C9", "penwidth": "1.8"}
    elif node.phase == "update":
        look |= {"shape": "note", "style": "filled", "fillcolor": "#F6E6EF", "color": PURPLE}
    elif node.kind in _FILLS:
        look |= {"fillcolor": _FILLS[node.kind], "shape": _SHAPES[node.kind], "style": "filled"}
    if node.phase == "forward" and node.kind in ("input", "parameter"):
        look |= {"color": BLUE, "penwidth": "2" if node.kind == "parameter" else "1"}
    if node.kind == "group":
        look |= {"shape": "box3d", "style": "filled", "margin": "0.12,0.06"}
        look |= {"fillcolor": _FILLS["parameter"], "color": BLUE} if node.op == "parameters" else {}
    if node.kind == "view" and node.phase == "forward":
        look |= {"margin": "0.06,0.02"}
    if node.operand:
        look |= {
            "shape": "box",
            "style": "filled",
            "margin": "0.06,0.02",
            "fillcolor": "#FDF3DF",
            "color": ORANGE,
        }
    if node.kind in ("carry", "element"):
        look |= {"style": look["style"] + ",dashed"}
    if node.saved and node.kind not in ("input", "parameter", "constant"):
        look |= {"color": ORANGE, "penwidth": "2"}
    if node.output and node.phase == "forward":
        look |= {"color": GREEN, "fillcolor": "#CDEDE2", "penwidth": "2.5"}
    if node.kind == "result" and node.phase == "gradient":
        look |= {"peripheries": "2", "fillcolor": "#F6CDB3"}
    if node.change:
        look |= _CHANGES[node.change]
    return look


_CHANGES = {
    "added": {"color": GREEN, "penwidth": "3.5"},
    "removed": {"color": GREY, "style": "filled,dashed", "penwidth": "2.5", "fontcolor": FADED},
    "changed": {"color": PURPLE, "penwidth": "2.5"},
}

EDGES = {
    "data": {"color": GREY},
    "gradient": {"color": VERMILLION},
    "saved": {
        "color": ORANGE,
        "style": "dotted",
        "penwidth": "1.6",
        "arrowsize": "0.6",
    },
    "operand": {"color": ORANGE, "style": "dotted", "penwidth": "1.6", "arrowsize": "0.6"},
    "seed": {"color": VERMILLION, "style": "dashed"},
    "loop": {"color": GREY, "style": "bold", "constraint": "false"},
    "update": {"color": PURPLE, "style": "dashed", "constraint": "false"},
}


def edge_style(edge: Edge, target: Node) -> dict[str, str]:
    """DOT attributes of an arrow."""
    look = dict(EDGES[edge.kind])
    if edge.kind == "loop" and target.phase == "gradient":
        look["color"] = VERMILLION
    if edge.change == "added":
        look |= {"color": GREEN, "penwidth": "2"}
    if edge.change == "removed":
        look |= {"color": GREY, "style": "dashed"}
    return look


def cluster_style(cluster: Cluster) -> dict[str, str]:
    """DOT attributes of a cluster."""
    colour = VERMILLION if cluster.phase == "gradient" else GREY
    line = {"module": "rounded", "scan": "rounded,bold", "definition": "rounded,dashed"}[cluster.kind]
    return {"style": line, "color": colour, "fontcolor": colour}
