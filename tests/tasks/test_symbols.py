"""Symbols: answers are right, held-out sequences never leak, and the figures count what they say."""

import numpy as np
import pytest

from tinyattn import tasks
from tinyattn.errors import DataError
from tinyattn.tasks.task import Answers

RIGHT = {"copy": list, "reverse": lambda x: list(x)[::-1], "sort": sorted}
EVERY = pytest.mark.parametrize("name", RIGHT)


@pytest.fixture(scope="module")
def made():
    return {name: tasks.get(name, train_examples=20_000) for name in RIGHT}


@EVERY
def test_answers_are_right(made, name):
    task = made[name]
    for split in ("validation", "test"):
        for source, target in zip(task.source_tokens(split), task.references(split), strict=True):
            assert target == RIGHT[name](source)
    lengths = np.bincount(task.test.source.lengths)
    assert lengths[10] >= 1000 and (lengths[3:] >= 100).all() and len(lengths) == 21
    assert task.train.source.lengths.max() == 10 and set(np.bincount(task.train.source.lengths)[3:]) <= {
        *range(1900, 2001)
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_held_out_is_trained_on(seed):
    task = tasks.get("copy", seed=seed, symbols=6, longest=5, train_examples=50_000)
    sources = {
        split: [tuple(e.source) for e in task.examples(split)] for split in ("train", "validation", "test")
    }
    assert len(set(sources["test"])) == len(sources["test"])
    assert not set(sources["train"]) & set(sources["test"]) and not set(sources["validation"]) & set(
        sources["test"]
    )
    assert not set(sources["train"]) & set(sources["validation"]) and len(set(sources["train"])) > 4000


def test_held_out_sequences_do_not_depend_on_the_seed(made):
    other = tasks.get("reverse", seed=1, train_examples=20_000)
    np.testing.assert_array_equal(other.test.source.flat, made["copy"].test.source.flat)
    assert not np.array_equal(other.train.source.flat, made["reverse"].train.source.flat)


def test_figures_count_trained_and_longer_sequences_apart(made):
    task = made["copy"]
    lengths = task.test.source.lengths
    said = [example.target.copy() for example in task.test]
    for row in np.flatnonzero((lengths == 10) | (lengths == 20)):
        said[row][0] = 4 + (said[row][0] - 3) % 20  # one letter is wrong
    scores = task.score(Answers(said), "test")
    known = lengths <= 10
    assert scores.figures == {
        "exact_match": (lengths[known] < 10).mean(), "exact_match_10": 0.0, "exact_match_11-20": 0.9
    }  # fmt: skip
    (groups,) = scores.groups.values()
    assert [*groups] == [str(n) for n in range(1, 21)] and groups["9"] == 1 and groups["20"] == 0
    assert (
        "exact_match_11-20"
        not in task.score(Answers([e.target for e in task.validation]), "validation").figures
    )


def test_what_makes_no_sense_is_refused(made):
    for options in ({"symbols": 1}, {"symbols": 27}, {"longest": 0}, {"train_examples": 0}):
        with pytest.raises(DataError, match=r"\[sort\] .* must .*, but got"):
            tasks.get("sort", **options)
    with pytest.raises(DataError, match=r"\[copy\] there must be 1,000 sequences .*, but got 8"):
        tasks.get("copy", symbols=2, longest=3)
    task = made["sort"]
    assert task.remarks("b a") == []
    assert "11 letters are more than the 10" in task.remarks("a " * 11)[0]
