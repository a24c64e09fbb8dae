"""For `tinyattn gradcheck`: a point for each operation, away from its kinks, at which to check its
derivative.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import tinyattn as ta

Samples = dict[str, tuple[Callable, list[np.ndarray]]]
"""name → (function, float64 inputs)"""


class Points:
    """Where inputs come from: the same numbers in every run."""

    def __init__(self):
        self.random = np.random.default_rng(0)

    def normal(self, *shape: int) -> np.ndarray:
        """Normal numbers."""
        return self.random.standard_normal(shape)

    def positive(self, *shape: int) -> np.ndarray:
        """Numbers in [0.5, 2)."""
        return self.random.uniform(0.5, 2.0, shape)

    def share(self, *shape: int) -> np.ndarray:
        """Positive rows of sum 1: weightings."""
        rows = self.positive(*shape)
        return rows / rows.sum(-1, keepdims=True)


def samples() -> Samples:
    """A point at which each operation is smooth."""
    points = Points()
    return _arithmetic(points) | _scores(points) | _networks(points) | _memory(points)


def _arithmetic(points: Points) -> Samples:
    """Elementwise operations, reductions, products, softmax and its losses."""
    normal, positive = points.normal, points.positive
    mask, ids = np.array([[True, True, False, True]] * 3), np.array([1, 0, 3])
    unary = {
        name: normal(3, 4) for name in "neg exp tanh sigmoid square softplus expm1 sin cos erf gelu".split()
    }
    unary |= {name: positive(3, 4) for name in "log sqrt log1p abs relu leaky_relu".split()}
    table: dict[str, tuple[Callable, list[np.ndarray]]] = {
        name: (getattr(ta, name), [x]) for name, x in unary.items()
    }
    table |= {
        name: (getattr(ta, name), [normal(3, 4), normal(4)])
        for name in ("add", "sub", "mul", "maximum", "minimum")
    }
    table |= {
        name: (getattr(ta, name), [normal(3, 4)])
        for name in ("sum", "prod", "mean", "var", "max", "min", "logsumexp", "cumsum")
    }
    table |= {
        "div": (ta.div, [normal(3, 4), positive(4)]),
        "power": (ta.power, [positive(3, 4), normal(4)]),
        "matmul": (ta.matmul, [normal(2, 3, 4), normal(4, 5)]),
        "einsum": (lambda a, b: ta.einsum("bij,bjk->bik", a, b), [normal(2, 3, 4), normal(2, 4, 2)]),
        "softmax": (lambda x: ta.softmax(x, mask=mask), [normal(3, 4)]),
        "log_softmax": (ta.log_softmax, [normal(3, 4)]),
        "cross_entropy": (lambda x: ta.cross_entropy(x, ids), [normal(3, 4)]),
        "take": (lambda x: ta.take(x, ids), [normal(4, 3)]),
        "maxout": (ta.maxout, [normal(3, 4)]),
        "concat": (lambda a, b: ta.concat([a, b], -1), [normal(3, 4), normal(3, 2)]),
        "where": (lambda a, b: ta.where(mask, a, b), [normal(3, 4), normal(4)]),
        "take_along_axis": (lambda x: ta.take_along_axis(x, ids[:, None], -1), [normal(3, 4)]),
        "index_update": (lambda x, v: ta.index_update(x, (slice(None), 1), v), [normal(3, 4), normal(3)]),
    }  # fmt: skip
    return table


def _scores(points: Points) -> Samples:
    """Attention and the scores it is made from."""
    normal = points.normal
    query, keys, wide = [2, 3], [4, 3], [4, 5]
    mask = np.array([[True, True, False, True], [True, False, True, True]])
    reward = points.positive(2)
    heads = {"in_proj_weight": normal(12, 4), "out_proj.weight": normal(4, 4)}

    def attend(q: Any, k: Any, v: Any) -> Any:
        return ta.attention(q, k, v, mask=mask, return_weights=True)

    return {
        "dot_score": (ta.dot_score, [normal(*query), normal(*keys)]),
        "scaled_dot_score": (ta.scaled_dot_score, [normal(*query), normal(*keys)]),
        "general_score": (ta.general_score, [normal(*query), normal(*wide), normal(3, 5)]),
        "additive_score": (ta.additive_score, [normal(*query), normal(*wide), normal(2, 3), normal(2, 5), normal(2)]),
        "concat_score": (ta.concat_score, [normal(*query), normal(*wide), normal(2, 8), normal(2)]),
        "cosine_score": (ta.cosine_score, [normal(*query), normal(*keys)]),
        "location_score": (lambda q, w: ta.location_score(q, 4, w), [normal(*query), normal(5, 3)]),
        "local_window": (
            lambda p: ta.local_window(p, 6, half_width=8, predictive=True), [points.positive(2, 3)]
        ),
        "relu_norm": (lambda x: ta.relu_norm(x, by="sum"), [points.positive(3, 4)]),
        "attention": (attend, [normal(2, 2, 3), normal(2, 4, 3), normal(2, 4, 5)]),
        "score_function": (
            lambda x: ta.score_function(x, np.eye(4)[:2], reward, entropy_weight=0.1), [normal(2, 4)]
        ),
        "self_attention": (
            lambda x: ta.self_attention(x, x, x, 2, heads, is_causal=True), [normal(2, 3, 4)]
        ),
    }  # fmt: skip


def _networks(points: Points) -> Samples:
    """Norms, convolutions, pooling, recurrent cells, losses over a vocabulary and loops."""
    normal = points.normal
    image, ids = normal(2, 2, 4, 5), np.array([1, 0, 3])
    apart = points.random.permutation(80).reshape(2, 2, 4, 5) * 0.1  # so that no two of a window are equal
    cell = [normal(2, 3), normal(2, 4), normal(12, 3), normal(12, 4), normal(12), normal(12)]

    def batch_norm(x: Any, w: Any, b: Any) -> Any:
        return ta.batch_norm(x, weight=w, bias=b, training=True)[0]

    return {
        "layer_norm": (lambda x, w, b: ta.layer_norm(x, 4, w, b), [normal(3, 4), normal(4), normal(4)]),
        "rms_norm": (lambda x, w: ta.rms_norm(x, 4, w), [normal(3, 4), normal(4)]),
        "batch_norm": (batch_norm, [image, normal(2), normal(2)]),
        "spectral_norm": (
            lambda w: ta.spectral_norm(w, np.ones(3) / 3**0.5, np.ones(4) / 2, 0)[0], [normal(3, 4) + 1]
        ),
        "conv1d": (lambda x, w, b: ta.conv1d(x, w, b, causal=True), [normal(2, 2, 5), normal(3, 2, 3), normal(3)]),
        "conv2d": (lambda x, w, b: ta.conv2d(x, w, b, 2, 1), [image, normal(3, 2, 3, 2), normal(3)]),
        "conv_transpose2d": (lambda x, w, b: ta.conv_transpose2d(x, w, b, 2), [image, normal(2, 3, 2, 3), normal(3)]),
        "max_pool2d": (lambda x: ta.max_pool2d(x, 2), [apart]),
        "avg_pool2d": (lambda x: ta.avg_pool2d(x, 2), [image]),
        "linear_cross_entropy": (
            lambda h, w, b: ta.linear_cross_entropy(h, w, ids, b), [normal(3, 2), normal(4, 2), normal(4)]
        ),
        "gru_cell": (ta.gru_cell, cell),
        "lstm_cell": (
            lambda x, h, c, w, u, b: ta.lstm_cell(x, (h, c), w, u, b),
            [normal(2, 3), normal(2, 4), normal(2, 4), normal(16, 3), normal(16, 4), normal(16)],
        ),
        "scan": (lambda h, w: ta.scan(lambda s, _: (ta.tanh(s @ w), s), h, length=3)[1], [normal(2, 3), normal(3, 3)]),
        "checkpoint": (ta.checkpoint(lambda x, w: ta.tanh(ta.softmax(x @ w))), [normal(2, 3), normal(3, 3)]),
    }  # fmt: skip


def _memory(points: Points) -> Samples:
    """Addressing, reading and writing an external memory (2 sequences, 1 or 2 heads, 4 places of width 3)."""
    normal, share = points.normal, points.share
    memory, weights = normal(2, 4, 3), share(2, 2, 4)
    return {
        "content_addressing": (ta.content_addressing, [normal(2, 2, 3), points.positive(2, 2), memory]),
        "interpolate": (ta.interpolate, [points.positive(2, 2) / 2, share(2, 2, 4), weights]),
        "circular_shift": (ta.circular_shift, [weights, share(2, 2, 3)]),
        "sharpen": (ta.sharpen, [weights, points.positive(2, 2) + 1]),
        "memory_address": (ta.memory_address, [normal(2, 2, 9), memory, weights]),
        "memory_read": (ta.memory_read, [weights, memory]),
        "memory_write": (ta.memory_write, [memory, weights, share(2, 2, 3), normal(2, 2, 3)]),
    }
