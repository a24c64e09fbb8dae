"""bert-classifier, bert-tagger, bert-reader: they read [CLS] x [SEP], whatever the padding, and take over what a BERT has
learned.
"""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models import BERT, BERTConfig
from tinyattn.models.bert_classifier import BERTClassifierConfig, BERTForLabels
from tinyattn.models.bert_reader import BERTForSpans, BERTReaderConfig
from tinyattn.models.bert_tagger import BERTForTags
from tinyattn.tasks.labels import NOTHING, LabelBatch
from tinyattn.tasks.passages import SpanBatch
from tinyattn.tasks.tagging import TagBatch

SIZES = {
    "hidden_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 8, "dropout": 0.0,
}  # fmt: skip
HERE = ["<pad>", "one", "two", "three", "four"]
THERE = ["[PAD]", "[CLS]", "[SEP]", "three", "one", "nine"]


def model() -> BERTForLabels:
    ta.manual_seed(0)
    return BERTForLabels(BERTClassifierConfig(vocabulary=5, classes=2, longest=4, **SIZES))


def test_a_text_stands_between_two_tokens_of_its_own():
    ours = model().eval()
    length, label = np.array([3, 1], np.int32), np.array([1, NOTHING], np.int32)
    tokens = np.array([[1, 2, 3, 4], [4, 3, 3, 3]], np.int32)  # what is behind the end says nothing
    batch = LabelBatch(tokens, length, label, np.arange(2), label >= 0)
    rows = np.array([[5, 1, 2, 3, 6], [5, 4, 6, 0, 0]], np.int32)
    expected = ours.tuned(rows, np.zeros_like(rows), length + 2).numpy()
    np.testing.assert_allclose(ours(tokens, length).numpy(), expected, atol=1e-6)
    log_p = expected - np.log(np.exp(expected).sum(axis=1, keepdims=True))
    assert float(ours.loss(batch)) == pytest.approx(-log_p[0, 1], rel=1e-5)
    answers = ours.answer(batch)
    assert answers.outputs == [*expected.argmax(axis=1)] and answers.predictions == 1
    assert answers.nats == pytest.approx(-log_p[0, 1], rel=1e-5)


def test_each_word_has_a_tag_of_its_own():
    ta.manual_seed(0)
    ours = BERTForTags(BERTClassifierConfig(vocabulary=5, classes=3, longest=4, **SIZES)).eval()
    length = np.array([3, 1], np.int32)
    tokens = np.array([[1, 2, 3, 4], [4, 3, 3, 3]], np.int32)
    tags = np.array([[1, 0, 2, NOTHING], [2, NOTHING, NOTHING, NOTHING]], np.int32)
    batch = TagBatch(tokens, length, tags, np.arange(2), np.ones(2, bool))
    rows = np.array([[5, 1, 2, 3, 6], [5, 4, 6, 0, 0]], np.int32)
    logits = ours.tuned(rows, np.zeros_like(rows), length + 2).numpy()
    log_p = logits - np.log(np.exp(logits).sum(axis=2, keepdims=True))
    right = log_p[[0, 0, 0, 1], [1, 2, 3, 1], [1, 0, 2, 2]]  # behind [CLS]
    assert float(ours.loss(batch)) == pytest.approx(-right.mean(), rel=1e-5)
    answers = ours.answer(batch)
    assert answers.nats == pytest.approx(-right.sum(), rel=1e-5) and answers.predictions == 4
    assert answers.outputs[0][:3].tolist() == logits[0, 1:4].argmax(axis=1).tolist()
    assert answers.outputs[1][0] == logits[1, 1].argmax()


def test_an_answer_has_a_start_and_an_end():
    ta.manual_seed(0)
    ours = BERTForSpans(BERTReaderConfig(vocab_size=6, max_position_embeddings=5, **SIZES)).eval()
    tokens = np.array([[1, 3, 2, 4, 2], [1, 5, 2, 3, 3]], np.int32)
    segments, length = np.array([[0, 0, 0, 1, 1]] * 2, np.int32), np.array([5, 4], np.int32)
    start, end = np.array([3, NOTHING], np.int32), np.array([4, NOTHING], np.int32)
    batch = SpanBatch(tokens, segments, length, start, end, np.arange(2), np.ones(2, bool))
    first, last = (scores.numpy() for scores in ours.tuned(tokens, segments, length))
    assert np.isneginf(first[1, 4]) and np.isneginf(last[1, 4])  # padding

    def surprise(scores, place):
        return np.log(np.exp(scores[0]).sum()) - scores[0, place]

    nats = (surprise(first, 3) + surprise(last, 4)) / 2
    assert float(ours.loss(batch)) == pytest.approx(nats, rel=1e-5)
    answers = ours.answer(batch)
    assert answers.nats == pytest.approx(nats, rel=1e-5) and answers.predictions == 1
    for row in (0, 1):
        best = max((first[row, i] + last[row, j], (i, j)) for i in range(5) for j in range(i, 5))[1]
        assert tuple(answers.outputs[row]) == best
    other = BERT(BERTConfig(vocab_size=6, max_position_embeddings=5, **SIZES))
    ours.start_from(other, THERE, THERE)  # nothing is added to the words of the task
    for name, value in other.state_dict().items():
        if name.startswith("bert."):
            np.testing.assert_array_equal(ours.state_dict()[f"tuned.{name}"], value)


def test_what_it_begins_with_goes_by_the_words():
    ta.manual_seed(1)
    other = BERT(BERTConfig(vocab_size=6, max_position_embeddings=4, **SIZES))
    ours = model()
    before = ours.state_dict()
    ours.start_from(other, HERE, THERE)
    after, given = ours.state_dict(), other.state_dict()
    table = "bert.embeddings.word_embeddings.weight"
    for row, place in ((1, 4), (3, 3), (5, 1), (6, 2)):  # the last two are [CLS] and [SEP]
        np.testing.assert_array_equal(after[f"tuned.{table}"][row], given[table][place])
    rest = [0, 2, 4]
    np.testing.assert_array_equal(after[f"tuned.{table}"][rest], before[f"tuned.{table}"][rest])
    places = "bert.embeddings.position_embeddings.weight"
    np.testing.assert_array_equal(after[f"tuned.{places}"][:4], given[places])
    for name, value in given.items():
        if name.startswith("bert.") and name not in (table, places):
            np.testing.assert_array_equal(after[f"tuned.{name}"], value)
    np.testing.assert_array_equal(after["tuned.classifier.weight"], before["tuned.classifier.weight"])


@pytest.mark.parametrize("key, value", [("hidden_size", 8), ("num_hidden_layers", 1)])
def test_other_sizes_do_not_fit(key, value):
    with pytest.raises(TinyattnError):
        model().start_from(BERT(BERTConfig(vocab_size=6, **SIZES | {key: value})), HERE, THERE)
