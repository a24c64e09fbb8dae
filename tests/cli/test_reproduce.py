"""`tinyattn reproduce`: every recipe with several seeds, beside targets and records; stopped ones go on."""

import json
import shutil

import pytest

from tinyattn.cli import main

MODEL = """
from tinyattn.models import MLP, Recipe

class Small(MLP):
    name = ""
    varies = ("layers",)
    recipes = (
        Recipe("digits", {"hidden": 8}, {"steps": 40}, targets={"accuracy": 0.2}),
        Recipe("digits", {"hidden": 8, "layers": 3}, {"steps": 30}, targets={"accuracy": 1.1}, variant="3"),
        Recipe("mnist"),
    )
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MODEL)
    return tmp_path


def test_recipes_are_run_again_and_go_on(undrawn, place, capsys):
    assert main(["reproduce", "mine.py:Small", "--seeds", "2"]) == 1  # a target is out of reach
    out, err = capsys.readouterr()
    assert "Small on mnist is left out: it reads files: add --data mnist=PATH." in err
    plain, deep = [line for line in out.splitlines() if "accuracy" in line]
    assert plain.startswith("Small ") and "missed" not in plain and "20.0%" in plain
    assert deep.startswith("Small 3 ") and deep.endswith("missed")
    assert sorted(path.name for path in (place / "runs" / "reproduce").iterdir()) == [
        "Small-3-digits-0", "Small-3-digits-1", "Small-digits-0", "Small-digits-1",
    ]  # fmt: skip
    last = place / "runs" / "reproduce" / "Small-digits-1"
    before = (last / "results.json").read_text()
    (last / "results.json").unlink()  # as if it had been stopped
    shutil.rmtree(last.parent / "Small-3-digits-0")
    assert main(["reproduce", "--json", "mine.py:Small", "--seeds", "2"]) == 1
    out, err = capsys.readouterr()
    assert err.count("run folder") == 2, "what is finished is not trained again"
    (line,) = [one for one in json.loads(out) if one["metric"] == "accuracy"]
    assert line["seeds"].keys() == {"0", "1"} and line["target"] == 0.2 and line["reached"] is True
    assert json.loads(before)["models"]["Small"]["accuracy"] == line["seeds"]["1"], "the same bits again"


def test_records_stand_beside(undrawn, place, capsys):
    assert main(["train", "mine.py:Small", "--task", "digits", "--record"]) == 0
    capsys.readouterr()
    main(["reproduce", "mine.py:Small", "--seeds", "1", "--json"])
    lines = {one["metric"]: one for one in json.loads(capsys.readouterr().out)}
    assert lines["accuracy"]["recorded"] == lines["accuracy"]["value"]
    assert lines["3_accuracy"]["recorded"] is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["nothing"], "the model must be one of"),
        (["mlp", "--data", "mnist"], "--data must be followed by TASK=PATH, but got 'mnist'."),
        (["mlp", "--data", "digits=x"], "--data must name a task that reads files, but digits reads none."),
        (["mlp", "--data", "nothing=x"], "the task must be one of"),
        (["mlp", "--seeds", "0"], "must be a whole number of at least 1, but got '0'"),
    ],
)
def test_mistakes_are_one_sentence(words, text, place, capsys):
    assert main(["reproduce", *words]) == 2
    assert text in capsys.readouterr().err


def test_a_folder_of_another_seed_is_not_taken(place, capsys):
    main(
        [
            "train",
            "mine.py:Small",
            "--task",
            "digits",
            "--seed",
            "7",
            "--out",
            "runs/reproduce/Small-digits-0",
        ]
    )
    assert main(["reproduce", "mine.py:Small", "--seeds", "1"]) == 1
    assert "must be the run of seed 0, but its seed is 7." in capsys.readouterr().err
