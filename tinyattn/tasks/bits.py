"""Tasks of remembering bits, by which Neural Turing Machines are measured (Graves, Wayne & Danihelka 2014, section 4).

A sequence is read step by step, and at some steps (`asked`) bits must be said. What stands behind the last of these
is padding, which no earlier step sees. There are two measures that publications call "bits", and both are printed:

    cost         Σ −log2 p(bit), summed over a sequence: the paper's "cost per sequence (bits)"
    wrong bits   how many of a sequence's bits are said wrongly, at p = 1/2

All sequences of a training batch have one size, drawn anew like the bits themselves. The test has groups, each
with figures of its own: sizes of training, and larger ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure, Heat, Map, Section, Table
from tinyattn.tasks.parts.batching import OrderedBatches, RandomBatches, ShapedBatcher
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers, Scores, Task

TRAIN, VALIDATION, TEST = 100_000, 500, 1_000
"""Sequences of a split, in the test of each group; in training, of an epoch."""
ROUND = 8
"""Steps are as many as a multiple of this: then there are few shapes, each compiled once."""
SHOWN = 2


@dataclass(frozen=True)
class BitBatch:
    """B sequences of T steps, padded with zeros."""

    inputs: np.ndarray  # (B, T, F) float32
    targets: np.ndarray  # (B, T, O) float32: 0 or 1
    asked: np.ndarray  # (B, T) bool: where bits must be said; nowhere in rows that don't count
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many bits count."""
        return int(np.asarray(self.asked).sum()) * self.targets.shape[2]


@dataclass(frozen=True)
class Sequences:
    """k sequences, as in a batch."""

    inputs: np.ndarray
    targets: np.ndarray
    asked: np.ndarray

    def rows(self, chosen: Any) -> "Sequences":
        """The given ones, in the given order."""
        return Sequences(*(array[chosen] for array in vars(self).values()))

    def padded(self, steps: int) -> "Sequences":
        """To so many steps, or cut to them."""
        more = max(0, steps - self.asked.shape[1])
        parts = (
            np.pad(array, ((0, 0), (0, more), (0, 0))[: array.ndim])[:, :steps]
            for array in vars(self).values()
        )
        return Sequences(*parts)

    @property
    def steps(self) -> np.ndarray:
        """How many steps each has, up to the last where bits are asked for (k,)."""
        return self.asked.shape[1] - np.argmax(self.asked[:, ::-1], axis=1)

    def said(self, row: int) -> np.ndarray:
        """The bits that one of them asks for, (n, O)."""
        return self.targets[row][self.asked[row]]


Size = Any
"""What tells sequences of a task apart: a length, or several numbers."""


class Bits(Task):
    """A task of this kind. trained: the sizes of training, each equally often; tested: groups of the test by name."""

    unit = "bit"
    families = ("bits",)
    features: ClassVar[int]
    """F: numbers of a step."""
    outputs: ClassVar[int]
    """O: bits of an answer's step."""
    trained: Sequence[Size]
    tested: Mapping[str, Sequence[Size]]
    example: ClassVar[str]
    """Text that `read` understands."""

    def __init__(self) -> None:
        validation = [
            self.sequences(size, -(-VALIDATION // len(self.trained)), Stream(f"{self.name} validation", k))
            for k, size in enumerate(self.trained)
        ]
        groups = {
            group: _joined(
                [
                    self.sequences(size, -(-TEST // len(sizes)), Stream(f"{self.name} test {group}", k))
                    for k, size in enumerate(sizes)
                ]
            )
            for group, sizes in self.tested.items()
        }
        self.held_out = {"validation": _joined(validation), "test": _joined([*groups.values()])}
        self.groups = [group for group, held in groups.items() for _ in held.asked]

    @property
    def figures(self) -> Sequence[Figure]:
        """Three for each group, with its name behind theirs."""
        return [
            figure
            for group in self.tested
            for figure in (
                Figure(f"wrong_bits_{group}", f"wrong bits a sequence, {group}", "{:.3f}", "lower"),
                Figure(f"cost_{group}", f"cost a sequence (bits), {group}", "{:.3f}", "lower"),
                Figure(f"bit_error_{group}", f"wrong bits in all, {group}", "{:.2%}", "lower"),
            )
        ]

    def sequences(self, size: Size, count: int, stream: Stream) -> Sequences:
        """So many sequences of one size."""
        raise NotImplementedError

    def parse(self, text: str) -> Sequences:
        """The sequence that a text stands for, with no right answer. Raises ValueError."""
        raise NotImplementedError

    # Batches.

    def sizes(self) -> dict[str, int]:
        """How many numbers a step has, and bits an answer's step."""
        return {"inputs": self.features, "outputs": self.outputs}

    def count(self, split: str) -> int:
        return TRAIN if self.check_split(split) == "train" else len(self.held_out[split].asked)

    def fresh(self, count: int, stream: Stream) -> Sequences:
        """Sequences of training, of one size."""
        size = self.trained[int(stream.integers(len(self.trained), 1)[0])]
        return self.sequences(size, count, stream)

    def _batch(self, found: Sequences, index: np.ndarray, valid: np.ndarray) -> BitBatch:
        steps = int(found.steps.max())
        found = found.padded(-(-steps // ROUND) * ROUND)
        return BitBatch(found.inputs, found.targets, found.asked & valid[:, None], index, valid)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> Any:
        """With a seed sequences that are drawn anew for each batch; else those of the split, the shortest first."""
        count = self.count(split)
        if seed is not None:
            size = check_positive("batches", "batch_size", batch_size)

            def fresh(stream: Stream) -> BitBatch:
                return self._batch(self.fresh(size, stream), np.arange(size), np.ones(size, bool))

            return RandomBatches(fresh, seed, count, size, max(1, count // size))
        held = (
            self.fresh(count, Stream(f"{self.name} train", 0)) if split == "train" else self.held_out[split]
        )

        def make(rows: np.ndarray, valid: np.ndarray) -> BitBatch:
            return self._batch(held.rows(rows), rows, valid)

        return OrderedBatches(ShapedBatcher(-(-held.steps // ROUND), batch_size, make))

    def probe(self) -> BitBatch:
        return next(iter(self.batches("validation", 2)))

    def specimen(self) -> BitBatch:
        """One held-out sequence, the longest that training has: for pictures."""
        held = self.held_out["validation"]
        return self._batch(held.rows([int(np.argmax(held.steps))]), np.zeros(1, np.int64), np.ones(1, bool))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures of the groups, or of the validation split of one group, "validation"."""
        held = self.held_out[split]
        groups = self.groups if split == "test" else [split] * len(held.asked)
        wrong, cost, bits = (np.zeros(len(groups)) for _ in range(3))
        for row, chances in enumerate(answers.outputs):
            right = held.said(row) > 0.5
            chances = np.asarray(chances, np.float64).reshape(right.shape)
            wrong[row] = ((chances > 0.5) != right).sum()
            of_right = np.where(right, chances, 1 - chances)
            cost[row] = -np.log2(np.maximum(of_right, 1e-30)).sum()
            bits[row] = right.size
        figures = {}
        for group in dict.fromkeys(groups):
            own = np.array([name == group for name in groups])
            figures[f"wrong_bits_{group}"] = float(wrong[own].mean())
            figures[f"cost_{group}"] = float(cost[own].mean())
            figures[f"bit_error_{group}"] = float(wrong[own].sum() / bits[own].sum())
        return Scores(figures)

    # For people.

    def read(self, text: str) -> BitBatch:
        """A sequence, in the form of `example`. Raises DataError."""
        try:
            found = self.parse(text)
        except (ValueError, IndexError):
            must = f"the text must be a sequence such as {self.example}"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.") from None
        return self._batch(found, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: BitBatch, answers: Answers, row: int) -> dict[str, Any]:
        """What was said, a word of bits a step."""
        return {"input": self.text(batch, row), "output": words(np.asarray(answers.outputs[row]) > 0.5)}

    def text(self, batch: BitBatch, row: int) -> str:
        """A sequence as `read` reads it."""
        raise NotImplementedError

    def suggestions(self, count: int) -> list[str]:
        """Sequences of the validation split."""
        held = self.held_out["validation"]
        every = range(0, len(held.asked), max(1, len(held.asked) // count))
        rows = [self._batch(held.rows([k]), np.zeros(1, np.int64), np.ones(1, bool)) for k in every]
        return [self.text(batch, 0) for batch in rows[:count]]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Both measures of "bits" by group, and what the first model said beside what is right."""
        head = ("", "group", "wrong bits a sequence", "cost a sequence (bits)", "wrong in all")
        rows = []
        for name, (_, scores) in answers.items():
            for group in self.tested:
                wrong, cost, share = (
                    scores.figures[f"{key}_{group}"] for key in ("wrong_bits", "cost", "bit_error")
                )
                rows.append((name, group, f"{wrong:.3f}", f"{cost:.3f}", f"{share:.2%}"))
        caption = "Cost: the cross-entropy in bits, summed over a sequence. Wrong bits: those said wrongly."
        held, said = self.held_out[split], next(iter(answers.values()))[0].outputs
        maps = []
        for group in self.tested:
            row = len(self.groups) - 1 - self.groups[::-1].index(group)
            for name, bits in (("right", held.said(row)), ("said", np.asarray(said[row]))):
                labels = [str(step) for step in range(1, len(bits) + 1)]
                channels = [str(bit) for bit in range(1, self.outputs + 1)]
                maps.append(Map(bits.T, channels, labels, f"{group}: {name}"))
        told = "A column is a step, a row a bit; of what was said, the probability that it is 1."
        return [Table("Both measures", head, rows, caption), Heat("Right and said", maps, told)]


def blank(count: int, steps: int, features: int, outputs: int) -> Sequences:
    """Sequences of zeros that ask for nothing."""
    shape = (count, steps)
    return Sequences(
        np.zeros((*shape, features), np.float32),
        np.zeros((*shape, outputs), np.float32),
        np.zeros(shape, bool),
    )


def random_bits(stream: Stream, *shape: int) -> np.ndarray:
    """0 or 1, equally often, float32."""
    return (stream.words(*shape) >> 31).astype(np.float32)


def words(bits: np.ndarray) -> str:
    """Bits (n, O) as a word a step."""
    return " ".join("".join(str(int(bit)) for bit in step) for step in bits)


def bits_of(text: str, width: int) -> np.ndarray:
    """Words of `width` bits each → (n, width) float32. Raises ValueError."""
    found = [[("01").index(bit) for bit in word] for word in text.split()]
    if not found or any(len(word) != width for word in found):
        raise ValueError
    return np.array(found, np.float32)


def _joined(parts: Sequence[Sequences]) -> Sequences:
    steps = max(part.asked.shape[1] for part in parts)
    arrays = [vars(part.padded(steps)).values() for part in parts]
    return Sequences(*(np.concatenate(same) for same in zip(*arrays, strict=True)))
