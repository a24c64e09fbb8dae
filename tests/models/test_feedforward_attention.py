"""Feed-forward attention: its equations in torch, padding, the mean that it is measured by, and order."""

import json
from dataclasses import replace

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import errors, tasks
from tinyattn.models.feedforward_attention import (
    FeedForwardAttention,
    FeedForwardAttentionConfig,
    MeanPooling,
)


def small(model, **options):
    ta.manual_seed(3)
    return model.for_task(tasks.get("addition", length=20, **options), hidden=7).to(np.float64)


def batch(task="addition", rows=5):
    return next(iter(tasks.get(task, length=20).batches("test", rows)))


@pytest.mark.parametrize("model", [FeedForwardAttention, MeanPooling])
def test_loss_and_gradients_are_those_of_torch(model):
    torch = pytest.importorskip("torch")
    ours, some = small(model), batch()
    some = replace(some, valid=np.array([True, True, False, True, True]))
    weights = {name: torch.from_numpy(value).requires_grad_() for name, value in ours.state_dict().items()}

    def linear(name, x):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def rectified(x):
        return torch.nn.functional.leaky_relu(x, 0.01)

    losses = []
    for row in np.flatnonzero(some.valid):  # each by itself, without padding
        x = torch.from_numpy(some.steps[row, : some.length[row]].astype(np.float64))
        h = rectified(linear("step", x))  # (T, D)
        if model is FeedForwardAttention:
            alpha = torch.softmax(torch.tanh(linear("score", h)[:, 0]), 0)
        else:
            alpha = torch.full((len(h),), 1 / len(h), dtype=torch.float64)
        y = rectified(linear("output", rectified(linear("hidden", alpha @ h))))[0]
        losses.append((y - float(some.target[row])) ** 2)
    loss = torch.stack(losses).mean()
    loss.backward()
    assert abs(float(ours.loss(some)) - loss.item()) < 1e-10
    gradients = ta.grad(ours.loss(some), ours.parameters())
    for (name, _), found in zip(ours.named_parameters(), gradients, strict=True):
        expected = weights[name].grad.numpy()
        assert np.abs(expected).max() > 0, name
        assert np.abs(found.numpy() - expected).max() < 1e-8 * max(1, np.abs(expected).max()), name


@pytest.mark.parametrize("model", [FeedForwardAttention, MeanPooling])
def test_padding_is_seen_by_nothing(model):
    ours, some = small(model), batch()
    wider = np.full((5, 30, 2), np.nan, np.float32)
    for row, length in enumerate(some.length):
        wider[row, :length] = some.steps[row, :length]
    padded = replace(some, steps=wider)
    one, other = ours.answer(some), ours.answer(padded)
    np.testing.assert_allclose(one.outputs, other.outputs, rtol=1e-12)
    if model is FeedForwardAttention:
        (weights,) = ta.viz.attention_maps(ours, padded)["score"][:, 0].swapaxes(0, 1)
        np.testing.assert_array_equal(weights, np.concatenate(other.maps["attention"]))
    for row, length in enumerate(some.length):
        weights = other.maps["attention"][row][0]
        assert abs(weights.sum() - 1) < 1e-12 and not weights[length:].any() and (weights[:length] > 0).all()
    for found, expected in zip(
        ta.grad(ours.loss(padded), ours.parameters()),
        ta.grad(ours.loss(some), ours.parameters()),
        strict=True,
    ):
        np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-9, atol=1e-14)


def test_the_order_of_steps_changes_nothing_and_no_step_weighs_more_than_e_squared_times_another():
    ours, some = small(FeedForwardAttention), batch(rows=1)
    ours.score.weight.assign(ours.score.weight.numpy() * 100)
    order = np.random.default_rng(0).permutation(some.length[0])
    mixed = some.steps.copy()
    mixed[0, : len(order)] = some.steps[0, order]
    one, other = ours.answer(some), ours.answer(replace(some, steps=mixed))
    np.testing.assert_allclose(one.outputs, other.outputs, rtol=1e-12)
    weights = one.maps["attention"][0][0, : len(order)]
    np.testing.assert_allclose(weights[order], other.maps["attention"][0][0, : len(order)], rtol=1e-12)
    assert 7 < weights.max() / weights.min() < np.e**2 + 1e-9


def test_the_baseline_is_as_large_but_for_the_scores():
    sizes = FeedForwardAttentionConfig(features=2)
    assert FeedForwardAttention(sizes).num_parameters() == 10_602  # 300 + 101 + 10,100 + 101
    like = MeanPooling(MeanPooling.Config.like(sizes))
    assert like.num_parameters() == 10_602 - 101
    with pytest.raises(errors.TinyattnError, match="hidden must be a positive integer, but got 0"):
        FeedForwardAttentionConfig(features=2, hidden=0)


def test_rows_of_each_length_have_a_curve_and_figures_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for length in (20, 100):
        run = ta.Experiment("mean-pooling", "addition", length=length, hidden=3, steps=2, batch_size=100)
        assert run.train(record=True).folder.name == f"mean-pooling-addition-0{'-2' * (length == 100)}"
    curves = {path.name for path in (tmp_path / "results").glob("*.jsonl")}
    assert curves == {"mean-pooling-addition-0.jsonl", "mean-pooling-addition-length-20-0.jsonl"}
    metrics = [entry["metric"] for entry in json.loads((tmp_path / "results" / "results.json").read_text())]
    assert metrics == ["accuracy_20", "error_20", "accuracy_100", "error_100"]
