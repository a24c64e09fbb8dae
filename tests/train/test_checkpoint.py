"""Checkpoint files: what goes in comes out, and whatever is wrong with a file is one sentence."""

import json
import os
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from tinyattn.errors import CheckpointError
from tinyattn.train import checkpoint, safetensors
from tinyattn.train.checkpoint import Checkpoint

ARRAYS = {
    "matrix": np.arange(6.0).reshape(2, 3),
    "transposed": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "empty": np.zeros((0, 3), np.float32),
    "scalar": np.array(-7, np.int64),
    "flags": np.array([True, False, True]),
    "small": np.array([1, -2], np.int8),
    "half": np.array([0.5, -1.5], np.float16),
}


def state(step=3, width=2, seed=0):
    random = np.random.default_rng(seed)
    return Checkpoint(
        step=step,
        model={"layer.weight": random.standard_normal((width, 3)).astype(np.float32)},
        optimizer={"exp_avg.layer.weight": random.standard_normal((width, 3)), "steps": np.array(step)},
        random={"state": np.array([7, step << 32])},
        config={"model": {"name": "tiny"}, "training": {"steps": 10}},
        data={"epoch": 1, "position": step},
        progress={"best": 0.25, "window": [1.5, 2.0]},
    )


def assert_one_sentence(error):
    text = str(error.value)
    assert text.startswith("[checkpoint] ") and " must " in text and ", but " in text
    assert len(text.splitlines()) == 1


def test_arrays_and_metadata_come_back(tmp_path):
    path = tmp_path / "a.safetensors"
    metadata = {"ключ": 'a "quoted"\nline', "checksum": "mine is overwritten"}
    safetensors.write(path, ARRAYS, metadata)
    arrays, found = safetensors.read(path, checked=True)
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        np.testing.assert_array_equal(arrays[name], array)
    assert found == {"ключ": 'a "quoted"\nline'}
    arrays["matrix"][0] = 9  # not read-only


def test_the_safetensors_package_reads_our_files_and_we_its(tmp_path):
    peer = pytest.importorskip("safetensors.numpy")
    ours, theirs = tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors"
    safetensors.write(ours, ARRAYS, {"kind": "test"})
    found = peer.load_file(ours)
    contiguous = {name: np.require(array, None, ["C"]) for name, array in ARRAYS.items()}
    peer.save_file(contiguous, theirs, metadata={"format": "np"})
    back, metadata = safetensors.read(theirs)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        np.testing.assert_array_equal(back[name], array)
    assert metadata == {"format": "np"}


def test_bfloat16_is_read_as_float32(tmp_path):
    torch = pytest.importorskip("torch")
    peer = pytest.importorskip("safetensors.torch")
    values = torch.tensor([1.0, -2.5, 3e38, float("inf")], dtype=torch.bfloat16)
    peer.save_file({"w": values}, tmp_path / "b.safetensors")
    arrays, _ = safetensors.read(tmp_path / "b.safetensors")
    np.testing.assert_array_equal(arrays["w"], values.float().numpy())


def test_foreign_element_types_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="must be numbers or bools, but 'z' is complex128"):
        safetensors.write(tmp_path / "c.safetensors", {"z": np.zeros(2, complex)})
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_comes_back(tmp_path):
    path, saved = tmp_path / checkpoint.name_of(3), state()
    checkpoint.save(path, saved)
    found = checkpoint.load(path)
    assert found.path == path and found.versions["numpy"] == np.__version__
    for part in ("step", "config", "data", "progress"):
        assert getattr(found, part) == getattr(saved, part)
    for part in ("model", "optimizer", "random"):
        for name, array in getattr(saved, part).items():
            np.testing.assert_array_equal(getattr(found, part)[name], array)
            assert getattr(found, part)[name].dtype == array.dtype


def test_every_truncation_is_noticed(tmp_path):
    path, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    checkpoint.save(path, state())
    content = path.read_bytes()
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(cut)
        assert_one_sentence(error)
    cut.write_bytes(content + b"\0")
    with pytest.raises(CheckpointError, match="goes on behind them"):
        checkpoint.load(cut)


def test_every_flipped_bit_is_noticed(tmp_path):
    path, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    checkpoint.save(path, state())
    content = path.read_bytes()
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        bad.write_bytes(damaged)
        with pytest.raises(CheckpointError) as error:
            checkpoint.load(bad)
        assert_one_sentence(error)


def with_header(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "header, data, expected",
    [
        (b"[1, 2]", b"", "of another kind"),
        (b'{"a": 1', b"", "must be JSON in its header, but it is not: Expecting ',' delimiter (at column"),
        (b'{"a": {}, "a": {}}', b"", "'a' stands twice in it"),
        (b"[" * 50_000, b"", "of another kind"),
        (b'{"a":' * 50_000, b"", "of at most 32 levels, but it has more"),
        (b'{"a": ' + b"9" * 5000 + b"}", b"", "Exceeds the limit (4300 digits)"),
        (b'{"a": 1e999}', b"", "the number 1e999 is too large"),
        (b'{"a": "\xff"}', b"", "must be UTF-8 text, but got byte 0xff"),
        (b'{"\\ud800": 1}', b"", "half a character"),
        ({"a": 5}, b"", "must hold named values as a in its header, but got 5"),
        ({"a": {}}, b"", "must hold a.dtype in its header, but it does not"),
        ({"a": ENTRY | {"size": 2}}, b"", "must hold only names that are known in its header, but got a.size"),
        ({"a": {"dtype": "F32", "shapes": [2]}}, b"", "must hold a.shape in its header, but got a.shapes"),
        ({"a": ENTRY | {"shape": [-2]}}, b"\0" * 8, "as a.shape in its header, but got [-2]"),
        ({"a": ENTRY | {"shape": [True, 2]}}, b"\0" * 8, "as a.shape in its header, but got [True, 2]"),
        ({"a": ENTRY | {"shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}}, b"", "as a.shape"),
        ({"a": ENTRY | {"shape": [0, 1 << 70], "data_offsets": [0, 0]}}, b"", "the number 1180591620717411303424"),
        ({"a": ENTRY | {"shape": [1] * 65, "data_offsets": [0, 4]}}, b"\0" * 4, "at most 64 axes"),
        ({"a": ENTRY | {"data_offsets": [0]}}, b"\0" * 8, "two whole numbers of at least 0 as a.data_offsets"),
        ({"a": ENTRY | {"dtype": "F8"}}, b"\0" * 8, "'F8'"),
        ({"a": ENTRY | {"shape": [3]}}, b"\0" * 8, "12 bytes for its shape"),
        ({"a": ENTRY | {"data_offsets": [8, 16]}}, b"\0" * 16, "one behind the other"),
        ({"a": ENTRY, "b": ENTRY}, b"\0" * 8, "one behind the other"),
        ({"a": ENTRY}, b"\0" * 7, "truncated"),
        ({"a": ENTRY}, b"\0" * 9, "goes on"),
        ({"__metadata__": {"step": 3}}, b"", "must hold a text as __metadata__.step in its header, but got 3"),
        ({"a": ENTRY}, b"\0" * 8, "checksum"),
    ],
)  # fmt: skip
def test_malformed_headers_are_one_sentence(tmp_path, header, data, expected):
    path = tmp_path / "x.safetensors"
    with_header(path, header, data)
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(path)
    assert_one_sentence(error)
    assert expected in str(error.value)


def test_foreign_files_are_one_sentence(tmp_path):
    for name, content in {
        "png": b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
        "zip": b"PK\x03\x04" + b"\0" * 50,
        "text": b"hello, world\n" * 9,
    }.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="of another kind") as error:
            checkpoint.load(path)
        assert_one_sentence(error)
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(CheckpointError, match="must be readable") as error:
            checkpoint.load(path)
        assert_one_sentence(error)
    other = tmp_path / "other.safetensors"
    safetensors.write(other, {"weight": np.zeros(2)}, {"kind": "something else"})
    with pytest.raises(CheckpointError, match="of kind 'something else'"):
        checkpoint.load(other)
    safetensors.write(other, {"weight": np.zeros(2)})
    with pytest.raises(CheckpointError, match="another program wrote it"):
        checkpoint.load(other)


def test_another_models_checkpoint_is_refused(tmp_path):
    path = tmp_path / checkpoint.name_of(3)
    checkpoint.save(path, state(width=2))
    found = checkpoint.load(path)
    found.check("model", state(width=2).model)
    cases = {
        "must hold model.layer.weight as float32 \\(4, 3\\), but got float32 \\(2, 3\\)": state(
            width=4
        ).model,
        "must hold model.other, but it does not": {"other": np.zeros(1)},
        "but got model.layer.weight": {},
    }
    for expected, model in cases.items():
        with pytest.raises(CheckpointError, match=expected) as error:
            found.check("model", model)
        assert_one_sentence(error)


def test_the_last_few_are_kept_and_remains_are_removed(tmp_path):
    for step in (1, 2, 30, 4):
        checkpoint.save(tmp_path / checkpoint.name_of(step), state(step))
    (tmp_path / ".ckpt-00000031.safetensors.123.tmp").write_bytes(b"half")
    checkpoint.save(tmp_path / checkpoint.BEST, state(2))
    checkpoint.prune(tmp_path, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.safetensors", "ckpt-00000004.safetensors", "ckpt-00000030.safetensors"]
    assert checkpoint.latest(tmp_path).step == 30


def test_a_damaged_latest_names_the_one_before(tmp_path):
    for step in (1, 2):
        checkpoint.save(tmp_path / checkpoint.name_of(step), state(step))
    with open(tmp_path / checkpoint.name_of(2), "r+b") as file:
        file.truncate(100)
    with pytest.raises(CheckpointError, match="truncated") as error:
        checkpoint.latest(tmp_path)
    assert str(error.value).endswith("\n  Remove it to go on from ckpt-00000001.safetensors.")
    for folder in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(CheckpointError, match="must hold a checkpoint"):
            checkpoint.latest(folder)


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / checkpoint.name_of(3)
    checkpoint.save(path, state(3, seed=0))
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        checkpoint.save(path, state(3, seed=1))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


SAVING = """
import sys
import numpy as np
from pathlib import Path
from tinyattn.train import checkpoint
from tinyattn.train.checkpoint import Checkpoint
folder, step = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    step += 1
    model = {"w": np.full((200, 1000), step, np.float32)}
    checkpoint.save(folder / checkpoint.name_of(step), Checkpoint(step, model))
    checkpoint.prune(folder, 2)
"""


def test_sigkill_while_saving_leaves_a_readable_folder(tmp_path):
    step = 0
    for delay in (0.03, 0.071, 0.113, 0.05, 0.091):
        command = [sys.executable, "-c", SAVING, str(tmp_path), str(step)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        process.stdout.readline()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:  # until it has got further
            if any(path.name > checkpoint.name_of(step) for path in checkpoint.saved(tmp_path)):
                break
            time.sleep(0.002)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for path in checkpoint.saved(tmp_path):
            found = checkpoint.load(path)
            assert (found.model["w"] == found.step).all()
        assert checkpoint.latest(tmp_path).step > step
        step = checkpoint.latest(tmp_path).step
