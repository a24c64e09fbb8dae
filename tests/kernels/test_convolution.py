"""The kernels of convolution and pooling against sums of terms in float64: every path, and tiles in any order."""

import numpy as np
import pytest
from kernel_call import TYPES, run, shuffled
from op_rows_convolution import _max_backward, _pair, _positions, convolve, max_pool2d

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.convolution import cut_of_weight, positions_in_tile
from tinyattn.kernels.calls.pooling import tiles_of_pool
from tinyattn.kernels.calls.words import WORDS

both = pytest.mark.parametrize("dtype", ["f32", "f64"])

SHAPES = {
    # N, C, H, W, M, window, stride, padding, dilation
    "one number": (1, 1, 1, 1, 1, (1, 1), 1, 0, 1),
    "no image": (0, 2, 3, 3, 2, (2, 2), 1, 0, 1),
    "one result": (2, 3, 9, 11, 1, (3, 3), 1, 1, 1),
    "few results": (2, 3, 9, 11, 3, (3, 3), 2, 1, 1),
    "every second pixel": (3, 20, 14, 14, 33, (4, 4), 2, 1, 1),
    "long rows": (1, 2, 3, 150, 5, (2, 3), (1, 2), (0, 2), 1),
    "every third pixel": (2, 2, 10, 40, 4, (2, 2), 3, 1, 2),
    "wide padding": (1, 2, 3, 4, 5, (2, 2), 1, (5, 9), 1),
    "many channels": (1, 300, 4, 4, 6, (2, 2), 2, 0, 1),
    "one channel": (4, 1, 12, 12, 15, (4, 4), 2, 1, 1),
    "in several tiles": (5, 3, 23, 21, 17, (3, 3), 1, 1, 1),
}
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())


def draw(shape, dtype):
    """x, W, bias and ȳ, and the words that both kernels share."""
    batch, channels, height, width, results, window, stride, padding, dilation = shape
    positions = _positions((height, width), window, stride, padding, dilation)
    rng, kind = np.random.default_rng(channels + height), TYPES[dtype]
    sizes = (
        (batch, channels, height, width),
        (results, channels, *window),
        (results,),
        (batch, results, *positions),
    )
    arrays = [rng.standard_normal(size).astype(kind) for size in sizes]
    words = dict(zip(("images", "channels", "height", "width"), sizes[0], strict=True))
    words |= {"x": arrays[0], "results": results, "rows": positions[0], "columns": positions[1]}
    words |= {"step": _pair(stride), "taps": window, "distance": _pair(dilation)}
    return arrays, words | {"origin": [-p for p in _pair(padding)]}


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


def close(found, expected, terms, dtype):
    """To the rounding of a sum of so many terms of about 1."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= 4 * np.finfo(TYPES[dtype]).eps * max(1, terms)


@both
@every_shape
@pytest.mark.parametrize(("step", "depth"), [(1, 256), (2, 256), (3, 256), (1, 5)])
def test_correlate(shape, dtype, step, depth):
    (x, w, bias, y), words = draw(shape, dtype)
    a = np.array(w.transpose(2, 3, 1, 0), order="C")
    for added in (bias, None):
        found = []
        for order in (False, True):
            room = np.full((*y.shape[:3], y.shape[3] * step), 77, y.dtype)
            strides = [s // y.itemsize for s in room[..., ::step].strides]
            inner = a.size // max(a.shape[-1], 1)
            tile = positions_in_tile(inner, shape[4], y.itemsize)
            tiles = ceiling(y.size // shape[4], tile)
            phase = {"a": a.ctypes.data, "y": room.ctypes.data, "first_row": 0, "first_column": 0}
            phase |= {"rows": shape[5][0], "columns": shape[5][1], "height": 0, "width": 0}
            table = np.array(WORDS["convolution.phase"].pack(phase), np.int64)
            block = words | {"bias": 0 if added is None else added, "strides": strides, "tile": tile}
            block |= {"chunk": depth, "phases": 1, "table": table}
            run("convolution.correlate", dtype, block, tiles, shuffled(tiles) if order else None)
            found.append(room)
        assert np.array_equal(*found)
        for k in range(1, step):
            assert (room[..., k::step] == 77).all()
        right = convolve(*wide(x, w), None, *shape[6:], size=y.shape[2:])
        right = right if added is None else right + wide(bias)[0][:, None, None]
        close(room[..., ::step], right, inner, dtype)


@both
@pytest.mark.parametrize(
    "shape", [s for s in SHAPES.values() if s[0]], ids=[k for k in SHAPES if k[:2] != "no"]
)
@pytest.mark.parametrize("cut", ["as planned", "rows", "chunks"])
def test_weight(shape, dtype, cut):
    (x, w, _, g), words = draw(shape, dtype)
    inner, positions = w.size // shape[4], g.size // shape[4]
    rows, depth, chunks = cut_of_weight(inner, positions)
    if cut == "rows":
        rows = 3
    if cut == "chunks":
        depth = 256
        chunks = ceiling(positions, depth)
    found = []
    for order in (False, True):
        parts = np.full((chunks, *w.shape[2:], shape[1], shape[4]), 77, x.dtype)
        tiles = ceiling(inner, rows) * chunks
        block = words | {"dy": g, "parts": parts, "tile": rows, "chunk": depth}
        run("convolution.weight", dtype, block, tiles, shuffled(tiles) if order else None)
        found.append(parts)
    assert np.array_equal(*found)
    right = convolve(wide(x)[0], None, wide(g)[0], *shape[6:], size=w.shape[2:], wanted="w")
    close(wide(parts)[0].sum(0).transpose(3, 2, 0, 1), right, positions, dtype)


@both
@pytest.mark.parametrize(
    "shape",
    [((3, 2, 6, 8), (2, 2), (2, 2), (0, 0)), ((2, 3, 7, 5), (3, 2), (1, 2), (1, 0)), ((0, 1, 4, 4), (2, 2), (2, 2), (0, 0)),
     ((9, 30, 12, 12), (2, 3), (2, 1), (1, 1))],
)  # fmt: skip
def test_max_pool(shape, dtype):
    sizes, kernel, stride, padding = shape
    rng = np.random.default_rng(1)
    x = rng.integers(-2, 3, sizes).astype(TYPES[dtype])  # with ties
    right = max_pool2d(x, kernel, stride, padding).astype(x.dtype)
    g = rng.standard_normal(right.shape).astype(x.dtype)
    words = {"planes": sizes[0] * sizes[1], "height": sizes[2], "width": sizes[3]}
    words |= {"rows": right.shape[2], "columns": right.shape[3]}
    words |= {"window": kernel, "strides": stride, "padding": padding, "x": x}
    work = right.shape[2] * right.shape[3] * kernel[0] * kernel[1] + sizes[2] * sizes[3]
    tiles = tiles_of_pool(words["planes"], work)
    for order in (None, shuffled(tiles)):
        y, dx = np.full_like(right, 77), np.full_like(x, 77)
        run("pooling.max_forward", dtype, words | {"y": y}, tiles, order)
        run("pooling.max_backward", dtype, words | {"dy": g, "dx": dx}, tiles, order)
        assert np.array_equal(y, right)
        close(dx, _max_backward(*wide(x, g), kernel, stride, padding, right.shape[2:]), 4, dtype)
