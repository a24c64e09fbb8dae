"""The random kernels against the generator's published vectors and a big-integer implementation."""

import numpy as np
import pytest
from kernel_call import TYPES, real_bits, run, shuffled

from tinyattn.kernels.calls.random import RANDOM_TILE, tiles_of_random

# Counter, key and result of philox4x32_10 in the known-answer file of Random123.
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
KEY, BASE, STREAM = 0x0123456789ABCDEF, (5 << 32) - 3, 11


def word(low, high=0):
    """Two 32-bit halves as a signed 64-bit number."""
    return int(np.array([low | high << 32], np.uint64).view(np.int64)[0])


def philox(counter, key):
    """One block, in Python integers; ``counter`` of 128 bits and ``key`` of 64."""
    c = [counter >> 32 * i & 0xFFFFFFFF for i in range(4)]
    k = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(10):
        first, second = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [second >> 32 ^ c[1] ^ k[0], second & 0xFFFFFFFF, first >> 32 ^ c[3] ^ k[1], first & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c


def stream(n, base=BASE):
    """The words that all kernels share."""
    return {"key": np.array([KEY]), "counter": np.array([base]), "stream": STREAM, "count": n}


def generate(name, dtype, n, out_type, base=BASE, order=None):
    y = np.full(n + 1, 77, out_type)
    run(name, dtype, {**stream(n, base), "y": y}, tiles_of_random(n), order)
    assert y[n] == 77  # nothing is written past the end
    return y[:n]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_vectors(counter, key, expected):
    out = np.zeros(4, np.int32)
    seed, base = np.array([word(*key)]), np.array([word(*counter[:2])])
    words = {"key": seed, "counter": base, "stream": word(*counter[2:]), "count": 4, "y": out}
    run("random.bits", "f32", words, 1)
    assert tuple(out.view(np.uint32)) == expected
    assert tuple(philox(sum(c << 32 * i for i, c in enumerate(counter)), key[0] | key[1] << 32)) == expected


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, RANDOM_TILE + 6])
def test_counter_runs_over_blocks(n):
    blocks = [philox((BASE + i) % 2**64 | STREAM << 64, KEY) for i in range(-(-n // 2))]
    words = np.array(blocks, np.uint32).reshape(-1)
    bits32 = generate("random.bits", "f32", n, np.int32)
    assert np.array_equal(bits32.view(np.uint32), words[:n])
    bits64 = generate("random.bits", "f64", n, np.int64)
    assert np.array_equal(bits64.view(np.uint64), words.view(np.uint64)[:n])
    uniform32 = generate("random.uniform", "f32", n, np.float32)
    assert np.array_equal(uniform32, (words[:n] >> 8) * 2.0**-24)
    uniform64 = generate("random.uniform", "f64", n, np.float64)
    high, low = words[0 : 2 * n : 2] >> 5, words[1 : 2 * n : 2] >> 6
    assert np.array_equal(uniform64, (high * 2.0**26 + low) * 2.0**-53)


@pytest.mark.parametrize("dtype", TYPES)
def test_tiling_does_not_matter(dtype):
    n = 3 * RANDOM_TILE + 5
    once = generate("random.uniform", dtype, n, TYPES[dtype])
    again = generate("random.uniform", dtype, n, TYPES[dtype], order=shuffled(tiles_of_random(n)))
    assert np.array_equal(once, again)
    assert (
        once.min() >= 0
        and once.max() < 1
        and abs(once.mean() - 0.5) < 0.01
        and abs(once.var() - 1 / 12) < 0.003
    )


def test_counter_wraps_around():
    wrapped = generate("random.bits", "f32", 8, np.int32, base=-1)
    assert np.array_equal(wrapped[4:], generate("random.bits", "f32", 4, np.int32, base=0))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_dropout(dtype, p):
    n = RANDOM_TILE + 7
    real = TYPES[dtype]
    u = generate("random.uniform", dtype, n, real)
    x = np.random.default_rng(0).standard_normal(n).astype(real)
    x[u < real(p)] = np.nan  # what is dropped is dropped whatever it was
    y = np.full(n, 77, real)
    words = {**stream(n), "x": x, "y": y, "p": real_bits(p, dtype)}
    run("random.dropout", dtype, words, tiles_of_random(n))
    kept = u >= real(p)
    assert np.array_equal(y[~kept], np.zeros((~kept).sum()))
    np.testing.assert_allclose(y[kept], x[kept] / (1 - p), rtol=1e-6 if dtype == "f32" else 1e-15)
    in_place = x.copy()
    words["x"] = words["y"] = in_place
    run("random.dropout", dtype, words, tiles_of_random(n), shuffled(tiles_of_random(n)))
    assert np.array_equal(in_place, y)


@pytest.mark.parametrize("dtype", TYPES)
def test_dropout_keeps_a_number_equal_to_p(dtype):
    u = generate("random.uniform", dtype, 8, TYPES[dtype])
    x, y = np.ones(8, TYPES[dtype]), np.zeros(8, TYPES[dtype])
    words = {**stream(8), "x": x, "y": y, "p": real_bits(u[3], dtype)}
    run("random.dropout", dtype, words, 1)
    assert np.array_equal(y > 0, u >= u[3])
