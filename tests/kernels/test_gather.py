"""The index kernels against NumPy: repeated indices, negative and wrong ones where they are looked at, every tile split."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

from tinyattn.kernels.calls.gather import CHECK_TILE, tiles_of_check, tiles_of_scatter, tiles_of_take

SHAPES = [(1, 5, 3, 7), (3, 4, 1, 6), (2, 3, 0, 4), (2, 3, 5, 0), (1, 1, 1, 1), (0, 3, 2, 4)]
SHAPES += [(1, 50, 128, 300), (1, 3, 5000, 4), (5, 7, 33, 1000)]
INDEX_TYPES = [np.int32, np.int64]


def problem(shape, dtype, index_type):
    """``x (outer, n, inner), values (outer, count, inner), index (count)``."""
    outer, n, inner, count = shape
    rng = np.random.default_rng([*shape])
    index = rng.integers(0, n, count).astype(index_type)
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


def sizes(shape, index):
    """The words that both kernels share: sizes, indices, their kind and count."""
    outer, n, inner, count = shape
    words = {"outer": outer, "n": n, "inner": inner, "count": count}
    return words | {"indices": index, "wide": int(index.dtype == np.int64)}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_type", INDEX_TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_take(shape, index_type, dtype):
    x, values, index = problem(shape, dtype, index_type)
    y = np.full_like(values, 77)
    words = sizes(shape, index) | {"x": x, "y": y}
    both_ways("gather.take", dtype, words, y, tiles_of_take(shape[0], shape[3], shape[2]))
    assert np.array_equal(y, x[:, index])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_type", INDEX_TYPES)
@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_scatter_add(shape, accumulate, index_type, dtype):
    x, values, index = problem(shape, dtype, index_type)
    outer, n, inner, count = shape
    result = x.copy() if accumulate else np.full_like(x, 77)
    words = sizes(shape, index) | {"dy": values, "dx": result, "adding": accumulate}
    both_ways("gather.scatter_add", dtype, words, result, tiles_of_scatter(outer, n, inner, count))
    expected = x.copy() if accumulate else np.zeros_like(x)
    for i in range(count):  # in the order of i: the same bits
        expected[:, index[i]] += values[:, i]
    assert np.array_equal(result, expected)


@pytest.mark.parametrize("index_type", INDEX_TYPES)
@pytest.mark.parametrize("wrong", [0, 1, 3])
@pytest.mark.parametrize("lowest", [0, -7])
@pytest.mark.parametrize("ignored", [0, -100, 50])
def test_check(ignored, lowest, wrong, index_type):
    n, count = 7, 2 * CHECK_TILE + 9
    rng = np.random.default_rng(wrong)
    index = rng.integers(lowest, n, count).astype(index_type)
    index[::10] = ignored
    limits = np.iinfo(index_type)
    at = rng.choice(np.arange(1, count, 10), wrong, replace=False)
    index[at] = rng.choice([n, lowest - 1, limits.max, limits.min], wrong)
    y, fault = np.full_like(index, 77), np.zeros(2, np.int64)
    words = {"indices": index, "wide": int(index_type is np.int64), "count": count, "n": n, "lowest": lowest}
    words |= {"ignored": ignored, "y": y, "fault": fault}
    for order in (None, shuffled(tiles_of_check(count))):
        y[:], fault[:] = 77, 0
        run("gather.check", "f32", words, tiles_of_check(count), order)
        assert fault[0] == (at.min() + 1 if wrong else 0)  # the first, in whatever order
        good = np.delete(np.arange(count), at)
        counted = np.where((index < 0) & (index != ignored), index + n, index)
        assert np.array_equal(y[good], counted[good])


@pytest.mark.parametrize(("dtype", "integer"), [("f32", np.int32), ("f64", np.int64)])
def test_integers_pass_through_unchanged(dtype, integer):
    rng = np.random.default_rng(0)
    x = rng.integers(np.iinfo(integer).min, np.iinfo(integer).max, (1, 40, 3)).astype(integer)
    index = rng.integers(0, 40, 100)
    y = np.zeros((1, 100, 3), integer)
    run("gather.take", dtype, sizes((1, 40, 3, 100), index) | {"x": x, "y": y}, tiles_of_take(1, 100, 3))
    assert np.array_equal(y, x[:, index])
