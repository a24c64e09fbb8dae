"""`tinyattn sweep`: every case of a grid is trained once, goes on when it was stopped, and stands in a table."""

import json

import pytest

from tinyattn.cli import main
from tinyattn.experiments.sweep import cases

COMMON = ["sweep", "mlp", "--task", "digits", "--steps", "20", "--set", "hidden=8"]


def test_all_combinations_or_one_setting_at_a_time():
    grid = {"score": ["dot", "general"], "window": ["2"], "layers": ["1", "2"]}
    assert cases(grid) == [
        {"score": score, "window": "2", "layers": layers} for score in ("dot", "general") for layers in "12"
    ]
    assert cases(grid, one_at_a_time=True) == [
        {"score": "dot"}, {"score": "general"}, {"window": "2"}, {"layers": "1"}, {"layers": "2"},
    ]  # fmt: skip


def test_cases_are_trained_compared_and_gone_on_with(undrawn, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*COMMON, "--grid", "layers=1,2", "--grid", "learning_rate=1e-2,1e-5", "--seeds", "2"]) == 0
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert err.count("run folder") == 8 and "accuracy" in head and "training time" in head
    assert [line.split()[:4] for line in lines] == [
        ["layers", f"{layers},", "learning_rate", rate] for layers in "12" for rate in ("1e-2", "1e-5")
    ]
    folder = tmp_path / "runs" / "sweep" / "mlp-digits"
    assert len([*folder.iterdir()]) == 8
    last = folder / "layers=2-learning_rate=1e-5-1"
    before = json.loads((last / "results.json").read_text())["models"]["mlp"]
    (last / "results.json").unlink()  # as if it had been stopped
    grid = ["--grid", "layers=1,2", "--grid", "learning_rate=1e-2,1e-5", "--seeds", "2"]
    assert main([*COMMON, *grid, "--json"]) == 0
    out, err = capsys.readouterr()
    rows = json.loads(out)
    assert err.count("run folder") == 1, "what is finished is not trained again"
    assert rows[-1]["settings"] == {"layers": "2", "learning_rate": "1e-5"}
    assert rows[-1]["seeds"]["accuracy"]["1"] == before["accuracy"], "the same bits again"
    for row in rows:
        assert row["figures"]["accuracy"] == pytest.approx(sum(row["seeds"]["accuracy"].values()) / 2)
    assert rows[0]["parameters"] < rows[2]["parameters"]
    assert main([*COMMON, *grid, "--set", "batch_size=7"]) == 1
    assert "must be a run of these settings, but it has others" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--grid", "layers"], "[sweep] --grid must be followed by key=value,value, but got 'layers'."),
        (["--grid", "layers=1,,2"], "[sweep] --grid must be followed by key=value,value, but got 'layers=1,,2'."),
        (["--grid", "hidden=4,8"], "[sweep] --grid must name each setting and value once, but got 'hidden=4,8'."),
        (["--grid", "layers=1,1"], "[sweep] --grid must name each setting and value once, but got 'layers=1,1'."),
        (["--grid", "layers=1,x"], "[train] layers must be a whole number, but got 'x'."),
    ],
)  # fmt: skip
def test_wrong_grids_are_one_sentence_and_train_nothing(more, text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*COMMON, *more]) == 2
    assert capsys.readouterr().err.strip() == text and not [*tmp_path.iterdir()]


def test_seeds_have_an_option_of_their_own(capsys):
    assert main([*COMMON, "--grid", "seed=0,1"]) == 2
    assert "seeds must be given as --seeds N" in capsys.readouterr().err
