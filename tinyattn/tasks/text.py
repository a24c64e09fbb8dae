"""text: any file of text, character by character.

    x = the characters i … i + T − 1,    y = the characters i + 1 … i + T

for windows of T = block_size characters: each place of x predicts the character behind it from those up to it.
Training draws windows at random, wherever they begin, as nanoGPT does (github.com/karpathy/nanoGPT). Evaluation
takes windows that lie side by side, so that every character of a split but its first is predicted exactly once; the
last window may be shorter. The characters at the beginning of a window have little before them, which is why a
longer window has a lower loss.

The text is cut in order: the first 90 % are for training, the next 5 % for validation (the parameters with the best
loss there are kept) and the last 5 % for the test, which has no part in any choice. The vocabulary are all characters
of the file; one that training doesn't hold has its place, and the surprise at it counts fully.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Section, Table
from tinyattn.tasks.parts import metrics, reading
from tinyattn.tasks.parts.batching import Batcher, OrderedBatches, RandomBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

NOTHING = -1
"""The target of a place that predicts nothing; losses ignore it."""
PROBE, LONGEST_SUGGESTION = 8, 60
_CODES = 0x110000


@dataclass(frozen=True)
class TextBatch:
    """B windows of T characters, and what follows each; index: which windows of the split, or where in it windows
    begin that were drawn at random."""

    tokens: np.ndarray  # (B, T) int32: x
    targets: np.ndarray  # (B, T) int32: y, NOTHING behind the end of the text and in rows that are not valid
    index: np.ndarray  # (B,) int64
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many characters are predicted."""
        return int((np.asarray(self.targets) != NOTHING).sum())

    @property
    def question(self) -> int:
        """How many tokens come before the first that is predicted, where there are some: they are given, and what is
        predicted is the answer. 0 of a text that runs on.
        """
        first = int((self.targets != NOTHING).any(axis=0).argmax())
        return first + 1 if first else 0


class TextTask(Task):
    """The characters of the file `data`, in windows of `block_size`. Raises DataError for a file that is missing,
    damaged, no UTF-8 text, or too short for such windows.
    """

    name = "text"
    title = "the next character of a text of yours (--data FILE)"
    unit = "character"
    families = ("language",)
    figures = (
        Figure("val_loss", "loss, nats per character", "{:.4f}", "lower"),
        Figure("bits_per_character", "bits per character", "{:.3f}", "lower"),
        Figure("perplexity", "perplexity per character", "{:.2f}", "lower"),
        Figure("accuracy", "next character right"),
    )
    cuts: ClassVar[Mapping[str, tuple[int, int]]] = {
        "train": (0, 18),
        "validation": (18, 19),
        "test": (19, 20),
    }
    """Where each split begins and ends, in twentieths of the text."""

    def __init__(self, data: str | Path, block_size: int = 64):
        self.block_size = check_positive(self.name, "block_size", block_size)
        source, text = self.load(data)
        least = next(n for n in itertools.count(self.block_size) if self._fits(n))
        if len(text) < least:
            got = f"it holds {len(text):,}: take a longer text, or a smaller block_size"
            expected = f"hold at least {least:,} characters for windows of block_size = {self.block_size}"
            reading.refuse(self.name, source, expected, got)
        self.title = f"the next character of {source.name}"
        codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        present = np.zeros(_CODES, bool)
        present[codes] = True
        self.alphabet = "".join(map(chr, np.flatnonzero(present)))
        self._ids = np.full(_CODES, NOTHING, np.int32)
        self._ids[present] = np.arange(len(self.alphabet))
        tokens = self._ids[codes]
        self.tokens = {split: tokens[slice(*self._bounds(split, len(text)))] for split in SPLITS}

    def load(self, data: str | Path) -> tuple[Path, str]:
        """The text, and the file it is from."""
        return Path(data), reading.read_text(self.name, Path(data))

    def _bounds(self, split: str, length: int) -> tuple[int, int]:
        first, last = self.cuts[split]
        return length * first // 20, length * last // 20

    def _fits(self, length: int) -> bool:
        """Whether training has a whole window of so many characters, and each other split something to predict."""
        sizes = {split: last - first for split in SPLITS for first, last in [self._bounds(split, length)]}
        return sizes["train"] > self.block_size and min(sizes.values()) > 1

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """The number of characters, and how many a model sees at once."""
        return {"vocab_size": len(self.alphabet), "block_size": self.block_size}

    def count(self, split: str) -> int:
        """How many windows lie side by side in a split."""
        return math.ceil((len(self.tokens[self.check_split(split)]) - 1) / self.block_size)

    def batches(self, split: str, batch_size: int, seed: int | None = None) -> OrderedBatches | RandomBatches:
        """With a seed full windows drawn at random, as many in an epoch as lie side by side; else each of those."""
        count = self.count(split)
        if seed is None:
            return OrderedBatches(
                Batcher(count, batch_size, lambda rows, valid: self._side(split, rows, valid))
            )
        size = check_positive("batches", "batch_size", batch_size)
        places = len(self.tokens[split]) - self.block_size
        if places < 1:
            got = f"{len(self.tokens[split])} characters of {split}"
            raise DataError(
                f"[{self.name}] windows of {self.block_size} must fit into a split, but got {got}."
            )

        def draw(stream: Stream) -> TextBatch:
            starts = stream.integers(places, size)
            return self._windows(split, starts, starts, np.ones(size, bool))

        return RandomBatches(draw, seed, count, size, max(1, count // size))

    def _side(self, split: str, rows: np.ndarray, valid: np.ndarray) -> TextBatch:
        return self._windows(split, rows * self.block_size, rows, valid)

    def _windows(self, split: str, starts: np.ndarray, index: np.ndarray, valid: np.ndarray) -> TextBatch:
        text = self.tokens[split]
        places = starts[:, None] + np.arange(self.block_size + 1)
        inside = (places < len(text)) & valid[:, None]
        found = text[np.minimum(places, len(text) - 1)]
        targets = np.where(inside[:, 1:], found[:, 1:], np.int32(NOTHING))
        return TextBatch(np.ascontiguousarray(found[:, :-1]), targets, index, valid)

    def probe(self) -> TextBatch:
        """The characters at the beginning of training, and those at its end."""
        length = min(self.block_size, PROBE) + 1
        return self._example(np.stack([self.tokens["train"][:length], self.tokens["train"][-length:]]))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and how often the next character is right by how many are before it in the window."""
        targets = self._targets(split)
        right = np.concatenate(answers.outputs)[: targets.size] == targets
        figures = {}
        if answers.nats is not None:
            loss = answers.nats / answers.predictions
            figures = {
                "val_loss": loss,
                "bits_per_character": loss / math.log(2),
                "perplexity": metrics.perplexity(answers.nats, answers.predictions),
            }
        seen = np.arange(targets.size) % self.block_size + 1
        edges = sorted({min(2**k, self.block_size + 1) for k in range(self.block_size.bit_length() + 1)})
        by_place = metrics.mean_by_bucket(right, seen, edges)
        return Scores(
            figures | {"accuracy": float(right.mean())}, {"next character right by characters seen": by_place}
        )

    def _targets(self, split: str) -> np.ndarray:
        return self.tokens[self.check_split(split)][1:]

    def floors(self, split: str) -> dict[str, float]:
        """The loss, in nats per character, of guesses from counts of training's characters and pairs of them, by what
        they look at. One is added to each count, so that nothing is impossible.
        """
        size, train, targets = len(self.alphabet), self.tokens["train"].astype(np.int64), self._targets(split)
        single = np.bincount(train, minlength=size) + 1
        before = self.tokens[split][:-1].astype(np.int64)
        pairs, counts = np.unique(train[:-1] * size + train[1:], return_counts=True)
        asked = before * size + targets
        place = np.minimum(np.searchsorted(pairs, asked), len(pairs) - 1)
        together = np.where(pairs[place] == asked, counts[place], 0) + 1
        follow = np.bincount(train[:-1], minlength=size) + size
        return {
            "nothing": math.log(size),
            "how often each character occurs": -float(np.log(single[targets] / single.sum()).mean()),
            "the character before": -float(np.log(together / follow[before]).mean()),
        }

    # For people.

    def read(self, text: str) -> TextBatch:
        """A beginning to continue; an empty one is the end of a line, or how the text begins if it is all one line.
        Characters that the text never has are left out. Raises DataError if none is left.
        """
        empty = "\n" if "\n" in self.alphabet else self.decode(self.tokens["train"][:1])
        codes = np.frombuffer((text or empty).encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = self._ids[codes]
        ids = ids[ids != NOTHING]
        if not len(ids):
            must = f"a beginning must hold a character of the {len(self.alphabet)} that {self.name} knows"
            raise DataError(f"[{self.name}] {must}, but got {text!r}.")
        return self._example(np.append(ids, np.int32(NOTHING))[None])

    def _example(self, rows: np.ndarray) -> TextBatch:
        """Rows of characters and the one behind them (B, T + 1) as a batch."""
        count = len(rows)
        tokens, targets = (np.ascontiguousarray(part) for part in (rows[:, :-1], rows[:, 1:]))
        return TextBatch(tokens, targets, np.arange(count), np.ones(count, bool))

    def decode(self, ids: Sequence[int] | np.ndarray) -> str:
        """Ids as text."""
        return "".join(self.alphabet[i] for i in ids)

    def show(self, batch: TextBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The beginning, and how the model goes on."""
        return {"input": self.decode(batch.tokens[row]), "output": self.decode(answers.outputs[row])}

    def suggestions(self, count: int) -> list[str]:
        """The beginnings of lines of the test split, evenly spread."""
        lines = [line.strip() for line in self.decode(self.tokens["test"]).split("\n")[1:]]
        lines = [line[:LONGEST_SUGGESTION] for line in lines if line] or [
            self.decode(self.tokens["test"][:20])
        ]
        return [lines[k * len(lines) // count] for k in range(count)]

    def remarks(self, text: str) -> list[str]:
        """A sentence for each character that the text never has."""
        strange = [c for c in dict.fromkeys(text) if c not in self.alphabet]
        return [f"{c!r} is not in the vocabulary of {self.name} and is left out." for c in strange]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Losses beside those of simple guesses, and how far more characters help."""
        losses = [("a guess", knows, loss) for knows, loss in self.floors(split).items()]
        losses += [
            (name, f"up to {self.block_size} characters before", scores.figures["val_loss"])
            for name, (_, scores) in answers.items()
            if "val_loss" in scores.figures
        ]
        rows = [(who, knows, f"{loss:.4f}", f"{loss / math.log(2):.3f}") for who, knows, loss in losses]
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        caption = "A guess counts the characters, and pairs of characters, of the training text."
        return [
            Table("Beside simple guesses", ("", "looks at", "nats per character", "bits"), rows, caption),
            Bars("More to look back at", groups, "characters seen", "next character right"),
        ]

    def describe(self) -> str:
        """A few lines for people."""
        sizes = ", ".join(f"{len(self.tokens[split]):,} {split}" for split in SPLITS)
        alphabet = repr(self.alphabet if len(self.alphabet) < 100 else self.alphabet[:100] + "…")
        return (
            f"{self.name}: {self.title}\n  characters  {sizes}\n  windows     of {self.block_size}\n"
            f"  vocabulary  {len(self.alphabet)}: {alphabet}"
        )
