"""Passes along a row, layer normalisation and its derivative against NumPy in float64."""

import numpy as np
import pytest
from kernel_call import TYPES, real_bits, run, shuffled

from tinyattn.kernels.calls.batch_norm import tiles_of_batch_norm
from tinyattn.kernels.calls.norm import rows_of_norm_backward, tiles_of_norm, tiles_of_norm_backward

SHAPES = [(0, 4), (1, 1), (5, 3), (7, 31), (3, 32), (3, 33), (300, 20), (130, 65), (2, 5000)]
TOLERANCE = {"f32": 4e-6, "f64": 2e-14}
dtypes = pytest.mark.parametrize("dtype", TYPES)
centred = pytest.mark.parametrize("centred", [1, 0], ids=["layer", "rms"])


def twice(name, dtype, words, tiles, *results):
    """All tiles in one call and then one by one in another order give the same bits."""
    run(name, dtype, words, tiles)
    first = [r.copy() for r in results]
    for r in results:
        r[...] = 77
    run(name, dtype, words, tiles, shuffled(tiles))
    for once, again in zip(first, results, strict=True):
        assert np.array_equal(once, again)


def operands(shape, dtype):
    rng = np.random.default_rng(list(shape))
    x, dy = (rng.standard_normal(shape).astype(TYPES[dtype]) for _ in range(2))
    g, b = (rng.standard_normal(shape[1]).astype(TYPES[dtype]) for _ in range(2))
    return 3 * x + 1, dy, g, b


def statistics(x, centred, epsilon):
    x = x.astype(np.float64)
    mean = x.mean(1) * centred
    return mean, 1 / np.sqrt(((x - mean[:, None]) ** 2).mean(1) + epsilon)


def close(found, expected, dtype, factor=1.0):
    scale = max(1.0, np.abs(expected).max(initial=0))
    assert np.abs(found - expected).max(initial=0) <= factor * TOLERANCE[dtype] * scale


@dtypes
@centred
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_normalised(shape, centred, dtype):
    x, _, g, b = operands(shape, dtype)
    y, means, scales = np.full_like(x, 77), np.zeros(shape[0], x.dtype), np.zeros(shape[0], x.dtype)
    words = {"x": x, "gain": g, "bias": b, "y": y, "means": means, "scales": scales}
    words |= {"rows": shape[0], "columns": shape[1], "centred": centred, "epsilon": real_bits(1e-2, dtype)}
    twice("norm.forward", dtype, words, tiles_of_norm(*shape), y, means, scales)
    mean, scale = statistics(x, centred, 1e-2)
    close(means, mean, dtype)
    close(scales, scale, dtype)
    close(y, (x - mean[:, None]) * scale[:, None] * g + b, dtype, 4)


@dtypes
@centred
@pytest.mark.parametrize("shape", SHAPES)
def test_the_derivative(shape, centred, dtype):
    x, dy, g, _ = operands(shape, dtype)
    mean, scale = (s.astype(x.dtype) for s in statistics(x, centred, 1e-2))
    tiles = tiles_of_norm_backward(*shape)
    dx, along, over = (
        np.full_like(x, 77),
        np.zeros((tiles, shape[1]), x.dtype),
        np.zeros((tiles, shape[1]), x.dtype),
    )
    words = {"x": x, "gain": g, "means": mean, "scales": scale, "dy": dy, "dx": dx}
    words |= {"along": along, "over": over, "rows": shape[0], "columns": shape[1], "centred": centred}
    twice("norm.backward", dtype, words, tiles, dx, along, over)
    mean, scale = (s.astype(np.float64)[:, None] for s in (mean, scale))
    normal, u = (x - mean * centred) * scale, dy.astype(np.float64) * g
    close(
        dx,
        scale * (u - centred * u.mean(1, keepdims=True) - normal * (u * normal).mean(1, keepdims=True)),
        dtype,
        8,
    )
    close(along.sum(0), (dy * normal).sum(0), dtype, 8)
    close(over.sum(0), dy.sum(0, dtype=np.float64), dtype, 8)


@dtypes
def test_results_may_take_the_place_of_arguments(dtype):
    shape = (9, 37)
    x, dy, g, b = operands(shape, dtype)
    means, scales = np.zeros(9, x.dtype), np.zeros(9, x.dtype)
    y = np.empty_like(x)
    words = {"x": x, "gain": g, "bias": b, "y": y, "means": means, "scales": scales}
    words |= {"rows": shape[0], "columns": shape[1], "centred": 1, "epsilon": real_bits(1e-2, dtype)}
    run("norm.forward", dtype, words, tiles_of_norm(*shape))
    copy = x.copy()
    run("norm.forward", dtype, words | {"x": copy, "y": copy}, tiles_of_norm(*shape))
    assert np.array_equal(copy, y)
    sums = np.empty((2, tiles_of_norm_backward(*shape), 37), x.dtype)
    words = {"gain": g, "means": means, "scales": scales, "along": sums[0], "over": sums[1]}
    words |= {"rows": shape[0], "columns": shape[1], "centred": 1}
    results = []
    for place in (np.empty_like(x), x.copy(), dy.copy()):
        source = place if np.array_equal(place, x) else x
        cotangent = place if np.array_equal(place, dy) else dy
        run(
            "norm.backward",
            dtype,
            words | {"x": source, "dy": cotangent, "dx": place},
            len(sums[0]),
        )
        results.append(place)
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[0], results[2])


def test_tiles_of_the_derivative_are_few():
    for rows, columns in ((8192, 512), (100_000, 8), (1, 1), (50, 70_000)):
        assert tiles_of_norm_backward(rows, columns) <= 64
        assert tiles_of_norm_backward(rows, columns) * rows_of_norm_backward(rows, columns) >= rows


@dtypes
@pytest.mark.parametrize(
    "shape",
    [(2, 3, 1), (64, 5, 1), (3, 700, 1), (2, 3, 16), (5, 40, 15), (3, 2, 1024), (2, 2, 2500), (1, 1, 3)],
)
def test_channels_are_normalised_over_the_batch(shape, dtype):
    rng = np.random.default_rng(list(shape))
    x, dy = (rng.standard_normal(shape).astype(TYPES[dtype]) for _ in range(2))
    g, b = (rng.standard_normal(shape[1]).astype(TYPES[dtype]) for _ in range(2))
    y, dx, (means, variances, dg, db) = np.empty_like(x), np.empty_like(x), np.zeros((4, shape[1]), x.dtype)
    tiles = tiles_of_batch_norm(shape[1], shape[2])
    words = {"x": x, "gain": g, "means": means, "variances": variances, "epsilon": real_bits(1e-2, dtype)}
    words |= {"count": shape[0], "channels": shape[1], "length": shape[2]}
    twice(
        "batch_norm.forward",
        dtype,
        words | {"bias": b, "y": y},
        tiles,
        y,
        means,
        variances,
    )
    twice(
        "batch_norm.backward",
        dtype,
        words | {"dy": dy, "dx": dx, "d_gain": dg, "d_bias": db},
        tiles,
        dx,
        dg,
        db,
    )
    mean, variance = x.mean((0, 2), dtype=np.float64), x.var((0, 2), dtype=np.float64)
    scale = 1 / np.sqrt(variance + 1e-2)
    normal = (x - mean[:, None]) * scale[:, None]
    close(means, mean, dtype)
    close(variances, variance, dtype, 2)
    close(y, normal * g[:, None] + b[:, None], dtype, 4)
    close(dg, (dy * normal).sum((0, 2)), dtype, 8)
    close(db, dy.sum((0, 2), dtype=np.float64), dtype, 8)
    along, over = ((dy * k).mean((0, 2), keepdims=True) for k in (normal, 1.0))
    close(dx, (dy - over - normal * along) * (scale * g)[:, None], dtype, 8)
