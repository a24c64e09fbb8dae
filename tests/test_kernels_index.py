"""The index kernels against NumPy: wrong and negative indices, repeated ones, every tile split."""

import numpy as np
import pytest
from kernel_call import TYPES, real_bits, run, shuffled

from tinyattn.kernels.tiling import tiles_of_scatter, tiles_of_take

SHAPES = [(1, 5, 3, 7), (3, 4, 1, 6), (2, 3, 0, 4), (2, 3, 5, 0), (1, 1, 1, 1), (0, 3, 2, 4)]
SHAPES += [(1, 50, 128, 300), (1, 3, 5000, 4), (5, 7, 33, 1000)]
INDEX_TYPES = [np.int32, np.int64]


def problem(shape, dtype, index_type, wrong=False):
    """``x (outer, n, inner), values (outer, count, inner), index (count)``; negative indices among them, and
    wrong ones if asked."""
    outer, n, inner, count = shape
    rng = np.random.default_rng([*shape])
    index = rng.integers(-n, n, count).astype(index_type)
    if wrong:
        index[::2] = rng.choice(
            [n, -n - 1, n + 100, np.iinfo(index_type).min, np.iinfo(index_type).max], len(index[::2])
        )
    x, values = rng.standard_normal((outer, n, inner)), rng.standard_normal((outer, count, inner))
    return x.astype(TYPES[dtype]), values.astype(TYPES[dtype]), index


def both_ways(name, dtype, words, result, tiles):
    """Run in one call, then tile by tile in another order; the results must be the same bits."""
    before = result.copy()
    run(name, dtype, words, tiles)
    once = result.copy()
    result[...] = before
    run(name, dtype, words, tiles, shuffled(tiles))
    assert np.array_equal(result, once, equal_nan=True)
    return once


def head(array, shape, index):
    """Words 0 to 6: an array, sizes, indices, their kind and count."""
    outer, n, inner, count = shape
    return [array, outer, n, inner, index, int(index.dtype == np.int64), count]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_type", INDEX_TYPES)
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_take(shape, wrong, index_type, dtype):
    x, values, index = problem(shape, dtype, index_type, wrong)
    n = shape[1]
    y, error = np.full_like(values, 77), np.zeros(1, np.int64)
    words = [*head(x, shape, index), y, real_bits(np.nan, dtype), error]
    both_ways("gather.take", dtype, words, y, tiles_of_take(shape[0], shape[3], shape[2]))
    good = (-n <= index) & (index < n)
    expected = x[:, np.where(good, index, 0)]
    expected[:, ~good] = np.nan
    assert np.array_equal(y, expected, equal_nan=True)
    assert error[0] == (y.size > 0 and not good.all())


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_type", INDEX_TYPES)
@pytest.mark.parametrize("wrong", [False, True])
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_scatter_add(shape, accumulate, wrong, index_type, dtype):
    x, values, index = problem(shape, dtype, index_type, wrong)
    outer, n, inner, count = shape
    error = np.zeros(1, np.int64)
    result = x.copy() if accumulate else np.full_like(x, 77)
    words = [*head(values, shape, index), result, accumulate, error]
    both_ways("gather.scatter_add", dtype, words, result, tiles_of_scatter(outer, n, inner, count))
    good = (-n <= index) & (index < n)
    expected = x.copy() if accumulate else np.zeros_like(x)
    for i in np.flatnonzero(good):  # in the order of i: the same bits
        expected[:, index[i]] += values[:, i]
    assert np.array_equal(result, expected)
    assert error[0] == (outer > 0 and not good.all())


@pytest.mark.parametrize(("dtype", "integer"), [("f32", np.int32), ("f64", np.int64)])
def test_integers_pass_through_unchanged(dtype, integer):
    rng = np.random.default_rng(0)
    x = rng.integers(np.iinfo(integer).min, np.iinfo(integer).max, (1, 40, 3)).astype(integer)
    index = rng.integers(0, 40, 100)
    y = np.zeros((1, 100, 3), integer)
    run("gather.take", dtype, [*head(x, (1, 40, 3, 100), index), y, 0, 0], tiles_of_take(1, 100, 3))
    assert np.array_equal(y, x[:, index])
