"""Tasks whose answers are places in what was given: a few points, and which of them to name, one after another
(Vinyals, Fortunato & Jaitly 2015, "Pointer networks").

A model says a slot at each step: slot 0 is the end, slot 1 + j the point j. Where an answer names every point once
(`permutation`), it needs no end. Points are drawn uniformly from the unit line or square, anew for each batch of
training. The test has as many problems of each size in `tested`; what is longer than `largest` was never
trained, and tells whether a model has learned more than it was shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Drawing, Figure, Points, Samples, Section, Table
from tinyattn.tasks.parts.batching import OrderedBatches, RandomBatches, ShapedBatcher
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task

NOTHING, END = -1, 0
TRAIN, VALIDATION, TEST = 100_000, 500, 1_000
"""Problems of a split, in the test of each size; in training, of an epoch."""
SHOWN = 6


@dataclass(frozen=True)
class PointBatch:
    """B problems, padded to N points and T steps. slots_in: what is said so far, END at first; slots_out: what is right
    next, or NOTHING.
    """

    points: np.ndarray  # (B, N, D) float32
    count: np.ndarray  # (B,) int32: points of each
    slots_in: np.ndarray  # (B, T) int32
    slots_out: np.ndarray  # (B, T) int32
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many slots count."""
        return int((np.asarray(self.slots_out) != NOTHING).sum())


@dataclass(frozen=True)
class Problems:
    """k problems: points (k, N, D) float32, how many each has (k,), right answers (k, T) of indices, −1 behind."""

    points: np.ndarray
    count: np.ndarray
    answers: np.ndarray

    def answer(self, row: int) -> list[int]:
        """The right answer to one of them."""
        return [int(j) for j in self.answers[row] if j >= 0]


class Pointing(Task):
    """A task of this kind. smallest, largest: of how many points training problems are, each number equally often."""

    unit = "point"
    families = ("pointing",)
    features: ClassVar[int] = 2
    permutation: ClassVar[bool] = False
    polygon: ClassVar[bool] = False
    least: ClassVar[int] = 3
    """The fewest points that make a problem."""
    tested: tuple[int, ...]
    """The sizes of the test's problems."""
    measures: ClassVar[tuple[Figure, ...]]
    """What is measured for each of the sizes in `tested`."""

    def __init__(self, seed: int = 0, smallest: int = 5, largest: int = 10):
        self.seed = seed
        self.smallest = check_positive(self.name, "smallest", smallest)
        self.largest = check_positive(self.name, "largest", largest)
        if not self.least <= smallest <= largest:
            must = f"sizes must be {self.least} ≤ smallest ≤ largest"
            raise DataError(f"[{self.name}] {must}, but got {smallest} and {largest}.")
        cycle = np.arange(VALIDATION) % (largest - smallest + 1) + smallest
        validation = Stream(f"{self.name} validation", 0)
        test = [
            self.solved(self.draw(TEST, size, Stream(f"{self.name} test", size)), size)
            for size in self.tested
        ]
        self.held_out = {"validation": self.mixed(cycle, validation), "test": _joined(test)}

    @property
    def figures(self) -> Sequence[Figure]:
        """With the number of points behind their names."""
        return [
            Figure(f"{one.key}_{size}", f"{one.name}, {size} points", one.form, one.better)
            for size in self.tested
            for one in self.measures
        ]

    def solve(self, points: np.ndarray) -> np.ndarray:
        """Right answers to problems of one size, (k, n, D) → indices (k, T), −1 behind the end."""
        raise NotImplementedError

    def longest_answer(self, size: int) -> int:
        """How many indices the answer to a problem of this size can have."""
        return size

    def measure(self, points: np.ndarray, said: list[int], right: list[int]) -> dict[str, float]:
        """An answer judged: the keys of `measures`. points (n, D) float64."""
        raise NotImplementedError

    # Problems and batches.

    def draw(self, count: int, size: int, stream: Stream) -> np.ndarray:
        """Points (count, size, D) float32, uniform in the unit line or square."""
        return (stream.words(count, size, self.features) / 2.0**32).astype(np.float32)

    def solved(self, points: np.ndarray, size: int) -> Problems:
        """Problems of one size with their answers."""
        answers = np.full((len(points), self.longest_answer(size)), NOTHING, np.int32)
        found = self.solve(points)
        answers[:, : found.shape[1]] = found
        return Problems(points, np.full(len(points), size), answers)

    def mixed(self, sizes: np.ndarray, stream: Stream) -> Problems:
        """Problems of the given sizes (k,), in this order."""
        order = np.argsort(sizes, kind="stable")
        parts = [self.solved(self.draw(n, int(size), stream), int(size)) for size, n in _counts(sizes)]
        joined, back = _joined(parts), np.argsort(order)
        return Problems(*(array[back] for array in vars(joined).values()))

    def fresh(self, count: int, stream: Stream) -> Problems:
        """Problems for training."""
        span = self.largest - self.smallest + 1
        return self.mixed(self.smallest + stream.integers(span, count), stream)

    def batch(
        self, problems: Problems, index: np.ndarray, valid: np.ndarray, width: int, answered: bool = True
    ) -> PointBatch:
        """Of problems with at most `width` points."""
        rows, steps = len(problems.count), self.longest_answer(width) + (not self.permutation)
        points = np.zeros((rows, width, self.features), np.float32)
        fits = min(width, problems.points.shape[1])
        points[:, :fits] = problems.points[:, :fits]
        slots = np.full((rows, steps + 1), NOTHING, np.int32)
        slots[:, 0] = END
        said = problems.answers[:, :steps]
        slots[:, 1 : 1 + said.shape[1]] = np.where(said >= 0, said + 1, NOTHING)
        if not self.permutation:
            slots[np.arange(rows), 1 + (said >= 0).sum(axis=1)] = END
        before, after = np.maximum(slots[:, :-1], END), slots[:, 1:]
        after = np.where(valid[:, None] & answered, after, NOTHING).astype(np.int32)
        return PointBatch(points, problems.count.astype(np.int32), before, after, index, valid)

    def sizes(self) -> dict[str, Any]:
        """How many numbers a point is, and whether answers are orders of all points, or closed polygons."""
        return {"features": self.features, "permutation": self.permutation, "polygon": self.polygon}

    def count(self, split: str) -> int:
        return TRAIN if self.check_split(split) == "train" else len(self.held_out[split].count)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> Any:
        """With a seed problems that are drawn anew for each batch; else those of the split, by size."""
        count = self.count(split)
        if seed is not None:
            size = check_positive("batches", "batch_size", batch_size)

            def fresh(stream: Stream) -> PointBatch:
                return self.batch(
                    self.fresh(size, stream), np.arange(size), np.ones(size, bool), self.largest
                )

            return RandomBatches(fresh, seed, count, size, max(1, count // size))
        held = (
            self.fresh(count, Stream(f"{self.name} train", 0)) if split == "train" else self.held_out[split]
        )

        def make(rows: np.ndarray, valid: np.ndarray) -> PointBatch:
            chosen = Problems(*(array[rows] for array in vars(held).values()))
            width = int(chosen.count.max()) if split == "test" else self.largest
            return self.batch(chosen, rows, valid, width)

        shapes = held.count if split == "test" else np.zeros(count, np.int64)
        return OrderedBatches(ShapedBatcher(shapes, batch_size, make))

    def probe(self) -> PointBatch:
        return next(iter(self.batches("validation", 2)))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, each the mean over the problems of one size; what is no answer at all counts as wrong."""
        held = self.held_out[split]
        found: dict[str, list[float]] = {}
        for row, said in enumerate(answers.outputs):
            size = int(held.count[row])
            points = held.points[row, :size].astype(np.float64)
            for key, value in self.measure(points, [int(j) for j in said], held.answer(row)).items():
                found.setdefault(f"{key}_{size}", []).append(value)
        means = {key: float(np.mean(values)) for key, values in found.items()}
        first = self.measures[0]
        by_size = {
            str(size): means[f"{first.key}_{size}"] for size in sorted({int(size) for size in held.count})
        }
        known = {figure.key for figure in self.figures}
        figures = {key: value for key, value in means.items() if key in known}
        return Scores(figures, {f"{first.name} by points": by_size})

    # For people.

    def read(self, text: str) -> PointBatch:
        """Points with spaces between them, the numbers of a point with commas: 0.1,0.8 0.5,0.3 0.9,0.6. Raises
        DataError."""
        try:
            points = np.array([[float(x) for x in word.split(",")] for word in text.split()], np.float32)
            fits = points.ndim == 2 and points.shape[1] == self.features
            fits = (
                fits and len(points) >= self.least and bool((np.isfinite(points) & (abs(points) < 1e6)).all())
            )
        except ValueError:
            fits = False
        if not fits:
            what = "0.1,0.8 0.5,0.3 0.9,0.6" if self.features == 2 else "0.7 0.1 0.4"
            must = f"the text must be at least {self.least} points such as {what}"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        nothing = np.full((1, self.longest_answer(len(points))), NOTHING)
        problems = Problems(points[None], np.array([len(points)]), nothing)
        one = np.zeros(1, np.int64), np.ones(1, bool)
        return self.batch(problems, *one, len(points), answered=False)

    def show(self, batch: PointBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The points as `read` reads them, and the numbers of those that are named, from 1 on."""
        points = batch.points[row, : batch.count[row]]
        return {"input": _text(points), "output": self.said(points, answers.outputs[row])}

    def said(self, points: np.ndarray, answer: Any) -> str:
        """An answer as people read it."""
        return " ".join(str(int(j) + 1) for j in answer) or "(nothing)"

    def suggestions(self, count: int) -> list[str]:
        """Problems of the validation split, cut to three digits."""
        held = self.held_out["validation"]
        return [_text(held.points[row, : held.count[row]]) for row in range(min(count, VALIDATION))]

    def remarks(self, text: str) -> list[str]:
        """Whether there are more points than in training, or fewer."""
        count, sizes = len(text.split()), f"{self.smallest} to {self.largest}"
        sizes = sizes if self.smallest < self.largest else str(self.largest)
        usual = f"models were trained on {sizes} points, and here are {count}."
        return [] if self.smallest <= count <= self.largest else [usual]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """All measures by size, and what the first model said to a few problems."""
        head = ("", "points", *(one.name for one in self.measures))
        rows = []
        for name, (_, scores) in answers.items():
            for size in self.tested:
                values = [one.say(scores.figures[f"{one.key}_{size}"]) for one in self.measures]
                untrained = " (not trained)" if not self.smallest <= size <= self.largest else ""
                rows.append((name, f"{size}{untrained}", *values))
        held, said = self.held_out[split], next(iter(answers.values()))[0].outputs
        found: list[Section] = [Table("By number of points", head, rows)]
        if self.measures[0].form.endswith("%}") and len(self.tested) > 1:
            groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
            found.append(Bars("Few and many points", groups, "points", self.measures[0].name))
        chosen = [row for size in self.tested for row in np.flatnonzero(held.count == size)[:SHOWN]]
        if self.features == 2:
            drawings = [self._drawing(held, said, row) for row in chosen]
            caption = "Where the model points, one after another; in grey, what is right."
            return [*found, Points("Arrows over points", drawings, caption)]
        samples = []
        for row in chosen:
            points, right = held.points[row, : held.count[row]], held.answer(row)
            verdict = [int(j) for j in said[row]] == right
            samples.append([("given", _text(points), None), ("said", self.said(points, said[row]), verdict)])
        return [*found, Samples("Answers", samples)]

    def arrows(self, answer: list[int]) -> list[tuple[int, int]]:
        """An answer as arrows from point to point."""
        return list(zip(answer, answer[1:], strict=False))

    def _drawing(self, held: Problems, said: Sequence[Any], row: int) -> Drawing:
        points, right = held.points[row, : held.count[row]].astype(np.float64), held.answer(row)
        answer = [int(j) for j in said[row]]
        first = self.measures[0]
        value = self.measure(points, answer, right)[first.key]
        verdict = "right" if value == 1 else "wrong"
        told = verdict if first.better == "higher" else f"{first.name} {first.say(value)}"
        return Drawing(points, self.arrows(answer), self.arrows(right), f"{len(points)} points: {told}")


def _counts(sizes: np.ndarray) -> list[tuple[int, int]]:
    values, counts = np.unique(sizes, return_counts=True)
    return list(zip(values.tolist(), counts.tolist(), strict=True))


def _joined(parts: Sequence[Problems]) -> Problems:
    """Problems of several sizes, padded to the largest."""
    wide = max(part.points.shape[1] for part in parts)
    long = max(part.answers.shape[1] for part in parts)
    points = [np.pad(part.points, ((0, 0), (0, wide - part.points.shape[1]), (0, 0))) for part in parts]
    answers = [
        np.pad(part.answers, ((0, 0), (0, long - part.answers.shape[1])), constant_values=NOTHING)
        for part in parts
    ]
    count = np.concatenate([part.count for part in parts])
    return Problems(np.concatenate(points), count, np.concatenate(answers))


def _text(points: np.ndarray) -> str:
    return " ".join(",".join(f"{x:.3f}" for x in point) for point in points)
