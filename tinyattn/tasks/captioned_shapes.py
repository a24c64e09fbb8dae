"""captioned-shapes: coloured shapes in an image, and the sentence that says what and where they are.

    a small red circle left of a large blue square

Two or three shapes stand in the cells of a 3 × 3 grid: circles, squares, triangles and crosses, in four colours, small
or large, each with a brightness and, in its cell, a place of its own. The sentence names them from left to right (see
parts/scenes.py). A fifth of the pairs of coloured shapes never meet in training; half of the test images have such a
pair. For every size, colour and shape in a sentence it is known where in the image it is.

Validation and test images are the same whatever the seed, and none of them is in a training set.
"""

from collections.abc import Callable

import numpy as np

from tinyattn.tasks.captions import CaptionTask
from tinyattn.tasks.parts import scenes
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream

COLOURS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0.2, 0.3, 1), "yellow": (1, 1, 0)}
SHAPES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": lambda x, y: x * x + y * y < 1.3,
    "square": lambda x, y: np.ones_like(x, bool),
    "triangle": lambda x, y: 2 * abs(x) - 0.1 <= y + 1,
    "cross": lambda x, y: np.minimum(abs(x), abs(y)) < 0.3,
}
"""Which points (x, y) of the square from −1 to 1 belong to a shape; y goes down."""
SIZES = {"small": 5, "large": 7}
"""Pixels."""
SIDE, CELL = 3, 8
DIMMEST = 0.7
KINDS = [(colour, shape) for colour in COLOURS for shape in SHAPES]
WORDS = ("a", *SIZES, *COLOURS, *SHAPES, "left", "of", "above", "below", "and")


class CaptionedShapes(CaptionTask):
    """The task. train_examples: how many images to learn from."""

    name = "captioned-shapes"
    title = "coloured shapes, and a sentence that says what and where they are"

    def __init__(self, seed: int = 0, train_examples: int = 20_000):
        count = check_positive(self.name, "train_examples", train_examples)
        super().__init__(WORDS, SIDE, len(KINDS), 3, count, seed)

    def things(
        self, drawn: scenes.Scenes, split: str, stream: Stream
    ) -> tuple[np.ndarray, list[list[tuple[str, ...]]]]:
        shape = drawn.kind.shape
        large = stream.integers(len(SIZES), *shape)
        bright = DIMMEST + (1 - DIMMEST) * stream.integers(256, *shape) / 255
        room = CELL + 1 - np.array([*SIZES.values()])[large]
        masks = _MASKS[drawn.kind % len(SHAPES), large, *(stream.integers(room, *shape) for _ in range(2))]
        colours = np.array([*COLOURS.values()])[drawn.kind // len(SHAPES)] * bright[..., None]
        stamps = np.round(255 * masks[:, :, None] * colours[..., None, None]).astype(np.uint8)
        sizes = [*SIZES]
        words = [
            [(sizes[size], *KINDS[kind]) for kind, size in zip(*row, strict=True) if kind != scenes.NOTHING]
            for row in zip(drawn.kind.tolist(), large.tolist(), strict=True)
        ]
        return stamps, words


def _masks() -> np.ndarray:
    """Every shape in each size, so far down and so far to the right in its cell: (shapes, sizes, rooms, rooms, CELL,
    CELL)."""
    rooms = CELL + 1 - min(SIZES.values())
    masks = np.zeros((len(SHAPES), len(SIZES), rooms, rooms, CELL, CELL), bool)
    for of_shape, shape in zip(masks, SHAPES.values(), strict=True):
        for of_size, size in zip(of_shape, SIZES.values(), strict=True):
            points = np.linspace(-1, 1, size)
            drawn = shape(*np.meshgrid(points, points))
            for down, right in np.ndindex(CELL + 1 - size, CELL + 1 - size):
                of_size[down, right, down : down + size, right : right + size] = drawn
    return masks


_MASKS = _masks()
