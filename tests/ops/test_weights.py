"""Attention weights that are returned are those that the output is made of, and both have their derivatives.

Each case is a function of leaves and of ``ask``: ``(output, weights)``, or the output alone where nobody asks. The values don't depend on who asks.
"""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from engine import compiled

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.traverse import substitute, topological
from tinyattn.models.bahdanau import Memory


def real(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).standard_normal(shape)


def op(*arrays, **options):
    """``ta.attention`` with some options."""
    return lambda: (lambda ask, *x: ta.attention(*x, return_weights=ask, **options), arrays)


def heads(**options):
    """``ta.self_attention`` with weights of its own."""

    def make():
        rows = real(18, 6, seed=1)
        run = lambda ask, *x: ta.self_attention(
            *x[:3], 2, {"in_proj_weight": x[3], "out_proj.weight": x[4]}, return_weights=ask, **options
        )
        return run, (real(2, 3, 6), real(2, 4, 6), real(2, 4, 6, seed=1), rows, real(6, 6))

    return make


def module(*arrays, masks=(), dropout=0.0, **options):
    """The module, with what it gives for each head."""

    def make():
        ta.manual_seed(1)
        layer = nn.MultiheadAttention(6, 2, dropout, batch_first=True, dtype=np.float64, **options)

        def run(ask, *x):
            out, weights = layer(
                *x,
                *masks[:1],
                need_weights=ask,
                attn_mask=(masks[1:] or (None,))[0],
                average_attn_weights=False,
            )
            return (out, weights) if ask else out

        return run, arrays

    return make


def bahdanau():
    ta.manual_seed(1)
    config = ta.models.Bahdanau.Config(7, 7, embedding=4, hidden=3, maxout=3, attention=5)
    model = ta.models.Bahdanau(config).to(np.float64)
    mask = np.array([[[True, True, False, True]], [[True] * 4]])

    def run(ask, annotations, keys, states):
        found = model.attend(Memory(annotations, keys, ta.tensor(mask)), states)
        return found if ask else found[0]

    return run, (real(2, 4, 6), real(2, 4, 5), real(6, 3))


OPEN = np.array([[True, True, False, True], [False, True, False, False], [True, True, True, True]])
CLOSED = OPEN & np.array([[True], [False], [True]])
QKV = (real(2, 3, 5), real(2, 4, 5), real(2, 4, 2))
GROUPS = (real(2, 4, 3, 2), real(2, 2, 4, 2), real(2, 2, 4, 3))
SELF = (real(2, 3, 6), real(2, 4, 6), real(2, 4, 6, seed=1))
PADDING = np.array([[False, False, True, False], [False] * 4])

CASES = {
    "attention": op(*QKV),
    "attention of matrices": op(real(3, 5), real(4, 5), real(4, 2)),
    "attention, scaled": op(*QKV, scale=0.3),
    "attention, causal": op(*QKV, is_causal=True),
    "attention, masked": op(*QKV, mask=OPEN),
    "attention, a closed query": op(*QKV, mask=CLOSED, is_causal=True),
    "attention, a bias": op(*QKV, mask=np.where(CLOSED, 0.3, -np.inf)),
    "attention, dropout": op(*QKV, dropout_p=0.4),
    "attention, dropout, causal": op(*QKV, dropout_p=0.4, is_causal=True),
    "attention, one head of keys": op(real(2, 3, 4, 2), real(2, 1, 4, 2), real(2, 1, 4, 3)),
    "attention, values of more batches": op(real(3, 4), real(5, 4), real(2, 5, 2)),
    "attention, grouped heads": op(*GROUPS, enable_gqa=True),
    "attention, grouped heads, dropout": op(*GROUPS, enable_gqa=True, dropout_p=0.4, mask=OPEN),
    "self_attention": heads(),
    "self_attention, causal": heads(is_causal=True),
    "MultiheadAttention": module(*SELF),
    "MultiheadAttention, masks": module(*SELF, masks=(PADDING, ~OPEN)),
    "MultiheadAttention, dropout": module(*SELF, dropout=0.4),
    "MultiheadAttention, more keys": module(*SELF, add_bias_kv=True, add_zero_attn=True),
    "MultiheadAttention, without a batch": module(*(x[0] for x in SELF), masks=(PADDING[0], ~OPEN)),
    "MultiheadAttention, without a batch, dropout": module(*(x[0] for x in SELF), dropout=0.4),
    "Bahdanau": bahdanau,
}  # fmt: skip


@pytest.fixture(params=CASES)
def case(request):
    function, arrays = CASES[request.param]()
    leaves = [ta.tensor(a) for a in arrays]

    def run(ask, *x):
        ta.manual_seed(5)  # the same weights are dropped whoever asks
        return function(ask, *x)

    return SimpleNamespace(run=run, arrays=arrays, leaves=leaves)


def loss(y, seed=2):
    """A function of y with slopes of all signs."""
    return (y * real(*y.shape, seed=seed) + ta.sin(y)).sum()


def test_values_are_the_same_whoever_asks(case):
    """With what is dropped, which a dropped weight of 0 or 1 / (1 − p) would tell."""
    out, weights = case.run(True, *case.leaves)
    plain = case.run(False, *case.leaves)
    results = [plain, *ta.grad(loss(plain), case.leaves)], [out, *ta.grad(loss(out), case.leaves)]
    for rewriting in (False, True):
        for one, other in zip(*(compiled(r, rewriting=rewriting) for r in results), strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12 * max(1, np.abs(one).max()))
    rows = weights.numpy().sum(-1)
    assert np.all(np.isclose(rows, 1) | (rows == 0))


def test_gradients_flow_through_output_and_weights(case):
    def both(*x):
        out, weights = case.run(True, *x)
        return loss(out) + loss(weights, seed=3)

    def weights(*x):
        return loss(case.run(True, *x)[1])

    assert ta.gradcheck(both, case.arrays, order=1) and ta.gradcheck(weights, case.arrays, order=1)


def test_the_output_has_a_derivative_by_the_weights(case):
    """The true one, by differences; and what the weights are made of gets its gradient through them."""
    out, weights = case.run(True, *case.leaves)
    of_weights = lambda w: substitute([loss(out)], {weights: w})[0]
    right = weights.numpy()
    assert ta.gradcheck(of_weights, [right], order=1)
    by_weights = ta.grad(loss(out), weights)
    leaf = ta.tensor(right)
    found, again = compiled([by_weights, ta.grad(of_weights(leaf), leaf)])
    np.testing.assert_allclose(found, again, rtol=0, atol=1e-12)
    above, beside = (set(topological([y])) for y in (weights, of_weights(leaf)))
    alone = [x for x in case.leaves if x in above and x not in beside]
    through = ta.grad((weights * ta.stop_gradient(by_weights)).sum(), alone)
    for one, other in zip(*(compiled(g) for g in (ta.grad(loss(out), alone), through)), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_by_the_weights_of_plain_attention():
    """P̄ = Ō Vᵀ."""
    q, k, v = map(ta.tensor, QKV)
    out, weights = ta.attention(q, k, v, return_weights=True)
    g = real(*out.shape, seed=4)
    np.testing.assert_allclose(
        ta.grad((out * g).sum(), weights).numpy(), g @ QKV[2].swapaxes(-1, -2), atol=1e-12
    )


def test_in_a_compiled_function():
    q, k, v = QKV

    @ta.function
    def step(q, k, v):
        out, weights = ta.attention(q, k, v, is_causal=True, return_weights=True)
        return ta.grad((out * out).sum(), [weights, q])

    found = step(q, k, v)
    out, weights = ta.attention(*map(ta.tensor, QKV), is_causal=True, return_weights=True)
    np.testing.assert_allclose(found[0], (2 * out @ v.swapaxes(-1, -2)).numpy(), atol=1e-12)
    assert math.isfinite(found[1].sum()) and weights.shape == found[0].shape


def test_the_mean_of_the_heads_lies_beside_the_way():
    """The output isn't made of it."""
    x = ta.tensor(SELF[0])
    out, weights = nn.MultiheadAttention(6, 2, batch_first=True, dtype=np.float64)(x, x, x)
    with pytest.raises(ta.TinyattnError, match="lies beside the way"):
        ta.grad(out.sum(), weights)


def test_nobody_asks_nobody_pays():
    """No scores are stored, and the one operation of attention stays."""
    x = ta.tensor(SELF[0])
    layer = nn.MultiheadAttention(6, 2, batch_first=True, dtype=np.float64)
    for out in (
        ta.attention(x, x, x),
        ta.self_attention(x, x, x, 2),
        layer(x, x, x, need_weights=False)[0],
        nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, dtype=np.float64)(x),
    ):
        names = [node.op.name for node in topological([out])]
        assert names.count("attention") == 1 and "softmax" not in names


@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
def test_the_future_is_not_seen_in_weights_either(rubbish):
    """Position by position: what comes after query i may be anything; who sees it gets NaN."""
    x = real(2, 40, 4).astype(np.float32)
    read = lambda y: ta.attention(
        ta.tensor(x), ta.tensor(y), ta.tensor(y), is_causal=True, return_weights=True
    )
    clean = compiled(read(x))
    for position in (1, 17, 39):
        y = x.copy()
        y[:, position:] = rubbish
        for found, right in zip(compiled(read(y)), clean, strict=True):
            assert np.allclose(found[:, :position], right[:, :position], rtol=0, atol=1e-6)
            assert not np.isnan(rubbish) or np.isnan(found[:, position:]).any(-1).all()
