"""gpt-classifier: its rows and its loss are those of the second stage, and it takes over what a GPT has learned."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.models import GPT, GPTConfig
from tinyattn.models.gpt_classifier import GPTClassifierConfig, GPTForLabels
from tinyattn.tasks.labels import NOTHING, LabelBatch

SIZES = {"n_layer": 2, "n_head": 2, "n_embd": 6, "dropout": 0.0}
TEXTS = [[1, 2, 3], [4], [8, 8, 7, 5, 6]]
LENGTH, LABEL = np.array([3, 1, 5], np.int32), np.array([0, NOTHING, 1], np.int32)


def model(**changes) -> GPTForLabels:
    ta.manual_seed(0)
    return GPTForLabels(GPTClassifierConfig(vocabulary=9, classes=2, longest=5, **SIZES | changes))


def batch(padding=0) -> LabelBatch:
    tokens = np.full((3, 5), padding, np.int32)
    for row, text in enumerate(TEXTS):
        tokens[row, : len(text)] = text
    return LabelBatch(tokens, LENGTH, LABEL, np.arange(3), LABEL >= 0)


def test_rows_are_those_of_texts():
    ours = model()
    rows, length = ours.tuned.rows(TEXTS)
    found = ta.evaluate(ours.rows(ta.tensor(batch(padding=5).tokens), ta.tensor(LENGTH)))
    np.testing.assert_array_equal(found[0], rows)
    np.testing.assert_array_equal(found[1], length)


@pytest.mark.parametrize("auxiliary", [0.0, 0.5])
def test_the_loss_is_of_both_in_training_and_of_labels_otherwise(auxiliary):
    ours = model(auxiliary=auxiliary).train()
    rows, length = ours.tuned.rows(TEXTS)
    both, labels = (float(ours.tuned.loss(rows, length, LABEL, share)) for share in (auxiliary, 0.0))
    assert float(ours.loss(batch())) == pytest.approx(both, rel=1e-6)
    ours.eval()
    assert float(ours.loss(batch())) == pytest.approx(labels, rel=1e-6)
    answers = ours.answer(batch())
    assert answers.predictions == 2 and answers.nats == pytest.approx(2 * labels, rel=1e-6)


def test_what_it_begins_with_goes_by_the_words():
    ta.manual_seed(1)
    other = GPT(GPTConfig(vocab_size=5, block_size=4, **SIZES, norm_first=False))
    ours = model()
    before = ours.state_dict()
    here = ["<pad>", "one", "two", "three", "four", "five", "six", "seven", "eight"]
    ours.start_from(other, here, ["<pad>", "eight", "two", "nine", "one"])
    after, given = ours.state_dict(), other.state_dict()
    table, found = given["transformer.wte.weight"], after["tuned.gpt.transformer.wte.weight"]
    for row, place in ((0, 0), (1, 4), (2, 2), (8, 1)):
        np.testing.assert_array_equal(found[row], table[place])
    rest = [3, 4, 5, 6, 7, 9, 10, 11]  # unknown there, and start, delimiter, extract
    np.testing.assert_array_equal(found[rest], before["tuned.gpt.transformer.wte.weight"][rest])
    assert ours.tuned.gpt.lm_head.weight is ours.tuned.gpt.transformer.wte.weight
    places = after["tuned.gpt.transformer.wpe.weight"]
    np.testing.assert_array_equal(places[:4], given["transformer.wpe.weight"])
    np.testing.assert_array_equal(places[4:], before["tuned.gpt.transformer.wpe.weight"][4:])
    block = "transformer.h.1.mlp.c_fc.weight"
    np.testing.assert_array_equal(after[f"tuned.gpt.{block}"], given[block])
    np.testing.assert_array_equal(after["tuned.classifier.weight"], before["tuned.classifier.weight"])


def test_other_sizes_do_not_fit():
    for key, value in (("n_embd", 8), ("n_layer", 1)):
        with pytest.raises(TinyattnError):
            model().start_from(GPT(GPTConfig(vocab_size=9, block_size=5, **SIZES | {key: value})), [], [])
    with pytest.raises(TinyattnError, match="auxiliary must be at least 0, but got -1"):
        model(auxiliary=-1.0)
