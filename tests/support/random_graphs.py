"""Random graphs, for tinyattn and for torch.

A *recipe* is a list of steps, each an operation on earlier values; it is interpreted once with tinyattn and once with torch.
"""

import numpy as np
from dice import EXAMPLES, SEED
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

import tinyattn as ta
from tinyattn.rewrite import rules as _rules  # noqa: F401  (fills the list)

ROWS, COLUMNS = 3, 4  # every value of a recipe has this shape
PROFILE = settings(
    max_examples=EXAMPLES or 60, deadline=None, derandomize=not SEED, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)  # fmt: skip


class Ours:
    """The operations of a recipe, in tinyattn."""

    tanh, sigmoid, sin, softplus, relu, exp, maximum, where = map(
        staticmethod, (ta.tanh, ta.sigmoid, ta.sin, ta.softplus, ta.relu, ta.exp, ta.maximum, ta.where)
    )

    def softmax(self, x, axis):
        return ta.softmax(x, axis)

    def log_softmax(self, x, axis):
        return ta.log_softmax(x, axis)

    def masked_softmax(self, x, mask):
        return ta.softmax(x, mask=mask)

    def sum(self, x, axis):
        return ta.sum(x, axis, keepdims=True)

    def largest(self, x, axis):
        return ta.max(x, axis, keepdims=True)

    def concat(self, xs, axis):
        return ta.concat(xs, axis)

    def cumsum(self, x, axis):
        return ta.cumsum(x, axis)

    def take(self, x, rows):
        return ta.take(x, rows, 0)

    def attention(self, q, k, v, mask, causal):
        return ta.attention(q, k, v, mask, causal)

    def additive(self, q, k, w):
        return ta.softmax(ta.additive_alignment(q, k, w)) @ k

    def layer_norm(self, x, w, b):
        return ta.layer_norm(x, COLUMNS, w, b, 0.1)

    def rms_norm(self, x, w):
        return ta.rms_norm(x, COLUMNS, w, 0.1)

    def batch_norm(self, x, w, b):
        return ta.batch_norm(x, None, None, w, b, training=True, eps=0.1)[0]

    def gelu(self, x, approximate):
        return ta.gelu(x, approximate)

    def conv1d(self, x, w, dilation):
        return ta.conv1d(x[None], w, padding=dilation, dilation=dilation)[0]

    def conv2d(self, x, w):
        return ta.conv2d(x[None, None], w[None, None], padding=1)[0, 0]

    def conv_transpose2d(self, x, w):
        return ta.conv_transpose2d(x[None, None], w[None, None])[0, 0]

    def avg_pool2d(self, x):
        return ta.avg_pool2d(x[None, None], 3, 1, 1)[0, 0]

    def losses(self, h, w, targets, smoothing):
        return ta.linear_cross_entropy(h, w, targets, label_smoothing=smoothing)

    def content(self, k, m):
        return ta.content_addressing(k, ta.exp(ta.tanh(k[:, 0])), m, 0.1)

    def shift(self, w, s):
        return ta.circular_shift(w, s)

    def sharpen(self, w, g):
        return ta.sharpen(w, g)

    def write(self, m, w, e, a):
        return ta.memory_write(m, w, e, a)

    def read(self, w, m):
        return ta.memory_read(w, m)

    def relu_norm(self, x, by):
        return ta.relu_norm(x, by=by, eps=0.1)

    def again(self, a, b):
        return ta.checkpoint(lambda a, b: ta.gelu(a @ b.T) @ ta.tanh(b))(a, b)

    def loop(self, h, xs, w, reverse):
        final, stacked = ta.scan(lambda c, x: (ta.tanh(c * w + x), c * x), h, xs, reverse=reverse)
        return stacked + final


class Theirs:
    """The same in torch."""

    def __init__(self, torch):
        self.torch = torch
        self.tanh, self.sigmoid, self.sin, self.relu, self.exp = (
            torch.tanh,
            torch.sigmoid,
            torch.sin,
            torch.relu,
            torch.exp,
        )
        self.maximum = torch.maximum
        self.softmax, self.log_softmax = torch.softmax, torch.log_softmax

    def softplus(self, x):
        return self.torch.nn.functional.softplus(x, threshold=1e6)

    def where(self, mask, x, y):
        return self.torch.where(self.torch.tensor(mask), x, y)

    def masked_softmax(self, x, mask):
        return self.torch.softmax(x.masked_fill(~self.torch.tensor(mask), -float("inf")), -1)

    def sum(self, x, axis):
        return x.sum(axis, keepdim=True)

    def largest(self, x, axis):
        return x.amax(axis, keepdim=True)

    def concat(self, xs, axis):
        return self.torch.cat(xs, axis)

    def cumsum(self, x, axis):
        return self.torch.cumsum(x, axis)

    def take(self, x, rows):
        return x[self.torch.tensor(rows)]

    def attention(self, q, k, v, mask, causal):
        open_ = (
            self.torch.ones(ROWS, ROWS, dtype=self.torch.bool) if mask is None else self.torch.tensor(mask)
        )
        scores = q @ k.T / COLUMNS**0.5
        scores = scores.masked_fill(~(open_.tril() if causal else open_), -float("inf"))
        return self.torch.softmax(scores, -1) @ v

    def additive(self, q, k, w):
        return self.torch.softmax(self.torch.tanh(q[:, None] + k) @ w, -1) @ k

    def layer_norm(self, x, w, b):
        return self.torch.nn.functional.layer_norm(x, (COLUMNS,), w, b, 0.1)

    def rms_norm(self, x, w):
        return self.torch.nn.functional.rms_norm(x, (COLUMNS,), w, 0.1)

    def batch_norm(self, x, w, b):
        return self.torch.nn.functional.batch_norm(x, None, None, w, b, True, eps=0.1)

    def gelu(self, x, approximate):
        return self.torch.nn.functional.gelu(x, approximate=approximate)

    def conv1d(self, x, w, dilation):
        return self.torch.nn.functional.conv1d(x[None], w, padding=dilation, dilation=dilation)[0]

    def conv2d(self, x, w):
        return self.torch.nn.functional.conv2d(x[None, None], w[None, None], padding=1)[0, 0]

    def conv_transpose2d(self, x, w):
        return self.torch.nn.functional.conv_transpose2d(x[None, None], w[None, None])[0, 0]

    def avg_pool2d(self, x):
        return self.torch.nn.functional.avg_pool2d(x[None, None], 3, 1, 1)[0, 0]

    def losses(self, h, w, targets, smoothing):
        targets = self.torch.tensor(targets)
        return self.torch.nn.functional.cross_entropy(h @ w.T, targets, label_smoothing=smoothing)

    def content(self, k, m):
        cosine = k @ m.T / (k.norm(dim=1)[:, None] * m.norm(dim=1) + 0.1)
        return self.torch.softmax(self.exp(self.tanh(k[:, :1])) * cosine, -1)

    def shift(self, w, s):
        return sum(self.torch.roll(w, j - 1, -1) * s[:, j : j + 1] for j in range(3))

    def sharpen(self, w, g):
        powers = w ** g[:, None]
        return powers / powers.sum(-1, keepdim=True)

    def write(self, m, w, e, a):
        return m * (1 - w[..., None] * e[:, None]).prod(0) + w.T @ a

    def read(self, w, m):
        return w @ m

    def relu_norm(self, x, by):
        positive = self.relu(x)
        return positive / (positive.sum(-1, keepdim=True) + 0.1 if by == "sum" else COLUMNS)

    def again(self, a, b):
        return self.torch.nn.functional.gelu(a @ b.T) @ self.tanh(b)

    def loop(self, h, xs, w, reverse):
        order, stacked = range(len(xs)), {}
        for t in reversed(order) if reverse else order:
            h, stacked[t] = self.torch.tanh(h * w + xs[t]), h * xs[t]
        return self.torch.stack([stacked[t] for t in order]) + h


_MASK = np.array([[True, False, True, True], [False, True, False, False], [True, True, True, False]])
_OPEN = np.array([[True, False, True], [True, True, False], [False, True, True]])

STEPS = {
    "add": lambda lib, a, b, k: a + b,
    "sub": lambda lib, a, b, k: a - 0.5 * b,
    "mul": lambda lib, a, b, k: a * b,
    "div": lambda lib, a, b, k: a / (b * b + 1),
    "neg": lambda lib, a, b, k: -a,
    "scale": lambda lib, a, b, k: a * (0, 1, -1, 0.7)[k],
    "shift": lambda lib, a, b, k: a + (0, 1, -1, 0.7)[k],
    "tanh": lambda lib, a, b, k: lib.tanh(a),
    "sigmoid": lambda lib, a, b, k: lib.sigmoid(a),
    "sin": lambda lib, a, b, k: lib.sin(a),
    "softplus": lambda lib, a, b, k: lib.softplus(a),
    "relu": lambda lib, a, b, k: lib.relu(a),
    "exp": lambda lib, a, b, k: lib.exp(lib.tanh(a)),
    "maximum": lambda lib, a, b, k: lib.maximum(a, b + 0.01),
    "where": lambda lib, a, b, k: lib.where(_MASK, a, b),
    "matmul": lambda lib, a, b, k: a @ (b.T @ a) / 4,
    "gram": lambda lib, a, b, k: ((a @ b.T) @ b + b) / 4,
    "bias": lambda lib, a, b, k: (a @ (b.T @ b) + b[k % 3]) / 4,
    "softmax": lambda lib, a, b, k: lib.softmax(a, k % 2),
    "log_softmax": lambda lib, a, b, k: lib.log_softmax(a, k % 2),
    "masked_softmax": lambda lib, a, b, k: lib.masked_softmax(a, _MASK),
    "sum": lambda lib, a, b, k: lib.sum(a, k % 2) + b,
    "largest": lambda lib, a, b, k: a - lib.largest(a, k % 2),
    "transpose": lambda lib, a, b, k: (a.T * 2).T + b,
    "reshape": lambda lib, a, b, k: a.reshape(COLUMNS, ROWS).T.reshape(ROWS, COLUMNS),
    "slice": lambda lib, a, b, k: lib.concat([a[k % 3 :], b[: k % 3]], 0),
    "columns": lambda lib, a, b, k: lib.concat([a[:, ::2], b[:, 1::2]], 1),
    "row": lambda lib, a, b, k: a * b[k % 3] + b[:, k : k + 1],
    "cumsum": lambda lib, a, b, k: lib.cumsum(a, k % 2) / 2,
    "take": lambda lib, a, b, k: lib.take(a, np.array([k % 3, 0, k % 3])),
    "attention": lambda lib, a, b, k: lib.attention(a, b, a * 0.5 + b, _OPEN if k > 1 else None, k % 2 == 1),
    "additive": lambda lib, a, b, k: lib.additive(a, b, a[k % 3]),
    "layer_norm": lambda lib, a, b, k: lib.layer_norm(a, b[0], b[k % 3]),
    "rms_norm": lambda lib, a, b, k: lib.rms_norm(a, b[k % 3]),
    "batch_norm": lambda lib, a, b, k: lib.batch_norm(a, b[0], b[k % 3]),
    "gelu": lambda lib, a, b, k: lib.gelu(a, ("none", "tanh")[k % 2]),
    "conv1d": lambda lib, a, b, k: lib.conv1d(a, lib.concat([b[None, :, :3]] * ROWS, 0), 1 + k % 2),
    "conv2d": lambda lib, a, b, k: lib.conv2d(a, b[:, :3]),
    "conv_transpose2d": lambda lib, a, b, k: lib.conv_transpose2d(a, b[:2, :2])[:ROWS, :COLUMNS],
    "avg_pool2d": lambda lib, a, b, k: lib.avg_pool2d(a) + b,
    "losses": lambda lib, a, b, k: lib.losses(a, b, np.array([2, 0, k % 3]), 0.1 * (k > 1)) * a,
    "content": lambda lib, a, b, k: lib.content(a, b) @ b,
    "rotate": lambda lib, a, b, k: lib.shift(a, lib.softmax(b, 1)[:, :3]),
    "sharpen": lambda lib, a, b, k: lib.sharpen(lib.softmax(a, 1), 1 + lib.softplus(b[:, k])),
    "write": lambda lib, a, b, k: lib.write(
        a, lib.softmax(b[:2, :3], 1), lib.sigmoid(b[1:]), lib.tanh(a[:2])
    ),
    "read": lambda lib, a, b, k: lib.read(lib.softmax(b[:, :3], 1), a),
    "relu_norm": lambda lib, a, b, k: lib.relu_norm(a, ("length", "sum")[k % 2]),
    "again": lambda lib, a, b, k: lib.again(a, b),
    "loop": lambda lib, a, b, k: lib.loop(b[0], a, b[k % 3], k > 1),
}

recipes = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 3)), min_size=1, max_size=12),
)  # fmt: skip


def interpret(lib, leaves, steps):
    """The last value of a recipe and, so that nothing is lost, the sum of all of them."""
    values = list(leaves)
    for name, first, second, k in steps:
        values.append(STEPS[name](lib, values[first % len(values)], values[second % len(values)], k))
    total = values[0]
    for value in values[1:]:
        total = total + value
    return values[-1], total


def data(seed, count):
    """Leaves; a number that meets its equal would be a tie, where derivatives are a matter of taste, so none are round."""
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((ROWS, COLUMNS)) for _ in range(count)], rng.standard_normal((ROWS, COLUMNS))


def build(recipe, dtype=np.float64):
    seed, count, steps = recipe
    arrays, weight = data(seed, count)
    leaves = [ta.tensor(a.astype(dtype)) for a in arrays]
    last, total = interpret(Ours(), leaves, steps)
    loss = (total * ta.tensor(weight.astype(dtype))).sum()
    return leaves, [last, loss, *ta.grad(loss, leaves)], arrays, weight
