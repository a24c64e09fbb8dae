"""hull: the convex hull of points in the unit square.

    2 4 3 5 6 7 2       its corners, counter-clockwise from the one with the lowest number, which is said again

An answer is right when it is the same polygon, wherever it begins. The area counts how much of the hull's the
polygon has; one whose sides cross, or that isn't closed, has none.
"""

import numpy as np

from tinyattn.sections import Figure
from tinyattn.tasks.parts import geometry
from tinyattn.tasks.pointing import Pointing


class Hull(Pointing):
    """The task: 5 to 10 points in training, and up to 20 in the test."""

    name = "hull"
    title = "the corners of the convex hull of 5 to 10 points"
    polygon = True
    tested = (5, 10, 20)
    measures = (
        Figure("accuracy", "the same polygon"),
        Figure("area", "of its area"),
        Figure("simple", "closed polygons whose sides don't cross"),
    )

    def solve(self, points: np.ndarray) -> np.ndarray:
        corners = geometry.hulls(points)
        closed = np.concatenate([corners, np.full((len(corners), 1), -1)], axis=1)
        closed[np.arange(len(corners)), (corners >= 0).sum(axis=1)] = corners[:, 0]
        return closed

    def longest_answer(self, size: int) -> int:
        return size + 1

    def measure(self, points: np.ndarray, said: list[int], right: list[int]) -> dict[str, float]:
        corners, wanted = said[:-1], right[:-1]
        if not (len(said) > 3 and said[0] == said[-1] and geometry.is_simple(points[corners])):
            return {"accuracy": 0.0, "area": 0.0, "simple": 0.0}
        share = abs(geometry.areas(points[corners])) / geometry.areas(points[wanted])
        return {"accuracy": float(_same(corners, wanted)), "area": float(share), "simple": 1.0}


def _same(one: list[int], other: list[int]) -> bool:
    """Whether two polygons have the same corners in the same order around, either way."""
    if len(one) != len(other) or other[0] not in one:
        return False
    start = one.index(other[0])
    around = one[start:] + one[:start]
    return other in (around, around[:1] + around[:0:-1])
