"""mirror-shapes: a shape in the left half of an image, and one of the same kind and colour in the right half.

There are four kinds in three colours. How high each of the two stands and how bright it is, is drawn for itself:
nothing near a shape tells what the other one is, and whoever draws such images has to look across. (A
generator that draws each half by itself matches in 1 of 12 images.)

The judge knows every half image there can be: it compares with all shapes at all places and takes the nearest.
A half counts as recognised when what differs from it is less than a quarter of what it is, by energy. An image
matches when both halves are recognised, and are of one kind and one colour.

Validation and test images are the same whatever the seed, and none of them is in a training set.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure
from tinyattn.tasks.images import ImageTask, LabelledImages
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream

COLOURS: dict[int, dict[str, tuple[float, ...]]] = {
    3: {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)},
    1: {"dark": (0.35,), "grey": (0.6,), "bright": (1,)},
}
"""By the number of channels. A shape is that colour times a brightness from DIMMEST to 1."""
DIMMEST = 0.75
KINDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "square": lambda x, y: np.ones_like(x, bool),
    "frame": lambda x, y: np.maximum(abs(x), abs(y)) > 0.8,
    "cross": lambda x, y: abs(abs(x) - abs(y)) < 0.3,
    "triangle": lambda x, y: 2 * abs(x) - 0.1 <= y + 1,
}
"""Which points (x, y) of the square from −1 to 1 belong to a shape; y goes down."""
SIDE, LEFT, TOPS = 6, 1, (1, 5, 9)  # of a shape, in sixteenths of the image's size
VALIDATION, TEST = 500, 1000
DIFFERENT = 0.25


class MirrorShapes(ImageTask):
    """The task. size: of the images, 16 or 32; channels: 3 for colours, 1 for grey ones; train_examples: how many
    images to learn from."""

    name = "mirror-shapes"
    title = "two shapes in opposite halves that must match in kind and colour"
    recognised = Figure("match_rate", "images whose shapes match")

    def __init__(self, seed: int = 0, size: int = 16, channels: int = 3, train_examples: int = 10_000):
        count = check_positive(self.name, "train_examples", train_examples)
        for option, value, known in (("size", size, (16, 32)), ("channels", channels, (1, 3))):
            if value not in known:
                expected = f"{option} must be {known[0]} or {known[1]}"
                raise DataError(f"[{self.name}] {expected}, but got {value!r}.")
        self.shapes = Shapes(size, channels)
        pool = self.shapes.draw(2 * (VALIDATION + TEST), Stream("mirror-shapes held out", 0))
        first = {image.tobytes(): row for row, image in reversed([*enumerate(pool.pixels)])}
        held_out = pool.take(sorted(first.values())[: VALIDATION + TEST])  # no image twice
        train = self.shapes.draw(count, Stream("mirror-shapes train", seed))
        seen = {image.tobytes() for image in held_out.pixels}
        train = train.take([k for k, image in enumerate(train.pixels) if image.tobytes() not in seen])
        rows = slice(VALIDATION), slice(VALIDATION, None)
        splits = {"train": train, "validation": held_out.take(rows[0]), "test": held_out.take(rows[1])}
        super().__init__(self.shapes.classes, splits)
        self.title = f"two shapes of one kind and colour, {size} × {size}"

    @cached_property
    def judge(self) -> "ShapeJudge":
        return ShapeJudge(self.shapes, self.examples("train").images())


class Shapes:
    """Every shape at every place of half an image."""

    def __init__(self, size: int, channels: int):
        self.size, self.colours = size, np.array([*COLOURS[channels].values()], np.float32)
        self.classes = [f"{colour} {kind}" for kind in KINDS for colour in COLOURS[channels]]
        scale = size // 16
        side, left = SIDE * scale, LEFT * scale
        points = (np.arange(side) * 2 - side + 1) / (side - 1)
        self.masks = np.zeros((len(KINDS), len(TOPS), size, size // 2), np.float32)
        for masks, kind in zip(self.masks, KINDS.values(), strict=True):
            for mask, top in zip(masks, TOPS, strict=True):
                place = slice(top * scale, top * scale + side), slice(left, left + side)
                mask[place] = kind(*np.meshgrid(points, points))

    def draw(self, count: int, stream: Stream, matching: bool = True) -> LabelledImages:
        """So many images, all classes equally often. ``matching`` False: the right shape is of another class,
        and the label is that of the left one."""
        kinds, places = self.masks.shape[:2]
        label = stream.permutation(count) % len(self.classes)
        other = (label + 1 + stream.integers(len(self.classes) - 1, count)) % len(self.classes)
        halves = []
        for drawn in (label, label if matching else other):
            mask = self.masks[drawn // len(self.colours), stream.integers(places, count)]
            bright = DIMMEST + (1 - DIMMEST) * stream.integers(256, count) / 255
            colour = self.colours[drawn % len(self.colours)] * bright[:, None]
            halves.append(mask[:, None] * colour[:, :, None, None])
        pixels = np.round(255 * np.concatenate(halves, axis=3)).astype(np.uint8)
        return LabelledImages(pixels, label.astype(np.int32))


class ShapeJudge:
    """Looks for the shape that is nearest to each half of an image: see the head of this file.

    Features of an image are those of its halves: how far the nearest shape of each kind is, the mean colour, and
    how low the middle of the light is; each with mean 0 and deviation 1 in real images.
    """

    def __init__(self, shapes: Shapes, real: np.ndarray):
        self.shapes = shapes
        features = _in_parts(self._raw_features, real[:2000])
        self.mean, self.deviation = features.mean(axis=0), features.std(axis=0)

    def recognise(self, images: np.ndarray) -> np.ndarray:
        return _in_parts(self._matches, images)

    def features(self, images: np.ndarray) -> np.ndarray:
        return (_in_parts(self._raw_features, images) - self.mean) / self.deviation

    def _matches(self, images: np.ndarray) -> np.ndarray:
        (left, sure), (right, sure_too) = (self._nearest(half) for half in _halves(images))
        return np.where(sure & sure_too & (left == right), left, -1)

    def _nearest(self, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The class of each half image (n,), and whether it is recognised."""
        differences, energies = (found.reshape(len(half), -1) for found in self._differences(half))
        nearest = differences.argmin(axis=1)
        rows = np.arange(len(half))
        return nearest, differences[rows, nearest] < DIFFERENT * energies[rows, nearest]

    def _differences(self, half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Σ (half image − a · shape)², with the best place and brightness a, and the energy Σ (a · shape)², for each
        kind and colour: (n, kinds, colours) both."""
        kinds, places = self.shapes.masks.shape[:2]
        masks = self.shapes.masks.reshape(kinds * places, -1)
        pixels = masks.sum(axis=1)
        whole = (half**2).sum(axis=(1, 2, 3))[:, None]
        found: list[list[np.ndarray]] = [[], []]
        for colour in self.shapes.colours:
            light = np.tensordot(half, colour, (1, 0)).reshape(len(half), -1)
            dot, energy = light @ masks.T, (colour @ colour) * pixels  # (n, kinds · places)
            a = np.clip(dot / energy, DIMMEST, 1)
            difference = (whole - a * (2 * dot - a * energy)).reshape(-1, kinds, places)
            best = difference.argmin(axis=2, keepdims=True)
            for part, numbers in zip(found, (difference, (a**2 * energy)), strict=True):
                part.append(np.take_along_axis(numbers.reshape(difference.shape), best, axis=2)[..., 0])
        return np.stack(found[0], axis=2), np.stack(found[1], axis=2)

    def _raw_features(self, images: np.ndarray) -> np.ndarray:
        found = []
        for half in _halves(images):
            kinds = self._differences(half)[0].min(axis=2)
            light = half.sum(axis=1) + np.float32(1e-6)  # (n, H, W / 2)
            height = (light * np.arange(light.shape[1])[:, None]).sum(axis=(1, 2)) / light.sum(axis=(1, 2))
            found += [np.sqrt(np.maximum(kinds, 0)), half.mean(axis=(2, 3)), height[:, None]]
        return np.concatenate(found, axis=1).astype(np.float64)


def _halves(images: np.ndarray) -> list[np.ndarray]:
    """The left and the right half of images (n, C, H, W), with numbers from 0 (black) to 1."""
    return np.split((np.clip(images, -1, 1) + 1) / 2, 2, axis=3)


def _in_parts(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """function(images), so few at a time that what it makes of them fits into the caches."""
    return np.concatenate([function(images[start : start + 250]) for start in range(0, len(images), 250)])
