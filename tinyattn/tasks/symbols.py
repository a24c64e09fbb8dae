"""Copying, reversing and sorting: letters to letters, where what counts is to look at the right place.

    copy     d a c a  →  d a c a        reverse  d a c a  →  a c a d        sort  d a c a  →  a a c d

Training holds sequences of 1 to `longest` letters, all lengths equally frequent; so does validation. The test goes
on to twice that length: whether a model has learned what to do, or only what to do up to `longest`, is a figure of
its own. The document S3 claims that "a Transformer fails at copying a string where RNNs do well": up to the
trained length it doesn't, beyond it does (docs/models/transformer.md).

Held-out sequences are the same whatever the seed, all different, and in no training set. Of very short ones there are
few in all, of which a quarter is held out at most.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.splits import unseen
from tinyattn.tasks.parts.vocabulary import SPECIALS, Vocabulary
from tinyattn.tasks.task import Answers, Scores
from tinyattn.tasks.translation import BY_LENGTH, Examples, TranslationTask

LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEST_OF_LONGEST, TEST_PER_LENGTH, VALIDATION_PER_LENGTH = 1000, 100, 50


class Symbols(TranslationTask):
    """A task of letters. Subclasses say what is done with them, for many rows of one length at once.

    symbols: how many letters there are. longest: the longest sequence of training. `seed` chooses the training
    sequences, `train_examples` of them before held-out ones are taken out. Raises DataError for a bad option.
    """

    unit: ClassVar[str] = "symbol"

    def __init__(self, seed: int = 0, symbols: int = 20, longest: int = 10, train_examples: int = 200_000):
        if not 2 <= symbols <= len(LETTERS):
            raise DataError(f"[{self.name}] symbols must lie in 2..{len(LETTERS)}, but got {symbols!r}.")
        self.seed, self.symbols = seed, symbols
        self.longest = check_positive(self.name, "longest", longest)
        self.train_examples = check_positive(self.name, "train_examples", train_examples)
        if symbols**longest < 1000:
            must = "there must be 1,000 sequences of the longest length, to hold some of them out"
            raise DataError(f"[{self.name}] {must}, but got {symbols**longest}.")
        self.source_vocabulary = self.target_vocabulary = Vocabulary(LETTERS[:symbols])
        self.shapes = ((longest, longest + 1), (2 * longest, 2 * longest + 1))
        held_out = [self._held_out(length) for length in range(1, 2 * longest + 1)]
        self.validation = self._examples([rows[:count] for rows, count in held_out[:longest]])
        self.test = self._examples([rows[count:] for rows, count in held_out])

    @staticmethod
    def answer_to(letters: np.ndarray) -> np.ndarray:
        """What is right for ids (n, length): as many ids."""
        raise NotImplementedError

    def _draw(self, count: int, length: int, random: Stream) -> np.ndarray:
        """Ids (count, length), each letter as likely as any other."""
        return (len(SPECIALS) + random.integers(self.symbols, count, length)).astype(np.int32)

    def _held_out(self, length: int) -> tuple[np.ndarray, int]:
        """Different sequences (n, length) in a random order, and how many of them, the first, are validation's."""
        wanted = TEST_OF_LONGEST if length == self.longest else TEST_PER_LENGTH
        quarter = self.symbols ** min(length, 20) // 4
        rows = self._draw(4 * (wanted + VALIDATION_PER_LENGTH), length, Stream("symbols held out", 0, length))
        _, first = np.unique(rows, axis=0, return_index=True)
        rows = rows[np.sort(first)][: min(wanted + VALIDATION_PER_LENGTH, quarter)]
        return rows, min(VALIDATION_PER_LENGTH, len(rows) // 3)

    @cached_property
    def train(self) -> Examples:  # type: ignore[override]  # (made when it is asked for)
        """The training sequences."""
        each = -(-self.train_examples // self.longest)
        streams = [(n, Stream("symbols train", self.seed, n)) for n in range(1, self.longest + 1)]
        drawn = self._examples([self._draw(each, length, stream) for length, stream in streams])
        return unseen(drawn, self.validation, self.test)

    def _examples(self, parts: Sequence[np.ndarray]) -> Examples:
        """Examples of the sequences (n, length), part by part."""
        lengths = np.concatenate([np.full(len(rows), rows.shape[1]) for rows in parts])
        flat = [
            np.concatenate([rows.ravel() for rows in each])
            for each in (parts, [self.answer_to(rows) for rows in parts])
        ]
        return Examples(*(Ragged(ids, lengths) for ids in flat))

    # Judgement.

    @cached_property
    def figures(self) -> tuple[Figure, ...]:  # type: ignore[override]
        """exact_match        the fraction of right answers up to the longest trained length
        exact_match_10     the same for that length alone
        exact_match_11-20  the same for all lengths beyond it
        """
        n = self.longest
        return (
            Figure("exact_match", f"exact match, 1–{n} letters"),
            Figure(f"exact_match_{n}", f"exact match, {n} letters"),
            Figure(f"exact_match_{n + 1}-{2 * n}", f"exact match, {n + 1}–{2 * n} (not trained)"),
        )

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures that a split has examples for, and exact match by length."""
        lengths = self.examples(split).source.lengths
        exact = np.array(metrics.exact_matches(self.translations(answers), self.references(split)))
        known, longest = lengths <= self.longest, lengths == self.longest
        parts = zip(self.figures, (known, longest, ~known), strict=True)
        figures = {figure.key: float(exact[rows].mean()) for figure, rows in parts if rows.any()}
        groups = {str(n): float(exact[lengths == n].mean()) for n in np.unique(lengths)}
        return Scores(figures, {BY_LENGTH: groups})

    def remarks(self, text: str) -> list[str]:
        """Which letters are unknown, and whether there are more than in training."""
        count = len(self.split_source(text))
        longer = [f"{count} letters are more than the {self.longest} of the longest sequence of training."]
        return super().remarks(text) + longer * (count > self.longest)


class Copy(Symbols):
    """The same again."""

    name = "copy"
    title = "letters copied, up to 10 in training and 20 in the test"

    @staticmethod
    def answer_to(letters: np.ndarray) -> np.ndarray:
        """The letters."""
        return letters


class Reverse(Symbols):
    """The other way round."""

    name = "reverse"
    title = "letters reversed, up to 10 in training and 20 in the test"

    @staticmethod
    def answer_to(letters: np.ndarray) -> np.ndarray:
        """The letters, the last one first."""
        return letters[:, ::-1]


class Sort(Symbols):
    """In the order of the alphabet."""

    name = "sort"
    title = "letters sorted, up to 10 in training and 20 in the test"

    @staticmethod
    def answer_to(letters: np.ndarray) -> np.ndarray:
        """The letters, in order."""
        return np.sort(letters, axis=1)
