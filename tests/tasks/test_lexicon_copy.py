"""monotone-copy, lexicon-reverse and lexicon-cover: what is said, where it comes from, and how predicted places are judged."""

import numpy as np
import pytest

from tinyattn import tasks
from tinyattn.tasks.parts import tiny_mt_grammar as grammar
from tinyattn.tasks.parts.splits import unseen
from tinyattn.tasks.task import Answers

BOTH = pytest.mark.parametrize("name", ["monotone-copy", "lexicon-reverse"])


@BOTH
def test_each_word_is_translated_by_the_lexicon(name):
    task, order = tasks.get(name, train_examples=100), -1 if name == "lexicon-reverse" else 1
    for examples in (task.train, task.test):
        for example in (examples[0], examples[37]):
            words = task.source_vocabulary.decode(example.source)
            said = task.target_vocabulary.decode(example.target)
            assert said == [grammar.LEXICON[word] for word in words][::order]
            places = np.arange(len(words))
            np.testing.assert_array_equal(example.alignment, np.stack([places, places[::order]], axis=1))


@BOTH
def test_held_out_sentences_have_all_lengths_and_are_in_no_training_set(name):
    task = tasks.get(name, train_examples=3000, seed=1)
    again = tasks.get(name, train_examples=100, seed=2)
    assert np.array_equal(task.test.source.flat, again.test.source.flat)
    assert not np.array_equal(task.train.source.flat[:100], again.train.source.flat[:100])
    for split, each in (("validation", 20), ("test", 50)):
        examples = task.examples(split)
        np.testing.assert_array_equal(np.bincount(examples.source.lengths)[10:], each)
        assert examples.source.lengths[:21].tolist() == list(range(10, 31))
    seen = [{e.source.tobytes() for e in task.examples(split)} for split in ("train", "validation", "test")]
    assert len(seen[1]) == 420 and len(seen[2]) == 1050 and not seen[1] & seen[2]
    assert not seen[0] & (seen[1] | seen[2])


def test_sentences_of_a_training_set_that_are_held_out_are_taken_out():
    task = tasks.get("monotone-copy", train_examples=50)
    rows = unseen(task.test.take(np.arange(40)), task.validation, task.test.take(np.arange(3, 50)))
    assert len(rows) == 3 and np.array_equal(rows.source.flat, task.test.take(np.arange(3)).source.flat)


def test_predicted_places_are_measured_against_the_gold_alignment():
    task = tasks.get("lexicon-reverse", train_examples=50)
    lengths = task.test.source.lengths
    outputs = [example.target for example in task.test]
    right = [np.append(np.arange(n)[::-1], 99.0)[:, None] for n in lengths]  # <eos> has no gold link
    places = [where + (0.5 if row % 2 else -1.0) for row, where in enumerate(right)]
    found = task.score(Answers(outputs, {"position": places}), "test").figures
    expected = (lengths[::2].sum() + 0.5 * lengths[1::2].sum()) / lengths.sum()
    assert found["position_error"] == pytest.approx(expected, abs=1e-12) and found["exact_match"] == 1


def test_a_source_is_covered_in_any_order():
    task = tasks.get("lexicon-cover", train_examples=50)
    for example in (task.train[0], task.test[0], task.test[37]):
        words = task.source_vocabulary.decode(example.source)
        said = task.target_vocabulary.decode(example.target)
        np.testing.assert_array_equal(example.source[example.alignment[:, 1]], example.target)
        assert sorted(said) == sorted(grammar.LEXICON[word] for word in words)
        assert said != [grammar.LEXICON[word] for word in words]
    outputs = [example.target[::-1] for example in task.test]
    outputs[0] = outputs[0][1:]
    outputs[1] = np.append(outputs[1], outputs[1][0])
    assert task.score(Answers(outputs), "test").figures["exact_match"] == pytest.approx(1 - 2 / len(outputs))
