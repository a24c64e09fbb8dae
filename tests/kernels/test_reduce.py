"""Reductions, arg-reductions and running sums: against NumPy, all kinds and shapes, tiles in any order, small errors."""

import kernel_call
import numpy as np
import pytest
from kernel_call import TYPES, real_bits, shuffled

from tinyattn.kernels.calls.reduce import tiles_of_cumsum, tiles_of_reduce_columns, tiles_of_reduce_rows
from tinyattn.kernels.language.opcodes import FOLDS

NUMPY = {
    "sum": np.sum,
    "prod": np.prod,
    "max": np.max,
    "min": np.min,
    "sum_squares": lambda x, axis: np.sum(x * x, axis),
}
KINDS = {"i32": np.int32, "i64": np.int64, "bool": np.bool_}


def _numbers(operation, kind, dtype, shape):
    random = np.random.default_rng(sum(shape))
    if kind == "bool":
        return random.random(shape) < (0.99 if operation == "min" else 0.01)
    if kind != "real":
        return random.integers(-9, 10, shape).astype(KINDS[kind])
    if operation == "prod":
        return np.exp(random.normal(0, 0.01, shape)).astype(TYPES[dtype])
    return random.normal(0, 1, shape).astype(TYPES[dtype])


def _check(result, operation, kind, dtype, x):
    """Compare with NumPy's reduction of axis 1, to within a few roundings of the numbers' sizes."""
    wide = x.astype(np.float64) if kind == "real" else x
    whole = {"dtype": x.dtype} if kind in ("i32", "i64") and operation in ("sum", "prod") else {}
    expected = NUMPY[operation](wide, axis=1, **whole)
    if kind != "real" or operation in ("max", "min"):
        np.testing.assert_array_equal(result, expected)
        return
    size = np.abs(wide if operation == "sum" else wide**2).sum(1)
    size = np.maximum(size, np.abs(expected))
    assert (np.abs(result - expected) <= 8 * np.finfo(TYPES[dtype]).eps * size).all()


def _rows(dtype, code, x, order=None, scale=1.0):
    outer, length = x.shape
    y = np.zeros(outer, x.dtype)
    tiles = tiles_of_reduce_rows(outer, length)
    words = {"outer": outer, "length": length, "x": x, "y": y}
    words |= {"fold": code, "size": x.itemsize, "scale": real_bits(scale, dtype)}
    kernel_call.run("reduce.rows", dtype, words, tiles, shuffled(tiles) if order else None)
    return y


def _columns(dtype, code, x, order=None, scale=1.0):
    outer, length, inner = x.shape
    y = np.zeros((outer, inner), x.dtype)
    tiles = tiles_of_reduce_columns(outer, inner)
    words = {"outer": outer, "length": length, "inner": inner, "x": x, "y": y}
    words |= {"fold": code, "size": x.itemsize, "scale": real_bits(scale, dtype)}
    kernel_call.run("reduce.columns", dtype, words, tiles, shuffled(tiles) if order else None)
    return y


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("key", FOLDS, ids=lambda key: f"{key[0]}-{key[1]}")
def test_rows(key, dtype):
    for shape in ((1, 1), (3, 5), (900, 31), (40, 32), (7, 33), (3, 1023), (2, 1025), (2, 5000)):
        x = _numbers(*key, dtype, shape)
        y = _rows(dtype, FOLDS[key], x)
        _check(y, *key, dtype, x)
        np.testing.assert_array_equal(y, _rows(dtype, FOLDS[key], x, order="shuffled"))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize(
    "key", [key for key in FOLDS if key[0] != "sum_squares"], ids=lambda key: f"{key[0]}-{key[1]}"
)
def test_columns(key, dtype):
    for shape in ((1, 1, 2), (2, 7, 3), (3, 100, 5), (1, 16, 16), (2, 33, 70), (1, 300, 130), (2, 9, 1030)):
        x = _numbers(*key, dtype, shape)
        y = _columns(dtype, FOLDS[key], x)
        _check(y, *key, dtype, x)
        np.testing.assert_array_equal(y, _columns(dtype, FOLDS[key], x, order="shuffled"))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_scale_makes_a_mean(dtype):
    x = _numbers("sum", "real", dtype, (6, 50))
    np.testing.assert_allclose(_rows(dtype, FOLDS["sum", "real"], x, scale=0.02), x.mean(1), rtol=1e-5)
    means = _columns(dtype, FOLDS["sum", "real"], x.reshape(2, 3, 50), scale=1 / 3)
    np.testing.assert_allclose(means, x.reshape(2, 3, 50).mean(1), rtol=1e-5, atol=1e-6)


def test_long_sums_are_accurate():
    """A million numbers of one sign, where a plain running sum in float32 is off in the fourth digit."""
    x = np.random.default_rng(0).random(1_000_000).astype(np.float32)
    exact = x.astype(np.float64)
    total = _rows("f32", FOLDS["sum", "real"], x.reshape(1, -1))[0]
    assert abs(total / exact.sum() - 1) < 2e-7
    columns = _columns("f32", FOLDS["sum", "real"], x.reshape(1, -1, 4))[0]
    np.testing.assert_allclose(columns, exact.reshape(-1, 4).sum(0), rtol=5e-7)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_nothing_to_reduce(dtype):
    nothing = np.zeros((3, 0), TYPES[dtype])
    for operation, value in (("sum", 0), ("prod", 1), ("max", -np.inf), ("min", np.inf)):
        assert (_rows(dtype, FOLDS[operation, "real"], nothing) == value).all()


@pytest.mark.parametrize("operation", ["sum", "prod", "max", "min"])
def test_nan_comes_through(operation):
    for length in (1, 31, 70, 3000):
        x = np.ones((4, length), np.float32)
        x[0, 0] = x[1, -1] = x[2, length // 2] = np.nan
        assert np.isnan(_rows("f32", FOLDS[operation, "real"], x)).tolist() == [True, True, True, False]
        columns = _columns("f32", FOLDS[operation, "real"], np.ascontiguousarray(x.T)[None])[0]
        assert np.isnan(columns).tolist() == [True, True, True, False]


@pytest.mark.parametrize("kind", ["real", "i32", "i64"])
@pytest.mark.parametrize("operation", ["max", "min"])
def test_arg_reductions(operation, kind):
    for outer, length in ((1, 1), (50, 7), (3000, 12), (5, 60), (2, 5000)):
        x = np.random.default_rng(length).integers(-5, 6, (outer, length))
        x = x.astype(np.float32 if kind == "real" else KINDS[kind])
        if kind == "real" and length > 5:
            x[0, length // 2 :: 3] = np.nan
            x[1, 3] = np.inf if operation == "max" else -np.inf
        y = np.zeros(outer, np.int64)
        tiles = tiles_of_reduce_rows(outer, length)
        words = {"outer": outer, "length": length, "x": x, "y": y, "fold": FOLDS[operation, kind]}
        kernel_call.run(f"reduce.arg{operation}", "f32", words, tiles)
        np.testing.assert_array_equal(y, getattr(np, f"arg{operation}")(x, axis=1))


@pytest.mark.parametrize("kind", ["real", "i32", "i64"])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_running_sums(dtype, reverse, kind):
    for shape in ((1, 1, 1), (3, 0, 1), (300, 100, 1), (2, 9, 4), (2, 5, 600)):
        x = (
            np.random.default_rng(1)
            .integers(-9, 10, shape)
            .astype(TYPES[dtype] if kind == "real" else KINDS[kind])
        )
        y = np.zeros_like(x)
        tiles = tiles_of_cumsum(*shape)
        words = dict(zip(("outer", "length", "inner"), shape, strict=True)) | {"x": x, "y": y}
        words |= {"fold": FOLDS["sum", kind], "size": x.itemsize, "reverse": reverse}
        kernel_call.run("reduce.cumsum", dtype, words, tiles)
        there = (slice(None), slice(None, None, -1)) if reverse else ()
        np.testing.assert_array_equal(y[there], np.cumsum(x[there], axis=1, dtype=x.dtype))
