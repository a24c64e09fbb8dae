"""Random numbers without a state: the counter-based generator Philox-4x32-10.

A bijection of 128-bit counters, keyed with 64 bits, turns the counters 0, 1, 2, … into independent uniform
bits:

    words[4 block : 4 block + 4] = philox(counter, key),   counter = base + block (low 64 bits), stream (high)

so number i can be made at any time, by any thread, in any order, and made again in a backward pass instead of
being stored. Every random op of a program has a stream of its own; a program that adds 2³² (or the blocks it
used) to the counter base after each step never sees a counter twice. The key and the base are read from
memory, so that a program can advance them by itself.

Source: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011), section 3.3.
"""

import numpy as np

from tinyattn.kernels.calls.random import RANDOM_TILE
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i32, i64

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
"""What a round adds to the two halves of the key: the golden ratio and √3 − 1."""
(_MULTIPLIER0, _MULTIPLIER1), (_WEYL0, _WEYL1) = MULTIPLIERS, WEYL


@inline
def words_of(key, counter, stream, first, count, target):
    """Random 32-bit words: ``count`` blocks of four from block ``first``, for the key and the counter base at
    these addresses.
    """
    mask, multiplier0, multiplier1, weyl0, weyl1 = 0xFFFFFFFF, _MULTIPLIER0, _MULTIPLIER1, _WEYL0, _WEYL1
    out, seed, start = i32(target), i64(key)[0], i64(counter)[0] + first
    for block in range(count):
        # 32-bit quantities, held in 64 bits because the products need them.
        c0, c1 = (start + block) & mask, ((start + block) >> 32) & mask
        c2, c3 = stream & mask, (stream >> 32) & mask
        k0, k1 = seed & mask, (seed >> 32) & mask
        for _ in range(ROUNDS):
            product0, product1 = multiplier0 * c0, multiplier1 * c2
            c0, c2 = ((product1 >> 32) & mask) ^ c1 ^ k0, ((product0 >> 32) & mask) ^ c3 ^ k1
            c1, c3 = product1 & mask, product0 & mask
            k0, k1 = (k0 + weyl0) & mask, (k1 + weyl1) & mask
        out[4 * block] = c0
        out[4 * block + 1] = c1
        out[4 * block + 2] = c2
        out[4 * block + 3] = c3


def _words_of_tile(w):
    """``(argument words, tile, words a number, scratch) -> (first, past)``: a tile's random 32-bit words, for a
    kernel whose argument words are at the places ``w``.

    They go to scratch, for the numbers ``first <= i < past``.
    Whole blocks are made whatever the size, so that there is one loop and no tail; the caller uses the words
    it needs.
    """
    tile_size = RANDOM_TILE

    @inline
    def fill(word, tile, words_a_number, scratch):
        first = tile * tile_size
        past = min(first + tile_size, word[w.count])
        blocks = ((past - first) * words_a_number + 3) // 4
        start = first * words_a_number // 4
        words_of(word[w.key], word[w.counter], word[w.stream], start, blocks, scratch)
        return first, past

    return fill


def uniform_of_words(real):
    """``(words, i) -> `` a tile's number i in [0, 1): a multiple of 2⁻²⁴ (f32) or, of two words, 2⁻⁵³."""
    int32, number = np.int32, real.type
    if real.size == 4:
        unit = real.type(2.0**-24)

        @inline
        def uniform(words, i):
            return number(int32((words[i] >> 8) & 0xFFFFFF)) * unit
    else:
        unit, half = real.type(2.0**-53), real.type(2.0**26)

        @inline
        def uniform(words, i):
            high, low = (words[2 * i] >> 5) & 0x7FFFFFF, (words[2 * i + 1] >> 6) & 0x3FFFFFF
            return (number(int32(high)) * half + number(int32(low))) * unit

    return uniform


def uniform(real):
    """``y[i]`` uniform in [0, 1)."""
    w = place("random.uniform")
    pointer, words_a_number = real.pointer, real.size // 4
    fill, number = _words_of_tile(w), uniform_of_words(real)

    def kernel(arguments, first, last, scratch):
        word, words = i64(arguments), i32(scratch)
        for tile in range(first, last):
            start, past = fill(word, tile, words_a_number, scratch)
            y = pointer(word[w.y] + start * words_a_number * 4)
            for i in range(past - start):
                y[i] = number(words, i)

    return kernel


def bits(real):
    """``y[i]``: raw bits, 32 (f32) or 64 (f64) a number, in the order of the generator's words, the first
    word lowest.
    """
    w = place("random.bits")
    words_a_number = real.size // 4
    fill = _words_of_tile(w)

    def kernel(arguments, first, last, scratch):
        word, words = i64(arguments), i32(scratch)
        for tile in range(first, last):
            start, past = fill(word, tile, words_a_number, scratch)
            y = i32(word[w.y] + start * words_a_number * 4)
            for i in range((past - start) * words_a_number):
                y[i] = words[i]

    return kernel


def dropout(real):
    """``y[i] = x[i] / (1 - p)`` where the uniform number ``u[i] >= p``, else 0.

    ``u`` is what :func:`uniform` gives for the same key, counter and stream, so that the backward pass is
    this kernel on the cotangent. A dropped element is 0 even where x is NaN or infinite.
    """
    w = place("random.dropout")
    pointer, words_a_number, tile_size = real.pointer, real.size // 4, RANDOM_TILE
    fill, number = _words_of_tile(w), uniform_of_words(real)
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word, words = i64(arguments), i32(scratch)
        kept = pointer(scratch + tile_size * words_a_number * 4)
        p = pointer(arguments + 8 * w.p)[0]
        scale = one / (one - p) if p < one else zero
        for tile in range(first, last):
            start, past = fill(word, tile, words_a_number, scratch)
            place_of_tile = start * words_a_number * 4
            x, y = pointer(word[w.x] + place_of_tile), pointer(word[w.y] + place_of_tile)
            # By way of scratch, because LLVM's vector loops need to see that x and what is written are apart.
            for i in range(past - start):
                kept[i] = x[i] * scale if number(words, i) >= p else zero
            for i in range(past - start):
                y[i] = kept[i]

    return kernel
