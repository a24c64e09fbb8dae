"""What is asked of the command line: help at once, exit codes, one sentence for each mistake, settings of their type."""

import json
import os
import subprocess
import sys

import pytest
from command_line import run

from tinyattn.errors import UsageError
from tinyattn.experiments import settings


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from tinyattn.cli import main; code = main(['train', '--help']);"
        "heavy = {'numpy', 'numba', 'llvmlite', 'tinyattn.graph', 'tinyattn.models'} & set(sys.modules);"
        "sys.exit(f'{heavy} {code}' if heavy or code else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--resume DIR" in done.stdout


def test_help_and_version(capsys):
    code, out, err = run(capsys, "--help")
    assert code == 0 and not err
    for command in "train models tasks eval sample draw derive gradcheck bench doctor warmup".split():
        assert command in out
        assert run(capsys, command, "--help")[0] == 0
    assert run(capsys)[0] == 0
    assert run(capsys, "--version")[1].startswith("tinyattn ")


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["fly"], "invalid choice: 'fly'"),
        (["trian"], "did you mean train?"),
        (["--debug", "models"], "unrecognized arguments: --debug; --debug stands behind the command."),
        (["train", "--stepz", "5"], "[train] unrecognized arguments: --stepz; did you mean --steps?"),
        (["train", "--fly"], "unrecognized arguments: --fly"),
        (
            ["train", "--hidden", "9"],
            "unrecognized arguments: --hidden; settings are written --set hidden=….",
        ),
        (["sample"], "[sample] the following arguments are required: RUN."),
        (["train", "--steps", "0"], "must be a whole number of at least 1, but got '0'"),
        (["train", "--steps", "ten"], "but got 'ten'"),
        (["train", "--seed", "-1"], "but got '-1'"),
        (
            ["train", "--seed", str(2**63)],
            "must be a whole number below 2**63, but got '9223372036854775808'",
        ),
        (["train", "--seed", "9" * 5000], "must be a whole number below 2**63, but got '9999"),
        (
            ["train", "--set", f"seed={2**63}"],
            "seed must be a whole number from 0 to 2**63 - 1, but got 9223372036854775808",
        ),
        (["train", "--set", "seed=" + "9" * 5000], "seed must be a whole number, but got '9999"),
        (["train", "--set", "hidden=9999999999"], "hidden must be at most 2147483647, but got 9999999999"),
        (["train", "badanau"], "did you mean bahdanau?"),
        (["train", "--task", "tiny_mt"], "did you mean tiny-mt?"),
        (["train", "--task", "multi30k"], "add --data PATH"),
        (["train", "--data", "somewhere"], "tiny-mt makes its own data"),
        (["train", "--set", "hiden=3"], "did you mean hidden?"),
        (["train", "--set", "hidden"], "must be followed by key=value, but got 'hidden'"),
        (["train", "--set", "hidden=big"], "hidden must be a whole number, but got 'big'"),
        (["train", "--set", "hidden=0"], "hidden must be a positive integer, but got 0"),
        (["train", "--set", "learning_rate=fast"], "learning_rate must be a number, but got 'fast'"),
        (["train", "--set", "learning_rate=nan"], "learning_rate must be positive"),
        (["train", "--set", "optimizer=adm"], "optimizer must be one of"),
        (["train", "--resume", "x", "--seed", "0"], "--resume must come without --seed"),
        (["train", "--resume", "x", "bahdanau"], "--resume must come without MODEL"),
        (["train", "--set", "name=x"], "choose the model with MODEL and the task with --task"),
        (["train", "--set", "model.name=x"], "choose the model with MODEL and the task with --task"),
        (["draw", "rnn"], "the model must be one of"),
        (["bench", "bahdanu"], "[models] the model must be one of bahdanau, seq2seq, "),
        (
            ["train", "gpt", "--task", "tiny-mt"],
            "gpt must be trained on a task of language, but got tiny-mt, a task of",
        ),
        (["train", "mine.py:Model"], "mine.py must be the file of a model, but there is no such file"),
        (["gradcheck", "zzz"], "got 'zzz': known are abs, "),
        (["gradcheck", "sofmax"], "got 'sofmax': did you mean softmax?"),
        (["derive", "sofmax"], "[derive] OP must be an operation, but got 'sofmax': did you mean softmax?"),
        (["derive", "argmax"], "[derive] OP must have a derivative, but argmax has none: "),
        (["derive", "softmax", "--wrt", "z"], "[derive] wrt must be of x, but got 'z'."),
        (
            ["derive", "softmax", "-o", "x.pdf"],
            "[derive] FILE must end in .txt, .tex, .html, but got 'x.pdf'.",
        ),
        (["derive"], "required: OP"),
        (["draw", "bahdanau", "-o", "x.gif"], "FILE must end in .svg"),
        (
            ["draw", "bahdanau", "--expand", "exp"],
            "expand takes names of hand-derived operations, but got 'exp'.",
        ),
        (["eval"], "required: RUN"),
        (["sample", "x", "--beams", "2"], "unrecognized arguments: --beams 2"),
        (["sample", "x", "--beam", "0"], "at least 1, but got '0'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *arguments)
    assert code == 2 and not out
    assert expected in err and "Traceback" not in err and len(err.splitlines()) <= 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments, expected",
    [
        (["eval", "nowhere"], "nowhere must be the folder of a run, with a config.toml, but there is none"),
        (["sample", "nowhere", "a"], "but there is none"),
        (["train", "--resume", "nowhere"], "but there is none"),
        (
            ["train", "--resume", "file"],
            "file must be the folder of a run, with a config.toml, but it is a file",
        ),
        (["train", "--task", "multi30k", "--data", "nowhere"], "nowhere is not a folder"),
        (["train", "--out", "file"], "file is no folder"),
        (
            ["bench", "seq2seq", "--profile", "-o", "x.txt"],
            "the file's name must end in .svg, .html, but got 'x.txt'",
        ),
    ],
)
def test_failures_are_one_sentence_and_exit_code_1(capsys, tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert expected in err and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]  # no run folder is left behind


def test_lists(capsys):
    code, out, _ = run(capsys, "models")
    assert code == 0 and out.startswith("bahdanau ")
    assert max(map(len, out.splitlines())) <= 80
    found = json.loads(run(capsys, "models", "--json")[1])
    assert found[0]["name"] == "bahdanau" and found[0]["task"] == "tiny-mt" and found[0]["seed"]
    assert {entry["name"] for entry in json.loads(run(capsys, "tasks", "--json")[1])} >= {
        "tiny-mt",
        "multi30k",
    }


def test_settings_have_the_type_of_their_default():
    config = settings.resolve(
        "bahdanau", settings={"seed": 4, "steps": "7", "hidden": "32", "learning_rate": 1, "training.batch_size": 5, "init": "paper", "train_examples": "9"},
    )  # fmt: skip
    assert config["model"]["hidden"] == 32 and config["model"]["init"] == "paper"
    assert settings.resolve("mlp", settings={"lr": "0.5"})["training"]["learning_rate"] == 0.5
    assert config["training"]["learning_rate"] == 1.0 and isinstance(
        config["training"]["learning_rate"], float
    )
    assert (
        config["training"]["batch_size"] == 5
        and config["training"]["seed"] == 4
        and config["training"]["steps"] == 7
    )
    assert config["task"]["name"] == "tiny-mt" and config["task"]["train_examples"] == 9
    multi = settings.resolve("seq2seq", "multi30k", data="somewhere", settings={"source": "fr"})
    assert multi["task"]["data"] == os.path.abspath("somewhere")
    assert multi["task"]["source"] == "fr" and multi["model"]["hidden"] > 64
    with pytest.raises(UsageError):
        settings.resolve("bahdanau", settings={"name": "x"})
