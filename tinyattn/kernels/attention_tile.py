"""What happens to a tile of scores now and then, as kernels that :mod:`tinyattn.kernels.attention` calls by
address: masks, dropout, and products that zeros silence. Most programs need none or one of them.
What masks and dropout are given is a *tile description*: words of their own (calls/attention.py).
"""

import math

from tinyattn.kernels.attention import turn_matrix
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import processor
from tinyattn.kernels.language.simd import i32, i64, select, u8
from tinyattn.kernels.random import uniform_of_words, words_of


def mask(real):
    """Add the mask to the scores of a tile: −∞ where attention is forbidden, whatever was there.

    The argument is a tile description; ``scratch`` has room for the words of ``gemm.pack``. A mask whose rows
    follow the keys is laid out anew with rows that follow the queries.
    """
    # (Attention's words that are read here are at the same places forwards and backwards.)
    w, of = place("attention.forward"), place("attention_tile.mask")
    pointer, size, infinity, zero = real.pointer, real.size, real.type(math.inf), real.type(0)
    turn = turn_matrix(real)

    def kernel(arguments, first, last, scratch):
        described = i64(arguments)
        word = i64(described[of.arguments])
        query, queries = described[of.query], described[of.queries]
        key, keys = described[of.key], described[of.keys]
        tile, stride = described[of.tile], described[of.stride]
        other, spare = described[of.factors], described[of.room]
        unit = 1 if word[w.masking] == 1 else size
        by_query, by_key = word[w.mask_strides + 2] * unit, word[w.mask_strides + 3] * unit
        place = described[of.outer] * word[w.mask_strides] + described[of.inner] * word[w.mask_strides + 1]
        place = word[w.mask] + place * unit + query * by_query + key * by_key
        if word[w.masking] == 1:
            # As numbers to add; a row of keys for each query, or one for all.
            for c in range(1 if by_query == 0 else queries):
                allowed, bias = u8(place + c * by_query), pointer(spare + c * keys * size)
                for r in range(keys):
                    bias[r] = zero if allowed[r * by_key] != 0 else -infinity
            place, by_query, by_key = spare, 0 if by_query == 0 else keys * size, size
        if by_query == 0:
            for r in range(keys):
                shared, scores = pointer(place + r * by_key)[0], pointer(tile + r * stride)
                for c in range(queries):
                    scores[c] = -infinity if shared == -infinity else scores[c] + shared
            return
        by_query, by_key = by_query // size, by_key // size
        turn(word[w.pack], scratch, place, by_query, by_key, queries, keys, other, stride // size)
        for r in range(keys):
            scores, bias = pointer(tile + r * stride), pointer(other + r * stride)
            for c in range(queries):
                scores[c] = select(bias[c] == -infinity, -infinity, scores[c] + bias[c])

    return kernel


def dropout(real):
    """Multiply a tile by Z, 0 or 1 / (1 − p). With ``first`` = 1 Z is drawn, into the room for it, with 0
    it is there from the call before.

    The argument is a tile description; ``scratch`` has room for the random words of a column.
    """
    w, of = place("attention.forward"), place("attention_tile.dropout")
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    words_a_number, fill, number = real.size // 4, words_of, uniform_of_words(real)

    def kernel(arguments, first, last, scratch):
        described = i64(arguments)
        word, p = i64(described[of.arguments]), pointer(described[of.arguments] + 8 * w.p)[0]
        scale = one / (one - p)
        keys, stride, kept = described[of.keys], described[of.stride], described[of.factors]
        for c in range(described[of.queries] if first == 1 else 0):
            row = described[of.matrix] * word[w.queries] + described[of.query] + c
            start = (row * word[w.keys] + described[of.key]) * words_a_number
            blocks = (start % 4 + keys * words_a_number + 3) // 4
            fill(word[w.random_key], word[w.counter], word[w.stream], start // 4, blocks, scratch)
            drawn = i32(scratch + start % 4 * 4)
            for r in range(keys):
                pointer(kept + r * stride + c * size)[0] = scale if number(drawn, r) >= p else zero
        for r in range(keys):
            weights, factors = pointer(described[of.tile] + r * stride), pointer(kept + r * stride)
            for c in range(described[of.queries]):
                weights[c] *= factors[c]

    return kernel


def silencing(real):
    """The product of ``gemm.multiply``'s words (one matrix, one tile), in which a 0 in A silences what
    it meets in B, be it NaN or infinite.
    """
    w = place("attention_tile.silencing")
    pointer, size, zero, lanes = real.pointer, real.size, real.type(0), processor.lanes(real.name)

    def kernel(arguments, first, last, scratch):
        word, alpha = i64(arguments), pointer(arguments + 8 * w.alpha)[0]
        sums = pointer(scratch)
        for i in range(word[w.rows]):
            for start in range(0, word[w.columns], 4 * lanes):
                columns = min(4 * lanes, word[w.columns] - start)
                for j in range(columns):
                    sums[j] = zero
                for k in range(word[w.inner]):
                    x = pointer(word[w.a] + (i * word[w.a_row] + k * word[w.a_step]) * size)[0]
                    row = pointer(word[w.b] + (k * word[w.b_step] + start) * size)
                    if x != zero:
                        for j in range(columns):
                            sums[j] += x * row[j]
                out = pointer(word[w.c] + (i * word[w.c_row] + start) * size)
                for j in range(columns):
                    out[j] = alpha * sums[j] + (out[j] if word[w.d] != 0 else zero)

    return kernel
