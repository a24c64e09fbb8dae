"""Tiles of attention against the whole matrices in float64, whatever order the tiles are done in."""

import numpy as np
import pytest
from kernel_call import TYPES, address, real_bits, run, shuffled
from numba import config

from tinyattn.kernels.calls.attention import keys_in_part, parts_of_attention, tiles_of_attention
from tinyattn.ops.arrays.random import uniform_numbers

TOLERANCE = {"f32": 2e-6, "f64": 1e-14}
LONG = (
    []
    if config.DISABLE_JIT
    else [(3, 70, 300, 33, 17), (1, 200, 1100, 8, 8), (2, 65, 129, 260, 3), (1, 3, 5, 300, 300)]
)
SHAPES = [
    (1, 1, 1, 1, 1),
    (2, 3, 5, 4, 2),
    (2, 17, 9, 3, 5),
    (1, 4, 0, 3, 2),
    *LONG,
]  # matrices, Tq, Tk, d, dv
STATE = np.array([7, 1 << 33])
CALLED = {
    "multiply": "gemm.multiply",
    "silencing": "attention_tile.silencing",
    "pack": "gemm.pack",
    "mask_tile": "attention_tile.mask",
    "drop_tile": "attention_tile.dropout",
}


def matrices(array, like=None):
    """The words of (matrices, rows, columns): the outer batch dimension is one."""
    row, column, _ = (array if like is None else like).strides
    return [array, 0, row // array.itemsize, column // array.itemsize]


def problem(shape, dtype):
    matrices, queries, keys, width, value_width = shape
    rng = np.random.default_rng(shape)
    sizes = (queries, width), (keys, width), (keys, value_width), (queries, value_width)
    return [rng.standard_normal((matrices, *size)).astype(TYPES[dtype]) for size in sizes]


def words(q, k, v, top, log_sum, dtype, causal, mask, p):
    """The words that both kernels share; the counter's address is that of the second word of the state."""
    found = {"q": matrices(q), "k": matrices(k), "v": matrices(v), "log_sums": log_sum, "tops": top}
    found |= {"matrices": len(q), "inner": len(q), "queries": q.shape[1], "keys": k.shape[1]}
    found |= {"width": q.shape[2], "value_width": v.shape[2], "causal": int(causal)}
    found |= {"scale": real_bits(q.shape[2] ** -0.5, dtype)}
    found |= {"masking": 0, "mask": 0, "mask_strides": [0] * 4}
    found |= {"random_key": 0, "counter": 0, "stream": 0, "p": 0}
    if mask is not None:
        found |= {"masking": 1 if mask.dtype == bool else 2, "mask": mask}
        found["mask_strides"] = [0, *(s // mask.itemsize for s in mask.strides)]
    if p:
        found |= {"random_key": STATE, "counter": STATE[1:], "stream": 5, "p": real_bits(p, dtype)}
    return found | {name: address(kernel, dtype) for name, kernel in CALLED.items()}


def forward(q, k, v, dtype, causal=False, mask=None, p=0.0):
    tiles = tiles_of_attention(len(q), q.shape[1])
    results = []
    for order in (None, shuffled(tiles)):
        out = np.full((*q.shape[:2], v.shape[2]), 77, TYPES[dtype])
        top, log_sum = np.full((2, *q.shape[:2]), 77, TYPES[dtype])
        run(
            "attention.forward",
            dtype,
            words(q, k, v, top, log_sum, dtype, causal, mask, p) | {"out": matrices(out)},
            tiles,
            order,
        )
        results.append((out, top, log_sum))
    for once, again in zip(*results, strict=True):
        assert np.array_equal(once, again, equal_nan=True)
    return results[0]


def backward(q, k, v, g, out, top, log_sum, dtype, causal=False, mask=None, p=0.0):
    mean = np.ascontiguousarray((g * out).sum(-1))
    parts = parts_of_attention(len(q), k.shape[1])
    tiles = parts * len(q)
    results = []
    for order in (None, shuffled(tiles)):
        shares = np.full((parts, *q.shape), np.nan, q.dtype)
        dk, dv = np.full(k.shape, np.nan, q.dtype), np.full(v.shape, np.nan, q.dtype)
        scores = np.zeros((*q.shape[:2], k.shape[1]), q.dtype)
        block = words(q, k, v, top, log_sum, dtype, causal, mask, p)
        block |= {"g": matrices(g), "means": mean, "d_scores": scores, "share": q.size, "parts": parts}
        block |= {"dq": matrices(shares, shares[0]), "dk": matrices(dk), "dv": matrices(dv)}
        block["part_keys"] = keys_in_part(parts, k.shape[1])
        run("attention.backward", dtype, block, tiles, order)
        results.append((shares.sum(0), dk, dv, scores))
    for once, again in zip(*results, strict=True):
        assert np.array_equal(once, again, equal_nan=True)
    return results[0]


def expected(q, k, v, g, dtype, causal=False, mask=None, p=0.0):
    wide = [a.astype(np.float64) for a in (q, k, v, g)]
    q, k, v, g = wide
    tau = q.shape[2] ** -0.5
    s = tau * q @ k.swapaxes(1, 2)
    if mask is not None:
        s = np.where(mask, s, -np.inf) if mask.dtype == bool else s + mask
    if causal:
        s = np.where(np.tril(np.ones(s.shape[1:], bool)), s, -np.inf)
    top = s.max(-1, keepdims=True, initial=-np.inf)
    weights = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = weights.sum(-1, keepdims=True)
    log_sum = np.log(np.where(total == 0, 1, total))
    weights = weights / np.where(total == 0, 1, total)
    kept = (uniform_numbers(STATE, 5, s.shape, TYPES[dtype]) >= p) / (1 - p) if p else 1.0
    out = weights * kept @ v
    g_scores = weights * ((g @ v.swapaxes(1, 2)) * kept - (g * out).sum(-1, keepdims=True))
    gradients = (
        tau * g_scores @ k,
        tau * g_scores.swapaxes(1, 2) @ q,
        (weights * kept).swapaxes(1, 2) @ g,
        g_scores,
    )
    return out, np.where(np.isneginf(top), 0, top)[..., 0], log_sum[..., 0], gradients


def close(got, wanted, dtype, terms=1):
    bound = TOLERANCE[dtype] * max(1, np.abs(wanted).max(initial=0)) * max(1, np.sqrt(terms) / 4)
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


def check(arrays, dtype, **attrs):
    q, k, v, g = arrays
    results = forward(q, k, v, dtype, **attrs)
    *wanted_results, right = expected(q, k, v, g, dtype, **attrs)
    for got, wanted in zip(results, wanted_results, strict=True):
        close(got, wanted, dtype, q.shape[2])
    for got, wanted in zip(backward(q, k, v, g, *results, dtype, **attrs), right, strict=True):
        close(got, wanted, dtype, max(q.shape[2], q.shape[1], k.shape[1]))


def masks(kind, shape, dtype):
    matrices, queries, keys = shape[:3]
    rng = np.random.default_rng(1)
    flags = rng.random((matrices, queries, keys)) < 0.7
    if kind == "added":
        return np.where(flags, rng.standard_normal(flags.shape), -np.inf).astype(TYPES[dtype])
    whole = {
        "each": flags,
        "of keys": flags[:1, :1],
        "of queries": flags[:1, :, :1],
        "turned": flags.swapaxes(1, 2).copy().swapaxes(1, 2),
    }
    return np.broadcast_to(whole[kind], flags.shape)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("causal", [False, True], ids=["full", "causal"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients(shape, causal, dtype):
    check(problem(shape, dtype), dtype, causal=causal)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["each", "of keys", "of queries", "turned", "added"])
@pytest.mark.parametrize("shape", SHAPES[1:4] + LONG[:1], ids=str)
def test_masks(shape, kind, dtype):
    mask = masks(kind, shape, dtype)
    check(problem(shape, dtype), dtype, mask=mask)
    check(problem(shape, dtype), dtype, mask=mask, causal=True)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES[1:3] + LONG[:1], ids=str)
def test_dropout_draws_the_numbers_of_the_stream(shape, dtype):
    check(problem(shape, dtype), dtype, p=0.3, causal=True)


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_may_lie_anywhere_and_be_shared(dtype):
    q, k, v, g = problem((2, 5, 6, 3, 4), dtype)
    apart = [np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3] for a in (q, k, v, g)]
    for found, right in zip(forward(*apart[:3], dtype), forward(q, k, v, dtype), strict=True):
        assert np.array_equal(found, right)
    check(apart, dtype)
    one = [np.broadcast_to(a[:1], a.shape) for a in (k, v)]
    check([q, *one, g], dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_zeros_silence(dtype):
    """Rubbish in a key and a value that only some queries see shows in those alone."""
    q, k, v, _ = problem((1, 6, 5, 3, 2), dtype)
    mask = np.ones((1, 6, 5), bool)
    mask[0, :4, 2] = False
    clean, *clean_rows = forward(q, k, v, dtype, mask=mask)
    k[0, 2], v[0, 2] = np.nan, np.inf
    found, *rows = forward(q, k, v, dtype, mask=mask)
    close(found[0, :4], clean[0, :4], dtype)
    assert all(np.array_equal(a[0, :4], b[0, :4]) for a, b in zip(rows, clean_rows, strict=True))
    assert np.isnan(found[0, 4:]).all()
