"""The examples run, with fewer steps than they take by themselves, and already beat what stands beside them."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
CASES = {  # steps, what must be beaten by then, by how much
    "patches": (250, "patches alone", 0.2),
    "segmentation": (200, "without", 0.05),
    "forecasting": (100, "the last value", -1.0),
    "recommendation": (150, "what follows the last item", 0.02),
    "summary": (300, "the first three", 0.25),
    "moons": (150, "a straight line", 0.02),
    "own_text": (40, "how often each comes", -0.1),
    "pointer": (150, "as they stand", 0.2),
    "memory_cell": (250, "a guess", 0.1),
}
SHOWN = {  # examples that compare nothing: how they are called, and what is right
    "own_derivative": ((), {"by hand": 3, "by the rules": 0}),
    "hugging_face": ((), {"apart": 0}),
    "gradient_picture": ((".",), {}),
    "two_ranks": ((5,), {}),
}
LINES = 60


def test_every_example_is_run_and_short():
    files = {path.stem: path.read_text("utf-8") for path in EXAMPLES.glob("*.py")}
    assert files.keys() == CASES.keys() | SHOWN.keys()
    assert max(len(text.splitlines()) for text in files.values()) <= LINES


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


@pytest.mark.parametrize("name", CASES)
def test_it_beats_what_stands_beside_it(name):
    steps, beside, ahead = CASES[name]
    found = loaded(name).main(steps)
    first = next(iter(found.values()))  # the figure of the model with attention
    gain = (first - found[beside]) * (1 if ahead > 0 else -1)  # errors are better when they are lower
    assert len(found) >= 2 and gain > abs(ahead), found


@pytest.mark.parametrize("name", SHOWN)
def test_it_shows_what_it_is_about(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments, right = SHOWN[name]
    found = loaded(name).main(*arguments)
    assert found and found.items() >= right.items()
