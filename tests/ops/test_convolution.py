"""Convolutions as programs: the same bits from one thread and from two, and no copy of what is a product."""

import numpy as np
import pytest

import tinyattn as ta


def program(dtype):
    rng = np.random.default_rng(0)
    x, w, v, b = (
        ta.parameter(rng.standard_normal(shape).astype(dtype))
        for shape in ((16, 8, 20, 19), (24, 8, 4, 4), (24, 3, 4, 4), (24,))
    )
    y = ta.conv2d(x, w, b, stride=2, padding=1)
    z = ta.conv_transpose2d(ta.max_pool2d(y, 2), v, stride=2, padding=1)
    return ta.Program([y, z, *ta.grad((z * z).sum() + y.sum(), [x, w, v, b])])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_number_of_threads_gives_the_same_bits(dtype):
    before, run = ta.get_num_threads(), program(dtype)
    try:
        found = []
        for threads in (1, 2):
            ta.set_num_threads(threads)
            found.append([value.copy() for value in run.run()])
    finally:
        ta.set_num_threads(before)
    for one, two in zip(*found, strict=True):
        assert np.array_equal(one, two)


def test_a_pixel_each_is_a_product():
    x, w = ta.tensor(np.ones((2, 3, 4, 5), np.float32)), ta.parameter(np.ones((6, 3, 1, 1), np.float32))
    y = ta.conv2d(x, w)
    kernels = {row.kernel for row in ta.Program([y]).assembly.rows}
    assert "gemm.multiply" in kernels and not any(
        name.startswith(("convolution", "copy")) for name in kernels
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("width", [2, 3, 16, 17, 70])
def test_pairs_of_pixels_are_pooled_as_any_window(dtype, width):
    """Windows of 2 by 2 have a loop of their own: the first of equals wins, and the last NaN."""
    rng = np.random.default_rng(width)
    x = rng.integers(0, 3, (2, 3, 5, width)).astype(dtype)
    x[rng.random(x.shape) < 0.05] = np.nan
    g = rng.standard_normal((2, 3, 2, width // 2)).astype(dtype)
    y, dx = np.empty_like(g), np.zeros_like(x)
    for n, c, i, j in np.ndindex(*g.shape):
        window = x[n, c, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2]
        lost = np.flatnonzero(np.isnan(window))
        k = lost[-1] if lost.size else np.argmax(window)
        y[n, c, i, j] = window.flat[k]
        dx[n, c, 2 * i + k // 2, 2 * j + k % 2] = g[n, c, i, j]
    pooled, (back,) = ta.vjp(lambda x: ta.max_pool2d(x, 2), [ta.tensor(x)], ta.tensor(g))
    assert np.array_equal(pooled.numpy(), y, equal_nan=True) and np.array_equal(back.numpy(), dx)
