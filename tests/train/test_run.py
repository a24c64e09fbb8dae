"""The settings of a run, which people may edit and comment: what is written into them later leaves that alone."""

import tomllib

import pytest

from tinyattn.train.run import CONFIG, Run, revised, toml

WRITTEN = """# the second try
[model] # small
name = "mlp"  # "the" first one
hidden = 6

[training]
steps = 5   # few
  rate = 0.1
set = [
    "a",  # first
]
"""


def changed(**values):
    table = tomllib.loads(WRITTEN)
    for place, value in values.items():
        name, key = place.split("_")
        table[name][key] = value
    return table


@pytest.mark.parametrize(
    "values, lines",
    [
        ({"training_steps": 70}, {"steps = 5   # few": "steps = 70   # few"}),
        ({"model_name": "gpt # 2"}, {'name = "mlp"  # "the" first one': 'name = "gpt # 2"  # "the" first one'}),
        ({"model_hidden": 7, "training_seed": 3}, {"hidden = 6": "hidden = 7", "[training]": "[training]\nseed = 3"}),
        ({"training_rate": 1e-3}, {"  rate = 0.1": "rate = 0.001"}),
        ({}, {}),
    ],
)  # fmt: skip
def test_only_lines_of_values_that_changed_are_written(tmp_path, values, lines):
    path = tmp_path / CONFIG
    path.write_text(WRITTEN)
    run = Run(tmp_path, changed(**values))
    run.save_config()
    expected = WRITTEN
    for old, new in lines.items():
        expected = expected.replace(old, new)
    assert path.read_text() == expected and tomllib.loads(expected) == run.config


@pytest.mark.parametrize(
    "old", ["", "[]", "a = 1", WRITTEN.replace("[training]", "[ training ]"), WRITTEN + "[model]"]
)
def test_what_has_no_such_lines_is_written_anew(old):
    new = toml(changed(training_steps=70))
    assert revised(old, new) == new


def test_a_list_of_several_lines_is_written_anew():
    new = toml(changed(training_set=["b"]))
    assert revised(WRITTEN, new) == new
