"""topics and topic-texts: texts are as the language has them, labels are those of their second clauses, and nothing leaks."""

import math

import numpy as np
import pytest
from data_errors import message

import tinyattn as ta
from tinyattn import tasks
from tinyattn.tasks.parts import topics_grammar as grammar
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS
from tinyattn.tasks.task import Answers

CONTENT = grammar.VOCABULARY.words[-grammar._EACH * len(grammar.TOPICS) :]


def topic_of(word: str) -> int:
    return CONTENT.index(word) // grammar._EACH


def kind_of(word: str) -> str:
    place = CONTENT.index(word) % grammar._EACH
    return "NOUN" if place < 60 else "VERB" if place < 90 else "ADJECTIVE"


def test_texts_are_of_two_topics_and_the_second_counts():
    words, labels = grammar.texts(800, Stream("a test", 0))
    seen = set()
    for row, label in zip(words, labels, strict=True):
        text = grammar.VOCABULARY.decode(row)
        clauses = text[:6], text[8:]
        assert text[6:8] == [",", "but"] and len(text) == grammar.LENGTH == 14
        topics = []
        for clause in clauses:
            assert clause[0] == clause[4] == "the"
            content = [word for word in clause if word != "the"]
            assert [kind_of(word) for word in content] == ["ADJECTIVE", "NOUN", "VERB", "NOUN"]
            assert len({topic_of(word) for word in content}) == 1
            topics.append(topic_of(content[0]))
        assert topics[0] != topics[1] and label == topics[1]
        seen.add((*topics,))
    assert len(seen) == 8 * 7 and len({*CONTENT}) == 960


def test_no_text_leaks_and_the_test_stays():
    one, other, more = (tasks.get("topics", seed=seed) for seed in (0, 1, 0))
    texts = {split: [row.text for row in one.rows[split]] for split in one.rows}
    assert texts["test"] == [row.text for row in other.rows["test"]]
    assert texts["train"] == [row.text for row in more.rows["train"]]
    assert texts["train"] != [row.text for row in other.rows["train"]]
    without = tasks.get("topic-texts", train_examples=3000)
    unlabelled = {without.decode(row) for row in without.train}
    held_out = {*texts["validation"], *texts["test"]}
    assert len(held_out) == 2200 and not held_out & unlabelled and not held_out & {*texts["train"]}
    assert [without.decode(row) for row in without.held_out["test"]] == texts["test"]
    assert one.count("train") == 200 and one.words == without.words


def test_what_is_known_is_left_out():
    words, _ = grammar.texts(50, Stream("a test", 0))
    again, labels = grammar.new(50, Stream("a test", 0), words[10:])
    np.testing.assert_array_equal(again, words[:10])
    assert len(labels) == 10


def test_who_counts_words_of_200_texts_knows_little():
    task = tasks.get("topics")
    assert 0.3 < task.bag_of_words("test")["accuracy"] < 0.4 and task.floor("test")["accuracy"] < 0.15


def test_the_floor_is_the_surprise_of_who_knows_the_language():
    task = tasks.get("topic-texts", train_examples=500)
    batch = next(iter(task.batches("test", 3)))
    assert (batch.tokens[:, 0] == BOS).all() and (batch.targets[:, -1] == EOS).all()
    np.testing.assert_array_equal(batch.tokens[:, 1:], batch.targets[:, :-1])
    p = 1.0  # of one text, word by word
    for place, word in enumerate(grammar.VOCABULARY.decode(batch.targets[0])):
        if word in CONTENT:
            p /= {"NOUN": 60, "VERB": 30, "ADJECTIVE": 30}[kind_of(word)]
            p /= {1: 8, 9: 7}.get(place, 1)  # the first word of a clause tells its topic
    assert task.floor() == pytest.approx(-math.log(p) / 15)
    said = [np.append(row, EOS) for row in task.held_out["test"]]
    scores = task.score(Answers(said, nats=15 * 2000 * task.floor(), predictions=15 * 2000), "test")
    assert scores.figures["accuracy"] == 1 and scores.figures["val_loss"] == pytest.approx(task.floor())
    said[0] = said[0].copy()
    said[0][3] = 0
    assert task.score(Answers(said), "test").figures == {"accuracy": 1 - 1 / (14 * 2000)}


def test_beginnings_are_read():
    task = tasks.get("topic-texts", train_examples=500)
    text = task.suggestions(1)[0]
    batch = task.read(text)
    assert batch.tokens.shape == (1, 7) and task.decode(batch.tokens[0]) == text
    assert task.read("").tokens.tolist() == [[BOS]]
    assert "a word must be one of the language's, but got 'weather'" in message(
        lambda: task.read("the weather")
    )
    assert "at most 14 words, but got 15" in message(lambda: task.read("the " * 15))


@pytest.mark.parametrize("name", ["topics", "topic-texts"])
def test_bad_options(name):
    with pytest.raises(ta.DataError, match=rf"\[{name}\] train_examples must be"):
        tasks.get(name, train_examples=0)
