"""Marked numbers: a long row of numbers, two of which are marked, and something to be said of these two.

    addition         ½ + (x₁ + x₂) / 4      of numbers from −1 to 1
    multiplication   x₁ · x₂                of numbers from 0 to 1
    subtraction      ½ + (x₁ − x₂) / 4      of numbers from −1 to 1, where x₁ is the one that comes first

(Hochreiter & Schmidhuber 1997, "Long short-term memory", sections 5.4 and 5.5, which the first two are from.) A step
is a number and its marker: 1 at the two that count, one of which stands in steps 1 … 9 (the first step is 0) and the
other in the first half of the row; −1 at the first and the last step; 0 at all others. Rows have `length` to
1.1 · `length` steps, all equally often. An answer is right when it is less than 0.04 off.

The sum and the product don't depend on which of the two comes first, the difference does: a model that
knows nothing of order can learn the first two however long the row is, and of the third no more than its mean.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Heat, Map, Samples, Section, Table
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, RandomBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task

NEAR = 0.04
"""How far off a right answer may be."""
SHORTEST, FIRST_MARK = 20, 9
"""The least `length`, and the last step at which the first of the two markers can stand."""
TRAIN, VALIDATION, TEST = 100_000, 500, 1000
"""Rows of a split; in training, of an epoch, for they are drawn anew all the time."""
AROUND, SHOWN = 10, 6
"""Steps to both sides of a marked one on a map, and rows in a report."""
ENDS, MARKED = -1, 1


@dataclass(frozen=True)
class MarkedBatch:
    """B rows of numbers, padded with 0 to one length T."""

    steps: np.ndarray  # (B, T, 2) float32: number and marker
    length: np.ndarray  # (B,) int32: steps of each row
    target: np.ndarray  # (B,) float32; NaN of a row that a user has written
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many rows count."""
        return int(np.asarray(self.valid).sum())


@dataclass(frozen=True)
class Rows:
    """Rows of numbers (n, T) float32, how many steps each has (n,), and which two are marked (n, 2), in order."""

    numbers: np.ndarray
    length: np.ndarray
    marked: np.ndarray


class MarkedNumbers(Task):
    """The task but for what is asked. Raises DataError for a length that is no whole number of at least 20."""

    unit = "row"
    families = ("regression",)
    low: ClassVar[float] = -1.0
    """The least of the numbers; the greatest is 1."""
    usual: ClassVar[float] = 0.5
    """The answer that is right most often."""
    question: ClassVar[str]

    def __init__(self, length: int = 100):
        self.length = check_positive(self.name, "length", length)
        if length < SHORTEST:
            raise DataError(f"[{self.name}] length must be at least {SHORTEST}, but got {length}.")
        self.longest = self.length * 11 // 10
        self.title = f"{self.question} of two marked numbers among {self.length} to {self.longest}"
        self.held_out = {
            split: self.draw(count, Stream(f"{self.name} {split}", self.length))
            for split, count in (("validation", VALIDATION), ("test", TEST))
        }

    @property
    def figures(self) -> tuple[Figure, ...]:
        """With the length behind their names, for one model has figures of several."""
        return (
            Figure(f"accuracy_{self.length}", f"less than {NEAR} off"),
            Figure(f"error_{self.length}", "root mean square error", "{:.4f}", "lower"),
        )

    def asked(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """The right answer, of the two numbers in the order in which they stand."""
        raise NotImplementedError

    # Rows and batches.

    def draw(self, count: int, stream: Stream) -> Rows:
        """So many rows."""
        length = self.length + stream.integers(self.longest - self.length + 1, count)
        numbers = self.low + (1 - self.low) * (stream.words(count, self.longest) / 2.0**32)
        numbers[np.arange(self.longest) >= length[:, None]] = 0
        one = 1 + stream.integers(FIRST_MARK, count)
        other = 1 + stream.integers(length // 2 - 2, count)  # 1 … half − 1, but for the step of the first
        other += other >= one
        return Rows(numbers.astype(np.float32), length, np.sort(np.stack([one, other], axis=1), axis=1))

    def targets(self, rows: Rows) -> np.ndarray:
        """(n,) float32."""
        pairs = np.take_along_axis(rows.numbers, rows.marked, axis=1)
        return self.asked(pairs[:, 0], pairs[:, 1]).astype(np.float32)

    def _batch(self, rows: Rows, index: np.ndarray, valid: np.ndarray) -> MarkedBatch:
        steps = np.stack([rows.numbers, np.zeros_like(rows.numbers)], axis=2)
        every = np.arange(len(index))
        steps[every, 0, 1] = steps[every, rows.length - 1, 1] = ENDS
        steps[every[:, None], rows.marked, 1] = MARKED
        return MarkedBatch(steps, rows.length.astype(np.int32), self.targets(rows), index, valid)

    def sizes(self) -> dict[str, int]:
        """How many numbers a step is."""
        return {"features": 2}

    def count(self, split: str) -> int:
        return TRAIN if self.check_split(split) == "train" else len(self.held_out[split].length)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> OrderedBatches | RandomBatches:
        """With a seed rows that are drawn anew for each batch; else those of the split."""
        count = self.count(split)
        if seed is not None:
            size = check_positive("batches", "batch_size", batch_size)

            def fresh(stream: Stream) -> MarkedBatch:
                return self._batch(self.draw(size, stream), np.arange(size), np.ones(size, bool))

            return RandomBatches(fresh, seed, count, size, max(1, count // size))
        rows = self.held_out[split] if split != "train" else self.draw(count, Stream(f"{self.name} train", 0))

        def make(chosen: np.ndarray, valid: np.ndarray) -> MarkedBatch:
            return self._batch(
                Rows(rows.numbers[chosen], rows.length[chosen], rows.marked[chosen]), chosen, valid
            )

        return OrderedBatches(Batcher(count, batch_size, make))

    def probe(self) -> MarkedBatch:
        return next(iter(self.batches("test", 2)))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how many are right by the length of the row."""
        rows = self.held_out[split]
        off = np.abs(np.asarray(answers.outputs, np.float64) - self.targets(rows))
        right, fifth = off < NEAR, max(1, (self.longest + 1 - self.length) // 5)
        edges = [*range(self.length, self.longest + 1, fifth), self.longest + 1]
        figures = {figure.key: 0.0 for figure in self.figures}
        for key, value in zip(figures, (right.mean(), math.sqrt((off**2).mean())), strict=True):
            figures[key] = float(value)
        by_length = metrics.mean_by_bucket(right, rows.length, edges)
        return Scores(figures, {f"less than {NEAR} off by steps of the row": by_length})

    def floor(self, split: str) -> dict[str, float]:
        """The figures of who always says the same."""
        said = np.full(self.count(split), self.usual)
        return self.score(Answers([*said]), split).figures

    # For people.

    def read(self, text: str) -> MarkedBatch:
        """Numbers with a * behind the two marked ones: 0.1 0.5* -0.3 0.25* 0.7. Raises DataError."""
        words = text.split()
        marked = [k for k, word in enumerate(words) if word.endswith("*")]
        try:
            numbers = np.array([float(word.removesuffix("*")) for word in words], np.float32)
            fits = bool(((numbers >= self.low) & (numbers <= 1)).all())
        except ValueError:
            fits = False
        if not fits or len(marked) != 2 or marked[0] == 0 or marked[1] == len(words) - 1:
            must = f"a row must be numbers from {self.low:g} to 1, two of them, but the first and last, marked with *"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        rows = Rows(numbers[None], np.array([len(words)]), np.array([marked]))
        return self._batch(rows, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: MarkedBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The row as `read` reads it, what the model says, and what would be right."""
        steps = batch.steps[row, : batch.length[row]]
        words = [f"{number:.4g}{'*' * bool(marker == MARKED)}" for number, marker in steps]
        said, right = float(answers.outputs[row]), float(batch.target[row])
        return {"input": " ".join(words), "output": f"{said:.3f}", "right": f"{right:.3f}"}

    def suggestions(self, count: int) -> list[str]:
        """Rows of the test split, cut to four digits."""
        first = next(iter(self.batches("test", min(count, TEST))))
        blank = Answers([0.0] * len(first.index))
        return [self.show(first, blank, row)["input"] for row in range(len(first.index))]

    def remarks(self, text: str) -> list[str]:
        """Whether the row is of the length that models are trained with."""
        count = len(text.split())
        usual = f"models were trained on {self.length} to {self.longest} numbers, and this row has {count}."
        return [] if self.length <= count <= self.longest else [usual]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """The figures beside those of a constant, by length, where the first model looks, and what it said."""
        rows, head = self.held_out[split], ("", "says", *(figure.name for figure in self.figures))

        def told(figures: Mapping[str, float]) -> list[str]:
            return [figure.say(figures[figure.key]) for figure in self.figures]

        table = [("a constant", f"{self.usual:g}", *told(self.floor(split)))]
        table += [(name, "a number", *told(scores.figures)) for name, (_, scores) in answers.items()]
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        found: list[Section] = [
            Table("Beside a constant answer", head, table),
            Bars("Short and long rows", groups, "steps of the row", f"less than {NEAR} off"),
        ]
        said = next(iter(answers.values()))[0]
        if "attention" in said.maps:
            maps = [self._map(rows, said.maps["attention"], k) for k in range(3)]
            ratio = np.median([self._ratio(rows, said.maps["attention"], k) for k in range(len(rows.length))])
            caption = f"Steps near a marked one. A marked step weighs {ratio:.2f} times the others' mean."
            found.append(Heat("Where it looks", maps, caption))
        right = self.targets(rows)
        samples = []
        for k in range(SHOWN):
            pair = ", ".join(f"{x:.3f}" for x in rows.numbers[k, rows.marked[k]])
            off = abs(float(said.outputs[k]) - right[k])
            answer = f"{float(said.outputs[k]):.3f}"
            samples.append(
                [
                    ("marked", pair, None),
                    ("right", f"{right[k]:.3f}", None),
                    ("said", answer, bool(off < NEAR)),
                ]
            )
        return [*found, Samples("Answers", samples)]

    def _map(self, rows: Rows, weights: list[np.ndarray | None], row: int) -> Map:
        """The weights of steps that are near a marked one, as shares of the largest."""
        near = np.abs(np.arange(rows.length[row])[:, None] - rows.marked[row]).min(axis=1) <= AROUND
        steps = np.flatnonzero(near)
        words = [f"{rows.numbers[row, k]:.2f}{'*' * (k in rows.marked[row])}" for k in steps]
        part = np.asarray(weights[row])[:, steps]
        return Map(part / part.max(), ["weight"], words, f"row {row}, as shares of the largest weight")

    def _ratio(self, rows: Rows, weights: list[np.ndarray | None], row: int) -> float:
        """The mean weight of the marked steps, by that of the others between the first and the last."""
        inner = np.asarray(weights[row])[0, : rows.length[row]]
        others = np.delete(inner, [0, *rows.marked[row], len(inner) - 1])
        return float(inner[rows.marked[row]].mean() / others.mean())


class Addition(MarkedNumbers):
    """Their sum, brought to 0 … 1."""

    name = "addition"
    title = "the sum of two marked numbers in a long row"
    question = "the sum"

    def asked(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return 0.5 + (first + second) / 4


class Multiplication(MarkedNumbers):
    """Their product."""

    name = "multiplication"
    title = "the product of two marked numbers in a long row"
    question = "the product"
    low, usual = 0.0, NEAR  # small products are the most frequent

    def asked(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return first * second


class Subtraction(MarkedNumbers):
    """The first less the second, brought to 0 … 1."""

    name = "subtraction"
    title = "the difference of two marked numbers in a long row: their order matters"
    question = "the difference"

    def asked(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return 0.5 + (first - second) / 4
