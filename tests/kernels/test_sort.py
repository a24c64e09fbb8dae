"""The order of numbers in rows: as NumPy's stable argsort, for all kinds and lengths, rows in any order."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

LENGTHS = (1, 2, 3, 7, 8, 9, 31, 64, 100, 1000)


def _order(dtype, x, downwards, order=None):
    y, room = np.full(x.shape, -1, np.int64), np.full(x.shape, -1, np.int64)
    words = {"rows": x.shape[0], "length": x.shape[1], "x": x, "whole": int(x.dtype == np.int64)}
    words |= {"downwards": int(downwards), "y": y, "room": room}
    run("sort.order", dtype, words, len(x), order)
    return y


def _leading(dtype, x, downwards, count, order=None):
    y = np.full((len(x), count), -1, np.int64)
    words = {"rows": x.shape[0], "length": x.shape[1], "x": x, "whole": int(x.dtype == np.int64)}
    words |= {"downwards": int(downwards), "y": y, "count": count}
    run("sort.leading", dtype, words, len(x), order)
    return y


def _right(x, downwards):
    if not downwards:
        return np.argsort(x, 1, kind="stable")
    return x.shape[1] - 1 - np.argsort(x[:, ::-1], 1, kind="stable")[:, ::-1]


@pytest.mark.parametrize("downwards", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("n", LENGTHS)
def test_reals_with_ties_infinities_and_nan(n, dtype, downwards):
    random = np.random.default_rng(n)
    x = random.normal(0, 1, (5, n)).astype(TYPES[dtype])
    x[1] = random.integers(0, 3, n)
    x[2] = random.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0], n)
    x[3] = np.arange(n)
    x[4] = -np.arange(n)
    y = _order(dtype, x, downwards)
    assert np.array_equal(y, _right(x, downwards))
    assert np.array_equal(y, _order(dtype, x, downwards, shuffled(5)))
    for count in {1, 2, n // 3, n - 1, n} - {0}:
        if count <= n:
            found = [_leading(dtype, x, downwards, count, order) for order in (None, shuffled(5))]
            assert np.array_equal(found[0], y[:, :count]) and np.array_equal(*found)


@pytest.mark.parametrize("downwards", [False, True], ids=["up", "down"])
def test_integers_that_differ_in_their_last_bit(downwards):
    random = np.random.default_rng(0)
    limits = np.iinfo(np.int64)
    x = random.choice([limits.min, limits.min + 1, limits.max - 1, limits.max, 2**53, 2**53 + 1, 0], (3, 77))
    assert np.array_equal(_order("f64", x, downwards), _right(x, downwards))
    assert np.array_equal(_leading("f64", x, downwards, 40), _right(x, downwards)[:, :40])
