"""Strided copies and fills, of elements of every size."""

import kernel_call
import numpy as np
import pytest
from kernel_call import shuffled

from tinyattn.kernels.calls.copy import copy_plan, tiles_of_fill

SHAPES = [
    ((), ()),
    ((5,), (0,)),
    ((1, 6, 1), (0, 1, 2)),
    ((3, 4), (1, 0)),
    ((70, 300), (1, 0)),
    ((2, 3, 4, 5), (0, 2, 1, 3)),
    ((7, 65, 40), (2, 1, 0)),
    ((4, 30, 33), (0, 2, 1)),
    ((16, 20, 4, 8), (0, 2, 1, 3)),
]


def _copy(x, y, order=None):
    strides = [[stride // a.itemsize for stride in a.strides] for a in (x, y)]
    *plan, tiles = copy_plan(x.shape, *strides)
    plan = [np.array(words, np.int64) for words in plan]
    words = {"size": x.itemsize, "x": x.ctypes.data, "y": y.ctypes.data, "dimensions": len(plan[0])}
    words |= dict(zip(("shape", "x_strides", "y_strides"), plan, strict=True))
    kernel_call.run("copy.strided", "f32", words, tiles, shuffled(tiles) if order else None)


@pytest.mark.parametrize("dtype", [np.int8, np.float32, np.float64])
@pytest.mark.parametrize("shape, axes", SHAPES, ids=str)
def test_strided(shape, axes, dtype):
    x = np.asarray(np.random.default_rng(0).normal(0, 40, shape)).astype(dtype)
    every_second = (..., *[slice(None, None, 2)] * len(shape))
    backwards = (..., *[slice(None, None, -1)] * len(shape))
    sources = [x.transpose(axes), x[backwards], np.broadcast_to(x[:1] if shape else x, shape)]
    for source in sources:
        y = np.zeros(source.shape, dtype)
        _copy(source, y)
        np.testing.assert_array_equal(y, source)
        frame = np.full([2 * n for n in source.shape], 99, dtype)
        _copy(source, frame[every_second], order="shuffled")
        np.testing.assert_array_equal(frame[every_second], source)
        frame[every_second] = 99
        assert (frame == 99).all()


def test_nothing_to_copy():
    _copy(np.zeros((3, 0, 2)), np.zeros((3, 0, 2)))


def test_plan_joins_dimensions():
    assert copy_plan((4, 5, 6), (30, 6, 1), (30, 6, 1)) == ((1, 120), (0, 1), (0, 1), 1)
    # Heads to the front: the last two dimensions stay rows and contiguous columns.
    shape, source, target, _ = copy_plan((2, 4, 20, 32), (2560, 32, 128, 1), (2560, 640, 32, 1))
    assert shape[-1] == 32 and source[-1] == target[-1] == 1


@pytest.mark.parametrize(
    "value", [np.int8(3), np.float32(-1.5), np.int32(-7), np.float64(np.pi), np.int64(-(2**40))], ids=repr
)
def test_fill(value):
    for n in (0, 1, 100, 70_001):
        frame = np.full(n + 8, 5, value.dtype)
        bits = int.from_bytes(value.tobytes().ljust(8, b"\0"), "little", signed=True)
        tiles = tiles_of_fill(n, value.itemsize)
        words = {"size": value.itemsize, "y": frame.ctypes.data, "count": n, "value": bits}
        kernel_call.run("copy.fill", "f32", words, tiles, shuffled(tiles))
        assert (frame[:n] == value).all() and (frame[n:] == 5).all()
