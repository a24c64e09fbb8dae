"""Files of a real run, damaged in hundreds of ways: each is one sentence that names the file, or does no harm.

Whatever happens, no other error comes out, no file is changed or lost, and a model that is loaded is the one that was
saved. The mutations come from a fixed seed.
"""

import contextlib
import json
import os
import random
import re
import shutil
import tempfile
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from dice import SEED, tried

import tinyattn as ta
from tinyattn import nn
from tinyattn.cli import main
from tinyattn.experiments import experiment, training
from tinyattn.tasks import tiny_mt
from tinyattn.tasks.task import Answers
from tinyattn.train import checkpoint, safetensors

SIZES = ["hidden=4", "embedding=4", "maxout=2", "train_examples=80", "batch_size=8", "steps=4", "log_every=1"]
LAST = checkpoint.name_of(4)
METRICS, RESULTS = Path("run/metrics.jsonl"), Path("results/results.json")
ODD = [
    "null", "true", '""', '"x"', '"5"', "[]", "[1]", "{}", "-1", "0", "1.5", "3", str(2**31), str(2**63), "9" * 5000,
    "1e999", "NaN", "[" * 40 + "]" * 40, '{"a":' * 20_000, '"\\ud800"', '"\\u0000"', "Infinity", "\ufeff1", "1 2", "",
]  # fmt: skip
"""Values of JSON, or nearly so."""
ODD_TOML = [
    "true", '""', '"x"', "[]", "[1]", "{}", "-1", "0", "1.5", "3", "inf", "nan", str(2**40), str(2**63), "9" * 5000, "1e999",
    "[" * 40 + "]" * 40, "[" * 20_000, "2020-01-01", '"\\u0000"', "'''a\nb'''", "", "x",
]  # fmt: skip


class Small(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(3, 2)


def small():
    model = Small()
    return model, ta.optim.Adam(model.parameters(), lr=1e-3)


@pytest.fixture(scope="module")
def few():
    """Eight held-out sentences in the place of 1,300."""
    whole = tiny_mt.TinyMT()
    held_out = [examples.take(np.arange(0, 520, 65)) for examples in (whole.validation, whole.test)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_mt, "held_out", lambda *asked: held_out)
        yield


@pytest.fixture(scope="module")
def run(few, tmp_path_factory):
    """A trained run, recorded, and the file of a user's own loop."""
    root = tmp_path_factory.mktemp("run")
    before = os.getcwd()
    os.chdir(root)
    try:
        assignments = [f"--set={text}" for text in SIZES]
        assert main(["train", "seq2seq", "--out", "run", "--record", *assignments]) == 0
    finally:
        os.chdir(before)
    ta.save(root / "loop.safetensors", *small())
    best = checkpoint.load(root / "run" / checkpoint.BEST).model
    return SimpleNamespace(root=root, best=best)


@pytest.fixture
def seen(undrawn, monkeypatch):
    """The parameters of the models that were measured; measuring and drawing themselves are left out."""
    found = []

    def answers_of(model, task, split, *_, **__):
        found.append(model.state_dict())
        return Answers([np.array([5])] * task.count(split))

    for room in (training, experiment):
        monkeypatch.setattr(room, "answers_of", answers_of)
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    return found


# Mutations: functions from the bytes of a file to other bytes.


def bytewise(content, count, seed):
    """Bytes flipped, cut out, put in; the whole cut, emptied, recoded."""
    dice = random.Random(seed + SEED)
    yield b""
    yield content[: len(content) // 2]
    yield content + b"\0" * 64  # as after a power failure
    yield content + b"{"
    yield content * 2
    yield b"\xef\xbb\xbf" + content
    yield content.decode("latin-1").encode("utf-16")
    yield b"\0" * len(content)
    for _ in range(count):
        place = dice.randrange(len(content))
        how = dice.randrange(5)
        if how == 0:
            yield content[:place]
        elif how == 1:
            yield content[:place] + content[place + dice.randrange(1, 9) :]
        elif how == 2:
            yield (
                content[:place]
                + dice.choice([b"\0", b"\xef\xbb\xbf", b"\xff", b"\n", b'"', b"9" * 30])
                + content[place:]
            )
        else:
            flipped = bytes([content[place] ^ 1 << dice.randrange(8)])
            yield content[:place] + flipped + content[place + 1 :]


def entries(value):
    """Every place in a JSON value, as a list of keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield [key]
        yield from ([key, *rest] for rest in entries(one))


def replaced(value, place, text):
    """JSON of `value` with `text` in a place, or (None) without it."""
    value = json.loads(json.dumps(value))
    *path, last = place
    holder = value
    for key in path:
        holder = holder[key]
    if text is None:
        del holder[last]
        return json.dumps(value)
    holder[last] = "@here@"
    return json.dumps(value).replace('"@here@"', text)


def jsonwise(value, count, seed):
    """A JSON value with odd ones in the place of its entries, and without them."""
    yield from ODD
    dice, places = random.Random(seed + SEED), list(entries(value))
    for place in places:
        yield replaced(value, place, None)
    for _ in range(count):
        yield replaced(value, dice.choice(places), dice.choice(ODD))


def of_metrics(content):
    lines = content.decode().splitlines()
    yield from bytewise(content, 60, 1)
    for text in jsonwise(json.loads(lines[1]), 30, 2):
        yield "\n".join([lines[0], text, *lines[2:], ""]).encode("utf-8", "surrogatepass")


def of_config(content):
    """Other settings; but not with more steps, as a run with more is one that goes on."""
    for mutation in _of_config(content):
        with contextlib.suppress(ValueError, RecursionError, LookupError, TypeError):
            steps = tomllib.loads(mutation.decode("utf-8-sig"))["training"].get("steps", 2000)
            if isinstance(steps, int) and 4 < steps < 1 << 31:
                continue
        yield mutation


def _of_config(content):
    lines = content.decode().splitlines()
    yield from bytewise(content, 60, 3)
    dice = random.Random(4 + SEED)
    for place, line in enumerate(lines):
        yield "\n".join(lines[:place] + lines[place + 1 :]).encode()
        yield "\n".join(lines[:place] + [line] * 2 + lines[place + 1 :]).encode()
        if "=" in line:
            for odd in dice.sample(ODD_TOML, 4):
                yield "\n".join(
                    [*lines[:place], f"{line.partition('=')[0]}= {odd}", *lines[place + 1 :]]
                ).encode()
    for text in ("run = 1\n", "model = 1\n", '"\\u0000" = 2\n', "a.b.c = 1\n"):
        without = re.sub(r"\[(run|model)\][^\[]*", "", content.decode())
        yield (text + content.decode()).encode()
        yield (text + without).encode()


def of_results(content):
    yield from bytewise(content, 40, 7)
    first, *rest = json.loads(content)
    for text in jsonwise(first, 40, 8):
        yield json.dumps(["@here@", *rest]).replace('"@here@"', text).encode()
        yield text.encode()


def of_checkpoint(content):
    """Damaged bytes; then other metadata and arrays with a checksum that is right."""
    yield from bytewise(content, 40, 5)
    dice = random.Random(6 + SEED)
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).write_bytes(content)
        arrays, about = safetensors.read(file.name)

    def rewritten(arrays, about):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "x"
            safetensors.write(path, arrays, about)
            return path.read_bytes()

    for part in about:
        yield rewritten(arrays, {key: value for key, value in about.items() if key != part})
        for odd in dice.sample(ODD, 8):
            yield rewritten(arrays, about | {part: odd})
        if part in ("progress", "data", "config"):
            for place in entries(json.loads(about[part])):
                yield rewritten(
                    arrays, about | {part: replaced(json.loads(about[part]), place, dice.choice(ODD))}
                )
    damages = (
        lambda rest, name, array: rest,
        lambda rest, name, array: rest | {name.replace(".", "/", 1): array},
        lambda rest, name, array: rest | {name: array.astype(np.int16)},
        lambda rest, name, array: rest | {name: array[..., None]},
    )
    for place, (name, array) in enumerate(arrays.items()):  # one of these each
        rest = {key: value for key, value in arrays.items() if key != name}
        yield rewritten(damages[place % 4](rest, name, array), about)


# What must hold of each.


def assert_one_sentence(text, name):
    named = name in text or name == "config.toml" and ".safetensors" in text  # it is of other sizes, then
    fine = re.match(r"\[[a-z]+\] ", text) and " must " in text and ", but " in text and named
    fine = fine and len(text) < 600 and text.count("\n") <= 1  # the second line is an advice
    if not fine or re.search(r"\w(Error|Exception)\b|Traceback|object at 0x", text):
        raise AssertionError(text[:600])


def snapshot(folder):
    return {
        p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"
    }


def damaged(run, tmp_path, name, mutations):
    """A copy of the run for each mutation, made where the last one was."""
    root = tmp_path / "w"
    content = (run.root / name).read_bytes()
    for mutation in mutations:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(run.root, root)
        if mutation != content:
            (root / name).write_bytes(mutation)
            yield root


RESUME, EVAL = ["train", "--resume", "run", "--record"], ["eval", "run"]


def attempt(words, name, capsys, run, seen):
    """Run a command in a folder with a damaged file; whether it was refused."""
    before = snapshot(Path())
    seen.clear()
    code = main(words)
    after, (_, err) = snapshot(Path()), capsys.readouterr()
    if code:
        assert_one_sentence(err[err.index("[") :].rstrip("\n"), name.rpartition("/")[2])
        assert after == before
        return True
    assert seen and all(np.array_equal(seen[0][key], run.best[key]) for key in run.best)
    assert all(after[path] == before[path] for path in before if path.suffix in (".toml", ".safetensors"))
    if words is RESUME:
        assert_kept(before, after)
    return False


def assert_kept(before, after):
    """What was measured and recorded is still there, but for what will be measured again."""
    *lines, _ = before[METRICS].removeprefix(b"\xef\xbb\xbf").split(b"\n")
    kept = after[METRICS].split(b"\n")
    assert all(line in kept for line in lines if line.strip() and json.loads(line)["step"] <= 4)
    records = json.loads(after[RESULTS])
    for record in json.loads(before[RESULTS].decode("utf-8-sig")):
        assert any(all(r[key] == record[key] for key in ("model", "task", "metric")) for r in records)


@pytest.mark.parametrize(
    "name, mutate, commands",
    [
        ("run/metrics.jsonl", of_metrics, [RESUME]),
        ("run/config.toml", of_config, [RESUME, EVAL]),
        (f"run/{LAST}", of_checkpoint, [RESUME]),
        (f"run/{checkpoint.BEST}", of_checkpoint, [RESUME, EVAL]),
        ("results/results.json", of_results, [RESUME]),
    ],
)
def test_a_damaged_file_is_one_sentence_or_does_no_harm(
    run, seen, capsys, tmp_path, monkeypatch, name, mutate, commands
):
    refused = []
    for root in damaged(run, tmp_path, name, mutate((run.root / name).read_bytes())):
        monkeypatch.chdir(root)
        refused += [attempt(words, name, capsys, run, seen) for words in commands]
    assert len(refused) >= 90 and sum(refused) > len(refused) / 2
    tried("damaged files", len(refused) // len(commands))


@pytest.mark.parametrize(
    "name", ["run/metrics.jsonl", "run/config.toml", f"run/{LAST}", "results/results.json"]
)
@pytest.mark.parametrize("kind", ["folder", "pipe", "circle"])
def test_what_is_no_file_is_one_sentence(run, seen, capsys, tmp_path, monkeypatch, name, kind):
    (root,) = damaged(run, tmp_path, name, [b""])
    monkeypatch.chdir(root)
    os.remove(name)
    {"folder": os.mkdir, "pipe": os.mkfifo, "circle": lambda path: os.symlink(path, path)}[kind](name)
    assert main(RESUME) == 1
    assert_one_sentence(
        capsys.readouterr()[1].partition("[")[2].rstrip("\n").join(["[", ""]), name.rpartition("/")[2]
    )


def test_a_damaged_file_of_a_users_own_loop(run, tmp_path):
    model, optimizer = small()
    state = {**model.state_dict(), **optimizer.state_dict(), "random": ta.random_state()}
    path, refused = tmp_path / "loop.safetensors", []
    for content in of_checkpoint((run.root / path.name).read_bytes()):
        path.write_bytes(content)
        try:
            ta.load(path, model, optimizer)
            refused.append(False)
        except ta.errors.CheckpointError as error:
            refused.append(True)
            assert_one_sentence(str(error), path.name)
            now = {**model.state_dict(), **optimizer.state_dict(), "random": ta.random_state()}
            assert all(np.array_equal(now[key], state[key]) for key in state)
        assert path.read_bytes() == content
    assert len(refused) >= 90 and sum(refused) > len(refused) / 2
