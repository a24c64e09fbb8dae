"""spirals: which of two arms, wound into each other, is a point on (Lang & Witbrock 1988, "Learning to tell two spirals
apart")?

    θ uniform in [0, 2π · turns],  r = ½ + θ / 2π,   point = ± r (cos θ, sin θ) / (½ + turns),  plus N(0, noise²)

No line separates them, nor does any circle. Between the arms lies half of 1 / (½ + turns): 0.2 with two turns, ten
times the noise.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Section
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, ShuffledBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task

NOTHING = -1
"""The label of rows that only fill a batch up, and of points that a user asks about."""
TURNS, NOISE = 2.0, 0.02
HELD_OUT = {"validation": 500, "test": 2_000}


@dataclass(frozen=True)
class PointBatch:
    """B points with their labels."""

    inputs: np.ndarray  # (B, 2) float32
    label: np.ndarray  # (B,) int32, or NOTHING
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many points count."""
        return int(self.valid.sum())


class Spirals(Task):
    """The task; `seed` chooses the training points. Raises DataError for a bad option."""

    name = "spirals"
    title = "which of two spirals is a point on?"
    unit = "point"
    families = ("classification",)
    figures = (
        Figure("accuracy", "accuracy"),
        Figure("val_loss", "loss, nats per point", "{:.4f}", "lower"),
    )
    classes = ("one", "other")

    def __init__(self, seed: int = 0, train_examples: int = 5_000):
        count = check_positive(self.name, "train_examples", train_examples)
        self._points = {"train": points(count, Stream("spirals train", seed))}
        for split, size in HELD_OUT.items():
            self._points[split] = points(size, Stream(f"spirals {split}", 0))

    def sizes(self) -> dict[str, int]:
        """features: the coordinates of a point."""
        return {"features": 2, "classes": len(self.classes)}

    def count(self, split: str) -> int:
        return len(self._points[self.check_split(split)][1])

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        where, label = self._points[self.check_split(split)]

        def make(rows: np.ndarray, valid: np.ndarray) -> PointBatch:
            return PointBatch(where[rows], np.where(valid, label[rows], np.int32(NOTHING)), rows, valid)

        batcher = Batcher(len(label), batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> PointBatch:
        return next(iter(self.batches("test", 2)))

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and the accuracy by how far out a point is."""
        where, label = self._points[self.check_split(split)]
        right = np.asarray(answers.outputs) == label
        figures = {"accuracy": metrics.accuracy(np.asarray(answers.outputs), label)}
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        out = np.floor(4 * np.hypot(*where.T)).clip(0, 3)
        rings = {
            f"{k / 4:.2f}-{(k + 1) / 4:.2f}": float(right[out == k].mean()) for k in range(4) if k in out
        }
        return Scores(figures, {"accuracy by distance": rings})

    def read(self, text: str) -> PointBatch:
        """Two numbers with a space between them. Raises DataError for anything else."""
        try:
            where = np.array([[float(part) for part in text.split()]], np.float32)
        except ValueError:
            where = np.zeros((1, 0), np.float32)
        if where.shape != (1, 2) or not np.isfinite(where).all():
            raise DataError(f"[{self.name}] a point must be two numbers, but got {text!r}.")
        return PointBatch(where, np.full(1, NOTHING, np.int32), np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: PointBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The point, and which spiral it is on."""
        return {
            "input": " ".join(f"{x:.3f}" for x in batch.inputs[row]),
            "output": self.classes[answers.outputs[row]],
        }

    def suggestions(self, count: int) -> list[str]:
        """Points of the test split."""
        return [" ".join(f"{x:.3f}" for x in point) for point in self._points["test"][0][:count]]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Accuracy from the middle outwards."""
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        return [Bars("From the middle outwards", groups, "distance from the middle", "accuracy")]


def points(count: int, stream: Stream) -> tuple[np.ndarray, np.ndarray]:
    """So many points (n, 2) float32 and their labels (n,) int32, half of them on each spiral."""
    uniform = (stream.words(3, count) + 0.5) / 2.0**32
    angle, label = 2 * np.pi * TURNS * uniform[0], np.arange(count) % 2
    radius = (0.5 + angle / (2 * np.pi)) / (0.5 + TURNS) * np.where(label, -1, 1)
    noise = NOISE * np.sqrt(-2 * np.log(uniform[1])) * np.exp(2j * np.pi * uniform[2])  # Box & Muller
    where = radius * np.exp(1j * angle) + noise
    return np.stack([where.real, where.imag], 1).astype(np.float32), label.astype(np.int32)
