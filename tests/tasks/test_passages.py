"""passages: exactly one thing of a passage is not as it should be, answers stand where they are said to, nothing leaks."""

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.tasks import passages
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.documents_grammar import ADJECTIVE, CLS, LENGTH, OBJECT, SEP
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers

SOUND = {row.tobytes() for row in grammar.SENTENCES}
PAIRS = {tuple(row) for row in grammar.SENTENCES[:, [ADJECTIVE, OBJECT]].tolist()}


@pytest.fixture(scope="module")
def task():
    return tasks.get("passages")


def test_one_thing_is_not_as_it_should_be_and_the_answer_is_it():
    tokens, spans = passages.generate(300, Stream("a test", 0))
    first = 2 + len(passages.QUESTION)
    asked = set()
    for row, (start, end) in zip(tokens, spans, strict=True):
        assert row[0] == CLS and np.flatnonzero(row == SEP).tolist() == [first - 1, len(row) - 1]
        sentences = row[first:-1].reshape(passages.SENTENCES, LENGTH)
        [wrong] = [k for k, sentence in enumerate(sentences) if sentence.tobytes() not in SOUND]
        assert (start, end) == (first + LENGTH * wrong + ADJECTIVE, first + LENGTH * wrong + OBJECT)
        assert tuple(row[start : end + 1]) not in PAIRS
        assert any(
            (sentences[wrong] != known).sum() == 1 for known in grammar.SENTENCES
        )  # the adjective alone
        asked.add(wrong)
    assert asked == {0, 1, 2}


def test_nothing_leaks_and_the_test_stays(task):
    other = tasks.get("passages", seed=1)
    assert {split: task.count(split) for split in task.tokens} == {
        "train": 200, "validation": 200, "test": 1000,
    }  # fmt: skip
    assert np.array_equal(task.tokens["test"], other.tokens["test"])
    assert not np.array_equal(task.tokens["train"], other.tokens["train"])
    held_out = [row.tobytes() for split in ("validation", "test") for row in task.tokens[split]]
    train = {row.tobytes() for one in (task, other) for row in one.tokens["train"]}
    assert len({*held_out}) == 1200 and not {*held_out} & train


def test_answers_are_judged_by_place_and_by_the_words_in_common(task):
    right = task.spans["test"].copy()
    assert task.score(Answers([*right]), "test").figures == {"exact_match": 1.0, "f1": 1.0}
    half = right.copy()
    half[::2, 0] += 1  # the object alone: one of two words, and no word too many
    figures = task.score(Answers([*half]), "test").figures
    assert figures["exact_match"] == 0.5 and figures["f1"] == pytest.approx((1 + 2 / 3) / 2)
    away = np.zeros_like(right)
    assert task.score(Answers([*away]), "test").figures == {"exact_match": 0.0, "f1": 0.0}
    first = task._sentence(right) == 0
    assert task.floor("test")["exact_match"] == first.mean() and 0.28 < first.mean() < 0.38
    where = task.score(Answers([*np.where(first[:, None], right, 0)]), "test").groups
    assert next(iter(where.values())) == dict(zip(passages.PLACES, (1.0, 0.0, 0.0), strict=True))


def test_a_question_of_a_user(task):
    text = "the _ _ . / a baker often serves the sly cake."
    batch = task.read(text)
    assert batch.length == 15 and batch.weight == 0 and batch.segments[0].tolist() == [0] * 6 + [1] * 9
    shown = task.show(batch, Answers([np.array([11, 12])]), 0)
    assert shown == {"input": "the _ _ . / a baker often serves the sly cake .", "output": "sly cake"}
    assert task.read(task.suggestions(2)[1]).tokens.shape == (1, task.tokens["test"].shape[1])
    assert task.remarks("a wizard / stirs the _") == ["'wizard' is not in the vocabulary of passages."]
    assert "a / between them, but got" in message(lambda: task.read("a baker stirs"))
    assert "at most 35 words, but got 55" in message(lambda: task.read("the _ _ . / " + "a cook . " * 16))
    assert "train_examples must be" in message(lambda: tasks.get("passages", train_examples=0))
