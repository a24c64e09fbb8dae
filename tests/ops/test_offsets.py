"""Whatever is made of a softmax doesn't change when a number is added to all scores of a row: not its value, not its gradient, not the next one.

The scores lie on a grid of eighths, so that adding even a million is exact in float32; then results must have the very same bits. Weights made as
e^(S − log Σ e^S) fail: the log-sum is rounded at the size of the scores.
"""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.graph.tensor import make, outputs
from tinyattn.runtime import reference

OFFSETS = (1e4, 1e6, -1e6)
TARGETS = np.array([1, 5, 0])
OPEN = np.array([[1, 1, 0, 1, 1, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 0, 0]], bool)
LOWEST = float(np.finfo(np.float32).min)


def eighths(*shape, seed=0):
    return (np.random.default_rng((seed, *shape)).integers(-24, 24, shape) / 8).astype(np.float32)


def steps(*shape, seed=0):
    """Even numbers, so that a product with eighths, halved, is on the grid."""
    return np.random.default_rng((seed, *shape)).integers(-2, 3, shape).astype(np.float32) * 2


def unit(scores):
    return ta.cast(np.eye(3), scores.dtype)


def attend(**attrs):
    """Attention with these products of queries and keys."""
    return lambda scores: ta.attention(unit(scores), scores.T, eighths(6, 2), scale=1.0, **attrs)


def attend_with_bias(**attrs):
    return lambda scores: ta.attention(steps(3, 4), eighths(6, 4), eighths(6, 2), scores, **attrs)


def in_chunks(scores):
    operands = unit(scores), scores.T, ta.tensor(TARGETS)
    return outputs(make("linear_cross_entropy", *operands, ignore=None, smoothing=0.25, chunk=2), 3)[0]


CASES = {
    "softmax": ta.softmax,
    "softmax of columns": lambda s: ta.softmax(ta.concat([s.T, s.T[:2]], 0), axis=0)[:6],
    "softmax, masked": lambda s: ta.softmax(s, mask=OPEN),
    "softmax, bias": lambda s: ta.softmax(eighths(3, 6, seed=3), mask=s),
    "log_softmax": ta.log_softmax,
    "log_softmax, masked": lambda s: ta.where(OPEN, ta.log_softmax(s, mask=OPEN), 0),
    "log of a softmax": lambda s: ta.log(ta.softmax(s)),
    "log Σ exp": lambda s: ta.log(ta.exp(s).sum(-1)) - s[:, 0],
    "cross_entropy": lambda s: ta.cross_entropy(s, TARGETS),
    "cross_entropy, smoothed": lambda s: ta.cross_entropy(s, TARGETS, label_smoothing=0.25),
    "cross_entropy, ignoring": lambda s: ta.cross_entropy(s, TARGETS, ignore_index=5),
    "cross_entropy, weighted": lambda s: ta.cross_entropy(s, TARGETS, None, 0.25, [1.0, 2.0, 0.5, 1.0, 4.0, 0.25]),
    "cross_entropy, probabilities": lambda s: ta.cross_entropy(s, ta.cast(np.abs(eighths(3, 6, seed=5)), s.dtype)),
    "nll_loss": lambda s: ta.nll_loss(ta.log_softmax(s), TARGETS),
    "attention, grouped heads": lambda s: ta.attention(ta.stack([unit(s)] * 2), s.T[None], eighths(1, 6, 2), scale=1.0, enable_gqa=True),
    "linear_cross_entropy": lambda s: ta.linear_cross_entropy(unit(s), s.T, TARGETS),
    "linear_cross_entropy, bias": lambda s: ta.linear_cross_entropy(steps(2, 4), eighths(6, 4), [1, 2], s[0]),
    "linear_cross_entropy in chunks": in_chunks,
    "attention": attend(),
    "attention, weights": lambda s: attend(return_weights=True)(s)[1],
    "attention, causal": attend(is_causal=True),
    "attention, bias": attend_with_bias(),
    "attention, bias, causal": attend_with_bias(is_causal=True),
    "attention, masked": attend(mask=OPEN),
        "self_attention": lambda s: ta.self_attention(steps(3, 8), eighths(6, 8), eighths(6, 8), num_heads=2, mask=s),
    "local_window": lambda s: ta.softmax(s, mask=ta.local_window(np.arange(3), 6, 2)) * ta.local_window(ta.tensor([0.0, 2.0, 3.5]), 6, 2, predictive=True),
    "hard attention": lambda s: ta.score_function(s, np.eye(6, dtype=np.float32)[:3], np.ones(3, np.float32), entropy_weight=0.5),
    "logsumexp": lambda s: ta.logsumexp(s, -1) - s[:, 0],
    "logsumexp of everything": lambda s: ta.logsumexp(s) - s[0, 0],
    "sharpened softmax": lambda s: ta.sharpen(ta.softmax(s), 2.0),
    "memory_read": lambda s: ta.memory_read(ta.softmax(s), eighths(6, 4)),
}  # fmt: skip
ROUNDED = {"logsumexp", "logsumexp of everything", "log Σ exp"}
"""Their values subtract a score from a log-sum of the size of the scores; only derivatives can be exact."""


def both_derivatives(function, array, dtype):
    """Leaf; value, gradient and a product with the Hessian, for fixed cotangents."""
    x = ta.tensor(array.astype(dtype))
    y = function(x)
    rng = np.random.default_rng(4)
    c, d = (ta.tensor(rng.standard_normal(shape).astype(dtype)) for shape in (y.shape, x.shape))
    gradient = ta.grad((ta.cast(y, dtype) * c).sum(), x)
    return [y, gradient, ta.grad((gradient * d).sum(), x)]


REWRITTEN = {"log Σ exp"}
"""What they say, taken literally, is infinite; a rule puts a stable form in its place, and in that of its first derivative."""

WAYS = {
    "compiled": lambda results: ta.Program(results).run(),
    "without rewriting": lambda results: ta.Program(results, rewriting=False).run(),
    "interpreted": reference.evaluate,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_common_offset_changes_nothing(name, way):
    if name in REWRITTEN and way != "compiled":
        return
    function, scores = CASES[name], eighths(3, 6)
    plain = WAYS[way](both_derivatives(function, scores, np.float32))
    right = reference.evaluate(both_derivatives(function, scores, np.float64))
    for offset in OFFSETS:
        shifted = WAYS[way](both_derivatives(function, scores + np.float32(offset), np.float32))
        for what, before, found, exact in zip(
            ("value", "gradient", "second"), plain, shifted, right, strict=True
        ):
            if what == "second" and name in REWRITTEN:
                continue
            assert np.abs(before - exact).max() <= 1e-5 * max(1, np.abs(exact).max()), what
            if what != "value" or name not in ROUNDED:
                assert np.array_equal(found, before), f"{what} at {offset}: {found} is not {before}"


@pytest.mark.parametrize("offset", [0, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("name", CASES)
def test_rows_of_gradients_have_sum_0(name, offset):
    scores = eighths(3, 6) + np.float32(offset)
    rows = ta.Program(
        both_derivatives(CASES[name], scores, np.float32)[1 : 2 if name in REWRITTEN else 3]
    ).run()
    for g in rows:
        assert np.isfinite(g).all()
        total = g.astype(np.float64).sum(None if name == "logsumexp of everything" else -1)
        assert np.abs(total).max() <= 2e-6 * max(1, np.abs(g).max()), g


@pytest.mark.parametrize("low", [-1e4, -1e9, LOWEST])
@pytest.mark.parametrize("which", ["some", "all"])
@pytest.mark.parametrize("heads", [1, 3])
def test_added_masks_of_large_numbers(low, which, heads):
    """Compared with the softmax in float64 of the scores as float32 has them."""
    q, k, v = (eighths(heads, 4, 2, seed=seed) for seed in range(3))
    g = eighths(heads, 4, 2, seed=3)
    mask = np.full((4, 4), low, np.float32)
    if which == "some":
        mask[:, :2], mask[0, 2] = 0, 0
    scores = (q @ k.swapaxes(1, 2) + mask).astype(np.float64)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    dp = g.astype(np.float64) @ v.swapaxes(1, 2)
    ds = p * (dp - (p * dp).sum(-1, keepdims=True))
    expected = [p @ v, ds @ k, ds.swapaxes(1, 2) @ q, p.swapaxes(1, 2) @ g, ds.sum(0), p]
    leaves = [ta.tensor(a) for a in (q, k, v, mask)]

    def both(q, k, v, mask):
        return ta.attention(q, k, v, mask, scale=1.0), ta.attention(
            q, k, v, mask, scale=1.0, return_weights=True
        )[1]

    (out, weights), pulled = ta.vjp(both, leaves, [ta.tensor(g), ta.zeros((heads, 4, 4))])
    for found, right in zip(ta.Program([out, *pulled, weights]).run(), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=0, atol=2e-6 * max(1, np.abs(right).max()))


def test_keys_that_are_all_masked_by_a_large_number_share_the_gradient():
    q, k, v = (ta.tensor(eighths(*shape)) for shape in ((1, 2), (4, 2), (4, 1)))
    out = ta.attention(q, k, v, np.full((1, 4), -1e9, np.float32))
    assert ta.grad(out.sum(), v).numpy().ravel().tolist() == [0.25] * 4


def test_cross_entropy_at_a_hundred_million():
    x = ta.tensor(np.full((1, 2), 1e8, np.float32))
    assert ta.grad(ta.cross_entropy(x, [1]), x).numpy().tolist() == [[0.5, -0.5]]


@pytest.mark.parametrize("low", [-1e9, LOWEST])
def test_classes_that_are_all_at_the_lowest_number(low):
    x = ta.tensor(np.full((2, 4), low, np.float32))
    loss = ta.cross_entropy(x, [1, 2], label_smoothing=0.1)
    assert np.isclose(float(loss), np.log(4))
    right = 0.5 * (0.25 - 0.9 * np.eye(4)[[1, 2]] - 0.1 / 4)
    np.testing.assert_allclose(ta.grad(loss, x).numpy(), right, atol=1e-7)


def test_a_thousand_classes_at_an_offset():
    scores = eighths(4, 1000)
    x = ta.tensor(scores + np.float32(1e4))
    found = ta.grad(ta.cross_entropy(x, [1, 2, 3, 999]), x).numpy()
    wide = np.exp(scores.astype(np.float64))
    right = (wide / wide.sum(-1, keepdims=True) - np.eye(1000)[[1, 2, 3, 999]]) / 4
    np.testing.assert_allclose(found, right, rtol=2e-6)


def test_long_attention_at_an_offset():
    """More than one block of keys and of queries, whose maxima differ."""
    q, k, v = eighths(1, 150, 4), eighths(1, 300, 4, seed=1), eighths(1, 300, 4, seed=2)
    found = []
    for offset in (0, 1e5):
        mask = ta.tensor(np.full((150, 300), offset, np.float32) + eighths(150, 300))
        leaves = [*map(ta.tensor, (q, k, v)), mask]
        out, pulled = ta.vjp(
            lambda *x: ta.attention(*x, scale=1.0), leaves, ta.tensor(eighths(1, 150, 4, seed=3))
        )
        found.append(ta.Program([out, *pulled]).run())
    for before, after in zip(*found, strict=True):
        assert np.array_equal(before, after)
