"""Tasks that ask questions: right answers, splits apart, a loss of the answer alone, and what counts as right is what
greedy writing gives.
"""

import numpy as np
import pytest
from data_errors import message

import tinyattn as ta
from tinyattn import tasks
from tinyattn.models import GPT
from tinyattn.tasks.adder import Adder
from tinyattn.tasks.task import SPLITS, Answers
from tinyattn.tasks.text import NOTHING


def asked(task, split, most=None):
    """The questions and answers of a split as people write them, `most` of them or all."""
    rows = task.rows[task.asked[split][:most]]
    return [(task.write_question(r[: task.question]), task.write_answer(r[task.question :])) for r in rows]


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_sums_are_right_and_carries_counted(digits):
    task = Adder(digits)
    every = [pair for split in SPLITS for pair in asked(task, split, 2000)]
    for question, answer in every:
        left, right = map(int, question.split("+"))
        assert int(answer) == left + right and len(answer) == digits + 1
    rows = task.rows[:: max(1, len(task.rows) // 500)]
    for row, kind in zip(rows, task.kinds(rows), strict=True):
        left, right, carries = row[:digits], row[digits : 2 * digits], 0
        carry = 0
        for place in reversed(range(digits)):
            carry = int(left[place] + right[place] + carry > 9)
            carries += carry
        assert kind == str(carries)


def test_rows_are_sorted():
    task = tasks.get("sort-6")
    for split in SPLITS:
        assert all(answer == "".join(sorted(question)) for question, answer in asked(task, split))


@pytest.mark.parametrize("name, sizes", [("sort-6", (502, 45, 182)), ("adder", (8500, 500, 1000))])
def test_no_question_is_in_two_splits(name, sizes):
    task = tasks.get(name)
    found = [{question for question, _ in asked(task, split)} for split in SPLITS]
    assert tuple(map(len, found)) == sizes and not (
        found[0] & found[1] | found[0] & found[2] | found[1] & found[2]
    )
    assert len(set.union(*found)) == len(task.rows) and task.count("test") >= 1000


@pytest.mark.parametrize("name", ["sort-6", "adder"])
def test_only_the_answer_is_predicted(name):
    task = tasks.get(name)
    *_, batch = task.batches("validation", 64)
    rows = task.rows[task.asked["validation"]][batch.index]
    assert not batch.valid.all()
    assert np.array_equal(batch.tokens, rows[:, :-1])
    expected = np.where(batch.valid[:, None], rows[:, task.question :], NOTHING)
    assert np.array_equal(batch.targets[:, task.question - 1 :], expected)
    assert (batch.targets[:, : task.question - 1] == NOTHING).all()
    assert batch.weight == batch.valid.sum() * task.answer and batch.question == task.question


@pytest.mark.parametrize("name", ["sort-6", "adder"])
def test_what_counts_as_right_is_what_greedy_writing_gives(name):
    """A little trained, so that some are right: the judged answers, and those that are written one by one."""
    task = tasks.get(name)
    experiment = ta.Experiment("gpt", name, n_layer=1, n_head=1, n_embd=32)
    model = experiment.model
    optimizer = model.configure_optimizer(lr=1e-2)

    @ta.function
    def step(tokens, targets):
        optimizer.minimize(model.loss(tokens, targets, NOTHING))

    stream = task.batches("train", 64, seed=0)
    for _ in range(150 if name == "adder" else 40):
        batch = next(stream)
        step(batch.tokens, batch.targets)
    batch = next(iter(task.batches("validation", 40)))
    judged = np.stack(model.answer(batch).outputs)[:, -task.answer :] == batch.targets[:, -task.answer :]
    written = np.stack(model.sample(batch).outputs) == batch.targets[:, -task.answer :]
    assert np.array_equal(judged.all(axis=1), written.all(axis=1)) and 0 < written.all(axis=1).sum() < 40
    assert not np.array_equal(judged, written)  # behind a mistake they differ


def test_scores_count_whole_answers_and_every_digit():
    task = tasks.get("adder")
    rows = task.rows[task.asked["test"]]
    said = np.concatenate([np.zeros((len(rows), 3), np.int32), rows[:, task.question :]], axis=1)
    said[::4, -1] = (said[::4, -1] + 1) % 10
    scores = task.score(Answers([*said], nats=60.0, predictions=3000), "test")
    assert scores.figures == {"exact_match": 0.75, "accuracy": 1 - 0.25 / 3, "val_loss": 0.02}
    (groups,) = scores.groups.values()
    assert [*groups] == ["0", "1", "2"]
    sections = task.sections({"gpt": (Answers([*said]), scores)}, "test")
    assert sections[1].samples[0][2][2] is False


def test_a_question_of_the_users():
    sums, sort = tasks.get("adder"), tasks.get("sort-6")
    batch = sums.read(" 9 + 94")
    assert sums.show(batch, Answers([np.array([3, 0, 1])]), 0) == {
        "input": "09+94",
        "output": "103",
        "right": "103",
    }
    batch = sort.read("02 10 21")
    said = GPT.for_task(sort, n_layer=1, n_head=1, n_embd=8).sample(batch)
    shown = sort.show(batch, said, 0)
    assert shown["right"] == "001122" and shown["input"] == "021021" and len(shown["output"]) == 6
    for wrong in ("", "85", "850+1", "8+-5", "a+b", "٣+٤"):
        expected = f"[adder] a question must be like 88+55, but got {wrong!r}."
        assert message(lambda wrong=wrong: sums.read(wrong)) == expected
    assert (
        message(lambda: sort.read("021023")) == "[sort-6] a question must be like 021021, but got '021023'."
    )
    assert message(lambda: Adder(4)) == "[adder] digits must be at most 3, but got 4."
    assert message(lambda: Adder(0)) == "[adder] digits must be a positive integer, but got 0."
