"""Softmax, log-softmax and cross-entropy against NumPy in float64 and against torch, under every kind of
mask."""

import numpy as np
import pytest
from kernel_call import TYPES, real_bits, run, shuffled

from tinyattn.kernels.calls.softmax import SOFTMAX_TILE, tiles_of_softmax

SHAPES = [
    (0, 4),
    (3, 0),
    (1, 1),
    (5, 3),
    (64, 20),
    (7, 31),
    (33, 65),
    (130, 33),
    (2, SOFTMAX_TILE),
    (3, 2 * SOFTMAX_TILE + 5),
]
TOLERANCE = {"f32": 2e-6, "f64": 4e-15}


def tiled(name, dtype, words, rows, columns, *results):
    """Run all tiles in one call and then one by one; the results must be the same bits."""
    tiles = tiles_of_softmax(rows, columns)
    run(name, dtype, words, tiles)
    first = [r.copy() for r in results]
    for r in results:
        r[...] = 77
    run(name, dtype, words, tiles, shuffled(tiles))
    for once, again in zip(first, results, strict=True):
        assert np.array_equal(once, again, equal_nan=True)
    return first if len(first) > 1 else first[0]


def mask_words(mask, shape):
    """The words of a mask that broadcasts against ``shape``, of at most four row dimensions and one of
    columns."""
    if mask is None:
        return {"masking": 0, "mask": 0, "sizes": [0] * 4, "strides": [0] * 4}
    if mask.shape[-1] != shape[-1]:
        mask = np.array(np.broadcast_to(mask, (*mask.shape[:-1], shape[-1])))
    shape = (1,) * (5 - len(shape)) + shape
    view = np.broadcast_to(mask, shape)
    strides = [s // mask.itemsize for s in view.strides]
    kind = 1 if mask.dtype == bool else 2
    return {"masking": kind, "mask": mask, "sizes": shape[:-1], "strides": strides[:-1]}


def forward(name, x, dtype, mask=None, scale=1.0):
    columns = x.shape[-1]
    rows = x.size // columns if columns else x.shape[0]
    y = np.full_like(x, 77)
    words = {"x": x, "y": y, "rows": rows, "columns": columns, "scale": real_bits(scale, dtype)}
    return tiled(name, dtype, words | mask_words(mask, x.shape), rows, columns, y)


def backward(name, y, dy, dtype, scale=1.0):
    dx = np.full_like(y, 77)
    words = {"y": y, "dy": dy, "dx": dx, "rows": y.shape[0], "columns": y.shape[1]}
    words["scale"] = real_bits(scale, dtype)
    return tiled(name, dtype, words, *y.shape, dx)


def softmax(x, allowed=None):
    """By definition, in float64; rows without a number allowed are 0."""
    x = x.astype(np.float64)
    if allowed is not None:
        x = np.where(allowed, x, -np.inf)
    if x.size == 0:
        return x
    highest = x.max(-1, keepdims=True)
    e = np.exp(x - np.where(np.isfinite(highest), highest, 0))
    s = e.sum(-1, keepdims=True)
    return e / np.where(s == 0, 1, s)


def close(got, expected, dtype, factor=1.0):
    np.testing.assert_allclose(got, expected, rtol=factor * TOLERANCE[dtype], atol=factor * TOLERANCE[dtype])


def numbers(shape, dtype, seed=0):
    return (3 * np.random.default_rng([*shape, seed]).standard_normal(shape)).astype(TYPES[dtype])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_without_mask(shape, dtype):
    x, dy = numbers(shape, dtype), numbers(shape, dtype, 1)
    p = softmax(0.7 * x.astype(np.float64))
    y = forward("softmax.forward", x, dtype, scale=0.7)
    close(y, p, dtype)
    dx = backward("softmax.backward", y, dy, dtype, scale=0.7)
    close(dx, 0.7 * p * (dy - (p * dy).sum(-1, keepdims=True)), dtype, 4)

    with np.errstate(divide="ignore"):
        logs = np.log(p)
    log_y = forward("softmax.log_forward", x, dtype, scale=0.7)
    close(log_y, logs, dtype, 4)
    dx = backward("softmax.log_backward", log_y, dy, dtype, scale=0.7)
    total = dy.sum(-1, keepdims=True, dtype=np.float64)
    close(dx, 0.7 * (dy - p * total), dtype, 4 * max(1, np.abs(total).max(initial=0)))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("additive", [False, True])
@pytest.mark.parametrize(
    ("shape", "mask_shape"),
    [
        ((6, 9), (6, 9)),
        ((6, 9), (1, 9)),
        ((6, 9), (6, 1)),
        ((4, 3, 5, 20), (4, 1, 1, 20)),
        ((2, 3, 4, 5, 6), (3, 1, 5, 6)),
        ((2, 3, 4, 5, 6), (2, 1, 4, 1, 6)),
        ((2, 2, 3000), (2, 1, 3000)),
    ],
)
def test_masks(shape, mask_shape, additive, dtype):
    rng = np.random.default_rng(0)
    x, dy = numbers(shape, dtype), numbers(shape, dtype, 1)
    allowed = rng.random(mask_shape) < 0.7
    allowed.reshape(-1, mask_shape[-1])[0] = False  # a row (at least one) with nothing to attend to
    everywhere = np.broadcast_to(allowed, shape)
    x[~everywhere] = rng.choice(
        [np.nan, np.inf, -np.inf, 1], (~everywhere).sum()
    )  # behind the mask anything may stand
    dy[~everywhere] = np.nan
    bias = rng.standard_normal(mask_shape).astype(TYPES[dtype])
    mask = np.where(allowed, bias, TYPES[dtype](-np.inf)) if additive else allowed
    p = softmax(np.where(everywhere, x + bias if additive else x, 0), everywhere)

    y = forward("softmax.forward", x, dtype, mask)
    close(y, p, dtype)
    assert np.array_equal(y == 0, ~everywhere)
    flat = (-1, shape[-1])
    d = np.where(everywhere, dy, 0)
    dx = backward("softmax.backward", y.reshape(flat), dy.reshape(flat), dtype).reshape(shape)
    close(dx, p * (d - (p * d).sum(-1, keepdims=True)), dtype, 4)
    assert (dx[~everywhere] == 0).all()

    log_y = forward("softmax.log_forward", x, dtype, mask)
    assert np.array_equal(log_y == -np.inf, ~everywhere)
    with np.errstate(divide="ignore"):
        close(log_y, np.log(p), dtype, 4)
    dx = backward("softmax.log_backward", log_y.reshape(flat), dy.reshape(flat), dtype).reshape(shape)
    total = d.sum(-1, keepdims=True, dtype=np.float64)
    close(dx, np.where(everywhere, d - p * total, 0), dtype, 4 * max(1, np.abs(total).max()))


@pytest.mark.parametrize("dtype", TYPES)
def test_mask_rows_in_any_order(dtype):
    """Every second row of a mask, and its rows from the last to the first."""
    x = numbers((8, 5), dtype)
    allowed = np.random.default_rng(1).random((16, 16)) < 0.6
    allowed[:, 0] = True
    for mask in (allowed[::2, :5], allowed[7::-1, :5], allowed[:8, 3:8]):
        y = np.zeros_like(x)
        words = {"x": x, "y": y, "rows": 8, "columns": 5, "scale": real_bits(1.0, dtype), "masking": 1}
        words |= {"mask": mask, "sizes": (1, 1, 1, 8), "strides": (0, 0, 0, mask.strides[0])}
        tiled("softmax.forward", dtype, words, 8, 5, y)
        close(y, softmax(x, mask), dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_special_rows_as_in_torch(dtype):
    torch = pytest.importorskip("torch")
    inf, nan = np.inf, np.nan
    rows = [
        [1, nan, 2],
        [-inf, -inf, -inf],
        [inf, 1, 2],
        [inf, inf, inf],
        [-inf, 0, -inf],
        [1e30, -1e30, 0],
        [-inf, inf, 0],
    ]
    x = np.array(rows, TYPES[dtype])
    y, log_y = forward("softmax.forward", x, dtype), forward("softmax.log_forward", x, dtype)
    np.testing.assert_allclose(y, torch.tensor(x).softmax(-1).numpy(), rtol=TOLERANCE[dtype])
    expected = torch.tensor(x).log_softmax(-1).numpy()
    np.testing.assert_allclose(log_y, expected, rtol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TYPES)
def test_in_place(dtype):
    for shape in ((64, 20), (3, 3000)):
        x, dy = numbers(shape, dtype), numbers(shape, dtype, 1)
        tiles = tiles_of_softmax(*shape)
        words = {"rows": shape[0], "columns": shape[1], "scale": real_bits(1.0, dtype)}
        for name in ("", "log_"):
            expected = forward(f"softmax.{name}forward", x, dtype)
            y = x.copy()
            run(f"softmax.{name}forward", dtype, words | mask_words(None, shape) | {"x": y, "y": y}, tiles)
            assert np.array_equal(y, expected)
            expected = backward(f"softmax.{name}backward", y, dy, dtype)
            dx = dy.copy()
            run(f"softmax.{name}backward", dtype, words | {"y": y, "dy": dx, "dx": dx}, tiles)
            assert np.array_equal(dx, expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_rows_longer_than_scratch(dtype):
    x, dy = numbers((1, 300_000), dtype), numbers((1, 300_000), dtype, 1)
    p = softmax(x)
    y, log_y = forward("softmax.forward", x, dtype), forward("softmax.log_forward", x, dtype)
    np.testing.assert_allclose(y, p, rtol=1e2 * TOLERANCE[dtype])
    np.testing.assert_allclose(log_y, np.log(p), rtol=1e1 * TOLERANCE[dtype])
    dx = backward("softmax.backward", y, dy, dtype)
    close(dx, p * (dy - (p * dy).sum()), dtype)
    dx = backward("softmax.log_backward", log_y, dy, dtype)
    close(dx, dy - p * dy.sum(dtype=np.float64), dtype, 10)


def cross_entropy(x, targets, dtype, ignore_index, smoothing, g, stride):
    rows, columns = x.shape
    loss, top, log_sum = np.full((3, rows), 77, TYPES[dtype])
    kind = int(targets.dtype == np.int64)
    words = {"x": x, "targets": targets, "wide": kind, "tops": top, "log_sums": log_sum, "rows": rows}
    words |= {"columns": columns, "ignored": ignore_index, "smoothing": real_bits(smoothing, dtype)}
    loss, top, log_sum = tiled(
        "softmax.cross_entropy_forward", dtype, words | {"losses": loss}, rows, columns, loss, top, log_sum
    )
    dx = np.full_like(x, 77)
    words |= {"tops": top, "log_sums": log_sum, "g": g, "stride": stride, "dx": dx}
    dx = tiled("softmax.cross_entropy_backward", dtype, words, rows, columns, dx)
    in_place = x.copy()
    words["x"] = words["dx"] = in_place
    run("softmax.cross_entropy_backward", dtype, words, tiles_of_softmax(rows, columns))
    assert np.array_equal(in_place, dx, equal_nan=True)
    return loss, top + log_sum, dx


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("index_type", [np.int32, np.int64])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize(
    "shape", [(0, 4), (1, 1), (5, 3), (70, 60), (2, SOFTMAX_TILE), (3, 2 * SOFTMAX_TILE + 5)]
)
def test_cross_entropy(shape, smoothing, index_type, dtype):
    torch = pytest.importorskip("torch")
    rows, columns = shape
    rng = np.random.default_rng(rows)
    x, g = numbers(shape, dtype), numbers((max(rows, 1),), dtype, 1)
    targets = rng.integers(0, columns, rows).astype(index_type)
    targets[2::3] = -100
    for stride in (0, 1):
        loss, normaliser, dx = cross_entropy(x, targets, dtype, -100, smoothing, g, stride)
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        expected = torch.nn.functional.cross_entropy(
            leaf, torch.tensor(targets.astype(np.int64)), reduction="none", label_smoothing=smoothing
        )
        close(loss, expected.detach().numpy(), dtype, 4)
        close(normaliser, np.where(targets == -100, 0, leaf.detach().logsumexp(-1).numpy()), dtype, 4)
        weights = torch.tensor(g[:rows] if stride else np.repeat(g[:1], rows), dtype=torch.float64)
        (gradient,) = torch.autograd.grad((expected * weights).sum(), leaf)
        close(dx, gradient.numpy(), dtype, 4)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("columns", [4, SOFTMAX_TILE + 3])
def test_cross_entropy_of_wrong_targets(columns, dtype):
    x = numbers((6, columns), dtype)
    x[1] = np.nan  # an ignored row
    targets = np.array([0, -1, columns, -2, 2**62, columns - 1])
    loss, _, dx = cross_entropy(x, targets, dtype, -1, 0.0, np.ones(1, TYPES[dtype]), 0)
    assert np.array_equal(np.isnan(loss), [0, 0, 1, 1, 1, 0]) and loss[1] == 0
    assert np.isfinite(dx[[0, 1, 5]]).all() and (dx[1] == 0).all() and np.isnan(dx[[2, 3, 4]]).all()


@pytest.mark.parametrize("dtype", TYPES)
def test_cross_entropy_with_impossible_classes(dtype):
    """Logits of −∞ are probabilities of 0: no gradient, and an infinite loss only for the one that is the
    target."""
    x = np.array([[0, -np.inf, 1], [0, -np.inf, 1]], TYPES[dtype])
    loss, _, dx = cross_entropy(x, np.array([0, 1]), dtype, -1, 0.0, np.ones(1, TYPES[dtype]), 0)
    assert np.isfinite(loss[0]) and loss[1] == np.inf
    assert dx[0, 1] == 0 and dx[1, 1] == -1
