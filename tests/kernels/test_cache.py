"""The kernel cache: found again without Numba, private, whole or not believed, and never in the way."""

import importlib.metadata
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import llvmlite.binding as llvm
import pytest

import tinyattn
from tinyattn.kernels.build import native

ROOT = Path(tinyattn.__file__).parent.parent

# Double the numbers 0…4 with the smallest kernel; say what was compiled, and whether Numba was needed.
_PROBE = """
import sys, numpy as np
from tinyattn.kernels.build import native
x, y = np.arange(5, dtype=np.float32), np.zeros(5, np.float32)
words = np.array([x.ctypes.data, y.ctypes.data, 5], np.int64)
native.function("microbenchmark.scale")(words.ctypes.data, 0, 1, 0)
print(y.tolist() == [0, 2, 4, 6, 8], native.compiled, "numba" in sys.modules, sep="|")
"""
COLD = ["True", "['tinyattn_microbenchmark_scale_f32']", "True"]
WARM = ["True", "[]", "False"]
AS_ROOT = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away"
)
POSIX = pytest.mark.skipif(
    not hasattr(os, "geteuid"), reason="the system has no owners of files in this sense"
)


def start(cache, root=ROOT, **environment):
    environment = {
        **os.environ,
        "PYTHONPATH": str(root),
        "TINYATTN_CACHE": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, "-c", _PROBE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=root,
    )


def finish(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err[-2000:]
    assert not err, err
    return out.strip().split("|")


def probe(cache, root=ROOT, **environment):
    return finish(start(cache, root, **environment))


def objects(cache):
    return sorted(cache.glob("*/*.o"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A cache with the probe in it; copy it before changing it."""
    cache = tmp_path_factory.mktemp("cache") / "kernels"
    assert probe(cache) == COLD
    return cache


@pytest.fixture
def cache(filled, tmp_path):
    copy = tmp_path / "kernels"
    shutil.copytree(filled, copy)
    return copy


def test_a_second_process_compiles_nothing_and_never_imports_numba(cache):
    assert [path.name for path in objects(cache)] == ["microbenchmark.scale-f32.o"]
    assert probe(cache) == WARM


def test_whole_programs_run_without_numba_once_their_kernels_are_stored(tmp_path):
    code = """
import sys, numpy as np, tinyattn as ta
from tinyattn.kernels.build import native
x = ta.tensor(np.arange(6.0).reshape(2, 3))
print((ta.tanh(x) * 2).sum(1).numpy().round(3).tolist(), native.compiled, "numba" in sys.modules, sep="|")
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # the cache that the other tests have filled
    (ta_value, *_), warm = (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
        )
        .stdout.strip()
        .split("|")
        for _ in range(2)
    )
    assert warm == [ta_value, "[]", "False"]


def test_the_directory_is_private(cache):
    for path in (cache, objects(cache)[0].parent):
        assert stat.S_IMODE(path.stat().st_mode) & 0o022 == 0
    assert stat.S_IMODE(objects(cache)[0].parent.stat().st_mode) == 0o700


def test_the_fingerprint_follows_every_kernel_source(tmp_path, filled):
    package = tmp_path / "copy" / "tinyattn"
    shutil.copytree(ROOT / "tinyattn", package, ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "kernels"
    shutil.copytree(filled, cache)
    assert probe(cache, package.parent) == WARM
    helper = package / "kernels" / "language" / "real.py"
    helper.write_text(helper.read_text() + "\n# edited\n")
    assert probe(cache, package.parent) == COLD
    assert len(objects(cache)) == 2
    assert probe(cache, package.parent) == WARM and probe(cache) == WARM
    (package / "kernels" / "another.py").write_text("")
    assert probe(cache, package.parent) == COLD


def test_what_the_fingerprint_is_made_of(monkeypatch):
    before = native.fingerprint()
    assert before == native.fingerprint() and len(before) == 24

    def another(**patches):
        for target, value in patches.items():
            monkeypatch.setattr(llvm if target.startswith("get") else importlib.metadata, target, value)
        native.fingerprint.cache_clear()
        found = native.fingerprint()
        monkeypatch.undo()
        native.fingerprint.cache_clear()
        return found

    assert another(get_host_cpu_name=lambda: "another processor") != before
    assert another(version=lambda name: "0") != before
    assert another() == before


def _damage_truncated(path):
    path.write_bytes(path.read_bytes()[:-7])


def _damage_one_bit(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _damage_empty(path):
    path.write_bytes(b"")


def _damage_other_file(path):
    path.write_bytes(b"\x7fELF" + b"\0" * 500)


def _damage_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "damage",
    [_damage_truncated, _damage_one_bit, _damage_empty, _damage_other_file],
    ids=lambda f: f.__name__[8:],
)
def test_damaged_objects_are_compiled_again(cache, damage):
    path = objects(cache)[0]
    before = path.read_bytes()
    damage(path)
    assert probe(cache) == COLD
    assert (
        path.read_bytes()[:48] == before[:48]
        or native._digest(path, path.read_bytes()[48:]) == path.read_bytes()[16:48]
    )
    assert probe(cache) == WARM


def test_intact_objects_under_other_names_are_compiled_again(cache):
    """The body and its digest alone would be believed, and the wrong code be called."""
    path = objects(cache)[0]
    data = path.read_bytes()
    other = path.with_name("microbenchmark.multiply_add-f32.o")
    other.write_bytes(data)
    assert native._read(other) is None and native._read(path) is not None
    elsewhere = path.parent.with_name("0" * 24)
    elsewhere.mkdir(mode=0o700)
    (elsewhere / path.name).write_bytes(data)
    assert native._read(elsewhere / path.name) is None


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_pipe_where_the_object_should_be_is_not_waited_for(cache):
    path = objects(cache)[0]
    path.unlink()
    os.mkfifo(path, 0o600)
    assert probe(cache) == COLD
    assert probe(cache) == WARM  # its place was taken by the object


def test_a_directory_where_the_object_should_be_is_no_error(cache):
    _damage_directory(objects(cache)[0])
    assert probe(cache) == COLD


def test_two_processes_may_fill_it_at_once(tmp_path):
    cache = tmp_path / "kernels"
    both = [start(cache), start(cache)]
    for found in map(finish, both):
        assert found[0] == "True"
    assert [path.name for path in objects(cache)] == ["microbenchmark.scale-f32.o"]
    assert not list(cache.glob("*/.writing-*"))
    assert probe(cache) == WARM


# Who may have written it.


@AS_ROOT
@pytest.mark.parametrize("which", ["root", "directory", "object"])
def test_what_another_user_owns_is_not_believed(cache, which):
    path = {"root": cache, "directory": objects(cache)[0].parent, "object": objects(cache)[0]}[which]
    os.chown(path, 1234, 1234)
    assert probe(cache) == COLD
    assert probe(cache) == (WARM if which == "object" else COLD)  # (the object was replaced by our own)


@pytest.mark.parametrize("mode", [0o770, 0o707])
@pytest.mark.parametrize("which", ["root", "directory", "object"])
def test_what_others_can_write_to_is_not_believed(cache, which, mode):
    path = {"root": cache, "directory": objects(cache)[0].parent, "object": objects(cache)[0]}[which]
    path.chmod(mode)
    assert probe(cache) == COLD


def test_links_are_not_followed(cache, tmp_path):
    path = objects(cache)[0]
    elsewhere = tmp_path / "elsewhere.o"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert probe(cache) == COLD
    linked = tmp_path / "linked"
    linked.symlink_to(cache)
    assert probe(linked) == COLD and probe(linked) == COLD


# Where nothing can be written.


def test_a_file_where_the_directory_should_be_is_no_error(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert probe(blocked) == COLD and probe(blocked / "below") == COLD
    assert blocked.read_text() == ""


USER = 1234
# Everything that Python must read is read before the process becomes another user, who perhaps can't.
_AS_USER = """
import os, sys, numpy
from tinyattn.kernels.build import native
native.fingerprint(), native._engine()
if sys.argv[1] == "cold":
    from tinyattn.kernels.build import compiler
    compiler.object_code("microbenchmark.scale", "f64", "unused")
if os.geteuid() == 0:
    os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
"""


@pytest.fixture
def house(cache):
    """A directory of a user who isn't root (who may write anywhere), with a filled cache in it; removed at the end."""
    folder = Path(tempfile.mkdtemp())
    shutil.copytree(cache, folder / "kernels")
    yield folder
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700)
    shutil.rmtree(folder)


def probe_as_user(house, expected, **environment):
    """Run the probe in a house that has become read-only."""
    for path in sorted((house, *house.rglob("*")), reverse=True):
        if os.geteuid() == 0:
            os.chown(path, USER, USER)
        path.chmod(0o500)
    names = ("TINYATTN_CACHE", "XDG_CACHE_HOME", "HOME")
    environment |= {k: v for k, v in os.environ.items() if k not in names} | {
        "PYTHONPATH": str(ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", _AS_USER + _PROBE, "warm" if expected == WARM else "cold", str(USER)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().split("|") == expected


@POSIX
def test_a_read_only_cache_is_read_and_not_written(house):
    probe_as_user(house, WARM, TINYATTN_CACHE=str(house / "kernels"))
    before = sorted(house.rglob("*"))
    probe_as_user(house, COLD, TINYATTN_CACHE=str(house / "kernels" / "other"))
    assert sorted(house.rglob("*")) == before


@POSIX
def test_a_read_only_home_is_no_error(house):
    probe_as_user(house, COLD, HOME=str(house))
    assert not (house / ".cache").exists()


def test_where_it_is(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYATTN_CACHE", str(tmp_path / "a"))
    assert native.cache_root() == tmp_path / "a"
    monkeypatch.delenv("TINYATTN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_root() == tmp_path / "tinyattn"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert native.cache_root() == tmp_path / "home" / ".cache" / "tinyattn"
