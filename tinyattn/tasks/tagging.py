"""What every tagging task looks like, whatever its words and tags are: a tag for each word of a sentence.

A batch holds the numbers of words, and, where words are spelled (`features` > 0), further numbers for parts of their
spelling, so that something is known of a word that never occurred in training. Figures count words: a long sentence
counts as much as its words. Beside the models stand those who look at no more than so many words (`ceilings`), because
what is above them needs the sentence.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Heat, Map, Samples, Section, Table
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.batching import OrderedBatches, ShapedBatcher, ShuffledBatches
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.vocabulary import UNK, Vocabulary
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

NOTHING = -1
"""The tag of what has none: padding, rows that only fill a batch up, and sentences that a user asks about."""
SHOWN = 4  # sentences in a report

Sentence = tuple[list[str], list[str]]
"""Words, and as many tags."""


@dataclass(frozen=True)
class TagBatch:
    """B sentences padded with 0 to one length T."""

    tokens: np.ndarray  # (B, T) int32: words
    length: np.ndarray  # (B,) int32: how many there are
    tags: np.ndarray  # (B, T) int32, or NOTHING
    index: np.ndarray  # (B,) int64: which sentences of the split these are
    valid: np.ndarray  # (B,) bool: False in rows that only fill the batch up

    @property
    def weight(self) -> int:
        """How many words have a tag."""
        return int((np.asarray(self.tags) != NOTHING).sum())


@dataclass(frozen=True)
class SpelledBatch(TagBatch):
    """The same with numbers for the spelling of each word."""

    features: np.ndarray  # (B, T, F) int32


class TaggingTask(Task):
    """A task of tagging. Subclasses give the sentences of the splits, the names of the tags, the vocabulary and the
    padded lengths; those that spell words override `spelling`.
    """

    unit: ClassVar[str] = "word"
    families: ClassVar[tuple[str, ...]] = ("tagging",)
    figures: Sequence[Figure] = (
        Figure("accuracy", "accuracy"),
        Figure("sentence_accuracy", "sentences without a mistake"),
        Figure("ambiguous_accuracy", "accuracy, words with several tags"),
        Figure("val_loss", "loss, nats per word", "{:.4f}", "lower"),
    )  # type: ignore[assignment]  # (a constant will do for the property)
    spelled: Vocabulary | None = None
    """The parts of spelling that are known, if words are spelled."""

    def __init__(
        self,
        sentences: Mapping[str, Sequence[Sentence]],
        tags: Sequence[str],
        vocabulary: Vocabulary,
        shapes: Sequence[int],
    ):
        self.sentences, self.classes, self.vocabulary = dict(sentences), tuple(tags), vocabulary
        self.shapes = np.array(shapes)
        number, known = {tag: k for k, tag in enumerate(self.classes)}, self._table()
        self.tokens, self.tags = {}, {}
        for split in SPLITS:
            words = [np.array([*map(known, row)], np.int32) for row, _ in self.sentences[split]]
            tagged = [np.array([number[tag] for tag in row], np.int32) for _, row in self.sentences[split]]
            self.tokens[split], self.tags[split] = Ragged.from_rows(words), Ragged.from_rows(tagged)
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        for sentence in self.sentences["train"]:
            for word, tag in zip(*sentence, strict=True):
                self._counts[word][tag] += 1

    def _table(self) -> Callable[[str], list[int]]:
        """From a word to its number and those of its spelling, which are found once for each different word."""

        def look_up(word: str) -> list[int]:
            parts = self.spelled.encode(self.spelling(word)).tolist() if self.spelled else []
            return [*self.vocabulary.encode([self.normal(word)]).tolist(), *parts]

        return cache(look_up)

    # How words are taken.

    def normal(self, word: str) -> str:
        """A word as the vocabulary has it."""
        return word.lower()

    def spelling(self, word: str) -> list[str]:
        """Parts of its spelling, always as many."""
        return []

    @property
    def words(self) -> Sequence[str]:
        return self.vocabulary.words

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """features: how many parts of its spelling a word has; spellings: how many different ones there are; longest:
        the most words that a sentence has."""
        features = self.tokens["train"].flat.shape[1] - 1
        return {
            "vocabulary": len(self.vocabulary),
            "classes": len(self.classes),
            "features": features,
            "spellings": len(self.spelled) if self.spelled else 0,
            "longest": int(self.shapes[-1]),
        }

    def count(self, split: str) -> int:
        """How many sentences a split has."""
        return len(self.sentences[self.check_split(split)])

    def _batch(self, numbers: np.ndarray, **arrays: np.ndarray) -> TagBatch:
        """numbers: (B, T, 1 + F)."""
        if numbers.shape[-1] == 1:
            return TagBatch(numbers[..., 0], **arrays)
        return SpelledBatch(numbers[..., 0], features=np.ascontiguousarray(numbers[..., 1:]), **arrays)

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        """Batches of sentences of about one length, shuffled with a seed."""
        tokens, tags = self.tokens[self.check_split(split)], self.tags[split]
        shape_of = np.searchsorted(self.shapes, tokens.lengths)

        def make(rows: np.ndarray, valid: np.ndarray) -> TagBatch:
            width = int(self.shapes[shape_of[rows].max()])
            lengths = tokens.lengths[rows].astype(np.int32)
            counted = (np.arange(width) < lengths[:, None]) & valid[:, None]
            right = np.where(counted, tags.pad(rows, width), np.int32(NOTHING))
            return self._batch(tokens.pad(rows, width), length=lengths, tags=right, index=rows, valid=valid)

        batcher = ShapedBatcher(shape_of, batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> TagBatch:
        """Two sentences of four and three words."""
        numbers = np.full((2, 4, self.tokens["train"].flat.shape[1]), UNK, np.int32)
        numbers[1, 3] = 0
        numbers[:, :2, 0] += 1
        tags = np.array([[0, 1, 0, 1], [1, 0, 1, NOTHING]], np.int32)
        lengths = np.array([4, 3], np.int32)
        return self._batch(numbers, length=lengths, tags=tags, index=np.arange(2), valid=np.ones(2, bool))

    # Judgement.

    def _right(self, outputs: Sequence[Any], split: str) -> np.ndarray:
        """Which words are tagged right, (words of the split,) bool, of outputs (T,) or longer, one a sentence."""
        tags = self.tags[self.check_split(split)]
        if len(outputs) != len(tags):
            expected = f"there must be {len(tags)} answers, one for each sentence of {split}"
            raise DataError(f"[{self.name}] {expected}, but got {len(outputs)}.")
        said = [np.asarray(each)[:n] for each, n in zip(outputs, tags.lengths, strict=True)]
        return np.concatenate(said) == tags.flat

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and the accuracy by tag."""
        right, tags = self._right(answers.outputs, split), self.tags[split]
        figures = self._figures(right, split)
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        by_tag = {
            tag: float(right[tags.flat == k].mean()) for k, tag in enumerate(self.classes) if k in tags.flat
        }
        return Scores(figures, {"accuracy by tag": by_tag})

    def _figures(self, right: np.ndarray, split: str) -> dict[str, float]:
        """The figures of those who are right in these words."""
        tags = self.tags[split]
        whole = np.logical_and.reduceat(right, tags.offsets[:-1])
        several = np.array([len(self._counts.get(word, ())) > 1 for word in self._words(split)])
        return {
            "accuracy": float(right.mean()),
            "sentence_accuracy": float(whole.mean()),
            "ambiguous_accuracy": float(right[several].mean()) if several.any() else 1.0,
        }

    def floor(self, split: str) -> dict[str, float]:
        """The figures of who always says the tag that a word, written just so, has most often in training; of
        unknown words, the most frequent of all."""
        usual = {word: counts.most_common(1)[0][0] for word, counts in self._counts.items()}
        other = sum(self._counts.values(), Counter()).most_common(1)[0][0]
        said = [self.classes.index(usual.get(word, other)) for word in self._words(split)]
        return self._figures(np.array(said) == self.tags[split].flat, split)

    def _words(self, split: str) -> list[str]:
        """All words of a split."""
        return [word for words, _ in self.sentences[self.check_split(split)] for word in words]

    def ceilings(self) -> dict[str, float]:
        """What can be known without the whole sentence: by what is looked at, the best accuracy there is."""
        return {}

    # For people.

    def words_of(self, text: str) -> list[str]:
        """The words of a line that a user gives. Raises DataError when there is none."""
        words = text.split()
        if not words:
            raise DataError(f"[{self.name}] a sentence must hold a word, but got {text!r}.")
        return words

    def read(self, text: str) -> TagBatch:
        """Words with spaces between them. Raises DataError when there is none, or too many."""
        words = self.words_of(text)
        if len(words) > self.shapes[-1]:
            expected = f"a sentence must have at most {self.shapes[-1]} words"
            raise DataError(f"[{self.name}] {expected}, but got {len(words)}.")
        tags, length = np.full((1, len(words)), NOTHING, np.int32), np.array([len(words)], np.int32)
        return self._batch(
            np.array([[*map(self._table(), words)]], np.int32),
            length=length,
            tags=tags,
            index=np.zeros(1, int),
            valid=np.ones(1, bool),
        )

    def remarks(self, text: str) -> list[str]:
        """Which words are not in the vocabulary."""
        unknown = dict.fromkeys(w for w in text.split() if self.normal(w) not in self.vocabulary)
        return [f"{word!r} is not in the vocabulary of {self.name}." for word in unknown]

    def show(self, batch: TagBatch, answers: Answers, row: int) -> dict[str, Any]:
        """Each word with its tag behind it."""
        count = int(batch.length[row])
        words = [self.vocabulary.words[i] for i in batch.tokens[row, :count]]
        tags = [self.classes[k] for k in np.asarray(answers.outputs[row])[:count]]
        tagged = " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
        return {"input": " ".join(words), "output": tagged, "tags": tags}

    def suggestions(self, count: int) -> list[str]:
        """Sentences of the test split, evenly spread over it."""
        rows = self.sentences["test"]
        return [" ".join(rows[k * len(rows) // count][0]) for k in range(count)]

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Figures beside what can be known of single words and windows; accuracy by tag; where the first model looks;
        confusions and sentences."""
        keys = ("accuracy", "sentence_accuracy", "ambiguous_accuracy")
        floor = self.floor(split)
        rows = [("the most frequent tag", "the word", *(f"{floor[key]:.1%}" for key in keys))]
        rows += [("the best there is", what, f"{best:.1%}", "", "") for what, best in self.ceilings().items()]
        rows += [
            (name, "a tag for each word", *(f"{scores.figures[key]:.1%}" for key in keys))
            for name, (_, scores) in answers.items()
        ]
        head = ("", "looks at", "accuracy", "whole sentences", "ambiguous words")
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        first = next(iter(answers.values()))[0]
        lengths = self.tags[split].lengths
        said = np.concatenate([np.asarray(o)[:n] for o, n in zip(first.outputs, lengths, strict=True)])
        counts = metrics.confusion(said, self.tags[split].flat, len(self.classes))
        confusions = [
            (tag, f"{counts[k].sum():,}", *map(str, counts[k])) for k, tag in enumerate(self.classes)
        ]
        return [
            Table("Beside what a word and its neighbours tell", head, rows),
            Bars("Part by part", groups, "tag", "accuracy"),
            *self._heat(first, split),
            Table("What is taken for what", ("tag", "words", *self.classes), confusions, "Rows are right."),
            self._samples(first, split),
        ]

    def _shown(self, first: Answers, split: str) -> list[int]:
        """Sentences with mistakes first, and not too long ones."""
        right = Ragged(self._right(first.outputs, split), self.tags[split].lengths)
        fits = [k for k in range(len(right)) if len(right[k]) <= 24]
        return sorted(fits, key=lambda k: bool(right[k].all()))[:SHOWN]

    def _heat(self, first: Answers, split: str) -> list[Section]:
        """The maps of weights of a sentence, under the names that the model gives them."""
        maps = []
        for row in self._shown(first, split)[-1:]:
            words = self.sentences[split][row][0]
            for name, found in first.maps.items():
                weights = np.asarray(found[row])[: len(words), : len(words)]
                maps.append(Map(weights, words, words, name))
        caption = "Rows are the words that look, columns what they see."
        return [Heat("Where it looks", maps, caption)] if maps else []

    def _samples(self, first: Answers, split: str) -> Samples:
        samples = []
        for row in self._shown(first, split):
            words, tags = self.sentences[split][row]
            said = [self.classes[k] for k in np.asarray(first.outputs[row])[: len(words)]]
            wrong = [f"{w}: {s}, not {t}" for w, s, t in zip(words, said, tags, strict=True) if s != t]
            tagged = " ".join(f"{word}/{tag}" for word, tag in zip(words, tags, strict=True))
            samples.append([("tagged", tagged, None), ("mistakes", "; ".join(wrong) or "none", not wrong)])
        return Samples("Sentences", samples, "Mistakes first.")

    def describe(self) -> str:
        """A few lines for people."""
        sizes = ", ".join(f"{self.count(s):,} {s}" for s in SPLITS)
        words = ", ".join(f"{len(self.tags[s].flat):,}" for s in SPLITS)
        lines = [
            f"{self.name}: {self.title}",
            f"  sentences   {sizes}, of {words} words",
            f"  vocabulary  {len(self.vocabulary):,} words",
            f"  tags        {', '.join(self.classes)}",
            f"  lengths     {', '.join(map(str, self.shapes))} words (padded)",
            f"  to beat     {self.floor('test')['accuracy']:.2%} of the test's words by each word's most frequent tag",
        ]
        lines += [f"  at best     {best:.2%} by {what}" for what, best in self.ceilings().items()]
        return "\n".join(lines)
