"""The README's examples run, one after the other, as a reader would try them."""

import re
from pathlib import Path

from benchmarks import results_table
from tinyattn import models
from tinyattn.experiments import settings
from tinyattn.experiments.reproduce import Row
from tinyattn.train import results

RESULTS = Path(__file__).parents[1] / "results"
README = Path(__file__).parent.parent / "README.md"


def test_the_examples_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 5
    names: dict = {"__name__": "readme"}
    for number, block in enumerate(blocks):
        exec(compile(block, f"README.md, example {number}", "exec"), names)
    printed = capsys.readouterr().out
    assert "hello world. hello world." in printed and "1 − tanh(x)²" in printed
    assert (tmp_path / "attention.svg").stat().st_size > 1000


def test_the_table_of_differences_is_linked():
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README.read_text("utf-8"))
    assert links and not [link for link in links if not (README.parent / link).exists()]


def test_the_walk_names_files_that_are_there():
    walk = README.parent / "docs" / "walk.md"
    links = re.findall(r"\]\(([^)]+)\)", walk.read_text("utf-8"))
    assert len(links) > 15 and not [link for link in links if not (walk.parent / link).exists()]


def test_the_results_are_those_recorded():
    table = results.table(results.read(RESULTS / "results.json"))
    assert table in (RESULTS / "README.md").read_text("utf-8")
    assert results_table.updated(README.read_text("utf-8")) == README.read_text("utf-8"), (
        "run python -m benchmarks.results_table"
    )


def test_all_that_is_recorded_is_reproduced():
    """The command of each record asks for a recipe, so that `tinyattn reproduce` runs it again."""
    asked = {
        (name, recipe.task, Row(name, name, recipe, {}).variant, *recipe.options.items())
        for name in models.MODELS
        for recipe in models.get(name).recipes
    }
    recorded = set()
    for record in results.read(RESULTS / "results.json"):
        words = record["command"].split()
        given = dict(word.split("=") for word in words if "=" in word)
        model, task = words[2], words[4]
        config = settings.resolve(model, task, "." if "--data" in words else None, given)
        options = [(key, config["task"][key]) for key in given if key in config["task"]]
        recorded.add((model, task, settings.variant(config), *options))
    assert len(recorded) > 60 and not recorded - asked
