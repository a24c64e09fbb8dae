"""Small charts as SVG text: lines and bars. Written by hand, because a plotting library would weigh more than
all of tinyattn and could not follow the page's colours.

They carry no colours of their own, only the classes and custom properties of the page around them
(report.py), so that they follow its light and dark scheme. All text in them is escaped.
"""

import math
from collections.abc import Mapping, Sequence

from tinyattn.markup import escape
from tinyattn.sections import Line

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 12, 40
LOGARITHMIC = 30.0
"""From this ratio of largest to smallest value on, an axis of positive values is logarithmic."""


def lines(curves: Sequence[Line], x_label: str, y_label: str) -> str:
    """Curves over a common x axis. Values that are not finite are left out."""
    points = [
        (x, y) for c in curves for x, y in zip(c.x, c.y, strict=True) if y is not None and math.isfinite(y)
    ]
    if not points:
        return "<p>Nothing has been measured yet.</p>"
    xs, ys = zip(*points, strict=True)
    logarithmic = min(ys) > 0 and max(ys) / min(ys) > LOGARITHMIC
    scale = math.log10 if logarithmic else float
    low, high = min(0.0, min(ys)), max(ys)  # losses may be less than nothing: a reward with a minus, a hinge
    if logarithmic:
        low, high = math.floor(scale(min(ys))), math.ceil(scale(max(ys)))
    if low == high:
        high = low + 1

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - min(xs)) / ((max(xs) - min(xs)) or 1)
        up = (scale(y) - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    ticks = [10.0**k for k in range(int(low), int(high) + 1)] if logarithmic else _ticks(low, high)
    parts = [_y_tick(place(min(xs), tick)[1], tick) for tick in ticks]
    for tick in _ticks(min(xs), max(xs)):
        if min(xs) <= tick <= max(xs):
            parts.append(_text(place(tick, ticks[0])[0], HEIGHT - BOTTOM + 16, f"{tick:,.0f}", "middle"))
    for curve in curves:
        path = [
            place(x, y) for x, y in zip(curve.x, curve.y, strict=True) if y is not None and math.isfinite(y)
        ]
        dash = " dashed" if curve.dashed else ""
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
        parts.append(f'<polyline class="line c{curve.style}{dash}" points="{drawn}"/>')
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    legend = [(curve.name, f"line c{curve.style}{' dashed' if curve.dashed else ''}") for curve in curves]
    return _svg(WIDTH, HEIGHT, parts, f"{y_label} over {x_label}") + _legend(legend)


def bars(groups: Mapping[str, Mapping[str, float]], x_label: str, y_label: str) -> str:
    """Bars side by side: name → (place on the x axis → value from 0 to 1)."""
    places = list(dict.fromkeys(place for values in groups.values() for place in values))
    if not places:
        return "<p>Nothing has been measured yet.</p>"
    height = HEIGHT - TOP - BOTTOM
    room = (WIDTH - LEFT - RIGHT) / len(places)
    width = 0.8 * room / len(groups)
    parts = [_y_tick(HEIGHT - BOTTOM - tick * height, tick) for tick in (0, 0.25, 0.5, 0.75, 1)]
    for k, place in enumerate(places):
        start = LEFT + (k + 0.1) * room
        for style, (name, values) in enumerate(groups.items()):
            value = min(1.0, max(0.0, values.get(place, 0.0)))
            x, y = start + style * width, HEIGHT - BOTTOM - value * height
            tip = f"<title>{escape(name)}, {escape(place)}: {value:.3f}</title>"
            size = f'width="{width - 2:.1f}" height="{value * height:.1f}"'
            parts.append(f'<rect class="bar c{style}" x="{x:.1f}" y="{y:.1f}" {size}>{tip}</rect>')
        parts.append(_text(start + 0.4 * room, HEIGHT - BOTTOM + 16, place, "middle"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, "middle"))
    legend = [(name, f"bar c{style}") for style, name in enumerate(groups)]
    return _svg(WIDTH, HEIGHT, parts, f"{y_label} by {x_label}") + _legend(legend)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    raw = (high - low) / 5 or 1
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
    first = math.ceil(low / step)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _y_tick(y: float, value: float) -> str:
    grid = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
    return grid + _text(LEFT - 6, y + 4, f"{value:.4g}", "end")


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, parts: list[str], label: str, fixed: bool = False) -> str:
    size = f' width="{width}" height="{height}"' if fixed else ' class="wide"'
    head = f'<svg viewBox="0 0 {width} {height}"{size} role="img" aria-label="{escape(label)}">'
    return head + "".join(parts) + "</svg>"


def _legend(entries: list[tuple[str, str]]) -> str:
    keys = [
        '<span><svg width="26" height="10" aria-hidden="true">'
        + (
            '<rect class="%s" width="26" height="10"/>'
            if "bar" in style
            else '<polyline class="%s" points="0,5 26,5"/>'
        )
        % style
        + f"</svg> {escape(name)}</span>"
        for name, style in entries
    ]
    return f'<p class="legend">{" ".join(keys)}</p>'
