"""documents: words are hidden as often as they should be, pairs are what they are called, the best reader is the best."""

import numpy as np
import pytest
from data_errors import message

from tinyattn import tasks
from tinyattn.tasks import documents
from tinyattn.tasks.documents import NOTHING, hide
from tinyattn.tasks.parts import documents_grammar as grammar
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.task import Answers


@pytest.fixture(scope="module")
def task():
    return tasks.get("documents", train_examples=6_000)


def test_words_are_hidden_replaced_and_kept_eight_to_one_to_one(task):
    """Pearson's chi-square with two degrees of freedom: above 13.8 once in a thousand times."""
    tokens = np.concatenate([task.train.tokens] * 4)
    seen, targets = hide(tokens, Stream("test", 0))
    chosen = targets != NOTHING
    assert np.array_equal(targets[chosen], tokens[chosen]) and np.array_equal(seen[~chosen], tokens[~chosen])
    assert not (chosen & (tokens <= grammar.MASK)).any()
    length = (tokens != grammar.PAD).sum(axis=1)
    assert np.array_equal(chosen.sum(axis=1), np.maximum(1, np.round(0.15 * length)))
    # A random word is the right one once in so many times, and counts as kept then.
    same = 0.1 / grammar.ORDINARY
    expected = np.array([0.8, 0.1 - same, 0.1 + same]) * chosen.sum()
    masked, kept = (seen == grammar.MASK)[chosen], (seen == tokens)[chosen]
    counts = np.array([masked.sum(), (~masked & ~kept).sum(), kept.sum()])
    assert ((counts - expected) ** 2 / expected).sum() < 13.8
    others = seen[chosen][~masked & ~kept]
    assert others.min() > grammar.MASK
    counts = np.bincount(others - grammar.MASK - 1, minlength=grammar.ORDINARY)
    assert ((counts - counts.mean()) ** 2 / counts.mean()).sum() < 200  # 115 degrees of freedom
    # Each place of a sentence is chosen as often as the others.
    shares = [chosen[np.concatenate([task.train.kinds] * 4) == kind].mean() for kind in range(grammar.LENGTH)]
    assert max(shares) - min(shares) < 0.01


def test_pairs_are_what_they_are_called(task):
    pairs = task.train
    nouns = np.where(pairs.sentences == NOTHING, NOTHING, pairs.sentences // grammar.PER_NOUN)
    topics = np.where(nouns == NOTHING, NOTHING, nouns // grammar.NOUNS_A_TOPIC)
    for noun, topic, following in zip(nouns, topics, pairs.following, strict=True):
        first, second = (set(part[part != NOTHING].tolist()) for part in (noun[:2], noun[2:]))
        assert len(first) == len(second) == 1 and (first == second) == (following == 0)
        assert len(set(topic[topic != NOTHING].tolist())) == 1 + following
    assert abs(pairs.following.mean() - 0.5) < 0.02


def test_rows_are_two_segments_with_their_ends(task):
    for split in ("validation", "test"):
        for batch in task.batches(split, 64):
            for row in np.flatnonzero(batch.valid):
                length, tokens = batch.length[row], batch.tokens[row]
                assert tokens[0] == grammar.CLS and tokens[length - 1] == grammar.SEP
                assert (tokens[:length] != grammar.PAD).all() and (tokens[length:] == grammar.PAD).all()
                (ends,) = np.nonzero(tokens == grammar.SEP)
                assert len(ends) == 2 and batch.segments[row].sum() == ends[1] - ends[0]
                assert (batch.segments[row, ends[0] + 1 : ends[1] + 1] == 1).all()
            assert (batch.targets[~batch.valid] == NOTHING).all() and (
                batch.following[~batch.valid] == NOTHING
            ).all()


def test_no_held_out_pair_is_in_training(task):
    rows = [
        {row.tobytes() for row in task._pairs(split).sentences} for split in ("train", "validation", "test")
    ]
    assert not (rows[0] & rows[1] | rows[0] & rows[2] | rows[1] & rows[2])
    assert [len(part) for part in rows[1:]] == [500, 2000]


def test_the_best_reader_knows_what_can_be_known():
    """By hand: a determiner from a noun, an adjective from its object, a noun from the other segment, an adverb by luck."""
    words = "a cook often stirs the hot soup .".split()
    follow = np.full((grammar.NOUNS, grammar.NOUNS), 1 / grammar.NOUNS)
    for place in (grammar.DETERMINER, grammar.ADJECTIVE, grammar.VERB):
        seen = np.array([[grammar.IDS[word] for word in words]])
        asked = np.zeros((1, 8), bool)
        seen[0, place], asked[0, place] = grammar.MASK, True
        said, _ = grammar.reader(seen, asked, np.zeros(1, int), follow)
        expected = {"stirs": ("serves", "stirs")}.get(words[place], (words[place],))
        assert grammar.WORDS[said[0, place]] in expected
    # "some … bakers" about the same topic: the noun is that of the other segment.
    second = "some bakers now serve the hot soup .".split()
    seen = np.array([[grammar.IDS[word] for word in words], [grammar.IDS[word] for word in second]])
    asked = np.zeros((2, 8), bool)
    seen[0, grammar.NOUN], asked[0, grammar.NOUN] = grammar.MASK, True
    others = np.kron(1 - np.eye(len(grammar.TOPICS)), np.ones((3, 3))) / 15
    said, goes_on = grammar.reader(seen, asked, np.array([0, 1]), others)
    assert grammar.WORDS[said[0, grammar.NOUN]] == "baker" and goes_on > 0.99


def test_no_guess_from_the_same_language_beats_the_best_reader(task):
    """Its accuracy is what its own posterior promises, and above that of a reader who knows less."""
    words, pairs = task._best("test")
    assert 0.8 < words < 0.84 and pairs > 0.99
    right = np.concatenate([task.hidden["test"][1]])
    kinds = task.held_out["test"].kinds
    # Who knows everything but the adverb, one of two verbs, and the object where its adjective is hidden, too:
    asked = right != NOTHING
    share = np.array([(asked & (kinds == kind)).sum() for kind in range(grammar.LENGTH)]) / asked.sum()
    worth = np.ones(grammar.LENGTH)
    worth[[grammar.ADVERB, grammar.VERB]] = 1 / 4, 1 / 2
    assert abs(words - share @ worth) < 0.05


def test_scores_and_sections(task):
    _, targets = task.hidden["test"]
    said = targets.copy()
    said[:, 0] = task.held_out["test"].following
    scores = task.score(Answers([*said], nats=10.0, predictions=20), "test")
    best, _ = task._best("test")
    expected = {
        "mlm_accuracy": 1.0,
        "mlm_of_ceiling": 1 / best,
        "nsp_accuracy": 1.0,
        "right_context": 1.0,
        "val_loss": 0.5,
    }
    assert scores.figures == pytest.approx(expected)
    said[::2, 0] ^= 1
    adjectives = (task.held_out["test"].kinds == grammar.ADJECTIVE) & (targets != NOTHING)
    said[adjectives] = grammar.MASK
    scores = task.score(Answers([*said]), "test")
    assert scores.figures["nsp_accuracy"] == 0.5 and scores.figures["right_context"] == 0
    assert scores.groups["hidden words right by kind"]["noun"] == 1
    sections = task.sections({"bert": (Answers([*said]), scores)}, "test")
    assert len(sections[2].samples) == documents.SHOWN


def test_texts_of_the_users(task):
    text = "a cook often _ the hot soup . / some cooks now serve the _ ."
    batch = task.read(text)
    assert task.decode(batch.tokens[0]) == text and batch.segments[0].sum() == 8
    said = np.where(batch.tokens[0] == grammar.MASK, grammar.IDS["cake"], batch.tokens[0])
    said[0] = 1
    shown = task.show(batch, Answers([said]), 0)
    assert shown == {"input": text, "output": text.replace("_", "cake"), "following": "no"}
    assert "following" not in task.show(task.read("a _ ."), Answers([np.zeros(5, int)]), 0)
    assert task.remarks("a cat . _") == ["'cat' is not in the vocabulary of documents."]
    must = (
        "[documents] a text must be one or two texts with a / between them, and _ for hidden words, but got"
    )
    for wrong in ("", "a / b / c", "/"):
        assert message(lambda wrong=wrong: task.read(wrong)).startswith(must)
    assert "at most 35 words, but got 42" in message(lambda: task.read("a " * 40))
