"""The recurrent cells against their equations, and the backward kernels against torch's derivatives of those
equations."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

from tinyattn.kernels.calls.cells import tiles_of_cell, tiles_of_maxout
from tinyattn.kernels.calls.words import WORDS

SHAPES = [(0, 3), (1, 1), (3, 7), (2, 64), (37, 100), (3, 1100)]
TOLERANCE = {"f32": 3e-6, "f64": 1e-14}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(gates, c, h):
    i, f, g, o = np.split(gates, 4, -1)
    state = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(state), state


def gru(xp, hp, h):
    (xr, xz, xn), (hr, hz, hn) = np.split(xp, 3, -1), np.split(hp, 3, -1)
    z, n = sigmoid(xz + hz), np.tanh(xn + sigmoid(xr + hr) * hn)
    return (1 - z) * n + z * h


def rows_apart(array):
    """The same numbers with gaps of 77s between the rows, which must stay."""
    wide = np.full((array.shape[0], array.shape[1] + 3), 77, array.dtype)
    wide[:, :-3] = array
    return wide[:, :-3]


def call(name, dtype, batch, hidden, mask, inputs, widths):
    """Run a cell in one call and tile by tile; returns its results, of the given widths in units of H."""
    inputs = [rows_apart(a) for a in inputs]
    results = [rows_apart(np.zeros((batch, w * hidden), TYPES[dtype])) for w in widths]
    names = list(WORDS[name].lengths)[3:]
    words = {"batch": batch, "hidden": hidden, "mask": 0 if mask is None else mask}
    for word, array in zip(names, [*inputs, *results], strict=True):
        words[word] = array, array.strides[0] // array.itemsize
    tiles = tiles_of_cell(batch, hidden)
    run(name, dtype, words, tiles)
    first = [r.copy() for r in results]
    for r in results:
        r[...] = 0
    run(name, dtype, words, tiles, shuffled(tiles))
    for once, again in zip(first, results, strict=True):
        assert np.array_equal(once, again)
        assert (again.base[:, -3:] == 77).all()
    return first


def poison(arrays, mask):
    """Inputs of rows that have ended are NaN: nothing may come of them."""
    for array in arrays:
        if mask is not None:
            array[mask == 0] = np.nan


def numbers(batch, hidden, dtype, widths, seed=0):
    rng = np.random.default_rng([batch, hidden, seed])
    return [2 * rng.standard_normal((batch, w * hidden)).astype(TYPES[dtype]) for w in widths]


def masks(batch):
    return [None, (np.arange(batch) % 3 != 1).astype(np.uint8)]


def close(got, expected, dtype):
    np.testing.assert_allclose(got, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def passed(mask, expected, through):
    """``expected`` where the sequence runs, ``through`` where it has ended."""
    return expected if mask is None else np.where(mask[:, None] != 0, expected, through)


def gradients(function, inputs, cotangents):
    """Derivatives of a NumPy function by torch, in float64."""
    torch = pytest.importorskip("torch")
    leaves = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in inputs]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    total = sum(
        (o * torch.tensor(d, dtype=torch.float64)).sum() for o, d in zip(outputs, cotangents, strict=True)
    )
    return [g.numpy() for g in torch.autograd.grad(total, leaves)]


def torch_lstm(gates, c):
    i, f, g, o = gates.chunk(4, -1)
    state = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * state.tanh(), state


def torch_gru(xp, hp, h):
    (xr, xz, xn), (hr, hz, hn) = xp.chunk(3, -1), hp.chunk(3, -1)
    z = (xz + hz).sigmoid()
    return (1 - z) * (xn + (xr + hr).sigmoid() * hn).tanh() + z * h


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("batch", "hidden"), SHAPES)
def test_lstm(batch, hidden, dtype):
    for mask in masks(batch):
        gates, c, h, dh, dc = numbers(batch, hidden, dtype, [4, 1, 1, 1, 1])
        new_h, new_c = lstm(*(a.astype(np.float64) for a in (gates, c, h)))
        dgates, dc_in = gradients(torch_lstm, [gates, c], [dh, dc])
        poison([gates], mask)
        got_h, got_c = call("cells.lstm_forward", dtype, batch, hidden, mask, [gates, c, h], [1, 1])
        close(got_h, passed(mask, new_h, h), dtype)
        close(got_c, passed(mask, new_c, c), dtype)
        got = call("cells.lstm_backward", dtype, batch, hidden, mask, [gates, c, dh, dc], [4, 1, 1])
        close(got[0], passed(mask, dgates, 0), dtype)
        close(got[1], passed(mask, dc_in, dc), dtype)
        assert np.array_equal(got[2], passed(mask, np.zeros_like(dh), dh))


def test_lstm_backward_without_dh():
    gates, c, dh, dc = numbers(3, 5, "f64", [4, 1, 1, 1])
    dgates, dc_in = np.zeros((3, 20)), np.zeros((3, 5))
    words = {
        "batch": 3,
        "hidden": 5,
        "mask": 0,
        "gates": (gates, 20),
        "c": (c, 5),
        "dh": (dh, 5),
        "dc": (dc, 5),
    }
    words |= {"d_gates": (dgates, 20), "dc_in": (dc_in, 5), "dh_in": (0, 0)}
    run("cells.lstm_backward", "f64", words, tiles_of_cell(3, 5))
    expected = call("cells.lstm_backward", "f64", 3, 5, None, [gates, c, dh, dc], [4, 1, 1])
    assert np.array_equal(dgates, expected[0]) and np.array_equal(dc_in, expected[1])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("batch", "hidden"), SHAPES)
def test_gru(batch, hidden, dtype):
    for mask in masks(batch):
        xp, hp, h, dh = numbers(batch, hidden, dtype, [3, 3, 1, 1])
        new_h = gru(*(a.astype(np.float64) for a in (xp, hp, h)))
        dxp, dhp, dh_in = gradients(torch_gru, [xp, hp, h], [dh])
        poison([xp, hp], mask)
        (got,) = call("cells.gru_forward", dtype, batch, hidden, mask, [xp, hp, h], [1])
        close(got, passed(mask, new_h, h), dtype)
        got = call("cells.gru_backward", dtype, batch, hidden, mask, [xp, hp, h, dh], [3, 3, 1])
        close(got[0], passed(mask, dxp, 0), dtype)
        close(got[1], passed(mask, dhp, 0), dtype)
        close(got[2], passed(mask, dh_in, dh), dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_saturated_gates_stay_finite(dtype):
    big = np.array([[-1e30, 1e30, -100.0, 100.0, 0.0]], TYPES[dtype])
    gates, ones = np.tile(big, (1, 4)), np.ones((1, 5), TYPES[dtype])
    for result in call("cells.lstm_forward", dtype, 1, 5, None, [gates, ones, ones], [1, 1]):
        assert np.isfinite(result).all()
    for result in call("cells.lstm_backward", dtype, 1, 5, None, [gates, ones, ones, ones], [4, 1, 1]):
        assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "pairs"), [(0, 4), (1, 1), (3, 5), (70, 130)])
def test_maxout(rows, pairs, dtype):
    rng = np.random.default_rng(rows)
    x = rng.integers(-2, 3, (rows, 2 * pairs)).astype(TYPES[dtype])  # with many ties
    dy = rng.standard_normal((rows, pairs)).astype(TYPES[dtype])
    y, dx = np.zeros_like(dy), np.full_like(x, 77)
    tiles, sizes = tiles_of_maxout(rows, pairs), {"rows": rows, "pairs": pairs}
    run("cells.maxout_forward", dtype, sizes | {"x": x, "y": y}, tiles, shuffled(tiles))
    run("cells.maxout_backward", dtype, sizes | {"x": x, "dy": dy, "dx": dx}, tiles, shuffled(tiles))
    first, second = x[:, ::2], x[:, 1::2]
    assert np.array_equal(y, np.maximum(first, second))
    assert np.array_equal(dx[:, ::2], np.where(first >= second, dy, 0))
    assert np.array_equal(dx[:, 1::2], np.where(first >= second, 0, dy))


@pytest.mark.parametrize("dtype", TYPES)
def test_maxout_keeps_nan(dtype):
    x = np.array([[np.nan, 1, 1, np.nan, np.nan, np.nan]], TYPES[dtype])
    y = np.zeros((1, 3), TYPES[dtype])
    run("cells.maxout_forward", dtype, {"rows": 1, "pairs": 3, "x": x, "y": y}, 1)
    assert np.isnan(y).all()
