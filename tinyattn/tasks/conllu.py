"""conllu: a treebank of Universal Dependencies, of which words and parts of speech are read (--data DIR).

The folder holds the files of one treebank as they are published: *-train.conllu, *-dev.conllu and *-test.conllu,
gzipped or not. A sentence is lines of ten columns with tabs between them, and a blank line behind it; lines that
begin with # are comments. Read are the first (number), the second (word) and the fourth (part of speech). Words that
the text writes as one, such as "don't", come as a range, 3-4, without a part of speech, in front of the words it is
made of; words that the text leaves out, as 8.1. Both are looked at and left out, as in the field's figures.

A word is lower-cased; words that occur once in training are <unk> as those that don't occur. So that something is known
of those, a word is spelled: its last one to four letters, its first three, and its shape, in which letters are x or X,
figures d, and of equal neighbours two are kept ("McDonald's" XxXxx'x).
"""

import re
from pathlib import Path
from typing import ClassVar, NoReturn

import numpy as np

from tinyattn.errors import DataError
from tinyattn.sections import Figure
from tinyattn.tasks.parts.reading import read_text, refuse
from tinyattn.tasks.parts.vocabulary import Vocabulary
from tinyattn.tasks.tagging import Sentence, TaggingTask
from tinyattn.tasks.task import SPLITS, Answers, Scores

FILES = {"train": "train", "validation": "dev", "test": "test"}
TAGS = (
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ",
    "SYM", "VERB", "X",
)  # fmt: skip
"""All there are: https://universaldependencies.org/u/pos/."""
LENGTHS = (8, 16, 24, 32, 48, 64)
"""Padded lengths; the last one holds the longest sentence."""
SPELLED_OFTEN = 3
"""A part of spelling is known if it occurs so often in training."""
_SEVERAL, _LEFT_OUT = re.compile(r"([1-9]\d*)-([1-9]\d*)"), re.compile(r"(0|[1-9]\d*)\.([1-9]\d*)")


class Conllu(TaggingTask):
    """The task. Raises DataError for a folder without the three files, and for a file that is truncated, corrupt or
    of another kind, with the line.
    """

    name: ClassVar[str] = "conllu"
    title = "parts of speech of a treebank in the CoNLL-U format (--data DIR)"
    figures = (*TaggingTask.figures, Figure("unknown_accuracy", "accuracy, unknown words"))

    def __init__(self, data: str | Path, minimum_frequency: int = 2):
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(f"[{self.name}] {folder} must be a folder, but it is not.")
        splits = {split: read_conllu(self.name, self._file(folder, split)) for split in SPLITS}
        self.title = f"parts of speech of the treebank in {folder.name or folder}"
        words = [list(map(self.normal, sentence)) for sentence, _ in splits["train"]]
        spellings = [self.spelling(word) for sentence, _ in splits["train"] for word in sentence]
        self.spelled = Vocabulary.build(spellings, SPELLED_OFTEN)
        longest = max(len(words) for split in SPLITS for words, _ in splits[split])
        shapes = [*(n for n in LENGTHS if n < longest), 8 * -(-longest // 8)]
        super().__init__(splits, TAGS, Vocabulary.build(words, minimum_frequency), shapes)
        seen = {word for sentence in words for word in sentence}
        self.unknown = {
            split: np.array([self.normal(w) not in seen for sentence, _ in splits[split] for w in sentence])
            for split in SPLITS
        }

    def _file(self, folder: Path, split: str) -> Path:
        part = FILES[split]
        found = sorted(p for p in folder.iterdir() if re.search(rf"{part}\.conllu(\.gz)?$", p.name))
        if len(found) != 1:
            got = f"there are {' and '.join(p.name for p in found)}" if found else "there is none"
            refuse(self.name, folder, f"hold one file that ends in {part}.conllu or {part}.conllu.gz", got)
        return found[0]

    def spelling(self, word: str) -> list[str]:
        """Its last one to four letters, its first three, and its shape."""
        low = word.lower()
        kinds = ["d" if c.isdigit() else "X" if c.isupper() else "x" if c.isalpha() else c for c in word]
        shape = re.sub(r"(.)\1+", r"\1\1", "".join(kinds))
        ends = [f"-{low[-n:]}" if len(low) >= n else f"={low}" for n in (1, 2, 3, 4)]
        return [*ends, f"{low[:3]}-", f"shape {shape}"]

    def score(self, answers: Answers, split: str) -> Scores:
        """Further, the accuracy of words that don't occur in training."""
        scores, unknown = super().score(answers, split), self.unknown[split]
        if unknown.any():
            right = self._right(answers.outputs, split)
            scores.figures["unknown_accuracy"] = float(right[unknown].mean())
        return scores


def read_conllu(task: str, path: Path) -> list[Sentence]:
    """The sentences of a file: words, and their universal parts of speech. Raises DataError."""
    text = read_text(task, path, "sentences in the CoNLL-U format")
    if not text.endswith("\n\n"):
        refuse(task, path, "end with a blank line behind the last sentence", "it ends early: it is truncated")
    sentences, reader = [], _Sentence(task, path)
    for number, line in enumerate(text[:-1].split("\n"), 1):
        if line:
            reader.take(number, line)
        else:
            sentences.append(reader.finish(number))
            reader = _Sentence(task, path)
    return sentences


class _Sentence:
    """One sentence of a file, line by line."""

    def __init__(self, task: str, path: Path):
        self.task, self.path = task, path
        self.words: list[str] = []
        self.tags: list[str] = []
        self.until = 0  # the last word of the range that was announced
        self.left_out = (0, 0)  # the last of the words that the text leaves out

    def take(self, number: int, line: str) -> None:
        """A line of it."""
        if line.startswith("#") and not self.words and self.left_out == (0, 0) and not self.until:
            return
        cells = line.split("\t")
        if len(cells) != 10:
            self._refuse("have 10 columns with tabs between them", f"line {number} has {len(cells)}")
        if not all(cells):
            self._refuse(
                "have something in every column", f"column {cells.index('') + 1} of line {number} is empty"
            )
        name, word, tag, following = cells[0], cells[1], cells[3], len(self.words) + 1
        if several := _SEVERAL.fullmatch(name):
            first, last = int(several[1]), int(several[2])
            if first != following or last <= first or first <= self.until:
                self._refuse(
                    "number words in their order", f"line {number} has {name!r} before word {following}"
                )
            self.until = last
        elif empty := _LEFT_OUT.fullmatch(name):
            place = int(empty[1]), int(empty[2])
            expected = self.left_out[1] + 1 if self.left_out[0] == place[0] else 1
            if place != (len(self.words), expected):
                self._refuse(
                    "number words in their order", f"line {number} has {name!r} before word {following}"
                )
            self.left_out = place
        elif name != str(following):
            self._refuse("number words in their order", f"line {number} has {name!r} in place of {following}")
        elif tag not in TAGS:
            self._refuse("have a universal part of speech in column 4", f"line {number} has {tag!r}")
        else:
            self.words.append(word)
            self.tags.append(tag)

    def finish(self, number: int) -> Sentence:
        """The blank line behind it."""
        if not self.words:
            self._refuse("have words in every sentence", f"there is none in front of line {number}")
        if self.until > len(self.words):
            got = f"line {number} ends a sentence of {len(self.words)} that announced {self.until}"
            self._refuse("hold all words of a range", got)
        return self.words, self.tags

    def _refuse(self, expected: str, got: str) -> NoReturn:
        refuse(self.task, self.path, expected, got)
