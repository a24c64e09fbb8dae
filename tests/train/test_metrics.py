"""Metrics against hand-worked cases, recorded figures, and sacrebleu where it is installed."""

import math
import random

import numpy as np
import pytest

from tinyattn.errors import DataError, ShapeError
from tinyattn.tasks.parts import metrics


def corpus(seed: int, sentences: int, words: int, lengths: tuple[int, int]) -> tuple[list, list]:
    """Random references and predictions that are those references, damaged."""
    generator = random.Random(seed)
    predictions, references = [], []
    for _ in range(sentences):
        reference = [f"w{generator.randrange(words)}" for _ in range(generator.randint(*lengths))]
        prediction = [w if generator.random() < 0.8 else f"w{generator.randrange(words)}" for w in reference]
        cut = generator.randrange(3)
        predictions.append(prediction[: len(prediction) - cut] + ["w0"] * generator.randrange(3))
        references.append(reference)
    return predictions, references


SENTENCE = "the quick brown fox jumps over the lazy dog".split()
# (predictions, references, BLEU as recorded from sacrebleu 2.x)
BLEU_CASES = {
    "perfect": ([SENTENCE], [SENTENCE], 100.00000000000004),
    "one word wrong": ([[*SENTENCE[:4], "leaps", *SENTENCE[5:]]], [SENTENCE], 59.694917920196445),
    "too short": ([SENTENCE[:6]], [SENTENCE], 60.653065971263366),
    "too long, repeated": ([[*SENTENCE, "dog", "dog"]], [SENTENCE], 78.60753021519781),
    "no 4-gram": (["the fox jumps the dog over".split()], [SENTENCE], 12.9581334938072),
    "no 2-gram": (["dog fox the brown".split()], [SENTENCE], 6.472157712167486),
    "only unigrams clipped": (["the the the the the".split()], [SENTENCE], 5.70796903405875),
    "nothing right": (["a b c d e".split()], [SENTENCE], 0.0),
    "no sentence of four words": (["the quick brown".split()], [SENTENCE], 0.0),
    "an empty prediction": ([[], SENTENCE], [SENTENCE, SENTENCE], 36.78794411714425),
    "all empty": ([[]], [SENTENCE], 0.0),
}


@pytest.mark.parametrize("case", BLEU_CASES)
def test_bleu_of_recorded_cases(case):
    predictions, references, expected = BLEU_CASES[case]
    assert metrics.bleu(predictions, references) == pytest.approx(expected, abs=1e-9)


def test_bleu_by_hand():
    # p1 = 8/9, p2 = 6/8, p3 = 4/7, p4 = 2/6, no brevity penalty
    prediction = [*SENTENCE[:4], "leaps", *SENTENCE[5:]]
    expected = 100 * (8 / 9 * 6 / 8 * 4 / 7 * 2 / 6) ** 0.25
    assert metrics.bleu([prediction], [SENTENCE]) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_of_shorter_runs_of_words(order):
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references = corpus(order, sentences=9, words=6, lengths=(3, 9))
    joined = [[" ".join(tokens) for tokens in side] for side in (predictions, references)]
    theirs = sacrebleu.BLEU(tokenize="none", force=True, max_ngram_order=order)
    expected = theirs.corpus_score(joined[0], [joined[1]]).score
    assert metrics.bleu(predictions, references, order) == pytest.approx(expected, abs=1e-9)


def test_bleu_takes_ids_as_well_as_words():
    ids = {word: i for i, word in enumerate(dict.fromkeys(SENTENCE))}
    prediction = SENTENCE[:7]
    as_ids = metrics.bleu([np.array([ids[w] for w in prediction])], [np.array([ids[w] for w in SENTENCE])])
    assert as_ids == metrics.bleu([prediction], [SENTENCE])


@pytest.mark.parametrize("lengths", [(1, 3), (1, 6), (4, 30)])
@pytest.mark.parametrize("seed", range(8))
def test_bleu_is_that_of_sacrebleu(seed, lengths):
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references = corpus(seed, sentences=1 + 5 * seed, words=12, lengths=lengths)
    joined = [[" ".join(tokens) for tokens in side] for side in (predictions, references)]
    expected = sacrebleu.corpus_bleu(joined[0], [joined[1]], tokenize="none", force=True).score
    assert metrics.bleu(predictions, references) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("case", BLEU_CASES)
def test_recorded_cases_are_those_of_sacrebleu(case):
    sacrebleu = pytest.importorskip("sacrebleu")
    predictions, references, expected = BLEU_CASES[case]
    joined = [[" ".join(tokens) for tokens in side] for side in (predictions, references)]
    score = sacrebleu.corpus_bleu(joined[0], [joined[1]], tokenize="none", force=True).score
    assert score == pytest.approx(expected, abs=1e-9)


def test_exact_match_counts_whole_sentences():
    predictions = [["a", "b"], ["a"], [], ["a", "b", "c"]]
    references = [["a", "b"], ["b"], [], ["a", "b"]]
    assert metrics.exact_matches(predictions, references).tolist() == [True, False, True, False]
    assert metrics.exact_match(predictions, references) == 0.5
    assert metrics.exact_match([np.array([4, 5])], [np.array([4, 5])]) == 1.0


@pytest.mark.parametrize("metric", [metrics.exact_match, metrics.bleu])
def test_pairs_must_be_pairs(metric):
    name = metric.__name__
    with pytest.raises(DataError) as error:
        metric([["a"]], [["a"], ["b"]])
    expected = f"[{name}] predictions and references must be as many, at least one, but got 1 and 2."
    assert str(error.value) == expected
    with pytest.raises(DataError, match="got 0 and 0"):
        metric([], [])


def test_mean_by_bucket():
    means = metrics.mean_by_bucket(np.array([1, 0, 1, 1]), np.array([5, 9, 10, 30]), (5, 10, 20, 25, 31))
    assert means == {"5-9": 0.5, "10-19": 1.0, "25-30": 1.0}


def test_alignment_error_rate_by_hand():
    predicted = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
    sure = np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]], bool)
    possible = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 0]], bool)
    assert metrics.alignment_error_rate(sure, sure) == 0.0
    assert metrics.alignment_error_rate(~sure, sure) == 1.0
    # |A| = 3, |S| = 2, |A & S| = 1, |A & P| = 2
    assert metrics.alignment_error_rate(predicted, sure, possible) == pytest.approx(1 - 3 / 5)
    assert metrics.alignment_error_rate(predicted, sure) == pytest.approx(1 - 2 / 5)
    # sure links are possible, whether `possible` repeats them or not
    assert metrics.alignment_error_rate(sure, sure, np.zeros_like(sure)) == 0.0


def test_alignment_error_rate_refuses_what_cannot_be_compared():
    with pytest.raises(ShapeError, match=r"one shape, but got \(2, 2\), \(2, 3\) and \(2, 3\)"):
        metrics.alignment_error_rate(np.ones((2, 2)), np.ones((2, 3)))
    with pytest.raises(DataError, match="at least one link"):
        metrics.alignment_error_rate(np.zeros((2, 2)), np.zeros((2, 2)))


def test_alignment_links_stay_inside_the_sentence():
    weights = np.array([[[0.2, 0.1, 0.7], [0.5, 0.4, 0.1], [0.3, 0.3, 0.4]]] * 3)
    links = metrics.alignment_links(weights, np.array([3, 2, 2]), np.array([2, 3, -1]))
    assert links.dtype == bool
    assert np.argwhere(links).tolist() == [[0, 0, 2], [0, 1, 0], [1, 0, 0], [1, 1, 0], [1, 2, 0]]
    with pytest.raises(ShapeError):
        metrics.alignment_links(weights, np.array([3, 2]), np.array([2, 3, 1]))


def test_perplexity():
    assert metrics.perplexity(math.log(7) * 12, 12) == pytest.approx(7, rel=1e-14)
    assert metrics.perplexity(1e9, 10) == math.inf
    assert math.isnan(metrics.perplexity(math.nan, 3))
    with pytest.raises(DataError, match="at least one token"):
        metrics.perplexity(1.0, 0)


def test_accuracy():
    predicted, target = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0, 3], [4, 0, 7]])
    assert metrics.accuracy(predicted, target) == 0.5
    assert metrics.accuracy(predicted, target, ignore_index=0) == 0.75
    with pytest.raises(ShapeError):
        metrics.accuracy(predicted, target[:1])
    with pytest.raises(DataError):
        metrics.accuracy(predicted, np.zeros_like(target), ignore_index=0)
