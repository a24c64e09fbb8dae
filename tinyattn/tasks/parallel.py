"""Users' own translations: two text files for each split, line i of one the translation of line i of the other.

    DIR/train.de  DIR/train.en  DIR/val.de  DIR/val.en  DIR/test.de  DIR/test.en        (or each with .gz)

Tokens are lower-cased words and single punctuation marks, in Unicode's composed form (NFC), with two habits of
European languages respected: a clitic is a token that begins with its apostrophe ("dog's" is dog 's), in French an
elision is one that ends with it ("l'herbe" is l' herbe). Vocabularies come from the training split alone.
"""

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tinyattn.errors import DataError
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.ragged import Ragged
from tinyattn.tasks.parts.reading import read_lines
from tinyattn.tasks.parts.vocabulary import Vocabulary
from tinyattn.tasks.task import SPLITS
from tinyattn.tasks.translation import Examples, Tokens, TranslationTask

LENGTHS = (12, 16, 24, 40)
"""Padded lengths, source and target alike; those beyond the longest sentence give way to one that just holds it."""

_WORD = r"\w+|[^\w\s]"
_CLITIC, _ELISION = re.compile(rf"(?<=\w)'\w+|{_WORD}"), re.compile(rf"\w+'(?=\w)|{_WORD}")
_OPENING = set("(-„#")  # no space behind; nor in front of the closing ones
_CLOSING = set(".,;:!?)%-'“”")


class Parallel(TranslationTask):
    """Sentence pairs from the files of a folder.

    data: the folder. source, target: the languages, as the files' names end; when there are just two, source is
    by default the first of the alphabet. Words that occur fewer than `minimum_frequency` times in the training
    split are <unk>. Raises DataError when a file is missing, damaged or does not belong.
    """

    name: ClassVar[str] = "parallel"
    title = "pairs of sentences from your own files, train/val/test.SRC and .TGT (--data DIR)"
    stems: ClassVar[dict[str, str]] = dict(zip(SPLITS, ("train", "val", "test"), strict=True))
    lengths: ClassVar[tuple[int, ...]] = LENGTHS

    def __init__(self, data: str | Path, source: str = "", target: str = "", minimum_frequency: int = 2):
        minimum_frequency = check_positive(self.name, "minimum_frequency", minimum_frequency)
        if data is None:
            raise DataError(
                f"[{self.name}] the folder of its files must be named, but got none: add --data DIR."
            )
        self.folder = Path(data)
        self.source, self.target = self._languages(source, target)
        if not self.folder.is_dir():
            raise DataError(
                f"[{self.name}] --data must name the folder of its files, but {data} is not a folder."
            )
        pairs = {split: self._pair(stem) for split, stem in self.stems.items()}
        build = [Vocabulary.build(sentences, minimum_frequency) for sentences in pairs["train"]]
        self.source_vocabulary, self.target_vocabulary = build
        for split, pair in pairs.items():
            setattr(self, split, Examples(*map(_encode, build, pair)))
        every = [self.examples(split) for split in SPLITS]
        longest = max(max(e.source.lengths.max(), e.target.lengths.max() + 1) for e in every)
        last = 8 * math.ceil(longest / 8)
        self.shapes = tuple((length, length) for length in (*[n for n in self.lengths if n < last], last))
        self.raw = {split: pairs[split] for split in SPLITS if split != "train"}
        self.title = f"your own sentences, {self.source} to {self.target}"

    def _languages(self, source: str, target: str) -> tuple[str, str]:
        """The two languages: those asked for, else the only two there are."""
        stem = self.stems["train"]
        files = sorted(self.folder.glob(f"{stem}.*")) if self.folder.is_dir() else []
        found = sorted({path.name.removeprefix(f"{stem}.").removesuffix(".gz") for path in files})
        languages = source or next((one for one in found if one != target), ""), target
        languages = languages[0], target or next((one for one in found if one != languages[0]), "")
        if not (source and target) and len(found) != 2 and self.folder.is_dir():
            got = (
                f"the files are of {', '.join(found)}"
                if found
                else f"there is no {stem}.SRC in {self.folder}"
            )
            must = "source and target must be named with --set source=… --set target=…"
            raise DataError(f"[{self.name}] {must} unless there are two languages, but {got}.")
        if languages[0] == languages[1] and languages[0]:
            raise DataError(
                f"[{self.name}] source and target must be two languages, but got {source!r} twice."
            )
        return languages

    def _file(self, stem: str, language: str) -> Path:
        """The file of a split, plain or gzipped."""
        plain = self.folder / f"{stem}.{language}"
        packed = plain.with_name(f"{plain.name}.gz")
        return packed if packed.exists() and not plain.exists() else plain

    def _pair(self, stem: str) -> tuple[list[Tokens], list[Tokens]]:
        """The tokens of both languages of a split, as many sentences in each."""
        files = self._file(stem, self.source), self._file(stem, self.target)
        source_lines, target_lines = (read_lines(self.name, path) for path in files)
        if len(source_lines) != len(target_lines):
            expected = f"have {len(source_lines):,} lines like {files[0].name}"
            raise DataError(f"[{self.name}] {files[1]} must {expected}, but it has {len(target_lines):,}.")
        sources = [tokenize(line, self.source) for line in source_lines]
        return sources, [tokenize(line, self.target) for line in target_lines]

    def split_source(self, text: str) -> Tokens:
        """The tokens of a source sentence."""
        return tokenize(text, self.source)

    def join_source(self, tokens: Sequence[str]) -> str:
        """Tokens as readable text."""
        return detokenize(tokens)

    join_target = join_source


def tokenize(text: str, language: str) -> Tokens:
    """The tokens of one line, lower-cased; language: "fr" has elisions, all others have clitics."""
    text = (
        unicodedata.normalize("NFC", html.unescape(text))
        .lower()
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    return (_ELISION if language == "fr" else _CLITIC).findall(text)


def detokenize(tokens: Sequence[str]) -> str:
    """Tokens as readable text, spaces where print has them. The case is lost, and some spacing of quotes."""
    text, glued, quoted = "", True, False
    for token in tokens:
        closing = token in _CLOSING or (token == '"' and quoted)
        clitic, elision = len(token) > 1 and token[0] == "'", len(token) > 1 and token[-1] == "'"
        text += token if glued or closing or clitic else " " + token
        glued = elision or token in _OPENING or (token == '"' and not quoted)
        quoted ^= token == '"'
    return text


def _encode(vocabulary: Vocabulary, sentences: list[Tokens]) -> Ragged:
    return Ragged.from_rows(vocabulary.encode(sentence) for sentence in sentences)
