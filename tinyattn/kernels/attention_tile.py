"""What happens to a tile of scores now and then, as kernels that :mod:`tinyattn.kernels.attention` calls by
address: masks, dropout, and products that zeros silence. Most programs need none or one of them.

A *tile description* is a block of words:

===== ======================================================================================================
0     address of the argument words of attention
1–3   number of the matrix; its place in the outer and in the inner batch dimension
4–7   first query of the tile, queries, first key, keys
8 9   address of the tile, bytes from row to row; a row for each key, a column for each query
10 11 addresses of room for a tile each
===== ======================================================================================================
"""

import math

from tinyattn.kernels import blocking
from tinyattn.kernels.random import uniform_of_words, words_of
from tinyattn.kernels.simd import call, i32, i64, select, u8


def mask(real):
    """Add the mask to the scores of a tile: −∞ where attention is forbidden, whatever was there.

    The argument is a tile description; ``scratch`` has room for the words of ``gemm.pack``. A mask whose rows
    follow the keys is laid out anew with rows that follow the queries.
    """
    pointer, size, infinity, zero = real.pointer, real.size, real.type(math.inf), real.type(0)

    def kernel(arguments, first, last, scratch):
        described = i64(arguments)
        word = i64(described[0])
        query, queries, key, keys = described[4], described[5], described[6], described[7]
        tile, stride, other, spare = described[8], described[9], described[10], described[11]
        unit = 1 if word[25] == 1 else size
        by_query, by_key = word[29] * unit, word[30] * unit
        place = word[26] + (described[2] * word[27] + described[3] * word[28]) * unit
        place += query * by_query + key * by_key
        if word[25] == 1:
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
        turn = i64(scratch)
        turn[0], turn[1], turn[2], turn[3] = place, other, keys, queries
        turn[4], turn[5], turn[6], turn[7] = by_key // size, by_query // size, stride // size, 1
        turn[8], turn[9], turn[10], turn[11] = 0, 0, 0, 1 << 30
        call(word[37], scratch, 0, 1, 0)
        for r in range(keys):
            scores, bias = pointer(tile + r * stride), pointer(other + r * stride)
            for c in range(queries):
                scores[c] = select(bias[c] == -infinity, -infinity, scores[c] + bias[c])

    return kernel


def dropout(real):
    """Multiply a tile by Z, 0 or 1 / (1 − p). With ``first`` = 1 Z is drawn, into the room at word 10, with 0
    it is there from the call before.

    The argument is a tile description; ``scratch`` has room for the random words of a column.
    """
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    words_a_number, fill, number = real.size // 4, words_of, uniform_of_words(real)

    def kernel(arguments, first, last, scratch):
        described = i64(arguments)
        word, p = i64(described[0]), pointer(described[0] + 8 * 34)[0]
        scale = one / (one - p)
        keys, stride, kept = described[7], described[9], described[10]
        for c in range(described[5] if first == 1 else 0):
            start = (described[1] * word[7] + described[4] + c) * word[8] + described[6]
            start *= words_a_number
            blocks = (start % 4 + keys * words_a_number + 3) // 4
            fill(word[31], word[32], word[33], start // 4, blocks, scratch)
            drawn = i32(scratch + start % 4 * 4)
            for r in range(keys):
                pointer(kept + r * stride + c * size)[0] = scale if number(drawn, r) >= p else zero
        for r in range(keys):
            row, factors = pointer(described[8] + r * stride), pointer(kept + r * stride)
            for c in range(described[5]):
                row[c] *= factors[c]

    return kernel


def silencing(real):
    """The product of the words of ``gemm.multiply`` (one matrix, one tile), in which a 0 in A silences what
    it meets in B, be it NaN or infinite.
    """
    pointer, size, zero, lanes = real.pointer, real.size, real.type(0), blocking.lanes(real.name)

    def kernel(arguments, first, last, scratch):
        word, alpha = i64(arguments), pointer(arguments + 8 * 22)[0]
        sums = pointer(scratch)
        for i in range(word[4]):
            for start in range(0, word[5], 4 * lanes):
                columns = min(4 * lanes, word[5] - start)
                for j in range(columns):
                    sums[j] = zero
                for k in range(word[6]):
                    x = pointer(word[0] + (i * word[7] + k * word[8]) * size)[0]
                    row = pointer(word[1] + (k * word[9] + start) * size)
                    if x != zero:
                        for j in range(columns):
                            sums[j] += x * row[j]
                out = pointer(word[2] + (i * word[11] + start) * size)
                for j in range(columns):
                    out[j] = alpha * sums[j] + (out[j] if word[3] != 0 else zero)

    return kernel
