"""Multi30k, on files made here: what is read, and one sentence for each fault of a file."""

import gzip
import random
import tracemalloc

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.errors import DataError
from tinyattn.tasks import multi30k, parallel
from tinyattn.tasks.parts import reading
from tinyattn.tasks.parts.vocabulary import SPECIALS

GERMAN = ["Ein Hund läuft.", "Zwei Männer, ein Hund.", "Ein Hund springt."]
ENGLISH = ["A dog is running.", "Two men, a dog's ball.", "A dog is jumping."]


def write(path, lines):
    path.write_bytes(gzip.compress("".join(line + "\n" for line in lines).encode()))


@pytest.fixture
def folder(tmp_path):
    for stem in multi30k.Multi30k.stems.values():
        write(tmp_path / f"{stem}.de.gz", GERMAN)
        write(tmp_path / f"{stem}.en.gz", ENGLISH)
    write(tmp_path / "test_2016_flickr.de.gz", ["Ein Einhorn läuft."])
    write(tmp_path / "test_2016_flickr.en.gz", ["A unicorn is running."])
    return tmp_path


def test_multi30k_reads_a_folder(folder):
    task = tasks.get("multi30k", data=folder, source="de", target="en")
    assert (len(task.train), len(task.validation), len(task.test)) == (3, 3, 1)
    assert task.source_vocabulary.to_list() == [*SPECIALS, ".", "ein", "hund"]
    assert task.target_vocabulary.to_list() == [*SPECIALS, ".", "a", "dog", "is"]
    assert task.target_vocabulary.decode(task.test[0].target) == ["a", "<unk>", "is", "<unk>", "."]
    assert task.references("test") == [["a", "unicorn", "is", "running", "."]]  # words, not <unk>
    assert task.source_tokens("test") == [["ein", "einhorn", "läuft", "."]]
    assert task.references("train")[0] == ["a", "dog", "is", "<unk>", "."]
    assert task.split_source("Ein HUND!") == ["ein", "hund", "!"]
    assert task.shapes == ((12, 12), (16, 16))
    with pytest.raises(DataError, match="must have gold alignments"):
        task.train.gold_links(0, (12, 12))


def test_multi30k_turns_round(folder):
    there = tasks.get("multi30k", data=str(folder), minimum_frequency=1)
    back = tasks.get("multi30k", data=str(folder), source="en", target="de", minimum_frequency=1)
    assert there.source_vocabulary == back.target_vocabulary
    assert np.array_equal(there.train.target.flat, back.train.source.flat)


@pytest.mark.parametrize(
    ("language", "text", "tokens", "again"),
    [
        ("de", "Das „saftig-grüne“ Gras.", "das „ saftig - grüne “ gras .", None),
        ("de", "Bei McDonald's.", "bei mcdonald 's .", None),
        ("en", "A man's dog isn\u2019t (yet) wet!", "a man 's dog isn 't ( yet ) wet !", None),
        ("en", 'Say "Stop" &amp; "Go".', 'say " stop " & " go " .', 'say "stop" & "go".'),
        ("en", "Two  boys' toys\u00a0here", "two boys ' toys here", "two boys' toys here"),
        ("fr", "L'homme s'assied sur l\u2019herbe.", "l' homme s' assied sur l' herbe .", None),
        ("de", "fu\u0308r", "für", "für"),
    ],
)  # fmt: skip
def test_tokens_and_back(language, text, tokens, again):
    assert parallel.tokenize(text, language) == tokens.split()
    expected = text.lower().replace("\u2019", "'") if again is None else again
    assert parallel.detokenize(tokens.split()) == expected


def message_of(folder, **options) -> str:
    text = message(lambda: tasks.get("multi30k", data=folder, **options))
    assert text.startswith("[multi30k] ")
    return text.replace(str(folder), "DIR")


def test_missing_file(folder):
    (folder / "val.en.gz").unlink()
    expected = "[multi30k] DIR/val.en.gz must be a gzipped text file, but there is no such file."
    assert message_of(folder) == expected


def test_truncated_file_wherever_it_is_cut(folder):
    path = folder / "train.de.gz"
    whole = path.read_bytes()
    for size in range(1, len(whole)):
        path.write_bytes(whole[:size])
        text = message_of(folder)
        assert text.startswith("[multi30k] DIR/train.de.gz must be a ")
    expected = "[multi30k] DIR/train.de.gz must be a whole gzip file, but it ends early: it is truncated."
    assert text == expected


def test_corrupt_file_wherever_a_byte_is_wrong(folder):
    path = folder / "train.en.gz"
    whole = path.read_bytes()
    generator, refused = random.Random(0), 0
    for place in range(10, len(whole)):
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ generator.randrange(1, 256)]) + whole[place + 1 :]
        )
        try:
            assert (
                reading.read_lines("multi30k", path) == ENGLISH
            )  # the bits that fill up the last byte mean nothing
        except DataError:
            assert "DIR/train.en.gz must be a" in message_of(folder)
            refused += 1
    assert refused >= len(whole) - 11


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "hold one sentence a line, but it is empty"),
        (gzip.compress(b"", mtime=0), "hold one sentence a line, but it is empty"),
        (
            b"plain text, not gzip\n",
            "be a gzip file, but it is foreign or damaged (Not a gzipped file (b'pl'))",
        ),
        (gzip.compress(b"fine\nEin M\xe4dchen\n", mtime=0), "be UTF-8 text, but got byte 0xe4 in line 2"),
        (gzip.compress(b"one\n\nthree\n", mtime=0), "hold one sentence a line, but line 2 is empty"),
        (
            gzip.compress("one\n\u00a0\nthree\n".encode(), mtime=0),
            "hold one sentence a line, but line 2 is empty",
        ),
        (gzip.compress("\ufeff".encode(), mtime=0), "hold one sentence a line, but it is empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # (packed bytes hold the time)
)
def test_foreign_files(folder, content, expected):
    (folder / "train.en.gz").write_bytes(content)
    assert message_of(folder) == f"[multi30k] DIR/train.en.gz must {expected}."


def test_a_byte_order_mark_is_no_word(folder):
    path = folder / "train.en.gz"
    path.write_bytes(gzip.compress("\ufeffa dog\n".encode()))
    assert reading.read_lines("multi30k", path) == ["a dog"]


def test_a_file_that_unpacks_to_more_than_the_limit_is_refused(folder, monkeypatch):
    path = folder / "train.en.gz"
    path.write_bytes(gzip.compress(b"dog\n" * 1024))
    monkeypatch.setattr(reading, "LARGEST", 4096)
    assert len(reading.read_lines("multi30k", path)) == 1024
    path.write_bytes(gzip.compress(b"dog\n" * (64 << 20)))  # 256 MB and 4 times the limit of 64 MB
    monkeypatch.setattr(reading, "LARGEST", 64 << 20)
    tracemalloc.start()
    assert message_of(folder).endswith("must hold at most 64 MB, but it unpacks to more.")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 << 20


def test_languages_must_have_as_many_lines(folder):
    write(folder / "val.en.gz", ENGLISH[:2])
    assert message_of(folder) == "[multi30k] DIR/val.en.gz must have 3 lines like val.de.gz, but it has 2."


def test_bad_options_of_multi30k(folder):
    expected = "[multi30k] its files must be named, but got none: add --data PATH."
    assert message_of(None) == expected
    assert message_of(folder / "nowhere").endswith(
        "must name the folder of its files, but DIR is not a folder."
    )
    assert message_of(folder, source="es") == "[multi30k] a language must be one of de, en, fr, but got 'es'."
    assert "must be two languages, but got 'de' twice" in message_of(folder, target="de")
    assert "minimum_frequency must be a positive integer, but got 0" in message_of(
        folder, minimum_frequency=0
    )
