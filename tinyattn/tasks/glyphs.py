"""glyphs: letters of alphabets that nobody has: three to five strokes, drawn by an unsteady hand.

A class is where its strokes begin, bend and end. Each stroke is a curve through these three points (a parabola of
Bézier), and each drawing of it is another: the points tremble, and the whole is turned, sheared, stretched and moved.
The brush is soft: ink at a pixel is 1 − exp(−Σ g), g a bell around every dot of the strokes.

200 classes train, 50 others are for validation, and 100 others are the test.
"""

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from tinyattn.tasks.few_shot import FewShot, uniform, unsteady
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS

CLASSES = dict(zip(SPLITS, (200, 50, 100), strict=True))
DRAWINGS = 20
"""Of each class that is always the same; training has new ones all the time."""
SIDE = 14
STROKES, DOTS = 5, 12
"""At most, of a glyph; of a stroke."""
BRUSH = 0.04
"""Its radius, of a side of the image."""
TREMBLE, TURN, STRETCH, MOVE = 0.03, 0.25, 0.15, 0.08
"""At most: of points, and of the whole; lengths as shares of the image, the angle in radians (see `unsteady`)."""


class Glyphs(FewShot):
    """The task. ways, shots: of an episode."""

    name = "glyphs"
    title = f"drawings of unknown letters, {SIDE} × {SIDE}, named after one look"

    def __init__(self, ways: int = 5, shots: int = 1):
        super().__init__(ways, shots)
        self.title = f"drawings of unknown letters, {ways} ways and {shots} shots"

    @cached_property
    def letters(self) -> dict[str, np.ndarray]:
        """The points of each class (classes, STROKES, 3, 2), and NaN for strokes that it doesn't have."""
        stream, count = Stream("glyphs classes", 0), sum(CLASSES.values())
        points = uniform(stream, 0.15, 0.85, count, STROKES, 3, 2)
        strokes = 3 + stream.integers(STROKES - 2, count)
        points[np.arange(STROKES) >= strokes[:, None]] = np.nan
        return dict(zip(SPLITS, np.split(points, np.cumsum([*CLASSES.values()])[:-1]), strict=True))

    @cached_property
    def pools(self) -> Mapping[str, np.ndarray]:
        found = {}
        for split, points in self.letters.items():
            drawn = draw(np.repeat(points, DRAWINGS, axis=0), Stream(f"glyphs {split} drawings", 0))
            found[split] = drawn.reshape(-1, DRAWINGS, SIDE, SIDE)
        return found

    def fresh(self, kind: np.ndarray, number: np.ndarray, stream: Stream) -> np.ndarray:
        return draw(self.letters["train"][kind], stream)


def draw(points: np.ndarray, stream: Stream) -> np.ndarray:
    """A drawing of each glyph (n, STROKES, 3, 2), by a hand of its own: (n, SIDE, SIDE) uint8."""
    count = len(points)
    points = points + uniform(stream, -TREMBLE, TREMBLE, *points.shape)
    change = unsteady(count, TURN, STRETCH, stream)
    places = (points - 0.5).reshape(count, -1, 2) @ change.swapaxes(1, 2)
    places += 0.5 + uniform(stream, -MOVE, MOVE, count, 1, 2)
    t = np.linspace(0, 1, DOTS)
    curve = np.stack([(1 - t) ** 2, 2 * t * (1 - t), t**2], axis=1)  # (DOTS, 3)
    dots = (curve @ places.reshape(count, STROKES, 3, 2)).reshape(count, -1, 2)  # (n, dots, 2)
    pixels = (np.arange(SIDE) + 0.5) / SIDE
    bells = np.exp(-0.5 * np.square((dots[..., None] - pixels) / BRUSH))  # (n, dots, 2, SIDE)
    bells = np.nan_to_num(bells)
    ink = 1 - np.exp(-(bells[:, :, 1].swapaxes(1, 2) @ bells[:, :, 0]))
    return np.round(255 * ink).astype(np.uint8)
