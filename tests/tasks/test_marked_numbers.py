"""Marked numbers: rows are as the paper has them, held-out ones always the same, answers are judged and shown."""

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.sections import Heat, Samples, Table
from tinyattn.tasks.task import Answers

RIGHT = {
    "addition": lambda x, y: 0.5 + (x + y) / 4,
    "multiplication": lambda x, y: x * y,
    "subtraction": lambda x, y: 0.5 + (x - y) / 4,
}
EVERY = pytest.mark.parametrize("name", RIGHT)


@EVERY
def test_rows_are_as_they_are_said_to_be(name):
    task = tasks.get(name, length=40)
    lengths, first, second = [], set(), set()
    for some in (next(task.batches("train", 500, seed=1)), next(iter(task.batches("test", 1000)))):
        assert some.steps.shape[1:] == (44, 2) and some.steps.dtype == np.float32
        for steps, length, target in zip(some.steps, some.length, some.target, strict=True):
            numbers, markers = steps[:length].T
            assert not steps[length:].any() and markers[0] == markers[-1] == -1
            (one, other) = np.flatnonzero(markers == 1)
            assert np.count_nonzero(markers) == 4 and 1 <= one <= 9 and one < other < length // 2
            assert task.low <= numbers.min() and numbers.max() < 1
            assert abs(target - RIGHT[name](numbers[one], numbers[other])) < 1e-6
            lengths.append(length)
            first.add(one)
            second.add(other)
    assert {*lengths} == {40, 41, 42, 43, 44} and first == {*range(1, 10)} and {9, 10, 21} <= second
    assert numbers.std() > 0.2


@EVERY
def test_held_out_rows_are_the_same_whatever_the_seed_and_the_training_rows_are_others(name):
    one, other = (next(iter(tasks.get(name, seed=seed).batches("test", 1000))) for seed in (0, 7))
    assert np.array_equal(one.steps, other.steps) and len(one.target) == one.weight == 1000
    held_out = {
        row.tobytes() for split in ("validation", "test") for row in tasks.get(name).held_out[split].numbers
    }
    assert len(held_out) == 1500
    stream = tasks.get(name).batches("train", 200, seed=0)
    for _ in range(3):
        assert not held_out & {row[:, 0].tobytes() for row in next(stream).steps}


@pytest.mark.parametrize(
    "name, share", [("addition", 0.1536), ("multiplication", 0.2820), ("subtraction", 0.1536)]
)
def test_what_a_constant_reaches_is_what_it_should_be(name, share):
    """P(|x + y| < 0.16) of the sum; 0.08 (1 − log 0.08) of the product: to three deviations of 1,000 rows."""
    found = tasks.get(name).floor("test")["accuracy_100"]
    assert abs(found - share) < 3 * np.sqrt(share * (1 - share) / 1000)


def test_right_is_less_than_four_hundredths_off():
    task = tasks.get("addition", length=20)
    right = task.targets(task.held_out["test"]).astype(np.float64)
    off = np.tile([0.0399, -0.0399, 0.0401, -0.3], 250)
    scores = task.score(Answers([*(right + off)]), "test")
    assert scores.figures == {
        "accuracy_20": 0.5,
        "error_20": pytest.approx(np.sqrt(np.mean(off**2)), rel=1e-12),
    }
    assert list(*scores.groups.values()) == ["20-20", "21-21", "22-22"]


def test_a_row_is_read_as_it_is_shown():
    task = tasks.get("subtraction", length=20)
    some = task.read("0.1 0.5* -0.3 -0.25* 0.7")
    assert (
        some.steps[0].tolist() == np.float32([[0.1, -1], [0.5, 1], [-0.3, 0], [-0.25, 1], [0.7, -1]]).tolist()
    )
    assert task.show(some, Answers([0.25]), 0) == {
        "input": "0.1 0.5* -0.3 -0.25* 0.7", "output": "0.250", "right": "0.688",
    }  # fmt: skip
    assert "this row has 5" in task.remarks("0.1 0.5* -0.3 -0.25* 0.7")[0]
    text = task.suggestions(1)[0]
    assert task.remarks(text) == [] and task.show(task.read(text), Answers([0.0]), 0)["input"] == text


@pytest.mark.parametrize(
    "text", ["", "0.1", "a b* c* d", "0 1* 1* 2", "0 1* 1 0", "0* 1* 1", "0 1* 1*", "0 nan* 0* 1"]
)
def test_other_rows_are_refused(text):
    said = message(lambda: tasks.get("multiplication").read(text))
    must = "a row must be numbers from 0 to 1, two of them, but the first and last, marked with *"
    assert said == f"[multiplication] {must}, but got {text!r}."


def test_a_short_length_is_refused():
    said = message(lambda: tasks.get("addition", length=19))
    assert said == "[addition] length must be at least 20, but got 19."


def test_the_report_shows_where_it_looks():
    task = tasks.get("addition", length=20)
    rows = task.held_out["test"]
    weights = [np.full((1, task.longest), 0.01) for _ in rows.length]
    for row, marked in zip(weights, rows.marked, strict=True):
        row[0, marked] = 0.05
    answers = Answers([*task.targets(rows)], {"attention": weights})
    table, _, heat, samples = task.sections({"model": (answers, task.score(answers, "test"))}, "test")
    assert isinstance(table, Table) and list(table.rows[1][2:]) == ["100.0%", "0.0000"]
    assert isinstance(heat, Heat) and "weighs 5.00 times" in heat.caption
    first = heat.maps[0]
    assert sum(word.endswith("*") for word in first.columns) == 2 and first.weights.max() == 1
    assert isinstance(samples, Samples) and all(sample[2][2] for sample in samples.samples)
