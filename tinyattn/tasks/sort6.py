"""sort-6: six digits, each 0, 1 or 2, to be said again in order: 021021 → 001122.

The demonstration of minGPT (github.com/karpathy/minGPT, demo.ipynb): a language model that is no more than a few
thousand numbers learns an algorithm. There are only 3⁶ = 729 such rows. A quarter of them, by a random order that is
always the same, is for the test, a sixteenth for validation, and the others for training; as there, the test asks
5,000 questions, drawn at random among its 182.
"""

import itertools

import numpy as np

from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.questions import QuestionTask

LENGTH, DIGITS, ASKED = 6, 3, 5_000


class Sort6(QuestionTask):
    """The task; it has no options."""

    name = "sort-6"
    title = "six digits out of three, to be put in order"
    alphabet = "012"
    kinds_of = "different digits"
    example = "021021"

    def __init__(self) -> None:
        questions = np.array([*itertools.product(range(DIGITS), repeat=LENGTH)])
        order, count = Stream("sort-6", 0).permutation(len(questions)), len(questions)
        test, validation, train = np.split(order, [count // 4, count // 4 + count // 16])
        drawn = test[Stream("sort-6 test", 0).integers(len(test), ASKED)]
        rows = {"train": train, "validation": validation, "test": drawn}
        super().__init__(questions, np.sort(questions, axis=1), rows)

    def parse(self, text: str) -> np.ndarray | None:
        """Six digits, maybe with spaces between them."""
        digits = "".join(text.split())
        fits = len(digits) == LENGTH and set(digits) <= set(self.alphabet)
        return np.array([*map(int, digits)]) if fits else None

    def kinds(self, rows: np.ndarray) -> list[str]:
        """How many different digits there are to sort."""
        return [str(len(set(row[:LENGTH].tolist()))) for row in rows]
