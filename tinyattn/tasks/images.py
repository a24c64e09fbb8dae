"""What tasks of images share: batches, labels, how drawn and how named images are judged, and how they are shown.

An image is (C, H, W), square, with numbers from −1 (black) to 1: the range of a generator's tanh. Models of two
families can be trained on such a task. A classifier answers with the number of a class, and is judged by its
accuracy. A generator answers with images of its own, as many as the split has, and a frozen judge (judges.py)
looks at them beside the real ones:

    recognised   the share of images in which it sees something of the data's kind
    kinds        the share of the data's classes that it sees among them: one that draws the same over and over
                 has few
    diversity    the root mean square distance of two samples, as a share of that of two real images
    frechet      the Fréchet distance of the judge's features from those of the split, as a share of their
                 variance; and its noise floor, that of as many real images from the training split
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure, Images, Section
from tinyattn.tasks.parts import image_files, metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.judges import Judge, PatchClassifier
from tinyattn.tasks.task import Answers, Scores, Task

UNKNOWN = -1
"""The label of an image that nobody has labelled, and of rows that only fill a batch up."""
SHOWN = 32  # images in a grid of the report


@dataclass(frozen=True)
class ImageBatch:
    """B images with their labels."""

    images: np.ndarray  # (B, C, H, W) float32, from −1 to 1
    label: np.ndarray  # (B,) int32, or UNKNOWN
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def inputs(self) -> np.ndarray:
        """What a classifier looks at."""
        return self.images

    @property
    def weight(self) -> int:
        """How many images count."""
        return int(self.valid.sum())


@dataclass(frozen=True)
class LabelledImages:
    """The examples of one split."""

    pixels: np.ndarray  # (n, C, H, W) uint8
    label: np.ndarray  # (n,) int32

    def __len__(self) -> int:
        return len(self.pixels)

    def images(self, rows: Any = slice(None)) -> np.ndarray:
        """The given ones as models see them."""
        return to_images(self.pixels[rows])

    def take(self, rows: Any) -> "LabelledImages":
        """The given examples, in the given order."""
        return LabelledImages(self.pixels[rows], self.label[rows])


def to_images(pixels: np.ndarray) -> np.ndarray:
    """uint8 from 0 to 255 → float32 from −1 to 1."""
    return (pixels / np.float32(127.5) - np.float32(1)).astype(np.float32)


class ImageTask(Task):
    """A task of square images in classes. Subclasses give the three splits and the names of the classes."""

    unit = "image"
    families = ("image", "classification")
    recognised: ClassVar[Figure] = Figure("recognised", "images that the judge recognises")

    def __init__(self, classes: Sequence[str], examples: Mapping[str, LabelledImages]):
        self.classes, self._examples = tuple(classes), dict(examples)
        self.shape: tuple[int, int, int] = self._examples["train"].pixels.shape[1:]  # (C, H, W)

    @property
    def figures(self) -> Sequence[Figure]:
        """Those of classifiers, then those of generators; `score` gives the ones that fit the answers."""
        return (
            Figure("accuracy", "accuracy"),
            Figure("val_loss", "loss, nats per image", "{:.4f}", "lower"),
            self.recognised,
            Figure("kinds", "classes that are drawn"),
            Figure("diversity", "distance of two samples, of two real images'"),
            Figure("frechet", "Fréchet distance of features", "{:.3f}", "lower"),
            Figure("frechet_floor", "Fréchet distance of real images", "{:.3f}", "lower"),
        )

    def sizes(self) -> dict[str, int]:
        """image_size: height and width. features: how many numbers an image is."""
        channels, size, _ = self.shape
        features = channels * size * size
        return {
            "image_size": size,
            "channels": channels,
            "classes": len(self.classes),
            "features": features,
        }

    def examples(self, split: str) -> LabelledImages:
        """The images of a split. Raises DataError."""
        return self._examples[self.check_split(split)]

    def count(self, split: str) -> int:
        return len(self.examples(split))

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> ShuffledBatches | OrderedBatches:
        examples = self.examples(split)

        def make(rows: np.ndarray, valid: np.ndarray) -> ImageBatch:
            label = np.where(valid, examples.label[rows], UNKNOWN).astype(np.int32)
            return ImageBatch(examples.images(rows), label, rows, valid)

        batcher = Batcher(len(examples), batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> ImageBatch:
        return next(iter(self.batches("test", 2)))

    # How good the answers are.

    @cached_property
    def judge(self) -> Judge:
        """What looks at drawn images; it is made when the first are looked at, and the same in every run."""
        train = self.examples("train")
        return PatchClassifier(train.images(), train.label, len(self.classes))

    def score(self, answers: Answers, split: str) -> Scores:
        """Judge classes, or images (C, H, W). Raises DataError when they are not as many as the split has."""
        if len(answers.outputs) != self.count(split):
            expected = f"there must be {self.count(split)} answers, one for each image of {split}"
            raise DataError(f"[{self.name}] {expected}, but got {len(answers.outputs)}.")
        if drawn(answers):
            return Scores(self.judged(np.stack(answers.outputs), split))
        label = self.examples(split).label
        figures = {"accuracy": metrics.accuracy(np.asarray(answers.outputs), label)}
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        right = np.asarray(answers.outputs) == label
        named = {name: float(right[label == k].mean()) for k, name in enumerate(self.classes) if k in label}
        return Scores(figures, {"accuracy by class": named})

    def judged(self, images: np.ndarray, split: str) -> dict[str, float]:
        """The figures of a generator for images (n, C, H, W), beside the real ones of a split."""
        kinds = self.judge.recognise(images)
        real = self.examples(split).images()
        train = self.examples("train")
        others = train.images(np.linspace(0, len(train) - 1, len(images)).astype(int))  # from all parts of it
        features = self.judge.features(real)
        variance = float(features.var(axis=0).sum())
        return {
            self.recognised.key: float((kinds >= 0).mean()),
            "kinds": len(np.unique(kinds[kinds >= 0])) / len(self.classes),
            "diversity": float(np.sqrt(images.var(axis=0).sum() / real.var(axis=0).sum())),
            "frechet": metrics.frechet_distance(self.judge.features(images), features) / variance,
            "frechet_floor": metrics.frechet_distance(self.judge.features(others), features) / variance,
        }

    # How images are named, shown and read.

    def read(self, text: str) -> ImageBatch:
        """A count, so many images, for a generator to draw, or the first of the test split to be named; the number of
        a test image, or the path of an image: see parts/image_files.py. Raises DataError.
        """
        test = self.examples("test")
        pixels, rows = image_files.find_images(self.name, text, test.pixels)
        if rows is not None:
            return ImageBatch(to_images(pixels), test.label[rows], rows, np.ones(len(rows), bool))
        unknown = np.full(1, UNKNOWN, np.int32)
        return ImageBatch(to_images(pixels), unknown, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: ImageBatch, answers: Answers, row: int) -> dict[str, Any]:
        """A picture and what it is called; a generator's picture comes with its pixels, (C, H, W) from 0 to
        255."""
        answer = answers.outputs[row]
        if np.ndim(answer) == 0:
            told = {} if batch.label[row] < 0 else {"label": self.classes[batch.label[row]]}
            return {"input": picture(batch.images[row]), "output": self.classes[int(answer)]} | told
        kind = int(self.judge.recognise(answer[None])[0])
        seen = self.classes[kind] if kind >= 0 else "nothing that the judge knows"
        pixels = np.round((np.clip(answer, -1, 1) + 1) * 127.5).astype(int).tolist()
        return {"input": f"#{batch.index[row]}", "output": picture(answer), "seen": seen, "pixels": pixels}

    def suggestions(self, count: int) -> list[str]:
        return ["16", *(f"#{number}" for number in range(count - 1))][:count]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Drawn images beside real ones; or the images that the first model has given a wrong name."""
        real = self.examples(split)
        found: list[Section] = []
        for name, (said, _) in answers.items():
            if drawn(said):
                caption = "Every image has a noise of its own; they are not chosen."
                found.append(Images(f"Drawn by {name}", on_page(np.stack(said.outputs[:SHOWN])), 8, caption))
        if found:
            return [*found, Images("Real images", on_page(real.images(slice(SHOWN))))]
        name, (said, _) = next(iter(answers.items()))
        wrong = np.flatnonzero(np.asarray(said.outputs) != real.label)[:SHOWN]
        if not len(wrong):
            return []
        called = ", ".join(f"{self.classes[real.label[k]]} as {self.classes[said.outputs[k]]}" for k in wrong)
        title, caption = f"What {name} takes for something else", f"In the order of reading: {called}."
        return [Images(title, on_page(real.images(wrong)), 8, caption)]


def drawn(answers: Answers) -> bool:
    """Whether the answers are images, not classes."""
    return bool(answers.outputs) and np.ndim(answers.outputs[0]) > 0


def on_page(images: np.ndarray) -> np.ndarray:
    """(n, C, H, W) from −1 to 1 → (n, H, W) or (n, H, W, 3) from 0 to 1."""
    shown = (np.clip(images, -1, 1) + 1) / 2
    return shown[:, 0] if images.shape[1] == 1 else shown.transpose(0, 2, 3, 1)


def picture(image: np.ndarray) -> str:
    """An image (C, H, W) as lines of text: two pixels of a column are one character, black or lit. Half blocks,
    or ASCII where the terminal's encoding has none."""
    marks = " ▄▀█"
    try:
        marks.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError, AttributeError):
        marks = " .':"
    lit = image.max(axis=0) > 0
    lit = np.pad(lit, ((0, len(lit) % 2), (0, 0)))
    return "\n".join("".join(marks[k] for k in row).rstrip() for row in 2 * lit[::2] + lit[1::2])
