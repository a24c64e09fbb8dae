"""sort-numbers: point at numbers from the smallest to the largest.

    0.52 0.11 0.87 0.43 0.60   →   2 4 1 5 3

Numbers are uniform between 0 and 1, and an answer is right when all of it is.
"""

import numpy as np

from tinyattn.sections import Figure
from tinyattn.tasks.pointing import Pointing


class SortNumbers(Pointing):
    """The task, of five numbers unless others are asked for."""

    name = "sort-numbers"
    title = "numbers pointed at from the smallest to the largest"
    unit = "number"
    features, permutation, least = 1, True, 2
    measures = (
        Figure("accuracy", "in the right order"),
        Figure("valid", "each of them once"),
    )

    def __init__(self, seed: int = 0, smallest: int = 5, largest: int = 5):
        self.tested = tuple(sorted({smallest, largest}))
        super().__init__(seed, smallest, largest)

    def solve(self, points: np.ndarray) -> np.ndarray:
        return np.argsort(points[:, :, 0], axis=1, kind="stable")

    def measure(self, points: np.ndarray, said: list[int], right: list[int]) -> dict[str, float]:
        return {"accuracy": float(said == right), "valid": float(sorted(said) == sorted(right))}

    def said(self, points: np.ndarray, answer: object) -> str:
        """The numbers in the order in which they are pointed at."""
        return " ".join(f"{points[int(j), 0]:.3f}" for j in answer) or "(nothing)"  # type: ignore[attr-defined]
