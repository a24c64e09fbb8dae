"""Attention weights found in graphs: those that the layers themselves return, for any model."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import models, nn

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((2, 5, 16)).astype(np.float32), RNG.standard_normal((2, 3, 16)).astype(np.float32)


def test_the_weights_are_those_that_the_layer_returns():
    layer = nn.MultiheadAttention(16, 4, batch_first=True, dropout=0.5)
    blocked = np.triu(np.ones((5, 5), bool), 1)

    class Masked(nn.Module):
        def __init__(self, weights):
            self.attention, self.weights = layer, weights

        def forward(self, x):
            return self.attention(x, x, x, attn_mask=blocked, need_weights=self.weights)[0]

    layer.eval()
    expected = layer(X, X, X, attn_mask=blocked, average_attn_weights=False)[1].numpy()
    layer.train()
    for weights in (False, True):
        model = Masked(weights)
        maps = ta.viz.attention_maps(model, X)
        assert [*maps] == ["attention"] and maps["attention"].shape == (2, 4, 5, 5)
        np.testing.assert_allclose(maps["attention"], expected, atol=1e-6)
        assert model.training and layer.training  # as before


def test_modules_have_their_paths_and_several_inputs():
    model = nn.Transformer(16, 2, 2, 1, 32, batch_first=True)
    maps = ta.viz.attention_maps(model, (X, Y))
    assert [(path, weights.shape) for path, weights in maps.items()] == [
        ("encoder.layers.0.self_attn", (2, 2, 5, 5)), ("encoder.layers.1.self_attn", (2, 2, 5, 5)),
        ("decoder.layers.0.self_attn", (2, 2, 3, 3)), ("decoder.layers.0.multihead_attn", (2, 2, 3, 5)),
    ]  # fmt: skip


def test_a_module_that_is_called_twice_has_two_maps():
    layer = nn.MultiheadAttention(16, 2, batch_first=True)

    class Twice(nn.Module):
        def __init__(self):
            self.layer = layer

        def forward(self, x):
            for _ in range(2):
                x = self.layer(x, x, x, need_weights=False)[0]
            return x

    maps = ta.viz.attention_maps(Twice(), X)
    assert [*maps] == ["layer", "layer (2)"] and not np.array_equal(*maps.values())


class Reader(nn.Module):
    """Reads its input step by step, with the weights used in the loop, or behind it."""

    def __init__(self, inside, width):
        self.query, self.inside, self.width = nn.Linear(16, 16), inside, width

    def forward(self, x):
        def step(state, x_t):
            query = ta.expand_dims(self.query(state + x_t), 1)
            weights = ta.softmax(query @ ta.swapaxes(x, 1, 2))  # (B, 1, T)
            read = (weights @ x)[:, 0] if self.inside else state
            return read, weights

        state, weights = ta.scan(step, x[:, 0], ta.swapaxes(x, 0, 1))
        return state if self.inside else ta.swapaxes(weights[:, :, 0], 0, 1) @ x


@pytest.mark.parametrize("inside", [True, False])
def test_the_steps_of_a_loop_are_the_queries(inside):
    model = Reader(inside, 16)
    (weights,) = ta.viz.attention_maps(model, X).values()
    assert weights.shape == (2, 1, 5, 5)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
    query = model.query(X[:, 0] + X[:, 0]).numpy()  # the first step
    scores = np.exp(np.einsum("bd,btd->bt", query, X))
    np.testing.assert_allclose(weights[:, 0, 0], scores / scores.sum(-1, keepdims=True), rtol=1e-4)


def test_what_is_no_attention_has_no_map():
    model = nn.Sequential(nn.Linear(16, 4), ta.softmax)
    assert ta.viz.attention_maps(model, X) == {}


@pytest.mark.parametrize("name", models.MODELS)
def test_models_show_where_they_look(name):
    experiment = ta.Experiment(name)
    maps = ta.viz.attention_maps(experiment.model, experiment.task.probe())
    for weights in maps.values():
        assert weights.ndim == 4 and (weights >= 0).all() and (weights.sum(-1) < 1 + 1e-5).all()
    assert maps or name not in ("bahdanau", "gpt")
