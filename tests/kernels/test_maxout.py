"""Maxout: the larger of each pair, and where its gradient goes."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

from tinyattn.kernels.calls.maxout import tiles_of_maxout


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("rows", "pairs"), [(0, 4), (1, 1), (3, 5), (70, 130)])
def test_maxout(rows, pairs, dtype):
    rng = np.random.default_rng(rows)
    x = rng.integers(-2, 3, (rows, 2 * pairs)).astype(TYPES[dtype])  # with many ties
    dy = rng.standard_normal((rows, pairs)).astype(TYPES[dtype])
    y, dx = np.zeros_like(dy), np.full_like(x, 77)
    tiles, sizes = tiles_of_maxout(rows, pairs), {"rows": rows, "pairs": pairs}
    run("maxout.forward", dtype, sizes | {"x": x, "y": y}, tiles, shuffled(tiles))
    run("maxout.backward", dtype, sizes | {"x": x, "dy": dy, "dx": dx}, tiles, shuffled(tiles))
    first, second = x[:, ::2], x[:, 1::2]
    assert np.array_equal(y, np.maximum(first, second))
    assert np.array_equal(dx[:, ::2], np.where(first >= second, dy, 0))
    assert np.array_equal(dx[:, 1::2], np.where(first >= second, 0, dy))


@pytest.mark.parametrize("dtype", TYPES)
def test_maxout_keeps_nan(dtype):
    x = np.array([[np.nan, 1, 1, np.nan, np.nan, np.nan]], TYPES[dtype])
    y = np.zeros((1, 3), TYPES[dtype])
    run("maxout.forward", dtype, {"rows": 1, "pairs": 3, "x": x, "y": y}, 1)
    assert np.isnan(y).all()
