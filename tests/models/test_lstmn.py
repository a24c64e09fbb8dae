"""LSTMN: its equations in torch, the LSTM that it is with a tape of one word, causality, and what a step depends on."""

from dataclasses import replace

import numpy as np
import pytest
from lstmn_by_hand import torch_states

import tinyattn as ta
from tinyattn import errors, tasks
from tinyattn.models.lstm_lm import LSTMConfig, LSTMLanguageModel
from tinyattn.models.lstmn import LSTMN, LSTMNConfig, LSTMNLayer
from tinyattn.models.parts.language import RecurrentLanguageModel
from tinyattn.tasks.text import NOTHING, TextBatch

SMALL = {"vocab_size": 9, "embedding": 4, "hidden": 5, "attention": 3}
LENGTH = 7


def small(seed=0, **changes) -> LSTMN:
    """In float64, with weights large enough to tell slots apart."""
    ta.manual_seed(1)
    model = LSTMN(LSTMNConfig(**SMALL | changes)).to(np.float64)
    rng = np.random.default_rng(seed)
    for weight in model.parameters():
        weight.assign(rng.standard_normal(weight.shape) * 0.7)
    return model


def batch(rows=3, seed=0) -> TextBatch:
    rng = np.random.default_rng(seed)
    tokens, targets = rng.integers(0, 9, (2, rows, LENGTH)).astype(np.int32)
    targets[0, 4:] = NOTHING
    return TextBatch(tokens, targets, np.arange(rows), np.ones(rows, bool))


@pytest.mark.parametrize("layers, tape", [(1, 0), (2, 0), (1, 3)])
def test_loss_and_gradients_are_those_of_torch(layers, tape):
    torch = pytest.importorskip("torch")
    model, some = small(layers=layers, tape=tape), batch()
    weights = {name: torch.from_numpy(value).requires_grad_() for name, value in model.state_dict().items()}
    words = weights["embedding.weight"][torch.from_numpy(some.tokens.T).long()]
    states = torch_states(torch, weights, words, layers, tape)
    logits = (states @ weights["output.weight"].T + weights["output.bias"]).transpose(0, 1)
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), torch.from_numpy(some.targets).long().flatten(), ignore_index=NOTHING
    )
    loss.backward()
    assert abs(float(model.loss(some)) - loss.item()) < 1e-10
    gradients = ta.grad(model.loss(some), model.parameters())
    for (name, _), found in zip(model.named_parameters(), gradients, strict=True):
        expected = weights[name].grad.numpy()
        assert np.abs(expected).max() > 1e-6, name
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


def test_with_a_tape_of_one_word_it_is_an_lstm():
    torch = pytest.importorskip("torch")
    layer = small(tape=1).layers[0]
    theirs = torch.nn.LSTM(4, 5, dtype=torch.float64)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    theirs.load_state_dict({f"{name}_l0": torch.from_numpy(getattr(layer, name).numpy()) for name in names})
    x = np.random.default_rng(2).standard_normal((LENGTH, 3, 4))
    given, cotangent = (
        torch.from_numpy(x).requires_grad_(),
        np.random.default_rng(3).standard_normal((LENGTH, 3, 5)),
    )
    expected = theirs(given)[0]
    (expected * torch.from_numpy(cotangent)).sum().backward()
    inputs = ta.tensor(x)
    _, (states, weights) = layer(inputs)
    assert np.abs(states.numpy() - expected.detach().numpy()).max() < 1e-14
    own = [getattr(layer, name) for name in names]
    gradients = ta.grad((states * cotangent).sum(), [inputs, *own])
    for found, right in zip(gradients, (given, *theirs.parameters()), strict=True):
        assert np.abs(found.numpy() - right.grad.numpy()).max() < 1e-12
    assert np.array_equal(weights.numpy()[:, 0], np.eye(LENGTH, k=-1))


def test_a_word_looks_at_those_before_it_and_at_nothing_else():
    model, some = small(layers=2), batch()
    logits, weights = ta.evaluate(model(some.tokens))
    assert weights.shape == (3, LENGTH, LENGTH)
    assert not np.triu(weights).any() and (weights + np.triu(np.ones((LENGTH, LENGTH))) > 0).all()
    np.testing.assert_allclose(weights.sum(2)[:, 1:], 1, rtol=1e-14)
    changed = some.tokens.copy()
    changed[:, 4] = (changed[:, 4] + 1) % 9
    after, _ = ta.evaluate(model(changed))
    assert np.array_equal(logits[:, :4], after[:, :4]) and (np.abs(logits - after)[:, 4:].max(2) > 1e-6).all()
    shorter, _ = ta.evaluate(model(some.tokens[:, :4]))
    np.testing.assert_allclose(shorter, logits[:, :4], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("tape", [0, 2])
def test_a_step_depends_on_a_slot_if_and_only_if_its_weight_is_positive(tape):
    """And so on h_i and c_i alike: what only pools h over a finished LSTM fails here."""
    ta.manual_seed(0)
    layer = LSTMNLayer(4, 5, 3, tape).to(np.float64)
    rng = np.random.default_rng(5)
    tapes = layer.empty(2, LENGTH, np.float64)
    tapes = type(tapes)(*(ta.tensor(rng.standard_normal(part.shape)) for part in tapes))
    word = layer.given(ta.tensor(rng.standard_normal((LENGTH, 2, 4))))
    for place in (0, 1, 4):
        here = type(word)(*(ta.take(part, place, axis=0) for part in word))
        _, cell, _, weights = layer.read(tapes, here)
        of_hidden, of_memory = ta.grad(
            (cell * rng.standard_normal((2, 5))).sum(), [tapes.hidden, tapes.memory]
        )
        positive = weights.numpy() > 0
        slots = np.arange(LENGTH)
        assert (positive == (slots < place) & (slots >= (place - tape if tape else 0))).all()
        for gradient in (of_hidden, of_memory):
            assert ((np.abs(gradient.numpy()).max(2) > 0) == positive).all()


def test_its_weights_have_the_path_of_their_layer():
    model, some = small(layers=2), batch()
    maps = ta.viz.attention_maps(model, some)
    assert list(maps) == ["layers.0", "layers.1"]
    np.testing.assert_array_equal(maps["layers.1"][:, 0], model.answer(some).maps["attention"])


def test_what_it_writes_is_drawn_from_what_it_has_read():
    model = small()
    some = replace(batch(rows=2), targets=None)
    alone = model.sample(some, tokens=3, temperature=0.0).outputs
    tokens = some.tokens
    for place in range(3):
        logits = ta.evaluate(model(tokens))[0]
        new = logits[:, -1].argmax(1)
        assert [row[place] for row in alone] == new.tolist()
        tokens = np.concatenate([tokens, new[:, None].astype(np.int32)], axis=1)
    ta.manual_seed(0)
    first = model.sample(some, tokens=20).outputs
    ta.manual_seed(0)
    assert np.array_equal(first, model.sample(some, tokens=20).outputs)
    with pytest.raises(errors.ShapeError, match="tokens must be an integer of at least 1"):
        model.sample(some, tokens=0)


@pytest.mark.parametrize("model", [LSTMN, LSTMLanguageModel])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_parameters_are_counted(model: type[RecurrentLanguageModel], layers):
    sizes = {"vocab_size": 11, "embedding": 3, "hidden": 6, "layers": layers}
    config = model.Config(**sizes)
    assert model(config).num_parameters() == config.num_parameters()


def test_the_baseline_has_as_many_parameters():
    config = LSTMNConfig(vocab_size=69, hidden=64)
    like = LSTMConfig.like(config)
    assert abs(like.num_parameters() / config.num_parameters() - 1) < 0.01 and like.hidden > 64


def test_sizes_that_make_no_sense_are_refused():
    for wrong, message in (
        ({"hidden": 0}, "hidden must be a positive integer, but got 0"),
        ({"tape": -1}, "tape must be an integer of at least 0, but got -1"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), but got 1.0"),
    ):
        with pytest.raises(errors.TinyattnError, match=message):
            LSTMNConfig(**SMALL | wrong)


def test_the_report_shows_how_words_look_back():
    task = tasks.get("agreement")
    model = LSTMN.for_task(task, hidden=8)
    some = next(iter(task.batches("test", 4)))
    (arcs,) = model.sections(some, task)
    for row, (words, weights) in enumerate(arcs.texts):
        assert words[0] == "(start)" and len(words) == (some.targets[row] >= 0).sum()
        assert weights.shape == (len(words), len(words)) and not np.triu(weights).any()
        np.testing.assert_allclose(weights[1:].sum(1), 1, rtol=1e-5)
