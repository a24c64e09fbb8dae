"""Multi30k: 31,000 captions of photographs in English, German and French (Elliott et al. 2016, "Multi30K:
multilingual English-German image descriptions"; task 1 of github.com/multi30k/dataset).

Short, concrete, real sentences: small enough for a laptop and the step of every tutorial after invented data.
The files are not part of this package; the reader takes the folder they are in, gzipped text with one caption
a line,

    {train, val, test_2016_flickr}.{en, de, fr}.gz

and checks that line i of one language can be the translation of line i of the other.

Tokens are lower-cased words and single punctuation marks, in Unicode's composed form (NFC), with two habits
of the languages respected: a clitic of English or German is a token that begins with its apostrophe ("dog's"
is dog 's), a French elision one that ends with it ("l'herbe" is l' herbe). Vocabularies come from the
training split alone.
"""

import gzip
import html
import math
import re
import unicodedata
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from tinyattn.errors import DataError
from tinyattn.tasks.checks import check_positive
from tinyattn.tasks.ragged import Ragged
from tinyattn.tasks.translation import SPLITS, Examples, TranslationTask
from tinyattn.tasks.vocabulary import Vocabulary

LANGUAGES = {"de": "German", "en": "English", "fr": "French"}
FILES = dict(zip(SPLITS, ("train", "val", "test_2016_flickr"), strict=True))
LENGTHS = (12, 16, 24)  # padded lengths, source and target alike; the longest sentence decides on one more
LARGEST = 256 << 20
"""Bytes of text that a file may hold: a small file can unpack to more than the memory."""

_WORD = r"\w+|[^\w\s]"
_TOKEN = {
    "de": re.compile(rf"(?<=\w)'\w+|{_WORD}"),
    "en": re.compile(rf"(?<=\w)'\w+|{_WORD}"),
    "fr": re.compile(rf"\w+'(?=\w)|{_WORD}"),
}
_OPENING = set("(-„#")  # no space behind; nor in front of the closing ones
_CLOSING = set(".,;:!?)%-'“”")


def load(
    data: str | Path | None = None, source: str = "de", target: str = "en", minimum_frequency: int = 2
) -> TranslationTask:
    """The task of translating `source` into `target` ("de", "en" or "fr"), read from the folder `data`.

    Words that occur fewer than `minimum_frequency` times in the training split are <unk>. Raises DataError
    when no folder is named, and when a file is missing, damaged or does not belong.
    """
    for language in (source, target):
        if language not in LANGUAGES:
            expected = f"a language must be one of {', '.join(LANGUAGES)}"
            raise DataError(f"[multi30k] {expected}, but got {language!r}.")
    if source == target:
        raise DataError(f"[multi30k] source and target must be two languages, but got {source!r} twice.")
    if data is None:
        raise DataError("[multi30k] the folder of its files must be named, but got none: add --data DIR.")
    minimum_frequency = check_positive("multi30k", "minimum_frequency", minimum_frequency)
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(f"[multi30k] --data must name the folder of its files, but {data} is not a folder.")

    tokens = {split: _read_pair(folder, FILES[split], source, target) for split in SPLITS}
    vocabularies = [Vocabulary.build(sentences, minimum_frequency) for sentences in tokens["train"]]
    encoded = {split: Examples(*map(_encode, vocabularies, pair)) for split, pair in tokens.items()}
    longest = max(max(e.source.lengths.max(), e.target.lengths.max() + 1) for e in encoded.values())
    last = 8 * math.ceil(longest / 8)
    return TranslationTask(
        name="multi30k",
        description=f"captions of photographs, {LANGUAGES[source]} to {LANGUAGES[target]}",
        source_vocabulary=vocabularies[0],
        target_vocabulary=vocabularies[1],
        shapes=tuple((length, length) for length in (*[n for n in LENGTHS if n < last], last)),
        split_source=partial(tokenize, language=source),
        join_source=detokenize,
        join_target=detokenize,
        raw={split: tokens[split] for split in SPLITS if split != "train"},
        **encoded,
    )


def tokenize(text: str, language: str) -> list[str]:
    """The tokens of one line, lower-cased; language "de", "en" or "fr"."""
    text = (
        unicodedata.normalize("NFC", html.unescape(text))
        .lower()
        .replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    )
    return _TOKEN[language].findall(text)


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


def read_lines(path: Path) -> list[str]:
    """The lines of a gzipped UTF-8 text file. Raises DataError, one sentence, however the file is damaged."""

    def refuse(expected: str, got: str) -> NoReturn:
        raise DataError(f"[multi30k] {path} must {expected}, but {got}.") from None

    if not path.is_file():
        refuse("be a gzipped text file", "there is no such file")
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            refuse(f"hold at most {LARGEST >> 20} MB of text", "it unpacks to more")
        text = content.decode("utf-8-sig")
    except EOFError:
        refuse("be a whole gzip file", "it ends early: it is truncated")
    except gzip.BadGzipFile as error:
        refuse("be a gzip file", f"it is foreign or damaged ({error})")
    except zlib.error as error:
        refuse("be a gzip file", f"its data is corrupt ({error})")
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]
        refuse("be UTF-8 text", f"got byte 0x{byte:02x} in line {before.count(10) + 1}")
    except OSError as error:
        refuse("be readable", f"it is not ({error.strerror})")
    if not text:
        refuse("hold one sentence a line", "it is empty")
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            refuse("hold one sentence a line", f"line {number} is empty")
    return lines


def _read_pair(folder: Path, stem: str, source: str, target: str) -> tuple[list[list[str]], list[list[str]]]:
    """The tokens of both languages of a split, as many sentences in each."""
    source_path, target_path = folder / f"{stem}.{source}.gz", folder / f"{stem}.{target}.gz"
    source_lines, target_lines = read_lines(source_path), read_lines(target_path)
    if len(source_lines) != len(target_lines):
        expected = f"have {len(source_lines):,} lines like {source_path.name}"
        raise DataError(f"[multi30k] {target_path} must {expected}, but it has {len(target_lines):,}.")
    sources = [tokenize(line, source) for line in source_lines]
    return sources, [tokenize(line, target) for line in target_lines]


def _encode(vocabulary: Vocabulary, sentences: list[list[str]]) -> Ragged:
    return Ragged.from_rows(vocabulary.encode(sentence) for sentence in sentences)
