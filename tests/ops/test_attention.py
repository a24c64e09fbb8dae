"""Attention as a whole: what is masked stays silent, what is dropped is dropped again, and no copy is made."""

import math

import numpy as np
import pytest
from engine import compiled, equal
from proofs import CLOSED, FLOATS, MASKS

import tinyattn as ta
from tinyattn.graph.grad import pull_back
from tinyattn.runtime import reference

BATCH, QUERIES, KEYS, WIDTH = 2, 3, 4, 5


def _numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def _pulled(inputs, results, seed=1):
    rng = np.random.default_rng(seed)
    return list(
        ta.vjp(
            lambda *_: results,
            inputs,
            [ta.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in results],
        )[1]
    )


# What stands behind a mask.


def _visible(kind, causal):
    mask = MASKS[kind]
    seen = True if mask is None else mask if mask.dtype == bool else mask != -np.inf
    seen = np.broadcast_to(seen, (BATCH, QUERIES, KEYS))
    return seen & np.tril(np.ones((QUERIES, KEYS), bool)) if causal else seen


def _unseen(kind, causal):
    """Keys that nobody attends to, and queries that attend to nothing, as columns."""
    seen = _visible(kind, causal)
    return ~seen.any(-2)[..., None], ~seen.any(-1)[..., None]


LEAVE_OUT = [
    (kind, causal)
    for kind in MASKS
    for causal in (False, True)
    if any(x.any() for x in _unseen(kind, causal))
]


@pytest.mark.parametrize(("kind", "causal"), LEAVE_OUT)
@pytest.mark.parametrize("behind", [math.nan, math.inf, -math.inf], ids=["NaN", "inf", "-inf"])
@FLOATS
def test_what_nobody_attends_to_never_leaks(kind, causal, behind, dtype):
    """Keys, values, queries and cotangents that a mask shuts out are rubbish; nothing else notices."""
    seen, (no_key, no_query) = _visible(kind, causal), _unseen(kind, causal)
    found = {}
    for dirty in (False, True):
        rubbish = behind if dirty else 1.0
        query = np.where(no_query, rubbish, _numbers(BATCH, QUERIES, WIDTH))
        keys = np.where(no_key, rubbish, _numbers(BATCH, KEYS, WIDTH, seed=1))
        values = np.where(no_key, rubbish, _numbers(BATCH, KEYS, 2, seed=2))
        g = np.where(no_query, rubbish, _numbers(BATCH, QUERIES, 2, seed=3))
        inputs = [ta.tensor(a.astype(dtype)) for a in (query, keys, values)]
        mask = MASKS[kind]
        mask = None if mask is None else ta.tensor(mask if mask.dtype == bool else mask.astype(dtype))
        out, weights = ta.attention(*inputs, mask, causal, return_weights=True)
        first = pull_back({out: ta.tensor(g.astype(dtype))}, inputs)
        everything = [out, weights, *first]
        found[dirty] = [
            compiled(everything),
            compiled(everything, rewriting=False),
            reference.evaluate(everything),
        ]
    for clean_run, dirty_run in zip(found[False], found[True], strict=True):
        for clean, dirty in zip(clean_run, dirty_run, strict=True):
            assert np.isfinite(dirty).all()
            equal(dirty, clean, 1.0, kind)
        out, weights, *_ = dirty_run
        assert not weights[~seen].any() and not out[no_query[..., 0]].any()
        assert np.allclose(weights.sum(-1), seen.any(-1))


def test_the_future_is_not_seen():
    """Position by position: what comes after query i may be anything, in long sequences too."""
    x = _numbers(3, 150, 4).astype(np.float32)
    clean = compiled([ta.attention(*[ta.tensor(x)] * 3, is_causal=True)])[0]
    for position in (1, 63, 64, 100, 149):
        y = x.copy()
        y[:, position:] = np.nan
        found = compiled([ta.attention(ta.tensor(x), ta.tensor(y), ta.tensor(y), is_causal=True)])[0]
        assert np.allclose(found[:, :position], clean[:, :position], rtol=0, atol=1e-6)
        assert np.isnan(found[:, position:]).all()


# Weights.


def test_a_loss_on_the_weights_reaches_queries_and_keys():
    inputs = [ta.tensor(_numbers(2, n, 3, seed=n)) for n in (4, 5)]
    values = ta.tensor(_numbers(2, 5, 3))
    weights = ta.attention(*inputs, values, return_weights=True)[1]
    plain = ta.softmax(ta.scaled_dot_score(*inputs))
    for found, right in zip(
        compiled([weights, *_pulled(inputs, [weights])]),
        compiled([plain, *_pulled(inputs, [plain])]),
        strict=True,
    ):
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-14)


# Dropout.


@FLOATS
def test_dropped_weights_are_dropped_again_in_the_derivative(dtype):
    """O is linear in V: ⟨O(V), G⟩ = ⟨V, V̄⟩ only if both passes drop the same weights, in whatever tiles."""
    ta.manual_seed(3)
    x = [ta.tensor(_numbers(2, 3, n, 9, seed=n).astype(dtype)) for n in (70, 130, 130)]
    out = ta.attention(*x, dropout_p=0.4)
    g = ta.tensor(_numbers(*out.shape, seed=5).astype(dtype))
    (v_bar,) = pull_back({out: g}, [x[2]])
    left, right = compiled([(out * g).sum(), (x[2] * v_bar).sum()])
    assert abs(left - right) <= (1e-3 if dtype == np.float32 else 1e-10)
    assert np.allclose(compiled([out])[0], reference.evaluate([out])[0], atol=1e-5)


def test_dropout_keeps_the_expected_share_and_changes_from_call_to_call():
    ta.manual_seed(0)
    values = ta.tensor(np.eye(128, dtype=np.float32))
    zeros = ta.zeros((64, 8)), ta.zeros((128, 8))

    @ta.function
    def step(v):
        return ta.attention(*zeros, v, dropout_p=0.25)

    first, second = step(values), step(values)
    assert not np.array_equal(first, second)
    assert np.allclose(np.unique(first), [0, 1 / 128 / 0.75])
    assert abs((first > 0).mean() - 0.75) < 0.02


def test_dropout_in_a_loop_drops_other_weights_in_each_step():
    ta.manual_seed(0)
    x = ta.tensor(_numbers(4, 5))

    def step(carry, _):
        return carry, ta.attention(x, x, x, dropout_p=0.5)

    _, out = ta.scan(step, ta.zeros(()), None, length=3)
    found = compiled([out])[0]
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[1], found[2])


# Memory.


def _heads(array):
    return ta.transpose(ta.tensor(array), (0, 2, 1, 3))


@pytest.mark.parametrize("cut_out", [False, True])
def test_grouped_heads_are_not_repeated_in_memory(cut_out):
    """Keys of 2 heads for 16 of queries: nothing as large as 16 heads of keys is written but the results."""
    length, width = 40, 8
    shapes = ((2, 16, 3, width), *((2, 2, length, width),) * 2)
    if cut_out:
        shapes = tuple((s[0], s[2], s[1], s[3]) for s in shapes)
    leaves = [ta.tensor(np.ones(shape, np.float32)) for shape in shapes]
    heads = [ta.transpose(x, (0, 2, 1, 3)) if cut_out else x for x in leaves]
    rows = ta.Program([ta.attention(*heads, enable_gqa=True)]).lowered.main.items
    assert [row.kernel for row in rows if not row.kernel.startswith("copy.")] == ["attention.forward"]
    repeated = 2 * 16 * length * width * 4
    assert all(ref.nbytes < repeated for row in rows for ref in row.writes)


def test_heads_are_cut_out_and_joined_without_a_copy():
    """(B, T, heads, d) in, (B, T, heads·d) out, forward and backward: the kernels and D, nothing else."""
    x = [_heads(_numbers(2, 6, 4, 3, seed=n).astype(np.float32)) for n in range(3)]
    out = ta.attention(*x)
    joined = ta.transpose(out, (0, 2, 1, 3)).reshape(2, 6, 12)
    results = [joined, *(ta.transpose(g, (0, 2, 1, 3)).reshape(2, 6, 12) for g in _pulled(x, [out]))]
    kernels = [row.kernel for row in ta.Program(results).lowered.main.items]
    assert len(kernels) == 4 and {"attention.forward", "attention.backward"} < set(kernels)
    assert not any(name.startswith("copy.") for name in kernels)
    right = reference.evaluate(results)
    for found, expected in zip(compiled(results), right, strict=True):
        equal(found, expected)


def test_no_matrix_of_scores_is_ever_in_memory():
    length = 1024
    x = [_heads(np.zeros((1, length, 2, 16), np.float32)) for _ in range(3)]
    out = ta.attention(*x, is_causal=True)
    program = ta.Program([out, *_pulled(x, [out])])
    assert program.peak_bytes < length * length * 4 / 2


@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
def test_the_number_of_threads_changes_no_bit(causal):
    x = [ta.tensor(_numbers(3, n, 8, seed=n).astype(np.float32)) for n in (200, 1100, 1100)]
    mask = ta.tensor(np.random.default_rng(0).random((200, 1100)) < 0.9)
    out = ta.attention(*x, mask, causal)
    program = ta.Program([out, *_pulled(x, [out])])
    before = ta.get_num_threads()
    runs = []
    try:
        for threads in (1, 2):
            ta.set_num_threads(threads)
            runs.append(program.run())
    finally:
        ta.set_num_threads(before)
    for one, two in zip(*runs, strict=True):
        assert np.array_equal(one, two)


# Properties.


def test_permuting_keys_changes_nothing_and_permuting_queries_permutes():
    q, k, v = (_numbers(n, 6, seed=n) for n in (4, 7, 7))
    order, keys = np.random.default_rng(0).permutation(4), np.random.default_rng(1).permutation(7)
    plain = ta.attention(q, k, v).numpy()
    np.testing.assert_allclose(ta.attention(q, k[keys], v[keys]).numpy(), plain, atol=1e-12)
    np.testing.assert_allclose(ta.attention(q[order], k, v).numpy(), plain[order], atol=1e-12)


def test_equal_tokens_get_equal_results_without_positions():
    """Self-attention alone can't tell the first "saw" of "I saw a saw" from the second."""
    x = _numbers(3, 8)[[0, 1, 2, 1]]
    out = ta.self_attention(x, x, x, num_heads=2).numpy()
    np.testing.assert_allclose(out[1], out[3], atol=1e-12)
    placed = x + np.linspace(-1, 1, 32).reshape(4, 8)
    out = ta.self_attention(placed, placed, placed, num_heads=2).numpy()
    assert np.abs(out[1] - out[3]).max() > 1e-3


def test_projections_of_their_own_widths_as_in_torch():
    torch = pytest.importorskip("torch")
    module = torch.nn.MultiheadAttention(8, 2, kdim=5, vdim=6, batch_first=True, dtype=torch.float64)
    torch.nn.init.normal_(module.in_proj_bias)
    q, k, v = (_numbers(2, n, w, seed=w) for n, w in ((3, 8), (4, 5), (4, 6)))
    right, weights = module(*map(torch.tensor, (q, k, v)), average_attn_weights=False)
    params = {name: p.detach().numpy() for name, p in module.state_dict().items()}
    out, per_head = ta.self_attention(q, k, v, 2, params, return_weights=True)
    np.testing.assert_allclose(out.numpy(), right.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(per_head.numpy(), weights.detach().numpy(), atol=1e-12)


def test_masks_of_torch_mean_the_same():
    torch = pytest.importorskip("torch")
    q, k, v = (_numbers(2, n, 4, seed=n) for n in (3, 4, 4))
    right = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.tensor, (q, k, v)), torch.tensor(CLOSED)
    )
    np.testing.assert_allclose(ta.attention(q, k, v, CLOSED).numpy(), right.numpy(), atol=1e-12)
