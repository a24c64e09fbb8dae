"""Scaled dot-product attention and its derivative, without a matrix of queries by keys in memory.

    S = τ Q Kᵀ + M,    P = e^{(S − m) − l},    O = (P ⊙ Z) V;        V̄ = (P ⊙ Z)ᵀ G,    P̄ = (G Vᵀ) ⊙ Z,
    S̄ = P ⊙ (P̄ − D),    Q̄ = τ S̄ K,    K̄ = τ S̄ᵀ Q        (see tinyattn/ops/attention.py)

The scores exist one tile at a time, in scratch memory, for a block of queries and a block of keys. The tile
is kept transposed, a row for each key: Qᵀ is laid out once for all blocks of keys, maxima and sums run down
columns (:mod:`tinyattn.kernels.simd_attention`), and nothing else has to be turned, because a matrix product
(:mod:`tinyattn.kernels.gemm`) reads its left operand with any strides:

    Sᵀ = K · Qᵀ      P̄ᵀ = V · Gᵀ      O += P · V      V̄ += Pᵀ · G      K̄ += S̄ᵀ · Q      Q̄ += S̄ · K

With a causal mask the keys after the last query of a block are never visited, and a tile on the diagonal is
multiplied in strips, each as long as the diagonal leaves it.

**What is silenced.** A weight of 0 times NaN or ∞ is NaN, so rubbish behind a mask shows in the result. That
is rare, and the result tells: where a tile's result has a NaN, the tile is done again with products that
leave out the zeros (``attention_tile.silencing``).

Milakov and Gimelshein 2018 (the running maximum); Rabe and Staats 2021; Dao et al. 2022, algorithms 1 and 4.
"""

import math

from tinyattn.kernels import blocking, simd_attention, vecmath
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import call, i64, select
from tinyattn.kernels.tiling import ATTENTION_DEPTH, ATTENTION_KEYS, ATTENTION_QUERIES

_QUERIES, _KEYS, _DEPTH = ATTENTION_QUERIES, ATTENTION_KEYS, ATTENTION_DEPTH
_STRIP = 32
"""Rows of a product on the diagonal that are done at once."""
_ANYWHERE = -(1 << 40)
"""The place of the diagonal if there is none: every key is before every query."""
_PAIRS, _OVER_KEYS, _OVER_QUERIES = range(3)
"""Parts of a product that the diagonal leaves. Key r and query c of a tile belong together if c ≥ r +
diagonal; C of the product has their pairs, or the sum runs over the keys, or over the queries."""
_WORDS = 64 * 8
"""Bytes for a block of words."""


def _product(real):
    """``(part, diagonal, keys, function, scratch, rows, columns, depth, α, a, a_row, a_step, b, b_step,
    b_column, c, c_row, more)``: C = α A B, or C += α A B with ``more``, by ``gemm.multiply`` or a kernel like
    it. Strides are in numbers. What lies behind the diagonal is left out.
    """
    pointer, size = real.pointer, real.size

    @inline
    def product(
        part, diagonal, keys, function, scratch, rows, columns, depth, alpha, a, a_row, a_step, b, b_step,
        b_column, c, c_row, more,
    ):  # fmt: skip
        word = i64(scratch)
        strip = _STRIP if diagonal > 1 - keys else rows
        for r in range(0, rows, max(1, strip)):
            height = min(strip, rows - r)
            column, start, stop = 0, 0, depth
            if part == _PAIRS:
                column = min(columns, max(0, r + diagonal))
            elif part == _OVER_KEYS:
                stop = max(0, min(depth, r + height - diagonal))
            else:
                start = min(depth, max(0, r + diagonal))
            word[0] = a + (r * a_row + start * a_step) * size
            word[1] = b + (start * b_step + column * b_column) * size
            word[2] = c + (r * c_row + column) * size
            word[3] = word[2] if more else 0
            word[4], word[5], word[6] = height, columns - column, stop - start
            word[7], word[8], word[9], word[10], word[11], word[12] = (
                a_row,
                a_step,
                b_step,
                b_column,
                c_row,
                c_row,
            )
            word[13], word[23], word[26], word[27], word[28] = 1, 0, 1, 1, int(b_column != 1)
            word[24], word[25] = height, columns - column
            for batch in range(14, 22):
                word[batch] = 0
            pointer(scratch + 8 * 22)[0] = alpha
            if column < columns:
                call(function, scratch, 0, 1, scratch + _WORDS)

    return product


def _turn(real):
    """``(function, scratch, source, row, rows, columns, target, target_row)``: transpose, by ``gemm.pack``."""

    @inline
    def turn(function, scratch, source, row, rows, columns, target, target_row):
        word = i64(scratch)
        word[0], word[1], word[2], word[3] = source, target, columns, rows
        word[4], word[5], word[6], word[7] = 1, row, target_row, 1
        word[8], word[9], word[10], word[11] = 0, 0, 0, 1 << 30
        call(function, scratch, 0, 1, scratch + _WORDS)

    return turn


def forward(real):
    """O, and m = max S and l = log Σ e^{S − m}, of blocks of queries.

    ======== =============================================================================================
    0–4      addresses of Q (Tq, d), K (Tk, d), V (Tk, dv), O (Tq, dv) and l (matrices, Tq)
    5 6      matrices: outer · inner of them; size of the inner batch dimension
    7–10     Tq, Tk, d, dv
    11       bits of τ
    12       whether query i sees only keys j ≤ i
    13–24    strides of Q, of K, of V, of O: of the outer and the inner batch dimension, of rows
    25 26    mask: 0 none; 1 bytes, 0 where attention is forbidden; 2 numbers to add, −∞ where it is; address
    27–30    strides of the mask: of the outer and the inner batch dimension, of queries, of keys
    31–34    dropout: addresses of the random key (0: no dropout) and counter, stream, bits of p
    35–39    addresses of gemm.multiply, attention_tile.silencing, gemm.pack, attention_tile.mask and .dropout
             (0 for those that aren't needed)
    40       address of m (matrices, Tq)
    ======== =============================================================================================

    Strides are in numbers; columns of Q, K, V and O are contiguous. Weight (matrix, i, j) has the random
    number (matrix · Tq + i) · Tk + j of its stream. A tile is a block of queries of one matrix.
    """
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    zero, one, infinity, log = real.type(0), real.type(1), real.type(math.inf), vecmath.log(real)
    product, turn, online_softmax = _product(real), _turn(real), simd_attention.online_softmax(real)

    def kernel(arguments, first, last, scratch):
        word, described = i64(arguments), i64(scratch)
        tau, dv = pointer(arguments + 8 * 11)[0], word[10]
        blocks = -(-word[7] // _QUERIES)
        step = -(-min(_QUERIES, word[7]) // lanes) * lanes
        stride = step * size
        tops = scratch + _WORDS
        totals, factors, tile = tops + stride, tops + 2 * stride, tops + 3 * stride
        other, spare = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        turned = tile + 3 * _KEYS * stride
        below = turned + _DEPTH * stride
        top, total, factor = pointer(tops), pointer(totals), pointer(factors)
        for unit in range(first, last):
            matrix = unit // blocks
            query = (unit - matrix * blocks) * _QUERIES
            queries = min(_QUERIES, word[7] - query)
            outer = matrix // word[6]
            inner = matrix - outer * word[6]
            q = word[0] + (outer * word[13] + inner * word[14] + query * word[15]) * size
            k = word[1] + (outer * word[16] + inner * word[17]) * size
            v = word[2] + (outer * word[19] + inner * word[20]) * size
            o = word[3] + (outer * word[22] + inner * word[23] + query * word[24]) * size
            q_step, q_column = 1, word[15]
            if word[9] <= _DEPTH:
                turn(word[37], below, q, word[15], queries, word[9], turned, step)
                q, q_step, q_column = turned, step, 1
            past = min(word[8], query + queries) if word[12] != 0 else word[8]
            described[0], described[1], described[2], described[3] = arguments, matrix, outer, inner
            described[4], described[5], described[8], described[9] = query, queries, tile, stride
            described[10], described[11] = other, spare
            function = word[35]
            while True:
                for c in range(step):
                    top[c], total[c] = -infinity, zero
                for key in range(0, past, _KEYS):
                    keys = min(_KEYS, past - key)
                    diagonal = key - query if word[12] != 0 else _ANYWHERE
                    described[6], described[7] = key, keys
                    product(
                        _PAIRS, diagonal, keys, word[35], below, keys, queries, word[9], tau,
                        k + key * word[18] * size, word[18], 1, q, q_step, q_column, tile, step, False,
                    )  # fmt: skip
                    if word[25] != 0:
                        call(word[38], scratch, 0, 1, below)
                    for r in range(keys):
                        row = pointer(tile + r * stride)
                        for c in range(min(queries, r + diagonal)):
                            row[c] = -infinity
                    online_softmax(tile, stride, keys, queries, tops, totals, factors)
                    if word[31] != 0:
                        call(word[39], scratch, 1, 1, below)
                    for c in range(queries if key > 0 else 0):
                        row, scale = pointer(o + c * word[24] * size), factor[c]
                        if scale != one:
                            for j in range(dv):
                                row[j] *= scale
                    product(
                        _OVER_KEYS, diagonal, keys, function, below, queries, dv, keys, one,
                        tile, 1, step, v + key * word[21] * size, word[21], 1, o, word[24], key > 0,
                    )  # fmt: skip
                rubbish = 0
                for c in range(queries):
                    row = pointer(o + c * word[24] * size)
                    if total[c] == zero:
                        for j in range(dv):
                            row[j] = zero
                    else:
                        scale = one / total[c]
                        for j in range(dv):
                            row[j] *= scale
                            rubbish |= select(row[j] == row[j], 0, 1)
                if rubbish == 0 or function == word[36]:
                    break
                function = word[36]
            row = (matrix * word[7] + query) * size
            log_sum, highest = pointer(word[4] + row), pointer(word[40] + row)
            for c in range(step):
                factor[c] = select(total[c] == zero, zero, log(total[c]))
            for c in range(queries):
                log_sum[c], highest[c] = factor[c], select(total[c] == zero, zero, top[c])

    return kernel


def backward(real):
    """Q̄, K̄ and V̄, and S̄ if it is asked for, of parts of the keys.

    Words 0 to 40 as in :func:`forward`, but that 3 is the address of G, and 22 to 24 are its strides. Then

    ===== ================================================================================================
    41    address of D (matrices, Tq)
    42–44 addresses of Q̄ (parts, …, Tq, d), K̄ (…, Tk, d), V̄ (…, Tk, dv)
    45    address of S̄ (matrices, Tq, Tk), filled with 0, or 0
    46–54 strides of Q̄, of K̄, of V̄: of the outer and the inner batch dimension, of rows
    55    stride of Q̄ from part to part
    56 57 parts that the keys are cut into; keys in a part
    ===== ================================================================================================

    A tile is one part of one matrix: it has its keys' K̄ and V̄ and a share of all Q̄ to itself; the shares
    of several parts are to be added up.
    """
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    zero, one, infinity = real.type(0), real.type(1), real.type(math.inf)
    product, turn, softmax_backward = _product(real), _turn(real), simd_attention.softmax_backward(real)

    def kernel(arguments, first, last, scratch):
        word, described = i64(arguments), i64(scratch)
        tau, count, d, dv = pointer(arguments + 8 * 11)[0], word[7], word[9], word[10]
        q_row, k_row, v_row, g_row = word[15], word[18], word[21], word[24]
        step = -(-min(_QUERIES, count) // lanes) * lanes
        stride = step * size
        tops = scratch + _WORDS
        log_sums, means, tile = tops + stride, tops + 2 * stride, tops + 3 * stride
        moved, other = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        spare, turned_q = tile + 3 * _KEYS * stride, tile + 4 * _KEYS * stride
        turned_g = turned_q + _DEPTH * stride
        below = turned_g + _DEPTH * stride
        for unit in range(first, last):
            matrix = unit // word[56]
            part = unit - matrix * word[56]
            start = part * word[57]
            past = min(word[8], start + word[57])
            outer = matrix // word[6]
            inner = matrix - outer * word[6]
            q = word[0] + (outer * word[13] + inner * word[14]) * size
            k = word[1] + (outer * word[16] + inner * word[17]) * size
            v = word[2] + (outer * word[19] + inner * word[20]) * size
            g = word[3] + (outer * word[22] + inner * word[23]) * size
            dq = word[42] + (outer * word[46] + inner * word[47] + part * word[55]) * size
            dk = word[43] + (outer * word[49] + inner * word[50]) * size
            dvalues = word[44] + (outer * word[52] + inner * word[53]) * size
            described[0], described[1], described[2], described[3] = arguments, matrix, outer, inner
            described[9], described[10], described[11] = stride, other, spare
            function = word[35]
            while True:
                for result in range(3):
                    to, row, width = dq, word[48], d
                    if result > 0:
                        to, row = dk + start * word[51] * size, word[51]
                    if result == 2:
                        to, row, width = dvalues + start * word[54] * size, word[54], dv
                    for r in range(count if result == 0 else past - start):
                        out = pointer(to + r * row * size)
                        for j in range(width):
                            out[j] = zero
                for query in range(start // _QUERIES * _QUERIES if word[12] != 0 else 0, count, _QUERIES):
                    queries = min(_QUERIES, count - query)
                    for c in range(queries):
                        place = matrix * count + query + c
                        pointer(tops)[c] = pointer(word[40])[place]
                        pointer(log_sums)[c] = pointer(word[4])[place]
                        pointer(means)[c] = pointer(word[41])[place]
                    q_here, g_here = q + query * q_row * size, g + query * g_row * size
                    q_turned, q_step, q_column = q_here, 1, q_row
                    if d <= _DEPTH:
                        turn(word[37], below, q_here, q_row, queries, d, turned_q, step)
                        q_turned, q_step, q_column = turned_q, step, 1
                    g_turned, g_step, g_column = g_here, 1, g_row
                    if dv <= _DEPTH:
                        turn(word[37], below, g_here, g_row, queries, dv, turned_g, step)
                        g_turned, g_step, g_column = turned_g, step, 1
                    described[4], described[5] = query, queries
                    end = min(past, query + queries) if word[12] != 0 else past
                    for key in range(start, end, _KEYS):
                        keys = min(_KEYS, end - key)
                        diagonal = key - query if word[12] != 0 else _ANYWHERE
                        described[6], described[7], described[8] = key, keys, tile
                        k_here, v_here = k + key * k_row * size, v + key * v_row * size
                        product(
                            _PAIRS, diagonal, keys, word[35], below, keys, queries, d, tau,
                            k_here, k_row, 1, q_turned, q_step, q_column, tile, step, False,
                        )  # fmt: skip
                        if word[25] != 0:
                            call(word[38], scratch, 0, 1, below)
                        for r in range(keys):
                            row_of_tile = pointer(tile + r * stride)
                            for c in range(min(queries, r + diagonal)):
                                row_of_tile[c] = -infinity
                        product(
                            _PAIRS, diagonal, keys, word[35], below, keys, queries, dv, one,
                            v_here, v_row, 1, g_turned, g_step, g_column, moved, step, False,
                        )  # fmt: skip
                        if word[31] != 0:
                            described[8] = moved
                            call(word[39], scratch, 1, 1, below)
                        softmax_backward(tile, moved, stride, keys, queries, tops, log_sums, means)
                        if word[31] != 0:
                            described[8] = tile
                            call(word[39], scratch, 0, 1, below)
                        product(
                            _OVER_QUERIES, diagonal, keys, function, below, keys, dv, queries, one,
                            tile, step, 1, g_here, g_row, 1, dvalues + key * word[54] * size, word[54], True,
                        )  # fmt: skip
                        product(
                            _OVER_QUERIES, diagonal, keys, function, below, keys, d, queries, tau,
                            moved, step, 1, q_here, q_row, 1, dk + key * word[51] * size, word[51], True,
                        )  # fmt: skip
                        product(
                            _OVER_KEYS, diagonal, keys, function, below, queries, d, keys, tau,
                            moved, 1, step, k_here, k_row, 1, dq + query * word[48] * size, word[48], True,
                        )  # fmt: skip
                        for c in range(queries if word[45] != 0 else 0):
                            place = (matrix * count + query + c) * word[8] + key
                            for r in range(keys):
                                pointer(word[45])[place + r] = pointer(moved + r * stride)[c]
                rubbish = 0
                for result in range(3):
                    to, row, width = dq, word[48], d
                    if result > 0:
                        to, row = dk + start * word[51] * size, word[51]
                    if result == 2:
                        to, row, width = dvalues + start * word[54] * size, word[54], dv
                    for r in range(count if result == 0 else past - start):
                        out = pointer(to + r * row * size)
                        for j in range(width):
                            rubbish |= select(out[j] == out[j], 0, 1)
                if rubbish == 0 or function == word[36]:
                    break
                function = word[36]

    return kernel
