"""Tasks of text: users' files are read or refused in one sentence, every character counts once, batches resume; GPT
learns from them and answers.
"""

import gzip
import math
import random
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from data_errors import message

import tinyattn as ta
from tinyattn import tasks
from tinyattn.errors import DataError
from tinyattn.models import GPT
from tinyattn.sections import Bars, Heat, Table, Text
from tinyattn.tasks.parts import reading
from tinyattn.tasks.task import SPLITS, Answers
from tinyattn.tasks.text import NOTHING, TextTask
from tinyattn.tasks.tinyshakespeare import EXCERPT, TinyShakespeare

VERSE = "the quiet fox sees a tall green tree\nnear every river, and the tree sees it.\n"


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(VERSE * 20)
    return path


@pytest.fixture
def task(file):
    return tasks.get("text", data=file, block_size=16)


# Reading files.


def refused(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return message(lambda: reading.read_text("text", path)).replace(str(path), "FILE")


def test_a_text_is_read_plain_and_packed_whatever_its_name(tmp_path):
    for name, content in (
        ("a.txt", b"one\ntwo\n"),
        ("a.gz", gzip.compress(b"one\ntwo\n")),
        ("packed.txt", gzip.compress(b"one\r\ntwo\r\n")),
        ("dos.txt", b"one\r\ntwo\r\n"),
        ("mark.txt", "\ufeffone\ntwo\n".encode()),
        ("parts.gz", gzip.compress(b"one\n") + gzip.compress(b"two\n")),
    ):
        (tmp_path / name).write_bytes(content)
        assert reading.read_text("text", tmp_path / name) == "one\ntwo\n"
        assert reading.read_lines("text", tmp_path / name) == ["one", "two"]


def test_files_that_are_none(tmp_path):
    assert (
        message(lambda: reading.read_text("text", tmp_path))
        == f"[text] {tmp_path} must be a text file, but it is a folder."
    )
    missing = tmp_path / "a.txt"
    expected = f"[text] {missing} must be a text file, but there is no such file."
    assert message(lambda: reading.read_text("text", missing)) == expected
    assert "must be a text file" in message(lambda: reading.read_text("text", Path("\0")))
    assert "File name too long" in message(lambda: reading.read_text("text", Path("x" * 300)))


def test_damaged_texts(tmp_path):
    path = tmp_path / "corpus.txt"
    assert refused(path, b"") == "[text] FILE must hold text, but it is empty."
    found = refused(path, b"fine\nEin M\xe4dchen\n")
    assert found == "[text] FILE must be UTF-8 text, but got byte 0xe4 in line 2."
    found = refused(tmp_path / "plain.gz", b"no gzip")
    assert found.startswith("[text] FILE must be a gzip file, but it is foreign or damaged")
    whole = gzip.compress(VERSE.encode(), mtime=0)
    for size in range(2, len(whole)):
        assert "FILE must be a whole gzip file, but it ends early" in refused(path, whole[:size])
    generator = random.Random(0)
    for place in range(10, len(whole)):
        wrong = bytes([whole[place] ^ generator.randrange(1, 256)])
        path.write_bytes(whole[:place] + wrong + whole[place + 1 :])
        try:
            assert reading.read_text("text", path) == VERSE  # bits that only fill up a byte mean nothing
        except DataError as error:
            assert "must be a" in str(error)


def test_a_file_that_unpacks_to_more_than_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST", 1 << 20)
    path = tmp_path / "bomb.txt"
    found = refused(path, gzip.compress(bytes(2 << 20)))
    assert found == "[text] FILE must hold at most 1 MB, but it unpacks to more."
    assert refused(path, bytes((1 << 20) + 1)) == "[text] FILE must hold at most 1 MB, but it is larger."
    path.write_bytes(gzip.compress(b"x" * (1 << 20)))
    assert len(reading.read_text("text", path)) == 1 << 20


# Windows of characters.


def test_splits_follow_one_another_and_leave_nothing_out(task):
    assert "".join(task.decode(task.tokens[split]) for split in SPLITS) == VERSE * 20
    assert [len(task.tokens[split]) for split in SPLITS] == [1386, 77, 77]
    assert task.sizes() == {"vocab_size": len(set(VERSE)), "block_size": 16}
    assert TinyShakespeare.cuts["test"] == TinyShakespeare.cuts["validation"] == (18, 20)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_evaluation_predicts_every_character_but_the_first_once(task, split, size):
    batches = task.batches(split, size)
    found, order = [], []
    for batch in batches:
        assert batch.tokens.shape == batch.targets.shape == (size, 16)
        assert (batch.targets[~batch.valid] == NOTHING).all()
        inside = batch.targets[:, :-1] != NOTHING
        assert (batch.targets[:, :-1][inside] == batch.tokens[:, 1:][inside]).all()
        assert batch.weight == (batch.targets >= 0).sum()
        found += [row[row != NOTHING] for row in batch.targets[batch.valid]]
        order += batch.index[batch.valid].tolist()
    assert order == list(range(task.count(split))) and len(batches) == math.ceil(len(order) / size)
    assert task.decode(np.concatenate(found)) == task.decode(task.tokens[split])[1:]


def test_training_draws_windows_anywhere_in_its_split(task):
    batches = task.batches("train", 8, seed=3)
    text, seen = task.tokens["train"], set()
    for _ in range(400):
        batch = next(batches)
        for start, x, y in zip(batch.index, batch.tokens, batch.targets, strict=True):
            assert np.array_equal(x, text[start : start + 16]) and np.array_equal(y, text[start + 1 :][:16])
        seen.update(batch.index.tolist())
        assert batch.weight == 8 * 16 and batch.tokens.dtype == batch.targets.dtype == np.int32
    places = len(text) - 16
    assert min(seen) == 0 and max(seen) == places - 1  # the first and the last window there is
    assert abs(len(seen) / places - (1 - math.exp(-3200 / places))) < 0.03  # as uniform draws leave out


def test_training_resumes_where_it_stopped(task):
    batches, other = task.batches("train", 8, seed=3), task.batches("train", 8, seed=9)
    for _ in range(len(batches) + 3):
        next(batches)
    other.restore(batches.state())
    for _ in range(len(batches)):
        assert np.array_equal(next(batches).tokens, next(other).tokens)
    again = task.batches("train", 8, seed=3)
    assert not np.array_equal(next(again).tokens, next(task.batches("train", 8, seed=4)).tokens)


@pytest.mark.parametrize("block_size", [1, 2, 7, 30])
def test_a_short_text_is_whole_or_refused(tmp_path, block_size):
    """Of every length: either each split can be used, or a sentence says how long it must be, and is right."""
    path, least = tmp_path / "short.txt", None
    for length in range(1, 80):
        path.write_text(("abcd" * 20)[:length])
        try:
            task = TextTask(path, block_size)
        except DataError as error:
            least = int(str(error).split("at least ")[1].split()[0])
            assert least > length and str(error).startswith(
                f"[text] {path} must hold at least {least} characters"
            )
            continue
        assert least is None or length >= least
        batch = next(task.batches("train", 5, seed=0))
        assert batch.tokens.shape == (5, block_size) and (batch.targets >= 0).all()
        for split in SPLITS:
            assert sum(b.weight for b in task.batches(split, 2)) == len(task.tokens[split]) - 1 > 0
        assert task.probe().tokens.shape == (2, min(8, block_size))
        assert task.suggestions(2)


def test_what_is_wrong_with_a_text_is_said(file):
    expected = "[text] its files must be named, but got none: add --data PATH."
    assert message(lambda: tasks.get("text")) == expected
    assert "block_size must be a positive integer, but got 0" in message(
        lambda: tasks.get("text", data=file, block_size=0)
    )
    expected = f"[text] {file} must hold at least 2,224 characters for windows of block_size = 2000, but it holds 1,540"
    assert message(lambda: tasks.get("text", data=file, block_size=2000)).startswith(expected)
    task = tasks.get("text", data=file)
    expected = "[text] windows of 100 must fit into a split, but got 77 characters of test."
    assert message(lambda: TextTask(file, 100).batches("test", 2, seed=0)) == expected
    assert "the split must be one of train, validation, test" in message(lambda: task.batches("dev", 2))
    assert "batch_size must be a positive integer" in message(lambda: task.batches("test", 0))


def test_figures_are_those_of_the_characters(task):
    """The mean over all characters, not over windows, of which the last is short."""
    targets = task.tokens["test"][1:]
    said = targets.copy()
    said[::4] = (said[::4] + 1) % len(task.alphabet)
    rows = np.zeros((task.count("test"), 16), np.int32)
    rows.flat[: len(said)] = said
    scores = task.score(Answers(list(rows), nats=2.0 * len(targets), predictions=len(targets)), "test")
    assert scores.figures["accuracy"] == (said == targets).mean() and 0.7 < scores.figures["accuracy"] < 0.76
    assert scores.figures["val_loss"] == 2.0
    assert scores.figures["bits_per_character"] == pytest.approx(2 / math.log(2))
    assert scores.figures["perplexity"] == pytest.approx(math.exp(2))
    assert scores.figures.keys() == {figure.key for figure in task.figures}
    (by_place,) = scores.groups.values()
    assert list(by_place) == ["1-1", "2-3", "4-7", "8-15", "16-16"]
    assert by_place["1-1"] == 0 and by_place["2-3"] == 1  # every fourth is wrong, from the first on
    sections = task.sections({"gpt": (None, scores)}, "test")
    assert [type(section) for section in sections] == [Table, Bars]
    assert sections[0].rows[-1][:3] == ("gpt", "up to 16 characters before", "2.0000")


def test_guesses_from_counts(task):
    """Beside counting by hand."""
    train, test = (task.decode(task.tokens[split]) for split in ("train", "test"))
    size = len(task.alphabet)
    floors = task.floors("test")
    single = [math.log((train.count(c) + 1) / (len(train) + size)) for c in test[1:]]
    assert floors["how often each character occurs"] == pytest.approx(-np.mean(single))
    pair = [
        math.log(
            (sum(train[i : i + 2] == a + b for i in range(len(train) - 1)) + 1) / (train[:-1].count(a) + size)
        )
        for a, b in zip(test, test[1:], strict=False)
    ]
    assert floors["the character before"] == pytest.approx(-np.mean(pair))
    assert floors["nothing"] == math.log(size)


def test_a_beginning_is_read_and_shown(task):
    batch = task.read("the Fox")
    assert task.remarks("the Fox F") == ["'F' is not in the vocabulary of text and is left out."]
    assert task.decode(batch.tokens[0]) == "the ox" and task.decode(batch.targets[0, :-1]) == "he ox"
    assert batch.targets[0, -1] == NOTHING and batch.weight == 5
    assert task.decode(task.read("").tokens[0]) == "\n"
    shown = task.show(batch, Answers([task.read(" sees").tokens[0]]), 0)
    assert shown == {"input": "the ox", "output": " sees"}
    for strange in ("ÄÖ", "\ud800", "\0"):
        assert "a beginning must hold a character of the" in message(lambda: task.read(strange))
    for line in task.suggestions(5):
        assert line in VERSE and not task.remarks(line)


def test_characters_beyond_the_first_plane(tmp_path):
    path = tmp_path / "corpus.txt"
    text = "𝛼β\u0301γ🙂 " * 40
    path.write_text(text, encoding="utf-8")
    task = TextTask(path, 8)
    assert task.alphabet == "".join(sorted(set(text)))
    assert "".join(task.decode(task.tokens[split]) for split in SPLITS) == text


# tinyshakespeare.


def test_the_excerpt_is_in_the_package():
    task = tasks.get("tinyshakespeare")
    text = task.decode(np.concatenate([task.tokens[split] for split in ("train", "test")]))
    assert text.startswith("First Citizen:\nBefore we proceed any further, hear me speak.\n")
    assert len(text) == 199_994 and text.endswith("dear degree?\n")
    assert np.array_equal(task.tokens["validation"], task.tokens["test"])
    assert len(task.tokens["train"]) == int(0.9 * len(text))
    assert task.sizes() == {"vocab_size": 62, "block_size": 64}
    root = Path(__file__).parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert any(fnmatch(f"tasks/{EXCERPT}", pattern) for pattern in declared["tinyattn"])


def test_the_whole_is_read_from_its_file_or_folder(tmp_path):
    (tmp_path / "input.txt").write_text(VERSE * 50)
    for data in (tmp_path, tmp_path / "input.txt"):
        task = tasks.get("tinyshakespeare", data=data)
        assert [len(task.tokens[split]) for split in SPLITS] == [3465, 385, 385]
        assert "excerpt" not in task.title and "excerpt" in tasks.get("tinyshakespeare").title
    (tmp_path / "input.txt").unlink()
    expected = f"[tinyshakespeare] {tmp_path / 'input.txt'} must be a text file, but there is no such file."
    assert message(lambda: tasks.get("tinyshakespeare", data=tmp_path)) == expected


# GPT on text.


@pytest.fixture
def model(task):
    ta.manual_seed(0)
    model = GPT.for_task(task, n_layer=2, n_head=2, n_embd=8, dropout=0.3)
    for weight in model.parameters():
        weight.assign(weight.numpy() * 10)  # its answers differ from place to place
    return model


def log_probabilities(model, tokens):
    logits = model(tokens).numpy().astype(np.float64)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_the_task_decides_the_sizes(task, model):
    assert model.config.vocab_size == len(task.alphabet) and model.config.block_size == 16
    for recipe in GPT.recipes:
        assert not recipe.sizes.keys() & task.sizes().keys()


def test_answers_are_those_of_the_text_whatever_the_batches(task, model):
    model.eval()
    parts = [log_probabilities(model, row[None])[0] for row in whole_windows(task)]
    logs = np.concatenate([part[: 16 if k < 4 else 12] for k, part in enumerate(parts)])
    targets = task.tokens["test"][1:]
    nats = -logs[np.arange(len(targets)), targets].sum()
    model.train()
    for size in (1, 3, 5):
        outputs, total, predictions = [], 0.0, 0
        for batch in task.batches("test", size):
            answers = model.answer(batch)
            assert float(model.eval().loss(batch)) * batch.weight == pytest.approx(answers.nats, rel=1e-5)
            model.train()
            outputs += [answers.outputs[row] for row in np.flatnonzero(batch.valid)]
            total, predictions = total + answers.nats, predictions + answers.predictions
        assert predictions == len(targets) and total == pytest.approx(nats, rel=1e-5)
        assert np.array_equal(np.concatenate(outputs)[: len(targets)], logs.argmax(1))
    assert model.training


def whole_windows(task):
    """The windows of the test split, cut by hand: the last is filled up with what has no influence."""
    text = np.concatenate([task.tokens["test"][:-1], np.zeros(16, np.int32)])
    return [text[k * 16 : (k + 1) * 16] for k in range(5)]


def test_a_batch_and_its_arrays_have_one_loss(task, model):
    model.eval()
    batch = next(task.batches("train", 4, seed=1))
    assert float(model.loss(batch)) == float(model.loss(batch.tokens, batch.targets))


def test_sample_goes_on_and_section_shows_it(task, model):
    ta.manual_seed(1)
    batch = task.read("the quiet fox sees a tall green tree")  # longer than the window
    answers = model.sample(batch, tokens=9, temperature=0.0)
    assert answers.outputs[0].shape == (9,) and len(task.show(batch, answers, 0)["output"]) == 9
    assert np.array_equal(answers.outputs[0], model.sample(batch, tokens=9, top_k=1).outputs[0])
    assert GPT.search() == {"tokens": 300, "temperature": 0.8, "top_k": 0}
    text, heat = model.sections(next(iter(task.batches("test", 2))), task)
    assert isinstance(text, Text) and len(text.text) == 500 and isinstance(heat, Heat)
    assert len(heat.maps) == 2 and model.training
    for shown in heat.maps:
        assert shown.weights.shape == (16, 16) and len(shown.rows) == len(shown.columns) == 16
        np.testing.assert_allclose(shown.weights.sum(1), 1, rtol=1e-5)
        assert (np.triu(shown.weights, 1) == 0).all() and "\n" not in shown.rows


def test_maps_are_the_weights_with_which_values_are_mixed(task, model):
    """Put back in the place of attention, they give the same logits."""
    model.eval()
    tokens = task.tokens["test"][None, :16]
    block = model.transformer.h[0]
    x = block.ln_1(model.transformer.embed(tokens, 0))
    weights = model.transformer.weights(tokens)[0]
    mixed = (weights @ block.attn.heads(x)[2]).numpy()
    expected = block.attn(x, None, 0)[0].numpy()
    found = block.attn.c_proj(mixed.transpose(0, 2, 1, 3).reshape(1, 16, 8)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
