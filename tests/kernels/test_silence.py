"""Products whose zeros silence NaN and infinity, against sums of the terms that count."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled

from tinyattn.kernels.calls.silence import tiles_of_silence

SHAPES = [(1, 1, 1, 1), (2, 70, 5, 3), (3, 33, 17, 40), (2, 4, 0, 3), (2, 3, 4, 0)]


def problem(shape, dtype):
    """A (matrices, n, m) with zeros, B (matrices, m, k) with rubbish, and the ordinary product."""
    matrices, n, m, k = shape
    rng = np.random.default_rng(shape)
    a = rng.standard_normal((matrices, n, m)) * (rng.random((matrices, n, m)) < 0.5)
    b = rng.standard_normal((matrices, m, k))
    b[rng.random(b.shape) < 0.1] = rng.choice([np.nan, np.inf, -np.inf])
    a, b = a.astype(TYPES[dtype]), b.astype(TYPES[dtype])
    with np.errstate(all="ignore"):
        return a, b, a @ b


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("turned", [False, True], ids=["rows", "columns"])
def test_zeros_silence_what_they_meet(shape, dtype, turned):
    a, b, c = problem(shape, dtype)
    if turned:  # read down the columns
        a, b = (np.ascontiguousarray(x.swapaxes(1, 2)).swapaxes(1, 2) for x in (a, b))
    matrices, n, m, k = shape
    words = {"a": a, "b": b, "c": c, "matrices": matrices, "inner_matrices": matrices}
    words |= {"rows": n, "inner": m, "columns": k}
    for name, x in (("a", a), ("b", b)):
        matrix, row, column = (s // x.itemsize for s in x.strides)
        words |= {f"{name}_batch": (0, matrix), f"{name}_row": row, f"{name}_column": column}
    with np.errstate(all="ignore"):
        terms = np.where(a[..., None] == 0, 0, a[..., None].astype(np.float64) * b[:, None])
        right, ordinary = terms.sum(2), c.copy()
    tiles = tiles_of_silence(matrices * n)
    again = c.copy()
    run("silence.zeros", dtype, words, tiles)
    run("silence.zeros", dtype, words | {"c": again}, tiles, shuffled(tiles))
    assert np.array_equal(c, again, equal_nan=True)
    np.testing.assert_allclose(
        c, right, rtol=1e-4 if dtype == "f32" else 1e-12, atol=1e-5 if dtype == "f32" else 1e-13
    )
    clean = ~np.isnan(ordinary).any(-1)
    assert np.array_equal(c[clean], ordinary[clean]), "rows without NaN are left as they are"
