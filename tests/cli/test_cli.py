"""The command line: help at once, exit codes, one sentence for each mistake, JSON for machines."""

import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tinyattn import models
from tinyattn.cli import main, tools, train
from tinyattn.errors import UsageError
from tinyattn.experiments import settings
from tinyattn.graph.op import OPS
from tinyattn.graph.point import at, fixed
from tinyattn.train.run import toml

SMALL = [
    "hidden=6",
    "embedding=6",
    "maxout=4",
    "attention=4",
    "train_examples=200",
    "batch_size=16",
    "validate_every=5",
]
SET = [f"--set={text}" for text in SMALL]


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


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


@pytest.mark.parametrize("resume", [False, True])
def test_results_that_cannot_be_written_are_refused_before_training(capsys, tmp_path, monkeypatch, resume):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("")  # a file in the place of the folder
    code, _, err = run(capsys, "train", "--record", *(["--resume", "x"] if resume else []))
    assert code == 1 and "results must be writable, but it is not" in err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_one_sentence():
    command = [sys.executable, "-m", "tinyattn", "models"]
    with open("/dev/full", "w") as full:
        buffered = os.environ | {"PYTHONUNBUFFERED": ""}
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered)
    assert done.returncode == 1
    assert done.stderr == "[models] the output must be usable, but it is not: no space left on device.\n"


def shell(line, **environment):
    """Run a line of shell in which $T is the command."""
    env = os.environ | {"T": f"{sys.executable} -m tinyattn", "PYTHONUNBUFFERED": ""} | environment
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env=env)


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


def test_train_eval_sample(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", "--steps", 6, "--seed", 3, "--json", "--record", *SET)
    assert code == 0, err
    outcome = json.loads(out)
    folder = tmp_path / "runs" / "bahdanau-tiny-mt-3"
    assert outcome["run"] == "runs/bahdanau-tiny-mt-3" and outcome["seed"] == 3
    figures = outcome["models"]["bahdanau"]
    assert figures.keys() >= {
        "exact_match",
        "exact_match_25-30",
        "bleu",
        "aer",
        "perplexity",
        "parameters",
        "seconds",
    }
    assert abs(outcome["models"]["seq2seq"]["parameters"] / figures["parameters"] - 1) < 0.05
    for name in (
        "config.toml",
        "metrics.jsonl",
        "report.html",
        "results.json",
        "baseline/config.toml",
        "best.safetensors",
    ):
        assert (folder / name).exists()
    records = json.loads((tmp_path / "results" / "results.json").read_text())
    assert {(r["model"], r["metric"]) for r in records} >= {("bahdanau", "aer"), ("seq2seq", "bleu")}
    assert (tmp_path / "results" / "bahdanau-tiny-mt-train_examples-200-3.jsonl").exists()

    code, out, _ = run(capsys, "eval", folder, "--json")
    assert code == 0 and json.loads(out)["bleu"] == figures["bleu"]
    code, out, err = run(capsys, "eval", folder, "--data", "elsewhere")
    assert code == 2 and "tiny-mt makes its own data" in err
    code, out, err = run(capsys, "sample", folder, "--json", "--beam", 2, "the quiet fox sees a gnu")
    (found,) = json.loads(out)
    assert code == 0 and len(found["attention"][0]) == 6 and "'gnu' is not in the vocabulary" in err
    code, out, _ = run(capsys, "train", "--resume", folder, "--json")  # nothing is left to do
    assert code == 0 and json.loads(out)["models"]["bahdanau"]["bleu"] == figures["bleu"]
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(f"# a remark\n{text}")
    code, out, err = run(capsys, "train", "--resume", folder, "--no-baseline", "--json")
    assert code == 0 and json.loads(out)["models"].keys() == {"bahdanau"}
    after = (folder / "config.toml").read_text()
    assert after == f"# a remark\n{text}".replace("baseline = true", "baseline = false") != text
    (folder / "best.safetensors").unlink()
    code, out, err = run(capsys, "sample", folder, "the fox")
    assert code == 0 and "the last checkpoint, of step 6, is used" in err
    code, out, err = run(capsys, "train", "--out", folder, *SET)
    assert code == 1 and f"tinyattn train --resume {folder}" in err


def test_an_edited_config_is_one_sentence(capsys, tmp_path):
    folder = tmp_path / "run"
    assert run(capsys, "train", "seq2seq", "--steps", 2, "--out", folder, *SET[:3], *SET[4:])[0] == 0
    whole = (folder / "config.toml").read_text()
    for old, new, expected in [
        ("hidden = 6", "hidden = 0", "hidden must be a positive integer, but got 0"),
        ("hidden = 6", 'hidden = "6"', "must hold a whole number as model.hidden, but got '6'"),
        ("seed = 0", "seed = 0\nsead = 1", "but got training.sead"),
        ('name = "seq2seq"', 'name = "seq"', "the model must be one of"),
        ("[training]", "[trainings]", "training"),
    ]:
        assert old in whole
        (folder / "config.toml").write_text(whole.replace(old, new))
        for arguments in (["train", "--resume", folder], ["eval", folder]):
            code, _, err = run(capsys, *arguments)
            assert code == 1 and expected in err and len(err.splitlines()) == 1, err
    (folder / "config.toml").write_text(whole.replace("hidden = 6", "hidden = 999999999"))
    for arguments in (["train", "--resume", folder], ["eval", folder]):
        code, _, err = run(capsys, *arguments)
        assert code == 1 and "config.toml must be the settings of a run that fits into the memory" in err
    (folder / "config.toml").write_text(whole.replace("hidden = 6", "hidden = 7"))
    code, _, err = run(capsys, "eval", folder)
    assert code == 1 and "it belongs to another model" in err


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


def test_a_table_and_what_to_try_next(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", "seq2seq", "--steps", 2, "--out", "here", *SET[:3], *SET[4:])
    assert code == 0, err
    assert "exact match" in out and "BLEU" in out and "report: here/report.html" in out
    assert "tinyattn sample here" in out and "run folder: here" in err
    assert max(map(len, out.splitlines())) <= 80
    monkeypatch.setenv("TINYATTN_COMMAND", "./start")
    code, out, _ = run(capsys, "train", "--resume", "here")
    assert code == 0 and "./start sample here '" in out and "tinyattn" not in out
    if shutil.which("dot"):
        assert "./start draw here -o all.html" in (tmp_path / "here" / "report.html").read_text()
        assert 'href="graph.html"' in (tmp_path / "here" / "report.html").read_text()
        assert "Content-Security-Policy" in (tmp_path / "here" / "graph.html").read_text()


def test_a_table_of_two_models_fits_80_columns(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, "train", "--steps", 2, "--out", "here", *SET)
    assert code == 0, err
    assert "seq2seq (no attention)" in out and max(map(len, out.splitlines())) <= 80


def test_the_data_of_a_run_may_move(tmp_path):
    config = settings.resolve("seq2seq", "multi30k", data="somewhere")
    settings.move_data(config, str(tmp_path / "x" / ".." / "y"))
    assert config["task"]["data"] == str(tmp_path / "y")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs the program dot")
def test_draw(capsys, tmp_path):
    path = tmp_path / "seq2seq.svg"
    code, out, _ = run(capsys, "draw", "seq2seq", "--depth", 0, "-o", path)
    assert code == 0 and out.strip() == str(path) and "decoder" in path.read_text()
    code, out, _ = run(capsys, "draw", "seq2seq", "--forward", "--json", "-o", tmp_path / "x.json")
    plain = json.loads((tmp_path / "x.json").read_text())
    ops = lambda data, kind: sum(n["op"] == kind or n["kind"] == kind for n in data["nodes"])
    switches = ["--views", "--parameters", "--expand", "maxout", "--expand", "cross_entropy"]
    assert run(capsys, "draw", "seq2seq", "--forward", *switches, "-o", tmp_path / "y.json")[0] == 0
    opened = json.loads((tmp_path / "y.json").read_text())
    for closed in ("maxout", "cross_entropy"):
        assert ops(plain, closed) and not ops(opened, closed)
    assert ops(opened, "view") > ops(plain, "view") and ops(opened, "parameter") > ops(plain, "parameter")
    sizes = []
    for more in ([], ["--repeats"]):
        assert run(capsys, "draw", "gpt", "--depth", 1, *more, "-o", tmp_path / "z.json")[0] == 0
        sizes.append(len(json.loads((tmp_path / "z.json").read_text())["nodes"]))
    assert sizes[0] < sizes[1]
    assert code == 0 and json.loads((tmp_path / "x.json").read_text()) and json.loads(out)["picture"]


def test_gradcheck(capsys):
    code, out, _ = run(capsys, "gradcheck", "tanh", "softmax", "additive_score")
    assert code == 0 and "3 of 3 derivatives agree" in out


def test_gradcheck_says_why_there_is_no_derivative(capsys):
    code, _, error = run(capsys, "gradcheck", "argmax")
    assert code == 2 and "must have a derivative, but argmax has none: integers come out." in error


@pytest.mark.parametrize(
    "name", ["attention", "conv2d", "layer_norm", "linear_cross_entropy", "memory_write"]
)
def test_gradcheck_of_networks(name, capsys):
    code, out, _ = run(capsys, "gradcheck", name)
    assert code == 0 and "1 of 1 derivatives agree" in out and out.endswith(" s)\n")


@pytest.mark.parametrize(
    ("example", "line"), [("ab cd", "runs/x 'ab cd'"), ("1 " * 200, "runs/x < /dev/null")]
)
def test_what_to_try_next_is_a_line_that_one_might_type(example, line, capsys):
    task = SimpleNamespace(suggestions=lambda count: [example])
    model = SimpleNamespace(search=dict)
    outcome = SimpleNamespace(folder="runs/x", report="", task=task, models=[SimpleNamespace(model=model)])
    train._show(outcome)
    assert f"next:   tinyattn sample {line}\n" in capsys.readouterr().out


def test_warmup(capsys):
    code, out, _ = run(capsys, "warmup", "--json")
    assert code == 0 and set(json.loads(out)) == set(models.MODELS)


def test_gradcheck_finds_a_wrong_derivative(capsys, monkeypatch):
    import tinyattn as ta

    wrong = {"wrong": (lambda x: ta.stop_gradient(x) * x, (at(fixed([1.0, 2.0])),))}
    monkeypatch.setattr(tools, "POINTS", wrong)
    code, out, _ = run(capsys, "gradcheck", "--json")
    assert code == 1 and "must equal its finite difference" in json.loads(out)["wrong"]


def test_doctor_and_bench(capsys, tmp_path, monkeypatch):
    code, out, _ = run(capsys, "doctor", "--json")
    found = {finding["check"]: finding for finding in json.loads(out)}
    assert code == 0 and found["numbers"]["good"] and "numpy" in found["versions"]["text"]
    monkeypatch.setenv("TINYATTN_CACHE", str(tmp_path / "file" / "kernels"))
    (tmp_path / "file").write_text("")
    assert tools._check_cache().startswith("warning: ")
    monkeypatch.setenv("TINYATTN_CACHE", str(tmp_path / "kernels"))
    assert tools._check_cache() == f"{tmp_path / 'kernels'} (0.0 MB)"
    monkeypatch.undo()
    code, out, _ = run(capsys, "bench", "seq2seq", "--steps", 2, "--batch-size", 2, "--json")
    assert code == 0 and json.loads(out)["median_step_seconds"] > 0


def test_bench_says_how_far_the_peak_is(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = run(capsys, "bench", "seq2seq", "--steps", 2, "--batch-size", 2)
    rows = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert code == 0 and float(rows["gflops"]) > 0 and 0 < float(rows["share_of_peak"]) < 1.5
    assert {"peak_gflops", "peak_gflops_f64", "memory_gbytes_per_second", "peak_bytes"} <= set(rows)
    code, out, err = run(capsys, "bench", "--profile", "seq2seq", "--steps", 2, "--batch-size", 2)
    assert code == 0 and err == "picture: profile-seq2seq.svg\n"
    assert (tmp_path / "profile-seq2seq.svg").read_text().startswith("<svg ")
    lines = out.splitlines()
    assert lines[0] == "seq2seq on tiny-mt, batch 2: one training step"
    assert lines[1].split() == "kernel calls ms step GFLOP/s GB/s flop/B roof".split()
    assert max(map(len, lines)) <= 80 and any(line.startswith("gemm.") for line in lines)
    code, out, _ = run(
        capsys, "bench", "seq2seq", "--profile", "--steps", 2, "--batch-size", 2, "--json", "-o", "x.svg"
    )
    found = json.loads(out)
    assert code == 0 and found["picture"] == "x.svg" and found["kernels"] and found["machine"]["threads"] >= 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["profile-seq2seq.svg", "x.svg"]


def test_a_run_that_cannot_begin_leaves_no_folder(capsys, tmp_path):
    code, _, err = run(capsys, "train", "mlp", "--set", "hidden=999999999", "--out", tmp_path / "big")
    assert code == 1 and "must fit into the memory" in err and not (tmp_path / "big").exists()
    config = tmp_path / "kept" / "config.toml"
    config.parent.mkdir()
    config.write_text(toml(settings.resolve("mlp", settings={"hidden": 999999999})))
    code, _, err = run(capsys, "train", "--resume", config.parent)
    assert code == 1 and "must fit into the memory" in err and config.exists()


def test_derive_prints_and_saves_the_derivation(capsys, tmp_path, monkeypatch):
    code, out, err = run(capsys, "derive", "softmax")
    assert code == 0 and not err and "dx = y ∘ (dy − rowsum(dy ∘ y))" in out
    path = tmp_path / "softmax.html"
    code, out, err = run(capsys, "derive", "attention", "--wrt", "query", "-o", path)
    assert code == 0 and out.strip() == str(path) and "<math" in path.read_text()
    code, out, err = run(capsys, "derive", "tanh", "--json")
    found = json.loads(out)
    assert code == 0 and found["holds"] and found["steps"][-1]["after"] == ["dx = dy ∘ (1 − y²)"]
    op = OPS["tanh"]
    right = op.derivative
    object.__setattr__(op, "derivative", lambda g, y: (g,))
    try:
        code, out, err = run(capsys, "derive", "tanh")
    finally:
        object.__setattr__(op, "derivative", right)
    assert code == 1 and "do NOT hold" in out
