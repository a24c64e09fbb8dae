"""slips: sound sentences are those of the grammar, slips are not, and nothing leaks."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import tasks
from tinyattn.tasks import slips
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.randomness import Stream

SOUND = {row.tobytes() for row in grammar.SENTENCES}


def test_a_slip_is_one_word_that_does_not_fit():
    words, marked = slips.sentences(600, Stream("a test", 0))
    places = set()
    for row, marks in zip(words, marked, strict=True):
        assert (row.tobytes() in SOUND) == (not marks.any())
        if marks.any():
            [place] = np.flatnonzero(marks)
            others = grammar.SENTENCES[(grammar.SENTENCES != row).sum(axis=1) == 1]
            assert place in np.nonzero(others != row)[1]  # with another word there it is sound
            places.add(place)
    assert places == {*slips.PLACES} and 250 < marked.sum() < 350


def test_nothing_leaks_and_the_test_stays():
    one, other = tasks.get("slips"), tasks.get("slips", seed=1)
    texts = {split: [row.text for row in one.rows[split]] for split in one.rows}
    assert texts["test"] == [row.text for row in other.rows["test"]]
    assert texts["train"] != [row.text for row in other.rows["train"]]
    held_out = texts["validation"] + texts["test"]
    assert len({*held_out}) == 1200 and not {*held_out} & {*texts["train"]} and len(texts["train"]) == 200
    assert {*grammar.WORDS[len(grammar.SPECIALS) :]} <= {*one.words}


def test_both_tasks_have_the_same_sentences():
    texts, words = tasks.get("slips"), tasks.get("slip-words")
    for split, rows in texts.rows.items():
        found = words.sentences[split]
        assert [row.text for row in rows] == [" ".join(sentence) for sentence, _ in found]
        assert [row.label == "slip" for row in rows] == ["slip" in marks for _, marks in found]
    floor = words.floor("test")
    assert floor["accuracy"] > 0.9 and floor["sentence_accuracy"] < 0.5


def test_counting_words_does_not_help():
    task = tasks.get("slips")
    assert task.bag_of_words("test")["accuracy"] < 0.6
    with pytest.raises(ta.DataError, match=r"\[slips\] train_examples must be"):
        tasks.get("slips", train_examples=0)
