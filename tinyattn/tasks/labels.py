"""labels: texts of yours, each with a label: what is it about, who wrote it, is it friendly?

The data are a file with a label and a text in each line (table.py), or a folder with a file for each split, whose
names say which: train, val (valid, validation, dev) and test, as in reviews.train.csv.

A single file is split by its texts alone: of each label's texts, in an order that nobody chose (that of their
SHA-256), the first tenth are the test and the second tenth validation. So the split is the same every time, whatever
the seed and the order of the lines; and a text that occurs twice is on one side only.

A text is lower-cased words and single punctuation marks, cut behind `longest`. The vocabulary comes from training
alone; words that occur there fewer than `minimum_frequency` times are <unk>, as those that do not occur.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Bars, Figure, Samples, Section, Table
from tinyattn.tasks.parallel import detokenize, tokenize
from tinyattn.tasks.parts import metrics
from tinyattn.tasks.parts.bag import BagOfWords
from tinyattn.tasks.parts.batching import OrderedBatches, ShapedBatcher, ShuffledBatches
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.reading import refuse
from tinyattn.tasks.parts.table import Row, read_rows
from tinyattn.tasks.parts.vocabulary import UNK, Vocabulary
from tinyattn.tasks.task import SPLITS, Answers, Scores, Task

NOTHING = -1
"""The label of what has none: rows that only fill a batch up, and texts that a user asks about."""
LENGTHS = (8, 16, 32, 64, 128)
"""Padded lengths; those beyond the longest text give way to one that just holds it."""
FILES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test",),
}
TABLE_OF, SHOWN = 12, 4
"""Labels in the table of confusions, and texts in a report."""
MOST_FREQUENT = "the most frequent label"


@dataclass(frozen=True)
class LabelBatch:
    """B texts padded with 0 to one length T; in rows that are not valid the label is NOTHING."""

    tokens: np.ndarray  # (B, T) int32
    length: np.ndarray  # (B,) int32: words of each text
    label: np.ndarray  # (B,) int32: the class of each
    index: np.ndarray  # (B,) int64: which texts of the split these are
    valid: np.ndarray  # (B,) bool

    @property
    def weight(self) -> int:
        """How many labels are predicted."""
        return int((np.asarray(self.label) != NOTHING).sum())


class LabelledTexts(Task):
    """Texts with labels. Subclasses give the rows of each split, the labels, and how often a word must occur in
    training to be known, or all words there are; those whose words aren't found by `tokenize` override `split_text`.
    """

    unit = "text"
    families = ("classification",)
    figures: Sequence[Figure] = (
        Figure("accuracy", "accuracy"),
        Figure("macro_f1", "F1, mean over labels"),
        Figure("val_loss", "loss, nats per text", "{:.4f}", "lower"),
    )  # type: ignore[assignment]  # (a constant will do for the property)
    longest = 256

    def __init__(
        self,
        rows: dict[str, list[Row]],
        classes: Sequence[str],
        minimum_frequency: int,
        vocabulary: Vocabulary | None = None,
    ):
        self.rows, self.classes = rows, list(classes)
        words = {split: [self._words(row) for row in self.rows[split]] for split in SPLITS}
        self.vocabulary = vocabulary or Vocabulary.build(words["train"], minimum_frequency)
        known = {label: number for number, label in enumerate(self.classes)}
        self.tokens = {split: Ragged.from_rows(map(self.vocabulary.encode, words[split])) for split in SPLITS}
        self.labels = {s: np.array([known[row.label] for row in self.rows[s]], np.int32) for s in SPLITS}
        most = max(int(tokens.lengths.max()) for tokens in self.tokens.values())
        last = 8 * math.ceil(most / 8)
        self.shapes = np.array([*(n for n in LENGTHS if n < last), last])
        self.usual = int(np.bincount(self.labels["train"]).argmax())

    def split_text(self, text: str) -> list[str]:
        """The words of a text."""
        return tokenize(text, "")

    def _words(self, row: Row) -> list[str]:
        words = self.split_text(row.text)[: self.longest]
        if not words:
            raise DataError(
                f"[{self.name}] every text must hold a word, but got {row.text!r} in {row.place}."
            )
        return words

    # Batches.

    def sizes(self) -> dict[str, Any]:
        """The sizes of the vocabulary and of the set of labels, and the padded length of the longest texts."""
        sizes = {"vocabulary": len(self.vocabulary), "classes": len(self.classes)}
        return sizes | {"longest": int(self.shapes[-1])}

    @property
    def words(self) -> Sequence[str]:
        return self.vocabulary.words

    def count(self, split: str) -> int:
        """How many texts a split has."""
        return len(self.rows[self.check_split(split)])

    def batches(
        self, split: str, batch_size: int, seed: int | None = None
    ) -> OrderedBatches | ShuffledBatches:
        """Batches of texts of about one length, shuffled with a seed."""
        lengths = self.tokens[self.check_split(split)].lengths
        shape_of = np.searchsorted(self.shapes, lengths)

        def make(rows: np.ndarray, valid: np.ndarray) -> LabelBatch:
            width = int(self.shapes[shape_of[rows].max()])
            labels = np.where(valid, self.labels[split][rows], np.int32(NOTHING))
            return LabelBatch(
                self.tokens[split].pad(rows, width), lengths[rows].astype(np.int32), labels, rows, valid
            )

        batcher = ShapedBatcher(shape_of, batch_size, make)
        return OrderedBatches(batcher) if seed is None else ShuffledBatches(batcher, seed)

    def probe(self) -> LabelBatch:
        """Two texts of four and three words."""
        tokens = np.full((2, 4), UNK, np.int32)
        tokens[1, 3] = 0
        lengths, labels = np.array([4, 3], np.int32), np.arange(2, dtype=np.int32)
        return LabelBatch(tokens, lengths, labels, np.arange(2), np.ones(2, bool))

    # Judgement.

    def score(self, answers: Answers, split: str) -> Scores:
        """The figures, and the accuracy by the length of the text."""
        right, lengths = self.labels[self.check_split(split)], self.tokens[split].lengths
        said = np.asarray(answers.outputs, np.int64)
        figures = self._figures(said, split)
        if answers.nats is not None:
            figures["val_loss"] = answers.nats / answers.predictions
        edges = [1, *(int(n) + 1 for n in self.shapes)]
        by_length = metrics.mean_by_bucket(said == right, lengths, edges)
        return Scores(figures, {"accuracy by words in the text": by_length})

    def _figures(self, said: np.ndarray, split: str) -> dict[str, float]:
        right = self.labels[split]
        f1 = metrics.macro_f1(said, right, len(self.classes))
        return {"accuracy": metrics.accuracy(said, right), "macro_f1": f1}

    def floor(self, split: str) -> dict[str, float]:
        """The figures of who always says the label that is most frequent in training."""
        return self._figures(np.full(self.count(split), self.usual), split)

    @cached_property
    def bag(self) -> BagOfWords:
        """Who counts words, and doesn't know their order."""
        tokens, labels = self.tokens["train"], self.labels["train"]
        return BagOfWords(tokens, labels, len(self.vocabulary), len(self.classes))

    def bag_of_words(self, split: str) -> dict[str, float]:
        """The figures of who counts words."""
        return self._figures(self.bag.classify(self.tokens[self.check_split(split)]), split)

    # For people.

    def read(self, text: str) -> LabelBatch:
        """A text. Raises DataError when it holds no word."""
        tokens = self.vocabulary.encode(self._words(Row("", text, "the text given")))[None]
        length, label = np.array([tokens.shape[1]], np.int32), np.full(1, NOTHING, np.int32)
        return LabelBatch(tokens, length, label, np.zeros(1, np.int64), np.ones(1, bool))

    def show(self, batch: LabelBatch, answers: Answers, row: int) -> dict[str, Any]:
        """The text as the model reads it, and its label."""
        words = self.vocabulary.decode(batch.tokens[row, : batch.length[row]])
        return {"input": detokenize(words), "output": self.classes[answers.outputs[row]]}

    def suggestions(self, count: int) -> list[str]:
        """Texts of the test split, evenly spread over it."""
        rows = self.rows["test"]
        return [" ".join(rows[k * len(rows) // count].text.split()) for k in range(count)]

    def remarks(self, text: str) -> list[str]:
        """Which words are not in the vocabulary, and whether the text is cut."""
        words = self.split_text(text)
        unknown = dict.fromkeys(word for word in words if word not in self.vocabulary)
        cut = [f"only the first {self.longest} of its {len(words)} words are read."]
        return [f"{word!r} is not in the vocabulary of {self.name}." for word in unknown] + cut * (
            len(words) > self.longest
        )

    def sections(self, answers: Mapping[str, tuple[Answers, Scores]], split: str) -> list[Section]:
        """Figures beside the most frequent label's, accuracy by length, confusions and examples of the first model."""
        usual = self.classes[self.usual]
        floors = [
            (name, says, *(f"{value:.1%}" for value in figures.values()))
            for name, says, figures in (
                (MOST_FREQUENT, repr(usual), self.floor(split)),
                ("naive Bayes", "by the words, in no order", self.bag_of_words(split)),
            )
        ]
        rows = [
            (
                name,
                "a label for each text",
                *(f"{scores.figures[key]:.1%}" for key in ("accuracy", "macro_f1")),
            )
            for name, (_, scores) in answers.items()
        ]
        groups = {name: next(iter(scores.groups.values())) for name, (_, scores) in answers.items()}
        said = np.asarray(next(iter(answers.values()))[0].outputs, np.int64)
        return [
            Table("Beside what needs no order", ("", "says", "accuracy", "F1"), floors + rows),
            self._confusions(said, split),
            Bars("Short and long texts", groups, "words in the text", "accuracy"),
            self._samples(said, split),
        ]

    def _confusions(self, said: np.ndarray, split: str) -> Table:
        counts = metrics.confusion(said, self.labels[split], len(self.classes))
        shown = np.sort(np.argsort(-counts.sum(1), kind="stable")[:TABLE_OF])
        head = ("label", "texts", *(self.classes[j] for j in shown))
        rows = [(self.classes[i], str(counts[i].sum()), *(str(counts[i, j]) for j in shown)) for i in shown]
        caption = "A row is what is right, a column what was said."
        if len(shown) < len(self.classes):
            caption += f" Only the {len(shown)} most frequent of {len(self.classes)} labels."
        return Table("What is taken for what", head, rows, caption)

    def _samples(self, said: np.ndarray, split: str) -> Samples:
        """Wrong answers first."""
        right = self.labels[split]
        order: Sequence[int] = np.argsort(said == right, kind="stable")[:SHOWN].tolist()
        samples = [
            [
                ("text", self.rows[split][k].text, None),
                ("label", self.rows[split][k].label, None),
                ("said", self.classes[said[k]], bool(said[k] == right[k])),
            ]
            for k in order
        ]
        return Samples("Texts", samples, "Mistakes first.")

    def describe(self) -> str:
        """A few lines for people."""
        sizes = ", ".join(f"{self.count(split):,} {split}" for split in SPLITS)
        counts = np.bincount(self.labels["train"], minlength=len(self.classes))
        labels = ", ".join(f"{label} {count:,}" for label, count in zip(self.classes, counts, strict=True))
        floor, bag = self.floor("test")["accuracy"], self.bag_of_words("test")["accuracy"]
        return (
            f"{self.name}: {self.title}\n  texts       {sizes}\n  labels      {labels}\n"
            f"  vocabulary  {len(self.vocabulary):,} words\n"
            f"  lengths     {', '.join(map(str, self.shapes))} words (padded)\n"
            f"  to beat     {floor:.1%} of the test by always saying {self.classes[self.usual]!r},\n"
            f"              {bag:.1%} by counting words (naive Bayes)"
        )


class Labels(LabelledTexts):
    """Texts with labels from the file or folder `data`; see table.py for separator and the names of columns. Raises
    DataError for files that are missing, damaged or without sense, with the line.
    """

    name = "labels"
    title = "the label of a text of yours (--data FILE or DIR)"

    def __init__(
        self,
        data: str | Path,
        separator: str = "auto",
        label_column: str = "",
        text_column: str = "",
        minimum_frequency: int = 2,
        longest: int = 256,
    ):
        self.longest = check_positive(self.name, "longest", longest)
        minimum_frequency = check_positive(self.name, "minimum_frequency", minimum_frequency)

        def rows(path: Path) -> list[Row]:
            return read_rows(self.name, path, separator, label_column, text_column)

        path = Path(data)
        if path.is_dir():
            found = {split: rows(self._file(path, split)) for split in SPLITS}
        else:
            found = self._split(path, rows(path))
        self.title = f"the labels of texts in {path.name or path}"
        self._check(path, found)
        super().__init__(found, sorted({row.label for row in found["train"]}), minimum_frequency)

    def _file(self, folder: Path, split: str) -> Path:
        """The file of a split in a folder."""
        names = FILES[split]
        found = sorted(
            p for p in folder.iterdir() if p.is_file() and set(p.name.lower().split(".")) & {*names}
        )
        if len(found) != 1:
            got = f"there are {' and '.join(p.name for p in found)}" if found else "there is none"
            refuse(self.name, folder, f"hold one file with {' or '.join(names)} in its name", got)
        return found[0]

    def _split(self, path: Path, rows: list[Row]) -> dict[str, list[Row]]:
        """A tenth of each label's texts for the test, a tenth for validation, and all else for training."""
        texts: dict[str, list[Row]] = {}
        for row in rows:
            texts.setdefault(" ".join(self._words(row)), []).append(row)
        order = sorted(texts, key=lambda text: hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        split: dict[str, list[Row]] = {name: [] for name in SPLITS}
        for label in sorted({row.label for row in rows}):
            own = [text for text in order if texts[text][0].label == label]
            tenth = (len(own) + 5) // 10
            for name, part in (
                ("test", own[:tenth]),
                ("validation", own[tenth : 2 * tenth]),
                ("train", own[2 * tenth :]),
            ):
                split[name] += [row for text in part for row in texts[text]]
        if not split["test"]:
            refuse(
                self.name, path, "hold at least 5 different texts of a label", f"it holds {len(texts)} in all"
            )
        return split

    def _check(self, path: Path, rows: Mapping[str, list[Row]]) -> None:
        """Raise DataError for labels that can't be meant so."""
        train = rows["train"]
        counts = Counter(row.label for row in train)
        if len(counts) < 2:
            refuse(self.name, path, "hold two labels or more", f"got only {train[0].label!r}")
        every = [row for split in SPLITS for row in rows[split]]
        if len({row.label for row in every}) > max(2, len(every) // 2):
            got = f"{len(counts):,} of {len(train):,} differ: a head must name the columns, or labels stand in front"
            refuse(self.name, path, "hold labels that occur more than once", got)
        for row in every:
            if row.place.endswith(", line 1") and sum(other.label == row.label for other in every) == 1:
                got = f"{row.label!r} in line 1 does not: name a head's columns with label_column and text_column"
                refuse(self.name, path, "hold labels that occur more than once", got)
            if row.label not in counts:
                got = f"got {row.label!r} in {row.place}"
                raise DataError(f"[{self.name}] every label must occur in training, but {got}.")
