"""Where the command line reads and writes: closed, full, foreign and missing places are no traceback."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from command_line import SET, run, shell


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence():
    command = [sys.executable, "-m", "tinyattn", "models"]
    with open("/dev/full", "w") as full:
        buffered = os.environ | {"PYTHONUNBUFFERED": ""}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert done.returncode == 1
    assert done.stderr == "[models] the output must be usable, but it is not: no space left on device.\n"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$T models | head -1", 0), ("$T models >&-", 0), ("$T --help >&-", 0), ("$T --version >&-", 0),
        ("$T models >&- 2>&-", 0), ("$T models <&-", 0), ("$T nonsense >&- 2>&-", 2), ("$T --version >/dev/full", 1),
    ],
)  # fmt: skip
def test_closed_streams_are_no_fault_of_ours(line, code):
    done = shell(line)
    assert done.returncode == code
    assert len(done.stderr.splitlines()) == (line.endswith("full")), done.stderr


def test_an_encoding_that_lacks_letters_fails_nothing():
    code = "from tinyattn import cli; cli._prepare_streams(); print('a → 猫')"
    for encoding in ("ascii", "latin-1", "ascii:strict"):
        env = os.environ | {"PYTHONIOENCODING": encoding}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env)
        assert (done.returncode, done.stdout) == (0, b"a ? ?\n"), done.stderr


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot")
def test_a_picture_in_no_folder_is_two_lines(tmp_path):
    launcher = tmp_path / "launcher"
    launcher.write_text("import sys\nfrom tinyattn.cli import main\nsys.exit(main())\n")
    command = [sys.executable, str(launcher), "draw", "seq2seq", "--depth", "0", "-o", "nodir/x.svg"]
    how = {
        "cwd": tmp_path,
        "env": os.environ | {"PYTHONPATH": os.getcwd()},
        "capture_output": True,
        "text": True,
    }
    done = subprocess.run(command, **how)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "[save] 'nodir/x.svg' must be a place that can be written to, but no such file or directory.",
        "  Make the folder 'nodir' first.",
    ]
    done = subprocess.run([*command, "--debug"], **how)
    assert "DataError" in done.stderr and "FileNotFoundError" not in done.stderr


def test_samples_of_stdin(capsys, tmp_path):
    folder = tmp_path / "run"
    assert (
        run(capsys, "train", "seq2seq", "--steps", 2, "--no-baseline", "--out", folder, *SET[:3], *SET[4:])[0]
        == 0
    )
    for text, sources in (
        (b"\xef\xbb\xbfthe fox\r\n\n  \xc2\xa0\nthe quiet fox", ["the fox", "the quiet fox"]),
        (b"the f\xff", ["the f\ufffd"]),
        (b"", None),
    ):
        (tmp_path / "text").write_bytes(text)
        done = shell(f"$T sample {folder} --json < {tmp_path / 'text'}", PYTHONIOENCODING="utf-8")
        assert done.returncode == 0, done.stderr
        found = [row["input"] for row in json.loads(done.stdout)]
        assert found == sources if sources else len(found) == 3
    (tmp_path / "text").write_bytes(b"\n \xc2\xa0\n")
    done = shell(f"$T sample {folder} < {tmp_path / 'text'}", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.decode().endswith(
        "[sample] stdin must hold an example a line, but all of its lines are blank.\n"
    )
    done = shell(f"$T sample {folder} 'the fox'", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.startswith(b"the fox\n  ? ")
