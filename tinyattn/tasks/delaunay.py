"""delaunay: the Delaunay triangulation of points in the unit square.

    1 2 4  1 3 4  2 4 5     triangles, each with its corners in ascending order

The triangles stand in the order of the centres of their inscribed circles, from the left: without an order models
learn worse (Vinyals et al. 2015, section 4.3). An answer is right when it has the same triangles in whatever order,
and its coverage is the share of the right triangles that it names.
"""

import numpy as np

from tinyattn.sections import Figure
from tinyattn.tasks.parts import geometry
from tinyattn.tasks.pointing import NOTHING, Pointing


class Delaunay(Pointing):
    """The task, of five points unless others are asked for."""

    name = "delaunay"
    title = "the triangles of the Delaunay triangulation of points"
    measures = (Figure("accuracy", "the same triangles"), Figure("coverage", "triangles found"))

    def __init__(self, seed: int = 0, smallest: int = 5, largest: int = 5):
        self.tested = tuple(sorted({smallest, largest}))
        super().__init__(seed, smallest, largest)

    def solve(self, points: np.ndarray) -> np.ndarray:
        found = geometry.triangulations(points)
        return np.where(found >= 0, found, NOTHING).reshape(len(points), -1)

    def longest_answer(self, size: int) -> int:
        return 3 * max(1, 2 * size - 5)

    def measure(self, points: np.ndarray, said: list[int], right: list[int]) -> dict[str, float]:
        """Of an answer that doesn't consist of triples all whole ones count, and it isn't right."""
        found, wanted = _triangles(said), _triangles(right)
        same = len(said) % 3 == 0 and found == wanted
        return {"accuracy": float(same), "coverage": len(found & wanted) / len(wanted)}

    def arrows(self, answer: list[int]) -> list[tuple[int, int]]:
        """Around each triangle."""
        triples = zip(answer[::3], answer[1::3], answer[2::3], strict=False)
        return [side for a, b, c in triples for side in ((a, b), (b, c), (c, a))]


def _triangles(answer: list[int]) -> set[frozenset[int]]:
    triples = zip(answer[::3], answer[1::3], answer[2::3], strict=False)
    return {frozenset(triple) for triple in triples}
