"""Kernels of more tiles than threads can share at once: nothing behind tile 1,048,575 is left out, for any number of threads."""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.graph.tensor import make
from tinyattn.kernels import MAX_TILES

MANY = MAX_TILES + 10
REAL = np.random.default_rng(0).standard_normal((MANY, 2, 3)).astype(np.float32)
COLUMN = REAL[:, 0, 0]
EDGES = np.r_[0:3, MAX_TILES - 3 : MANY]
"""Rows that are compared: the first ones, and those around the border."""


def softmax(x, axis):
    p = np.exp(x - x.max(axis, keepdims=True))
    return p / p.sum(axis, keepdims=True)


def gradient(function):
    """The gradient of Σ c·y for a fixed row c, as another function."""

    def run(x):
        y = function(x)
        return ta.grad((y * np.arange(1, y.shape[-1] + 1, dtype=np.float32)).sum(), x)

    return run


def of_keys(x):
    """Attention of one query of width 1 to two keys each, for many heads."""
    return ta.attention(x[:, :1, :1], x[:, :, 1:2], x[:, :, 2:])


def of_keys_by_numpy(x):
    weights = softmax(x[:, :1, :1] * x[:, None, :, 1], -1)
    return weights @ x[:, :, 2:]


def additive(x):
    return make("additive_score", x[:, :1, :], x[:, 1:, :], ta.ones(3))


def written(x):
    """A memory of two places of width 3, written to by one head."""
    ones = ta.ones((MANY, 1, 3))
    return ta.memory_write(x, ta.sigmoid(x[:, :, 0])[:, None, :], 0.5 * ones, ones)


def written_by_numpy(x):
    w = 1 / (1 + np.exp(-x[:, :, :1]))
    return x * (1 - 0.5 * w) + w


CASES = {
    "sum": (lambda x: x.sum(1), lambda x: x.sum(1)),
    "max": (lambda x: x.max(1), lambda x: x.max(1)),
    "prod": (lambda x: ta.prod(x, 1), lambda x: x.prod(1)),
    "cumsum": (lambda x: ta.cumsum(x, 1), lambda x: x.cumsum(1)),
    "argmax": (lambda x: ta.argmax(x, 1), lambda x: x.argmax(1)),
    "softmax": (lambda x: ta.softmax(x, 1), lambda x: softmax(x, 1)),
    "gradient of max": (gradient(lambda x: x.max(1)), lambda x: (x == x.max(1, keepdims=True)) * np.arange(1, 4)),
    "attention": (of_keys, of_keys_by_numpy),
    "gradient of additive_score": (gradient(additive), lambda x: np.repeat(1 - np.tanh(x[:, :1] + x[:, 1:]) ** 2, 2, 1)),
    "memory_write": (written, written_by_numpy),
    "transposed": (lambda x: ta.transpose(x, (0, 2, 1)) * 1.0, lambda x: x.transpose(0, 2, 1)),
    "gradient of take": (gradient(lambda x: ta.take(x, [1, 1], axis=1)), lambda x: np.array([[0], [2]]) * np.arange(1, 4) + 0 * x),
}  # fmt: skip


@pytest.fixture
def any_number():
    before = ta.get_num_threads()
    yield
    ta.set_num_threads(before)


@pytest.mark.parametrize("name", CASES)
def test_nothing_is_left_out(name, any_number):
    function, numpy = CASES[name]
    y = function(ta.tensor(REAL))
    program = ta.Program([y])
    assert max(row.tiles for row in program.lowered.main.items) > MAX_TILES
    right = np.broadcast_to(numpy(REAL.astype(np.float64)), y.shape)
    for threads in (1, 2, 3):
        ta.set_num_threads(threads)
        (found,) = program.run()
        np.testing.assert_allclose(found[EDGES], right[EDGES], rtol=1e-5, atol=1e-6)
        if threads == 1:
            first = found
        assert np.array_equal(found, first)
