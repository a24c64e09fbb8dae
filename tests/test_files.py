"""Files are written whole or not at all, and nothing is written through a link that somebody put there."""

import errno
import os
import re
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import files
from tinyattn.errors import CheckpointError, DataError, TinyattnError
from tinyattn.train import checkpoint, results
from tinyattn.train.run import Run
from tinyattn.viz import report


def _optimizer_free(path):
    checkpoint.save(path, checkpoint.Checkpoint(1, {"w": np.ones(5000)}))


WRITERS = {
    "checkpoint.safetensors": _optimizer_free,
    "report.html": lambda path: report.write(path, "title", "about", []),
    "results.json": lambda path: results.record(path, "m", "t", {"bleu": 0.5}, 0, 10, 1.0, "command"),
    "heat.svg": lambda path: ta.viz.heatmap(np.eye(20)).save(path),
    "graph.json": lambda path: ta.viz.draw(ta.tensor(np.ones(3)).sum()).save(path),
    "config.toml": lambda path: Run(path.parent, {"a": {"b": "c" * 5000}}).save_config(),
}


@contextmanager
def _full_disk(size):
    """No file can grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


LOG = {"metrics.jsonl": lambda path: Run(path.parent, {}).log({"step": 1, "text": "c" * 5000})}


@pytest.mark.parametrize("name", [*WRITERS, *LOG])
def test_a_full_disk_names_the_file_and_leaves_the_old_one(tmp_path, name):
    path = tmp_path / name
    path.write_text("[]")
    with _full_disk(100), pytest.raises((TinyattnError, OSError)) as caught:
        (WRITERS | LOG)[name](path)
    assert name in str(caught.value) and ".tmp" not in str(caught.value)
    assert path.read_text() == "[]" and [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_is_written_through_a_link(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for planted in (name, f".{name}.{os.getpid()}.tmp", f".{name}.{os.getpid()}.part", f".{name}.tmp"):
        (tmp_path / planted).symlink_to(victim if planted != name or name != "results.json" else "/dev/null")
    if name == "results.json":
        (tmp_path / name).unlink()  # it is read first
    WRITERS[name](tmp_path / name)
    assert victim.read_text() == "mine" and not (tmp_path / name).is_symlink()


@pytest.mark.parametrize("planted", [".lock", "metrics.jsonl"])
def test_a_run_follows_no_link_out_of_its_folder(tmp_path, planted):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "run"
    run = Run.create(folder, {}, "")
    run.close()
    (folder / planted).unlink(missing_ok=True)
    (folder / planted).symlink_to(victim)
    with pytest.raises((CheckpointError, OSError), match=re.escape(str(folder))):
        Run.open(folder).log({"step": 1})
    assert victim.read_text() == "mine"


def test_files_have_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        files.replace(tmp_path / "a", [b"a", b"b"])
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"ab" and (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_line_is_added_whole_or_not_at_all(tmp_path):
    path = tmp_path / "metrics.jsonl"
    files.append(path, b"one\n")
    with _full_disk(8), pytest.raises(OSError) as caught:
        files.append(path, b"a second line\n")
    assert caught.value.filename == str(path) and caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert path.read_bytes() == b"one\n"
    path.write_bytes(b'one\n{"st')  # what a crash left
    files.append(path, b"two\n")
    assert path.read_bytes() == b'one\n{"st\ntwo\n'


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        Run.create(tmp_path / "file" / "run", {}, "")
    with pytest.raises(CheckpointError, match=r"none/a\.safetensors must be writable"):
        checkpoint.save(tmp_path / "none" / "a.safetensors", checkpoint.Checkpoint(1, {}))


def test_all_files_are_written_in_one_place():
    """But for object code, which the floor below writes, and pages and pictures in the folder of temporary files."""
    package = Path(ta.__file__).parent
    writes = re.compile(
        r"write_text|write_bytes|NamedTemporaryFile|open\([^)\n]*[\"'][wax]b?[\"']|os\.replace"
    )
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if any(writes.search(line) for line in path.read_text().splitlines())
    }
    assert found == {"files.py", "kernels/build/native.py", "viz/output.py", "viz/raster.py"}
