"""agreement: texts are as the grammar has them, their probabilities are right, nothing leaks, answers are judged."""

import math

import numpy as np
import pytest
from data_errors import message

import tinyattn as ta
from tinyattn import tasks
from tinyattn.tasks import agreement
from tinyattn.tasks.agreement import LENGTH, MOST, VOCABULARY
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.vocabulary import BOS, EOS, PAD
from tinyattn.tasks.task import Answers
from tinyattn.tasks.text import NOTHING

PAIRS = {")": "(", "]": "["}


@pytest.fixture(scope="module")
def task():
    return tasks.get("agreement", train_examples=4000)


def words_of(texts, row) -> list[str]:
    ids = texts.words[row]
    end = int(np.flatnonzero(ids == EOS)[0])
    assert (ids[:end] > EOS).all() and (ids[end + 1 :] == PAD).all()
    return [VOCABULARY.words[i] for i in ids[:end]]


def test_sentences_agree_and_their_probability_is_that_of_their_choices(task):
    for row in np.flatnonzero(task.train.distractors >= 0)[:500]:
        words, k = words_of(task.train, row), task.train.distractors[row]
        nouns = words[0 : 2 * k + 1 : 2]
        assert len(words) == 2 * k + 3 and {noun.removesuffix("s") for noun in nouns} <= {*agreement.NOUNS}
        assert {*words[1 : 2 * k : 2]} <= {*agreement.PREPOSITIONS} and words[-2] in agreement.ADVERBS
        assert words[-1] in (
            agreement.VERBS if nouns[0].endswith("s") else [f"{v}s" for v in agreement.VERBS]
        )
        gold = task.train.gold[row]
        assert gold[len(words) - 1] == 0 and (np.delete(gold, len(words) - 1) == NOTHING).all()
        p = 0.5 / 16 / 4 / 8  # a sentence; its first noun, adverb and verb
        for j in range(k):
            p *= (8 - j) / (9 - j) / 4 / 16
        p *= 1 / (9 - k)
        assert abs(task.train.nats[row] + math.log(p)) < 1e-9


def test_brackets_match_and_their_probability_is_that_of_their_choices(task):
    lengths = set()
    for row in np.flatnonzero(task.train.distractors < 0)[:800]:
        words, open_, p = words_of(task.train, row), [], 0.5
        for place, word in enumerate(words):
            may_open = len(open_) < 4 and place + len(open_) + 2 <= 20
            if word in PAIRS.values():
                assert may_open
                p *= 0.5 * (0.5 if open_ else 0.75 if place >= 12 else 1)
                open_.append(place)
                assert task.train.gold[row, place] == NOTHING
            else:
                p *= 0.5 if may_open else 1
                assert task.train.gold[row, place] == open_[-1] and words[open_.pop()] == PAIRS[word]
        assert not open_ and 12 <= len(words) <= 20
        p *= 0.25 if len(words) < 20 else 1
        lengths.add(len(words))
        assert abs(task.train.nats[row] + math.log(p)) < 1e-9
    assert lengths == {*range(12, 21, 2)}


def test_frequencies_are_those_of_the_process():
    """The mean of −log p over texts drawn is the entropy; here that of the first choice that isn't forced, twice."""
    drawn = agreement.brackets(20_000, Stream("test", 0))
    ended = (drawn.words[:, 12] == EOS).mean()
    at_the_ground = (
        np.cumsum(np.where(drawn.words[:, :12] < agreement.BRACKET + 2, 1, -1), 1)[:, -1] == 0
    ).mean()
    assert abs(ended / at_the_ground - 0.25) < 0.03
    assert abs((drawn.words[:, 1] < agreement.BRACKET + 2).mean() - 0.5) < 0.02


def test_held_out_texts_are_different_balanced_and_in_no_training_set(task):
    other = tasks.get("agreement", seed=3, train_examples=4000)
    kept = {}
    for split in ("validation", "test"):
        assert np.array_equal(task.texts(split).words, other.texts(split).words)
        counts = np.bincount(task.texts(split).distractors + 1)
        assert counts.tolist() == [9 * counts[1], *[counts[1]] * 9]
        kept[split] = {text.tobytes() for text in task.texts(split).words}
        assert len(kept[split]) == task.count(split)
    assert not kept["validation"] & kept["test"] and task.count("test") == 2016
    for one in (task, other):
        assert not {text.tobytes() for text in one.train.words} & (kept["validation"] | kept["test"])
    assert not np.array_equal(task.train.words[:50], other.train.words[:50])
    assert 3800 < task.count("train") < 4000


def test_a_batch_asks_for_every_word_and_nothing_behind_the_end(task):
    some = next(iter(task.batches("test", 64)))
    assert (some.tokens[:, 0] == BOS).all() and np.array_equal(
        some.tokens[:, 1:], task.texts("test").words[:64, :-1]
    )
    assert np.array_equal(some.targets == NOTHING, task.texts("test").words[:64] == PAD)
    last = [*task.batches("test", 64)][-1]
    assert (last.targets[~last.valid] == NOTHING).all() and last.weight == (last.targets != NOTHING).sum()


def right(task) -> np.ndarray:
    return task.texts("test").words.copy()


def test_right_answers_are_right_and_a_wrong_number_is_wrong(task):
    texts, said = task.texts("test"), right(task)
    scores = task.score(
        Answers([*said], nats=float(texts.nats.sum()), predictions=int((said != PAD).sum())), "test"
    )
    assert scores.figures == {"accuracy": 1, "accuracy_8": 1, "brackets": 1, "perplexity": task.floor("test")}
    verb = said >= agreement.VERB
    verb &= said < agreement.BRACKET
    other = np.where(verb, agreement.VERB + (said - agreement.VERB + 8) % 16, said)
    some = np.where((texts.distractors == MOST)[:, None], other, said)
    scores = task.score(Answers([*some]), "test")
    assert scores.figures["accuracy"] == pytest.approx(8 / 9) and scores.figures["accuracy_8"] == 0
    (by_distractors,) = scores.groups.values()
    assert by_distractors == {str(k): float(k < MOST) for k in range(9)}
    lemma = np.where(
        verb, agreement.VERB + (said - agreement.VERB) // 8 * 8, said
    )  # another verb of that number
    assert task.score(Answers([*lemma]), "test").figures["accuracy"] == 1
    nothing = np.where(verb, agreement.NOUN, said)
    assert task.score(Answers([*nothing]), "test").figures["accuracy"] == 0
    swapped = np.where(said >= agreement.BRACKET + 2, 2 * agreement.BRACKET + 5 - said, said)
    assert task.score(Answers([*swapped]), "test").figures["brackets"] == 0


def test_attention_on_gold_positions_is_measured_at_the_place_that_says_the_word(task):
    """The verb is said at the adverb's place of x, where the subject, word 0, stands at place 1."""
    texts = task.texts("test")
    weights = np.zeros((len(texts.words), LENGTH, LENGTH))
    verbs = texts.distractors != NOTHING
    weights[verbs, 2 * texts.distractors[verbs] + 2, 1] = 0.75
    for row in np.flatnonzero(~verbs):
        for place in np.flatnonzero(texts.gold[row] != NOTHING):
            weights[row, place, texts.gold[row, place] + 1] = 0.25
    figures = task.score(Answers([*right(task)], {"attention": [*weights]}), "test").figures
    assert figures["subject_mass"] == 0.75 and figures["bracket_mass"] == 0.25


def test_texts_are_read_shown_and_refused(task):
    some = task.read("dogs near cat now")
    assert task.decode(some.tokens[0]) == "dogs near cat now" and some.tokens[0, 0] == BOS
    said = VOCABULARY.encode(["sing"]).tolist() + [EOS, 7]
    assert task.show(some, Answers([np.array(said)]), 0) == {
        "input": "dogs near cat now",
        "output": "sing .",
    }
    assert task.read("").tokens.tolist() == [[BOS]]
    assert (
        message(lambda: task.read("near fox"))
        == "[agreement] a word must be one of the task's, but got 'fox'."
    )
    assert (
        message(lambda: task.read("<pad>"))
        == "[agreement] a word must be one of the task's, but got '<pad>'."
    )
    assert "fewer than 21 words, but got 21" in message(lambda: task.read("( " * 21))
    for text in task.suggestions(5):
        assert task.decode(task.read(text).tokens[0]) == text and text.split()[-1] in agreement.ADVERBS


def test_a_transformer_can_be_trained_on_it_too():
    experiment = ta.Experiment("gpt", "agreement", n_layer=1, n_head=2, n_embd=8)
    answers = experiment.model.answer(experiment.task.probe())
    assert len(answers.outputs) == 2 and answers.predictions == experiment.task.probe().weight
