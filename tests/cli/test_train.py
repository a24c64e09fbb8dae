"""`tinyattn train`, and `eval` and `sample` of its run: the folder, the table, what to try next, JSON for machines."""

import json
import shutil
from types import SimpleNamespace

import pytest
from command_line import SET, run

import tinyattn as ta
from tinyattn.cli import train
from tinyattn.errors import UsageError
from tinyattn.experiments import settings
from tinyattn.train.run import toml


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


@pytest.mark.parametrize(
    ("example", "line"), [("ab cd", "runs/x 'ab cd'"), ("1 " * 200, "runs/x < /dev/null")]
)
def test_what_to_try_next_is_a_line_that_one_might_type(example, line, capsys):
    task = SimpleNamespace(suggestions=lambda count: [example])
    model = SimpleNamespace(search=dict)
    outcome = SimpleNamespace(folder="runs/x", report="", task=task, models=[SimpleNamespace(model=model)])
    train._show(outcome)
    assert f"next:   tinyattn sample {line}\n" in capsys.readouterr().out


def test_the_data_of_a_run_may_move(tmp_path):
    config = settings.resolve("seq2seq", "multi30k", data="somewhere")
    settings.move_data(config, str(tmp_path / "x" / ".." / "y"))
    assert config["task"]["data"] == str(tmp_path / "y")


def test_a_run_that_cannot_begin_leaves_no_folder(capsys, tmp_path):
    code, _, err = run(capsys, "train", "mlp", "--set", "hidden=999999999", "--out", tmp_path / "big")
    assert code == 1 and "must fit into the memory" in err and not (tmp_path / "big").exists()
    config = tmp_path / "kept" / "config.toml"
    config.parent.mkdir()
    config.write_text(toml(settings.resolve("mlp", settings={"hidden": 999999999})))
    code, _, err = run(capsys, "train", "--resume", config.parent)
    assert code == 1 and "must fit into the memory" in err and config.exists()


@pytest.mark.parametrize("resume", [False, True])
def test_results_that_cannot_be_written_are_refused_before_training(capsys, tmp_path, monkeypatch, resume):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").write_text("")  # a file in the place of the folder
    code, _, err = run(capsys, "train", "--record", *(["--resume", "x"] if resume else []))
    assert code == 1 and "results must be writable, but it is not" in err
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_run_goes_on_with_its_own_settings(tmp_path):
    """What it can't go on with is refused before its folder is touched."""
    given = {"hidden": 6, "steps": 4, "baseline": False}
    ta.Experiment("mlp", "spirals", **given).train(tmp_path / "run")
    before = (tmp_path / "run" / "config.toml").read_bytes()
    for other, text in [
        ({"hidden": 7}, "[train] a run must go on with its own settings: model.hidden = 6, but got 7."),
        ({"learning_rate": 0.5}, "[train] a run must go on with its own settings: training.learning_rate = "),
        ({"steps": 3}, "[train] steps must be at least the 4 that are done, but got 3."),
    ]:
        with pytest.raises(UsageError) as error:
            ta.Experiment("mlp", "spirals", **given | other).train(tmp_path / "run", resume=True)
        assert str(error.value).startswith(text)
        assert (tmp_path / "run" / "config.toml").read_bytes() == before
    outcome = ta.Experiment("mlp", "spirals", **given | {"steps": 6}).train(tmp_path / "run", resume=True)
    assert outcome.models[0].steps == 6


def test_a_command_that_goes_on_records_its_steps(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(capsys, "train", "mlp", "--set", "hidden=6", "--set", "steps=4", "--out", "run")[0] == 0
    code, _, err = run(capsys, "train", "--resume", "run", "--steps", 6, "--record")
    assert code == 0, err
    (record, *_) = json.loads((tmp_path / "results" / "results.json").read_text())
    assert (
        record["steps"] == 6 and "--set steps=6" in record["command"] and "steps=4" not in record["command"]
    )
    assert "must come without --task" in run(capsys, "draw", "run", "--task", "spirals")[2]


def test_what_begins_elsewhere_is_told_from_what_begins_at_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = [f"--set={text}" for text in ("n_layer=1", "n_head=1", "n_embd=8", "block_size=8")]
    (tmp_path / "t.txt").write_text("to be or not to be that is the question " * 40)
    common = ["train", "gpt", "--task", "text", "--data", "t.txt", "--steps", 2, *sizes]
    assert run(capsys, *common, "--out", "a")[0] == 0
    code, out, err = run(capsys, *common, "--set", "start=a", "--out", "b", "--json")
    assert code == 0, err
    assert list(json.loads(out)["models"]) == ["gpt", "gpt scratch"]
