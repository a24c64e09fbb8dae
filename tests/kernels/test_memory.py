"""The kernels of a Neural Turing Machine's memory against their formulas in float64."""

import numpy as np
import op_rows_memory as rows
import pytest
from kernel_call import TYPES, real_bits, run, shuffled

from tinyattn.kernels.calls.address import room_of_address
from tinyattn.kernels.calls.memory import room_of_write, tiles_of_memory

# Batch, heads, places, width.
SIZES = [
    (0, 1, 2, 3),
    (1, 1, 1, 1),
    (2, 1, 2, 3),
    (1, 2, 7, 16),
    (3, 3, 9, 17),
    (2, 1, 128, 20),
    (1, 2, 33, 70),
    (2, 2, 5, 0),
]
TOLERANCE = {"f32": 2e-5, "f64": 1e-13}
every_size = pytest.mark.parametrize("size", SIZES, ids=str)
every_type = pytest.mark.parametrize("dtype", TYPES)


def _numbers(size, dtype):
    """Memory, weightings, what to erase and to add, and a gradient of the memory."""
    batch, heads, places, width = size
    rng = np.random.default_rng(size)
    weights = rng.random((batch, heads, places)) + 0.1
    arrays = [
        rng.standard_normal((batch, places, width)),
        weights / weights.sum(-1, keepdims=True),
        rng.random((batch, heads, width)),
        rng.standard_normal((batch, heads, width)),
        rng.standard_normal((batch, places, width)),
    ]
    return [a.astype(TYPES[dtype]) for a in arrays]


def _both(name, dtype, words, results, batch):
    """The results; the same, bit by bit, when tiles come one by one in any order."""
    run(name, dtype, words, tiles_of_memory(batch))
    once = [r.copy() for r in results]
    for r in results:
        r[...] = 77
    run(name, dtype, words, tiles_of_memory(batch), shuffled(tiles_of_memory(batch)))
    for a, b in zip(once, results, strict=True):
        assert np.array_equal(a, b)
    return once


def _close(found, expected, dtype):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, 0, TOLERANCE[dtype] * max(1, np.abs(b).max(initial=0)))


def _wide(arrays):
    return [a.astype(np.float64) for a in arrays]


@every_size
@every_type
def test_writing(size, dtype):
    batch, heads, places, width = size
    *operands, g = _numbers(size, dtype)
    words = {"batches": batch, "places": places, "width": width, "heads": heads}
    words |= dict(zip(("memory", "weights", "erase", "add"), operands, strict=True))
    result = np.full_like(g, 77)
    found = _both("memory.write_forward", dtype, words | {"written": result}, [result], batch)
    _close(found, [rows._write(*_wide(operands))], dtype)
    results = [np.full_like(a, 77) for a in operands]
    room = np.full((batch, room_of_write(places, width)), np.nan, TYPES[dtype])
    words |= dict(zip(("d_memory", "d_weights", "d_erase", "d_add"), results, strict=True))
    found = _both("memory.write_backward", dtype, words | {"g": g, "room": room}, results, batch)
    _close(found, rows._write_backward(*_wide([*operands, g])), dtype)


@every_size
@pytest.mark.parametrize("shifts", [1, 3, 5])
@every_type
def test_addressing(size, shifts, dtype):
    batch, heads, places, width = size
    if shifts // 2 >= places:
        pytest.skip("shifts farther than there are places")
    memory, previous = _numbers(size, dtype)[:2]
    rng = np.random.default_rng(9)
    emitted = rng.standard_normal((batch, heads, width + shifts + 3)).astype(TYPES[dtype])
    g = rng.standard_normal(previous.shape).astype(TYPES[dtype])
    words = {"batches": batch, "places": places, "width": width, "heads": heads, "shifts": shifts}
    weights, cosine = np.full_like(previous, 77), np.full_like(previous, 77)
    room = np.full((batch, room_of_address(places, width, shifts)), np.nan, TYPES[dtype])
    words |= {"epsilon": real_bits(0.1, dtype), "emitted": emitted, "memory": memory, "previous": previous}
    words |= {"weights": weights, "content": cosine, "room": room}
    found = _both("address.forward", dtype, words, [weights, cosine], batch)
    wide = _wide([emitted, memory, previous])
    right = [rows._address(*wide, eps=0.1), rows._cosine(wide[0][..., :width], wide[1], 0.1)]
    _close(found, right, dtype)
    results = [np.full_like(a, 77) for a in (emitted, memory, previous)]
    words |= dict(zip(("d_emitted", "d_memory", "d_previous"), results, strict=True))
    found = _both("address.backward", dtype, words | {"d_weights": g}, results, batch)
    if width:
        _close(found, rows._address_backward(*wide, *right, g.astype(np.float64)), dtype)


@every_type
def test_weights_too_small_for_a_number_are_zero(dtype):
    """A head that has looked at one place, and goes on doing so sharply."""
    places, width, shifts = 9, 3, 3
    memory = np.zeros((1, places, width), TYPES[dtype])
    emitted = np.zeros((1, 1, width + shifts + 3), TYPES[dtype])
    emitted[..., width + 1] = -200  # the gate: stay
    emitted[..., width + 2 : width + 5] = [-300, 300, -300]
    emitted[..., -1] = 500  # the sharpening
    previous = np.eye(places, dtype=TYPES[dtype])[None, None, 4]
    weights, cosine, g = np.empty_like(previous), np.empty_like(previous), np.ones_like(previous)
    g[..., 2] = 3
    room = np.empty(room_of_address(places, width, shifts), TYPES[dtype])
    words = {"batches": 1, "places": places, "width": width, "heads": 1, "shifts": shifts}
    words |= {"epsilon": real_bits(1e-8, dtype), "emitted": emitted, "memory": memory, "previous": previous}
    words |= {"weights": weights, "content": cosine, "room": room}
    run("address.forward", dtype, words, 1)
    assert np.array_equal(weights, previous) and not cosine.any()
    results = [np.full_like(a, np.nan) for a in (emitted, memory, previous)]
    words |= dict(zip(("d_emitted", "d_memory", "d_previous"), results, strict=True))
    run("address.backward", dtype, words | {"d_weights": g}, 1)
    assert all(np.isfinite(r).all() for r in results)
