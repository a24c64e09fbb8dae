"""The additive score against its definition in float64, and its gradients against their formulas."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

from tinyattn.kernels.calls.score import tiles_of_additive_backward, tiles_of_additive_forward

SHAPES = [
    (0, 1, 2, 3),
    (2, 0, 2, 3),
    (2, 1, 0, 3),
    (2, 1, 3, 0),
    (1, 1, 1, 1),
    (3, 2, 5, 7),
    (9, 1, 20, 33),
    (64, 1, 20, 128),
]
SHAPES += [(1, 3, 4, 600), (2, 40, 30, 31), (9, 2, 3, 1100)]
TOLERANCE = {"f32": 3e-6, "f64": 1e-14}


def problem(shape, dtype):
    """``q (B, Tq, A), k (B, Tk, A), v (A), de (B, Tq, Tk)``."""
    batch, queries, keys, width = shape
    rng = np.random.default_rng(shape)
    sizes = (batch, queries, width), (batch, keys, width), (width,), (batch, queries, keys)
    return [rng.standard_normal(size).astype(TYPES[dtype]) for size in sizes]


def operands(q, k, v):
    """The words that both kernels share."""
    words = {"q": q, "k": k, "v": v, "batches": q.shape[0]}
    for name, array in (("q", q), ("k", k)):
        words[f"{name}_batch"], words[f"{name}_row"] = (s // array.itemsize for s in array.strides[:2])
    return words | {"queries": q.shape[1], "keys": k.shape[1], "width": q.shape[2]}


def forward(q, k, v, dtype):
    (batch, queries, width), keys = q.shape, k.shape[1]
    e = np.full((batch, queries, keys), 77, TYPES[dtype])
    words = operands(q, k, v) | {"scores": e}
    tiles = tiles_of_additive_forward(batch, queries, keys, width)
    run("score.additive_forward", dtype, words, tiles)
    once = e.copy()
    e[...] = 77
    run("score.additive_forward", dtype, words, tiles, shuffled(tiles))
    assert np.array_equal(e, once, equal_nan=True)
    return e


def backward(q, k, v, de, dtype, dk=None, dv=None):
    """With ``dk`` and ``dv`` given, the gradients are added to them."""
    (batch, queries, width), keys = q.shape, k.shape[1]
    results = []
    for order in (None, shuffled(tiles_of_additive_backward(batch, width))):
        out = [
            np.full(s, np.nan, TYPES[dtype])
            for s in ((batch, queries, width), (batch, keys, width), (batch, width))
        ]
        if dk is not None:
            out[1:] = dk.copy(), dv.copy()
        add = int(dk is not None)
        words = operands(q, k, v) | {"d_scores": de}
        words |= {"dq": out[0], "dk": out[1], "dk_adding": add, "dv": out[2], "dv_adding": add}
        run("score.additive_backward", dtype, words, tiles_of_additive_backward(batch, width), order)
        results.append(out)
    for once, again in zip(*results, strict=True):
        assert np.array_equal(once, again)
    return results[0]


def expected(q, k, v, de):
    q, k, v, de = (a.astype(np.float64) for a in (q, k, v, de))
    t = np.tanh(q[:, :, None] + k[:, None])
    slope = de[..., None] * v * (1 - t * t)
    return t @ v, slope.sum(2), slope.sum(1), (de[..., None] * t).sum((1, 2))


def close(got, wanted, dtype):
    scale = TOLERANCE[dtype] * max(1, np.abs(wanted).max(initial=0))
    np.testing.assert_allclose(got, wanted, rtol=TOLERANCE[dtype], atol=scale)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_scores_and_gradients(shape, dtype):
    q, k, v, de = problem(shape, dtype)
    wanted = expected(q, k, v, de)
    close(forward(q, k, v, dtype), wanted[0], dtype)
    gradients = backward(q, k, v, de, dtype)
    for got, want in zip(gradients, wanted[1:], strict=True):
        close(got, want, dtype)
    dk, dv = np.full_like(gradients[1], 2), np.full_like(gradients[2], 3)
    dq, dk, dv = backward(q, k, v, de, dtype, dk, dv)
    assert np.array_equal(dq, gradients[0])
    close(dk, wanted[2] + 2, dtype)
    close(dv, wanted[3] + 3, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_strides(dtype):
    """Slices of arrays stacked over time, and one query or one set of keys for all."""
    q, k, v, de = problem((4, 3, 5, 9), dtype)
    stacked = np.zeros((3, 4, 18), TYPES[dtype])  # (time, batch, more than the query)
    stacked[:, :, 4:13] = q.transpose(1, 0, 2)
    view = stacked.transpose(1, 0, 2)[:, :, 4:13]
    assert np.array_equal(forward(view, k, v, dtype), forward(q, k, v, dtype))
    for got, want in zip(backward(view, k, v, de, dtype), backward(q, k, v, de, dtype), strict=True):
        assert np.array_equal(got, want)
    shared_q, shared_k = np.broadcast_to(q[:, :1], q.shape), np.broadcast_to(k[:1], k.shape)
    close(forward(shared_q, shared_k, v, dtype), expected(shared_q, shared_k, v, de)[0], dtype)
    for got, want in zip(
        backward(shared_q, shared_k, v, de, dtype), expected(shared_q, shared_k, v, de)[1:], strict=True
    ):
        close(got, want, dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_nan_in_a_key_without_gradient_stays_there(dtype):
    q, k, v, de = problem((9, 2, 5, 20), dtype)
    de[:, :, 3] = 0
    clean = backward(q, k, v, de, dtype)
    k[:, 3] = np.nan
    for got, want in zip(backward(q, k, v, de, dtype), clean, strict=True):
        assert np.array_equal(got, want)
    scores = forward(q, k, v, dtype)
    assert np.isnan(scores[:, :, 3]).all() and np.isfinite(np.delete(scores, 3, 2)).all()
