"""Scaled dot-product attention and its derivative, without a matrix of queries by keys in memory.

    S = τ Q Kᵀ + M,    P = e^{S − L},    O = (P ⊙ Z) V;        V̄ = (P ⊙ Z)ᵀ G,    P̄ = (G Vᵀ) ⊙ Z,
    S̄ = P ⊙ (P̄ − D),    Q̄ = τ S̄ K,    K̄ = τ S̄ᵀ Q        (see tinyattn/ops/attention.py)

The scores exist one tile at a time, in scratch memory, for a block of queries and a block of keys. The tile
is kept transposed, a row for each key: Qᵀ is laid out once for all blocks of keys, maxima and sums run down
columns (:mod:`tinyattn.kernels.simd_attention`), and all five products are register micro-tiles
(:mod:`tinyattn.kernels.simd_gemm`), which read their left matrix with any strides:

    Sᵀ = K · Qᵀ      P̄ᵀ = V · Gᵀ      O += P · V      V̄ += Pᵀ · G      K̄ += S̄ᵀ · Q      Q̄ += S̄ · K

With a causal mask the keys after the last query of the block are never visited, and on the diagonal the
micro-tiles that lie beyond it aren't either.

**What is silenced.** A weight of 0 times NaN or ∞ is NaN, so rubbish behind a mask shows in the result. That
is rare, and the result tells: where a tile's result has a NaN, the tile is done again with products that
leave out the zeros.

Milakov and Gimelshein 2018 (the running maximum); Rabe and Staats 2021; Dao et al. 2022 (algorithms 1, 4).
"""

import math

from tinyattn.kernels import blocking, simd_attention, simd_gemm, vecmath
from tinyattn.kernels.gemm import block_rows, packing
from tinyattn.kernels.random import uniform_of_words, words_of
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i32, i64, select, u8
from tinyattn.kernels.tiling import ATTENTION_DEPTH, ATTENTION_KEYS, ATTENTION_QUERIES

_QUERIES, _KEYS, _DEPTH = ATTENTION_QUERIES, ATTENTION_KEYS, ATTENTION_DEPTH
_ANYWHERE = -(1 << 40)
"""The place of the diagonal if there is none: every key is before every query."""

# Which part of a product the diagonal leaves: pairs of key r and query c of the tile count if c ≥ r + diagonal.
_PAIRS, _OVER_KEYS, _OVER_QUERIES = range(3)


def _product(real):
    """``(part, diagonal, guard, rows, columns, depth, α, a, a_row, a_step, b, b_step, c, c_row, more, panel)``.

    C = α A B, or with ``more`` C += α A B. ``part``: _PAIRS: C is a tile, keys by queries; _OVER_KEYS: C has
    a row for each query and the sum is over keys; _OVER_QUERIES: the other way round. What lies behind the
    diagonal is left out, or undefined in C. With ``guard`` a 0 in A silences what it meets. ``panel`` is
    memory for a copy of a part of B, on machines that cannot read parts of vectors.
    """
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    micro, copy, zero = simd_gemm.micro_tile(real), simd_gemm.copy_vector(real), real.type(0)
    wide_rows, most_rows = blocking.WIDE_ROWS, blocking.ROWS
    single, wide, narrow = (lanes * blocking.panel_vectors(rows) for rows in (1, wide_rows, most_rows))
    part_of_vector = 0 if blocking.MASKED_LOADS else lanes - 1

    @inline
    def product(
        part, diagonal, guard, rows, columns, depth, alpha, a, a_row, a_step, b, b_step, c, c_row, more, panel
    ):
        width = single if rows == 1 else wide if rows <= wide_rows else narrow
        for j in range(0, columns, width):
            here = min(width, columns - j)
            vectors = -(-here // lanes)
            source, step = b + j * size, b_step
            if here & part_of_vector:
                for k in range(depth):
                    for i in range(0, here, lanes):
                        copy(source + k * step + i * size, panel + (k * width + i) * size, min(lanes, here - i))
                source, step = panel, width * size
            r = 0
            while r < rows:
                height = block_rows(rows - r)
                start, stop = 0, depth
                if part == 1:
                    stop = max(0, min(depth, r + height - diagonal))
                elif part == 2:
                    start = min(depth, max(0, r + diagonal))
                target = c + r * c_row + j * size
                added = target if more else 0
                if part != 0 or j + here > r + diagonal:
                    if guard:
                        for i in range(r, r + height):
                            out = pointer(c + i * c_row + j * size)
                            if not more:
                                for n in range(here):
                                    out[n] = zero
                            for k in range(start, stop):
                                x, row = pointer(a + i * a_row + k * a_step)[0], pointer(source + k * step)
                                if x != zero:
                                    for n in range(here):
                                        out[n] += alpha * x * row[n]
                    else:
                        micro(
                            *(height, vectors, here - (vectors - 1) * lanes, stop - start, alpha),
                            *(a + r * a_row + start * a_step, a_row, a_step, source + start * step, step),
                            *(target, c_row, added, c_row),
                        )
                r += height

    return product


def _masks(real):
    """``(word, outer, inner, query, queries, key, keys, tile, stride, other, spare)``: −∞ and biases into a
    tile. ``other`` and ``spare`` have room for a tile each.
    """
    pointer, size, infinity, zero = real.pointer, real.size, real.type(math.inf), real.type(0)
    turn = packing(real)

    @inline
    def masks(word, outer, inner, query, queries, key, keys, tile, stride, other, spare):
        if word[25] != 0:
            unit = 1 if word[25] == 1 else size
            by_query, by_key = word[29] * unit, word[30] * unit
            mask = word[26] + (outer * word[27] + inner * word[28]) * unit + query * by_query + key * by_key
            if word[25] == 1:
                # As numbers to add; a row of keys for each query, or one for all.
                for c in range(1 if by_query == 0 else queries):
                    allowed, bias = u8(mask + c * by_query), pointer(spare + c * keys * size)
                    for r in range(keys):
                        bias[r] = zero if allowed[r * by_key] != 0 else -infinity
                mask, by_query, by_key = spare, 0 if by_query == 0 else keys * size, size
            if by_query != 0:
                turn(mask, by_query, queries, by_key, keys, other, stride)
            for r in range(keys):
                scores, bias = pointer(tile + r * stride), pointer(other + r * stride)
                if by_query == 0:
                    shared = pointer(mask + r * by_key)[0]
                    for c in range(queries):
                        bias[c] = shared
                for c in range(queries):
                    scores[c] = select(bias[c] == -infinity, -infinity, scores[c] + bias[c])
        if word[12] != 0:
            for r in range(keys):
                scores = pointer(tile + r * stride)
                for c in range(min(queries, key + r - query)):
                    scores[c] = -infinity

    return masks


def _kept(real):
    """``(word, matrix, query, queries, key, keys, kept, stride, words)``: Z of a tile, 0 or 1 / (1 − p)."""
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    words_a_number, fill, number = real.size // 4, words_of, uniform_of_words(real)

    @inline
    def kept(word, p, matrix, query, queries, key, keys, kept, stride, words):
        scale = one / (one - p)
        for c in range(queries):
            first = ((matrix * word[7] + query + c) * word[8] + key) * words_a_number
            fill(word[31], word[32], word[33], first // 4, -(-(first % 4 + keys * words_a_number) // 4), words)
            drawn, column = i32(words + first % 4 * 4), kept + c * size
            for r in range(keys):
                pointer(column + r * stride)[0] = scale if number(drawn, r) >= p else zero

    return kept


def _rows(real):
    """Loops over rows of numbers: ``set_zero`` and ``has_nan``, both ``(address, stride, rows, columns)``,
    and ``multiply(tile, by, stride, rows, columns)``.
    """
    pointer, zero = real.pointer, real.type(0)

    @inline
    def set_zero(address, stride, rows, columns):
        for r in range(rows):
            row = pointer(address + r * stride)
            for j in range(columns):
                row[j] = zero

    @inline
    def has_nan(address, stride, rows, columns):
        found = 0
        for r in range(rows):
            row = pointer(address + r * stride)
            for j in range(columns):
                found |= select(row[j] == row[j], 0, 1)
        return found != 0

    @inline
    def multiply(tile, by, stride, rows, columns):
        for r in range(rows):
            row, factors = pointer(tile + r * stride), pointer(by + r * stride)
            for j in range(columns):
                row[j] *= factors[j]

    return set_zero, has_nan, multiply


def _pairs(real):
    """``(fresh, diagonal, keys, queries, width, α, a, a_row, b, b_row, turned, tile, stride, panel)``: the
    tile α A Bᵀ, a row for each key (of A) and a column for each query (of B).

    Bᵀ goes to ``turned`` and stays there for the next call, which isn't ``fresh``, unless it is too wide.
    """
    size, turn, product = real.size, packing(real), _product(real)

    @inline
    def pairs(fresh, diagonal, keys, queries, width, alpha, a, a_row, b, b_row, turned, tile, stride, panel):
        start = 0
        while True:
            depth = min(_DEPTH, width - start)
            if fresh or width > _DEPTH:
                turn(b + start * size, b_row, queries, size, depth, turned, stride)
            product(
                *(_PAIRS, diagonal, False, keys, queries, depth, alpha, a + start * size, a_row, size),
                *(turned, stride, tile, stride, start > 0, panel),
            )
            start += depth
            if start >= width:
                break

    return pairs


def forward(real):
    """O and L of blocks of queries.

    ======== =============================================================================================
    0–4      addresses of Q (Tq, d), K (Tk, d), V (Tk, dv), O (Tq, dv) and L (matrices, Tq)
    5 6      matrices: outer · inner of them; size of the inner batch dimension
    7–10     Tq, Tk, d, dv
    11       bits of τ
    12       whether query i sees only keys j ≤ i
    13–24    strides of Q, of K, of V, of O: of the outer and the inner batch dimension, of rows
    25 26    mask: 0 none; 1 bytes, 0 where attention is forbidden; 2 numbers to add, −∞ where it is; address
    27–30    strides of the mask: of the outer and the inner batch dimension, of queries, of keys
    31–34    dropout: addresses of the random key (0: no dropout) and counter, stream, bits of p
    ======== =============================================================================================

    Strides are in numbers; columns of Q, K, V and O are contiguous. Weight (matrix, i, j) has the random
    number (matrix · Tq + i) · Tk + j of its stream. A tile is a block of queries of one matrix.
    """
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    zero, one, infinity, log = real.type(0), real.type(1), real.type(math.inf), vecmath.log(real)
    product, pairs, masks, kept = _product(real), _pairs(real), _masks(real), _kept(real)
    set_zero, has_nan, multiply = _rows(real)
    online_softmax = simd_attention.online_softmax(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        tau, p = pointer(arguments + 8 * 11)[0], pointer(arguments + 8 * 34)[0]
        blocks = -(-word[7] // _QUERIES)
        most = min(_QUERIES, word[7])
        stride = -(-most // lanes) * lanes * size
        tops, totals, factors = scratch, scratch + stride, scratch + 2 * stride
        tile = scratch + 3 * stride
        other, spare = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        turned = tile + 3 * _KEYS * stride
        panel = turned + _DEPTH * stride
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
            q_row, k_row, v_row, o_row = word[15] * size, word[18] * size, word[21] * size, word[24] * size
            past = min(word[8], query + queries) if word[12] != 0 else word[8]
            guard = False
            while True:
                for c in range(stride // size):
                    top[c], total[c] = -infinity, zero
                for key in range(0, past, _KEYS):
                    keys = min(_KEYS, past - key)
                    diagonal = key - query if word[12] != 0 else _ANYWHERE
                    pairs(
                        *(key == 0, diagonal, keys, queries, word[9], tau, k + key * k_row, k_row, q, q_row),
                        *(turned, tile, stride, panel),
                    )
                    masks(word, outer, inner, query, queries, key, keys, tile, stride, other, spare)
                    online_softmax(tile, stride, keys, queries, tops, totals, factors)
                    if word[31] != 0:
                        kept(word, p, matrix, query, queries, key, keys, other, stride, spare)
                        multiply(tile, other, stride, keys, queries)
                    if key > 0:
                        for c in range(queries):
                            row, scale = pointer(o + c * o_row), factor[c]
                            if scale != one:
                                for j in range(word[10]):
                                    row[j] *= scale
                    product(
                        *(_OVER_KEYS, diagonal, guard, queries, word[10], keys, one, tile, size, stride),
                        *(v + key * v_row, v_row, o, o_row, key > 0, panel),
                    )
                for c in range(queries):
                    row = pointer(o + c * o_row)
                    if total[c] == zero:
                        set_zero(o + c * o_row, 0, 1, word[10])
                    else:
                        scale = one / total[c]
                        for j in range(word[10]):
                            row[j] *= scale
                if guard or not has_nan(o, o_row, queries, word[10]):
                    break
                guard = True
            log_sum = pointer(word[4] + (matrix * word[7] + query) * size)
            for c in range(queries):
                factor[c] = select(total[c] == zero, zero, top[c] + log(total[c]))
            for c in range(queries):
                log_sum[c] = factor[c]

    return kernel


def backward(real):
    """Q̄, K̄ and V̄, and S̄ if it is asked for, of parts of the keys.

    Words 0 to 34 as in :func:`forward`, but that 3 is the address of G, and 22 to 24 are its strides. Then

    ===== ================================================================================================
    35    address of D (matrices, Tq)
    36–38 addresses of Q̄ (parts, …, Tq, d), K̄ (…, Tk, d), V̄ (…, Tk, dv)
    39    address of S̄ (matrices, Tq, Tk), filled with 0, or 0
    40–48 strides of Q̄, of K̄, of V̄: of the outer and the inner batch dimension, of rows
    49    stride of Q̄ from part to part
    50 51 parts that the keys are cut into; keys in a part
    ===== ================================================================================================

    A tile is one part of one matrix: it has its keys' K̄ and V̄ and a share of all Q̄ to itself; the shares
    of several parts are to be added up.
    """
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    one = real.type(1)
    product, pairs, masks, kept = _product(real), _pairs(real), _masks(real), _kept(real)
    set_zero, has_nan, multiply = _rows(real)
    softmax_backward = simd_attention.softmax_backward(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        tau, p = pointer(arguments + 8 * 11)[0], pointer(arguments + 8 * 34)[0]
        count, parts, d, dv = word[7], word[50], word[9], word[10]
        stride = -(-min(_QUERIES, count) // lanes) * lanes * size
        log_sums, means = scratch, scratch + stride
        tile = scratch + 2 * stride
        moved, other = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        spare, turned_q = tile + 3 * _KEYS * stride, tile + 4 * _KEYS * stride
        turned_g = turned_q + _DEPTH * stride
        panel = turned_g + _DEPTH * stride
        q_row, k_row, v_row, g_row = word[15] * size, word[18] * size, word[21] * size, word[24] * size
        dq_row, dk_row, dv_row = word[42] * size, word[45] * size, word[48] * size
        for unit in range(first, last):
            matrix = unit // parts
            part = unit - matrix * parts
            start = part * word[51]
            past = min(word[8], start + word[51])
            outer = matrix // word[6]
            inner = matrix - outer * word[6]
            q = word[0] + (outer * word[13] + inner * word[14]) * size
            k = word[1] + (outer * word[16] + inner * word[17]) * size
            v = word[2] + (outer * word[19] + inner * word[20]) * size
            g = word[3] + (outer * word[22] + inner * word[23]) * size
            dq = word[36] + (outer * word[40] + inner * word[41] + part * word[49]) * size
            dk = word[37] + (outer * word[43] + inner * word[44] + start * word[45]) * size
            dv_ = word[38] + (outer * word[46] + inner * word[47] + start * word[48]) * size
            guard = False
            while True:
                set_zero(dq, dq_row, count, d)
                set_zero(dk, dk_row, past - start, d)
                set_zero(dv_, dv_row, past - start, dv)
                for query in range(start // _QUERIES * _QUERIES if word[12] != 0 else 0, count, _QUERIES):
                    queries = min(_QUERIES, count - query)
                    for c in range(queries):
                        pointer(log_sums)[c] = pointer(word[4])[matrix * count + query + c]
                        pointer(means)[c] = pointer(word[35])[matrix * count + query + c]
                    q_here, g_here = q + query * q_row, g + query * g_row
                    end = min(past, query + queries) if word[12] != 0 else past
                    for key in range(start, end, _KEYS):
                        keys = min(_KEYS, end - key)
                        diagonal = key - query if word[12] != 0 else _ANYWHERE
                        fresh = key == start
                        pairs(
                            *(fresh, diagonal, keys, queries, d, tau, k + key * k_row, k_row),
                            *(q_here, q_row, turned_q, tile, stride, panel),
                        )
                        masks(word, outer, inner, query, queries, key, keys, tile, stride, other, spare)
                        pairs(
                            *(fresh, diagonal, keys, queries, dv, one, v + key * v_row, v_row),
                            *(g_here, g_row, turned_g, moved, stride, panel),
                        )
                        if word[31] != 0:
                            kept(word, p, matrix, query, queries, key, keys, other, stride, spare)
                            multiply(moved, other, stride, keys, queries)
                        softmax_backward(tile, moved, stride, keys, queries, log_sums, means)
                        if word[31] != 0:
                            multiply(tile, other, stride, keys, queries)
                        product(
                            *(_OVER_QUERIES, diagonal, guard, keys, dv, queries, one, tile, stride, size),
                            *(g_here, g_row, dv_ + (key - start) * dv_row, dv_row, True, panel),
                        )
                        product(
                            *(_OVER_QUERIES, diagonal, guard, keys, d, queries, tau, moved, stride, size),
                            *(q_here, q_row, dk + (key - start) * dk_row, dk_row, True, panel),
                        )
                        product(
                            *(_OVER_KEYS, diagonal, guard, queries, d, keys, tau, moved, size, stride),
                            *(k + key * k_row, k_row, dq + query * dq_row, dq_row, True, panel),
                        )
                        if word[39] != 0:
                            for c in range(queries):
                                out = pointer(word[39] + ((matrix * count + query + c) * word[8] + key) * size)
                                for r in range(keys):
                                    out[r] = pointer(moved + r * stride)[c]
                if guard or not (
                    has_nan(dq, dq_row, count, d)
                    or has_nan(dk, dk_row, past - start, d)
                    or has_nan(dv_, dv_row, past - start, dv)
                ):
                    break
                guard = True

    return kernel
