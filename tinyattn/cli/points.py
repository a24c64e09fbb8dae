"""For `tinyattn gradcheck`: a point for each operation, away from its kinks, at which to check its
derivative.
"""

from collections.abc import Callable

import numpy as np

import tinyattn as ta


def samples() -> dict[str, tuple[Callable, list[np.ndarray]]]:
    """A point at which each operation is smooth: name → (function, float64 inputs)."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape)

    def positive(*shape: int) -> np.ndarray:
        return random.uniform(0.5, 2.0, shape)

    mask, ids = np.array([[True, True, False, True]] * 3), np.array([1, 0, 3])
    unary = {name: normal(3, 4) for name in "neg exp tanh sigmoid square softplus expm1 sin cos erf".split()}
    unary |= {name: positive(3, 4) for name in "log sqrt log1p abs relu".split()}
    table: dict[str, tuple[Callable, list[np.ndarray]]] = {
        name: (getattr(ta, name), [x]) for name, x in unary.items()
    }
    table |= {
        name: (getattr(ta, name), [normal(3, 4), normal(4)])
        for name in ("add", "sub", "mul", "maximum", "minimum")
    }
    table |= {
        name: (getattr(ta, name), [normal(3, 4)])
        for name in ("sum", "mean", "max", "min", "logsumexp", "cumsum")
    }
    cell = [normal(2, 3), normal(2, 4), normal(12, 3), normal(12, 4), normal(12), normal(12)]
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
        "dot_score": (ta.dot_score, [normal(2, 3), normal(4, 3)]),
        "scaled_dot_score": (ta.scaled_dot_score, [normal(2, 3), normal(4, 3)]),
        "general_score": (ta.general_score, [normal(2, 3), normal(4, 5), normal(3, 5)]),
        "additive_score": (ta.additive_score, [normal(2, 3), normal(4, 5), normal(2, 3), normal(2, 5), normal(2)]),
        "gru_cell": (ta.gru_cell, cell),
        "lstm_cell": (
            lambda x, h, c, w, u, b: ta.lstm_cell(x, (h, c), w, u, b),
            [normal(2, 3), normal(2, 4), normal(2, 4), normal(16, 3), normal(16, 4), normal(16)],
        ),
        "scan": (lambda h, w: ta.scan(lambda s, _: (ta.tanh(s @ w), s), h, length=3)[1], [normal(2, 3), normal(3, 3)]),
    }  # fmt: skip
    return table
