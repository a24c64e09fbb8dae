"""mnist-scenes: handwritten digits of MNIST in one image, and the sentence that says what and where they are.

    a seven above a three

Two or three digits, each at half its size, stand in the cells of a 3 × 3 grid; the sentence names them from left to
right (see parts/scenes.py). A fifth of the pairs of digits never meet in training; half of the test images have such a
pair. The digits of a split are those of the same split of the task mnist, so no digit of the test is ever seen in
training.
"""

from pathlib import Path

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.captions import CaptionTask
from tinyattn.tasks.mnist import MNIST, SIDE
from tinyattn.tasks.parts import scenes
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WORDS = ("a", "an", *DIGITS, "left", "of", "above", "below", "and")
GRID, MARGIN = 3, 2
"""Cells on a side; pixels of each digit's margin, which are black in nearly all, that are cut off."""


class MNISTScenes(CaptionTask):
    """The task; data: the folder of MNIST's files (see mnist.py). train_examples: how many images to learn from."""

    name = "mnist-scenes"
    title = "handwritten digits, and a sentence that says which and where they are"

    def __init__(self, data: str | Path, seed: int = 0, train_examples: int = 30_000):
        count = check_positive(self.name, "train_examples", train_examples)
        self.digits = MNIST(data)
        super().__init__(WORDS, GRID, len(DIGITS), 1, count, seed)

    def things(
        self, drawn: scenes.Scenes, split: str, stream: Stream
    ) -> tuple[np.ndarray, list[list[tuple[str, ...]]]]:
        given = self.digits.examples(split)
        shape, half = drawn.kind.shape, (SIDE - 2 * MARGIN) // 2
        inside = given.pixels[:, :, MARGIN : SIDE - MARGIN, MARGIN : SIDE - MARGIN].astype(np.uint16)
        small = (inside.reshape(-1, 1, half, 2, half, 2).sum(axis=(3, 5)) + 2) // 4
        of_kind = [np.flatnonzero(given.label == kind) for kind in range(len(DIGITS))]
        order = np.concatenate(of_kind)
        counts = np.array([len(rows) for rows in of_kind])
        if not counts.all():
            must = f"the {split} images must be of all ten digits"
            raise DataError(f"[{self.name}] {must}, but there is no {DIGITS[counts.argmin()]} among them.")
        chosen = (np.cumsum(counts) - counts)[drawn.kind] + stream.integers(counts[drawn.kind], *shape)
        words: list[list[tuple[str, ...]]] = [
            [(DIGITS[kind],) for kind in row if kind != scenes.NOTHING] for row in drawn.kind.tolist()
        ]
        return small[order[chosen]].astype(np.uint8), words
