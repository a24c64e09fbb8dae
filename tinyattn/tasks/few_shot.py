"""What few-shot tasks share: a model is shown classes that it has never met, and names one drawing more.

An episode has N ways and K shots: K drawings of each of N classes, in any order, each with a label that holds in this
episode alone, and a last drawing of one of these classes, whose label is asked for (Vinyals et al. 2016, section 4):

    (x_1, y_1) … (x_NK, y_NK)  (x_{NK+1}, ?)

The classes of validation and test are in no training episode. What is to be beaten is printed beside a model's
accuracy: the label of the drawing that is nearest in pixels, Σ (x_i − x_{NK+1})² (Lake et al. 2015 call it pixel
distance).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure, Heat, Images, Map, Section
from tinyattn.tasks.images import UNKNOWN, picture
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, RandomBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

EPISODES = dict(zip(SPLITS, (20_000, 500, 2_000), strict=True))
"""How many a split has; of training, an epoch, whose episodes are drawn anew."""
SHOWN = 6


@dataclass(frozen=True)
class EpisodeBatch:
    """B episodes of T = NK + 1 drawings."""

    images: np.ndarray  # (B, T, 1, H, H) float32, from 0 (paper) to 1 (ink); the last one is to be named
    shown: np.ndarray  # (B, T − 1) int32: the labels of the others
    label: np.ndarray  # (B,) int32, or UNKNOWN in rows that only fill the batch up
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many episodes count."""
        return int(self.valid.sum())


@dataclass(frozen=True)
class Choice:
    """Which drawings episodes are made of: the class and the number of each (B, T), and the labels (B, T)."""

    kind: np.ndarray
    number: np.ndarray
    label: np.ndarray

    def rows(self, chosen: Any) -> "Choice":
        """The given ones, in the given order."""
        return Choice(self.kind[chosen], self.number[chosen], self.label[chosen])


class FewShot(Task):
    """A few-shot task. Subclasses give `pools`, and new drawings of training classes."""

    unit = "episode"
    families = ("few-shot",)
    figures = (
        Figure("accuracy", "accuracy"),
        Figure("val_loss", "loss, nats per episode", "{:.4f}", "lower"),
        Figure("nearest", "accuracy of the nearest drawing by pixels"),
    )

    def __init__(self, ways: int, shots: int):
        self.ways, self.shots = (
            check_positive(self.name, name, value) for name, value in (("ways", ways), ("shots", shots))
        )

    @cached_property
    @abstractmethod
    def pools(self) -> Mapping[str, np.ndarray]:
        """The drawings of each split: (classes, drawings, H, H) uint8, 255 ink."""

    @abstractmethod
    def fresh(self, kind: np.ndarray, number: np.ndarray, stream: Stream) -> np.ndarray:
        """Drawings (n, H, H) uint8 of training classes, `kind` (n,), made anew; of one class those of different
        `number` are different."""

    def pool(self, split: str) -> np.ndarray:
        """The drawings of a split. Raises DataError, also when it has too few classes or drawings."""
        found = self.pools[self.check_split(split)]
        for option, given, most in (
            ("ways", self.ways, len(found)),
            ("shots", self.shots, found.shape[1] - 1),
        ):
            if given > most:
                raise DataError(
                    f"[{self.name}] {option} must be at most {most}, as {split} has it, but got {given}."
                )
        return found

    def sizes(self) -> dict[str, int]:
        """choices: the labels; length: the drawings of an episode; image_size: height and width."""
        side = self.pool("train").shape[-1]
        return {"choices": self.ways, "length": self.ways * self.shots + 1, "image_size": side}

    def count(self, split: str) -> int:
        return EPISODES[self.check_split(split)]

    # Episodes.

    def choose(self, count: int, pool: np.ndarray, stream: Stream) -> Choice:
        """So many episodes of the classes and drawings of a pool."""
        classes, drawings = pool.shape[:2]
        rows, (n, k) = np.arange(count)[:, None], (self.ways, self.shots)
        kinds = _first(stream, n, count, classes)
        numbers = _first(stream, k + 1, count, n, drawings)
        order = _first(stream, n * k, count, n * k)
        asked = stream.integers(n, count)[:, None]
        label = np.concatenate([order // k, asked], axis=1)
        place = np.concatenate([order % k, np.full_like(asked, k)], axis=1)
        return Choice(kinds[rows, label], numbers[rows, label, place], label.astype(np.int32))

    def episodes(self, split: str) -> Choice:
        """Those of a split, always the same ones."""
        pool = self.pool(split)
        return self.choose(self.count(split), pool, Stream(f"{self.name} {split} episodes", 0))

    def _batch(
        self, choice: Choice, images: np.ndarray, index: np.ndarray, valid: np.ndarray
    ) -> EpisodeBatch:
        *shown, last = choice.label.T
        images = (images.astype(np.float32) / np.float32(255)).reshape(
            *choice.label.shape, 1, *images.shape[-2:]
        )
        label = np.where(valid, last, UNKNOWN).astype(np.int32)
        return EpisodeBatch(images, np.stack(shown, axis=1), label, index, valid)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> Any:
        """With a seed episodes that are drawn anew for each batch; else those of the split."""
        pool, count = self.pool(split), self.count(split)
        if seed is not None:
            size = check_positive("batches", "batch_size", batch_size)

            def new(stream: Stream) -> EpisodeBatch:
                choice = self.choose(size, pool, stream)
                images = self.fresh(choice.kind.ravel(), choice.number.ravel(), stream)
                return self._batch(choice, images, np.arange(size), np.ones(size, bool))

            return RandomBatches(new, seed, count, size, max(1, count // size))
        choice = self.episodes(split)

        def make(rows: np.ndarray, valid: np.ndarray) -> EpisodeBatch:
            own = choice.rows(rows)
            return self._batch(own, pool[own.kind, own.number], rows, valid)

        return OrderedBatches(Batcher(count, batch_size, make))

    def probe(self) -> EpisodeBatch:
        return next(iter(self.batches("test", 2)))

    # How good the answers are.

    def nearest(self, split: str) -> float:
        """The accuracy of the label of the drawing that is nearest in pixels."""
        choice, pool = self.episodes(split), self.pool(split).astype(np.float32)
        right = 0
        for start in range(0, len(choice.label), 100):  # few enough for the caches
            own = choice.rows(slice(start, start + 100))
            images = pool[own.kind, own.number].reshape(*own.kind.shape, -1)
            near = np.square(images[:, :-1] - images[:, -1:]).sum(axis=2).argmin(axis=1)
            right += int((own.label[np.arange(len(near)), near] == own.label[:, -1]).sum())
        return right / len(choice.label)

    def score(self, answers: Answers, split: str) -> Scores:
        """Judge the labels of all episodes of a split. Raises DataError when they are not as many."""
        label = self.episodes(split).label[:, -1]
        if len(answers.outputs) != len(label):
            expected = f"there must be {len(label)} answers, one for each episode of {split}"
            raise DataError(f"[{self.name}] {expected}, but got {len(answers.outputs)}.")
        figures = {"accuracy": metrics.accuracy(np.asarray(answers.outputs), label)}
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        return Scores(figures | {"nearest": self.nearest(split)})

    # For people.

    def read(self, text: str) -> EpisodeBatch:
        """#5: episode 5 of the test split. Raises DataError."""
        mark, number = text.strip()[:1], text.strip()[1:]
        if mark != "#" or not number.isdecimal() or int(number) >= self.count("test"):
            must = f"an input must be # and the number of a test episode, below {self.count('test'):,}"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        own = self.episodes("test").rows([int(number)])
        images = self.pool("test")[own.kind, own.number]
        return self._batch(own, images, np.array([int(number)]), np.ones(1, bool))

    def show(self, batch: EpisodeBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The label, the drawing that it was asked of, and those that were shown, each with its own."""
        *shown, asked = (picture(image * 2 - 1) for image in batch.images[row])
        labels = [int(label) for label in batch.shown[row]]
        told = {} if batch.label[row] < 0 else {"label": int(batch.label[row])}
        return {
            "input": f"#{batch.index[row]}", "output": str(int(answers.outputs[row])), **told, "drawing": asked,
            "shown": [{"label": label, "drawing": each} for label, each in zip(labels, shown, strict=True)],
        }  # fmt: skip

    def suggestions(self, count: int) -> list[str]:
        return [f"#{number}" for number in range(count)]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Some episodes, a row each, and where the first model looks while it reads the first of them."""
        name, (said, _) = next(iter(answers.items()))
        choice = self.episodes(split).rows(slice(SHOWN))
        images = self.pool(split)[choice.kind, choice.number]
        told = "; ".join(
            f"labels {' '.join(map(str, labels[:-1]))}, the last is {labels[-1]}, {name} says {int(one)}"
            for labels, one in zip(choice.label, said.outputs, strict=False)
        )
        rows = Images(
            "Episodes", images.reshape(-1, *images.shape[-2:]) / 255, images.shape[1], f"Row by row: {told}."
        )
        labels = [f"{k + 1} ({label})" for k, label in enumerate(choice.label[0])]
        labels[-1] = f"{len(labels)} (?)"
        return [rows, *looks(said, [labels], "a drawing and the label that it was shown with")]


def looks(said: Answers, labels: Sequence[Sequence[str]], what: str) -> list[Section]:
    """Attention over the first episodes; labels: of the steps of each."""
    maps = []
    for row, own in enumerate(labels):
        for layer, weights in said.maps.items():
            found = weights[row]
            if found is not None:
                maps.append(Map(found, own, own, f"episode {row}, {layer}"))
    caption = f"A row is a step, a column a step that it looks at: {what}."
    return [Heat("Attention over the episode", maps, caption)] if maps else []


def unsteady(count: int, turn: float, stretch: float, stream: Stream) -> np.ndarray:
    """What hands do to a drawing: linear maps of points (x, y), (n, 2, 2), which turn by up to `turn` radians, and
    stretch and shear by up to a share `stretch`."""
    angle, wide, high, shear = uniform(stream, -1, 1, 4, count)
    cos, sin = np.cos(turn * angle), np.sin(turn * angle)
    wide, high, shear = 1 + stretch * wide, 1 + stretch * high, stretch * shear
    rows = (wide * cos, shear * cos - high * sin), (wide * sin, shear * sin + high * cos)
    return np.array(rows).transpose(2, 0, 1)


def uniform(stream: Stream, low: float, high: float, *shape: int) -> np.ndarray:
    """Numbers from low to high."""
    return low + (high - low) * (stream.words(*shape) / 2.0**32)


def _first(stream: Stream, taken: int, *shape: int) -> np.ndarray:
    """The first so many of a random order of 0 … shape[-1] − 1, for all other axes."""
    return np.argsort(stream.words(*shape), axis=-1, kind="stable")[..., :taken]
