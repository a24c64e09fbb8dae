"""Scaled dot-product attention and its derivative, without a matrix of queries by keys in memory.

    S = τ Q Kᵀ + M,    P = e^{(S − m) − l},    O = (P ⊙ Z) V;        V̄ = (P ⊙ Z)ᵀ G,    P̄ = (G Vᵀ) ⊙ Z,
    S̄ = P ⊙ (P̄ − D),    Q̄ = τ S̄ K,    K̄ = τ S̄ᵀ Q        (see tinyattn/ops/attention/attention.py)

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

from tinyattn.kernels import simd_attention
from tinyattn.kernels.calls.attention import ATTENTION_DEPTH, ATTENTION_KEYS, ATTENTION_QUERIES
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import processor, vecmath
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import call, i64, select

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


def _matrix_at(real):
    """``(words, k, outer, inner)``: address of a matrix of the batch. Word k has that of the first; after it come
    the strides of the outer and the inner batch dimension, and of rows.
    """
    size = real.size

    @inline
    def matrix_at(word, k, outer, inner):
        return word[k] + (outer * word[k + 1] + inner * word[k + 2]) * size

    return matrix_at


def _product(real):
    """``(part, diagonal, keys, function, scratch, rows, columns, depth, α, a, a_row, a_step, b, b_step,
    b_column, c, c_row, more)``: C = α A B, or C += α A B with ``more``, by ``gemm.multiply`` or a kernel like
    it. Strides are in numbers. What lies behind the diagonal is left out.
    """
    w = place("gemm.multiply")
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
            word[w.a] = a + (r * a_row + start * a_step) * size
            word[w.b] = b + (start * b_step + column * b_column) * size
            word[w.c] = c + (r * c_row + column) * size
            word[w.d] = word[w.c] if more else 0
            word[w.rows], word[w.columns], word[w.inner] = height, columns - column, stop - start
            word[w.a_row], word[w.a_step] = a_row, a_step
            word[w.b_step], word[w.b_column] = b_step, b_column
            word[w.c_row], word[w.d_row] = c_row, c_row
            word[w.inner_matrices], word[w.function] = 1, 0
            word[w.units], word[w.group], word[w.copied] = 1, 1, int(b_column != 1)
            word[w.tile_rows], word[w.tile_columns] = height, columns - column
            for batch in range(w.a_batch, w.d_batch + 2):
                word[batch] = 0
            pointer(scratch + 8 * w.alpha)[0] = alpha
            if column < columns:
                call(function, scratch, 0, 1, scratch + _WORDS)

    return product


def turn_matrix(real):
    """``(function, scratch, source, row, column, rows, columns, target, target_row)``: transpose, by ``gemm.pack``.
    ``row`` and ``column`` are the strides of the source.
    """

    w = place("gemm.pack")

    @inline
    def turn(function, scratch, source, row, column, rows, columns, target, target_row):
        word = i64(scratch)
        word[w.source], word[w.target] = source, target
        word[w.inner], word[w.columns] = columns, rows
        word[w.source_row], word[w.source_column], word[w.target_row] = column, row, target_row
        word[w.source_batch], word[w.source_batch + 1], word[w.target_matrix] = 0, 0, 0
        word[w.inner_matrices], word[w.tile_columns] = 1, 1 << 30
        call(function, scratch, 0, 1, scratch + _WORDS)

    return turn


def _turned(real):
    """``(word, x, row, rows, width, scratch, room, step) -> address, strides of Xᵀ's rows and columns``: X of the
    given rows as the right operand of a product, laid out in ``room`` unless it is too wide for that.
    """
    turn, w = turn_matrix(real), place("attention.forward")

    @inline
    def turned(word, x, row, rows, width, scratch, room, step):
        if width > _DEPTH:
            return x, 1, row
        turn(word[w.pack], scratch, x, row, 1, rows, width, room, step)
        return room, step, 1

    return turned


def _scores(real):
    """``(word, described, diagonal, τ, k, q, q_step, q_column, scratch)``: the tile of a tile description, masked."""
    pointer, size, infinity, product = real.pointer, real.size, real.type(math.inf), _product(real)
    w, of = place("attention.forward"), place("attention_tile.mask")

    @inline
    def scores(word, description, diagonal, tau, k, q, q_step, q_column, scratch):
        described = i64(description)
        keys, queries = described[of.keys], described[of.queries]
        tile, stride = described[of.tile], described[of.stride]
        product(
            _PAIRS, diagonal, keys, word[w.multiply], scratch, keys, queries, word[w.width], tau,
            k, word[w.k + 3], 1, q, q_step, q_column, tile, stride // size, False,
        )  # fmt: skip
        if word[w.masking] != 0:
            call(word[w.mask_tile], description, 0, 1, scratch)
        for r in range(keys):
            row = pointer(tile + r * stride)
            for c in range(min(queries, r + diagonal)):
                row[c] = -infinity

    return scores


def _results(real):
    """Two functions of the rows of a matrix, ``(at, stride, rows, width)``: the first makes them 0, the second tells
    whether there is a NaN in them (1 or 0).
    """
    pointer, size, zero = real.pointer, real.size, real.type(0)

    @inline
    def clear(at, row, rows, width):
        for r in range(rows):
            line = pointer(at + r * row * size)
            for j in range(width):
                line[j] = zero

    @inline
    def rubbish(at, row, rows, width):
        found = 0
        for r in range(rows):
            line = pointer(at + r * row * size)
            for j in range(width):
                found |= select(line[j] == line[j], 0, 1)
        return found

    return clear, rubbish


def forward(real):
    """O, and m = max S and l = log Σ e^{S − m}, of blocks of queries. Weight (matrix, i, j) has the random
    number (matrix · Tq + i) · Tk + j of its stream. A tile is a block of queries of one matrix.
    """
    w, of = place("attention.forward"), place("attention_tile.mask")
    pointer, size, lanes = real.pointer, real.size, processor.lanes(real.name)
    zero, one, infinity, log = real.type(0), real.type(1), real.type(math.inf), vecmath.log(real)
    matrix_at, product, turned, scores = _matrix_at(real), _product(real), _turned(real), _scores(real)
    online_softmax = simd_attention.online_softmax(real)

    def kernel(arguments, first, last, scratch):
        word, described = i64(arguments), i64(scratch)
        tau, dv = pointer(arguments + 8 * w.scale)[0], word[w.value_width]
        q_row, k_row, v_row, o_row = word[w.q + 3], word[w.k + 3], word[w.v + 3], word[w.out + 3]
        blocks = -(-word[w.queries] // _QUERIES)
        step = -(-min(_QUERIES, word[w.queries]) // lanes) * lanes
        stride = step * size
        tops = scratch + _WORDS
        totals, factors, tile = tops + stride, tops + 2 * stride, tops + 3 * stride
        other, spare = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        turned_q = tile + 3 * _KEYS * stride
        below = turned_q + _DEPTH * stride
        top, total, factor = pointer(tops), pointer(totals), pointer(factors)
        for unit in range(first, last):
            matrix = unit // blocks
            query = (unit - matrix * blocks) * _QUERIES
            queries = min(_QUERIES, word[w.queries] - query)
            outer = matrix // word[w.inner]
            inner = matrix - outer * word[w.inner]
            q = matrix_at(word, w.q, outer, inner) + query * q_row * size
            k = matrix_at(word, w.k, outer, inner)
            v = matrix_at(word, w.v, outer, inner)
            o = matrix_at(word, w.out, outer, inner) + query * o_row * size
            q, q_step, q_column = turned(word, q, q_row, queries, word[w.width], below, turned_q, step)
            past = min(word[w.keys], query + queries) if word[w.causal] != 0 else word[w.keys]
            described[of.arguments], described[of.matrix] = arguments, matrix
            described[of.outer], described[of.inner] = outer, inner
            described[of.query], described[of.queries] = query, queries
            described[of.tile], described[of.stride] = tile, stride
            described[of.factors], described[of.room] = other, spare
            function = word[w.multiply]
            while True:
                for c in range(step):
                    top[c], total[c] = -infinity, zero
                for key in range(0, past, _KEYS):
                    keys = min(_KEYS, past - key)
                    diagonal = key - query if word[w.causal] != 0 else _ANYWHERE
                    described[of.key], described[of.keys] = key, keys
                    k_here = k + key * k_row * size
                    scores(word, scratch, diagonal, tau, k_here, q, q_step, q_column, below)
                    online_softmax(tile, stride, keys, queries, tops, totals, factors)
                    if word[w.random_key] != 0:
                        call(word[w.drop_tile], scratch, 1, 1, below)
                    for c in range(queries if key > 0 else 0):
                        row, scale = pointer(o + c * o_row * size), factor[c]
                        if scale != one:
                            for j in range(dv):
                                row[j] *= scale
                    product(
                        _OVER_KEYS, diagonal, keys, function, below, queries, dv, keys, one,
                        tile, 1, step, v + key * v_row * size, v_row, 1, o, o_row, key > 0,
                    )  # fmt: skip
                rubbish = 0
                for c in range(queries):
                    row = pointer(o + c * o_row * size)
                    if total[c] == zero:
                        for j in range(dv):
                            row[j] = zero
                    else:
                        scale = one / total[c]
                        for j in range(dv):
                            row[j] *= scale
                            rubbish |= select(row[j] == row[j], 0, 1)
                if rubbish == 0 or function == word[w.silencing]:
                    break
                function = word[w.silencing]
            row = (matrix * word[w.queries] + query) * size
            log_sum, highest = pointer(word[w.log_sums] + row), pointer(word[w.tops] + row)
            for c in range(step):
                factor[c] = select(total[c] == zero, zero, log(total[c]))
            for c in range(queries):
                log_sum[c], highest[c] = factor[c], select(total[c] == zero, zero, top[c])

    return kernel


def backward(real):
    """Q̄, K̄ and V̄, and S̄ if it is asked for, of parts of the keys. A tile is one part of one matrix: it
    has its keys' K̄ and V̄ and a share of all Q̄ to itself; the shares of several parts are to be added up.
    """
    w, of = place("attention.backward"), place("attention_tile.mask")
    pointer, size, lanes = real.pointer, real.size, processor.lanes(real.name)
    one, (clear, rubbish_in) = real.type(1), _results(real)
    matrix_at, product, turned, scores = _matrix_at(real), _product(real), _turned(real), _scores(real)
    softmax_backward = simd_attention.softmax_backward(real)

    def kernel(arguments, first, last, scratch):
        word, described = i64(arguments), i64(scratch)
        tau, count = pointer(arguments + 8 * w.scale)[0], word[w.queries]
        d, dv = word[w.width], word[w.value_width]
        q_row, k_row, v_row, g_row = word[w.q + 3], word[w.k + 3], word[w.v + 3], word[w.g + 3]
        dq_row, dk_row, dv_row = word[w.dq + 3], word[w.dk + 3], word[w.dv + 3]
        step = -(-min(_QUERIES, count) // lanes) * lanes
        stride = step * size
        tops = scratch + _WORDS
        log_sums, means, tile = tops + stride, tops + 2 * stride, tops + 3 * stride
        moved, other = tile + _KEYS * stride, tile + 2 * _KEYS * stride
        spare, turned_q = tile + 3 * _KEYS * stride, tile + 4 * _KEYS * stride
        turned_g = turned_q + _DEPTH * stride
        below = turned_g + _DEPTH * stride
        for unit in range(first, last):
            matrix = unit // word[w.parts]
            part = unit - matrix * word[w.parts]
            start = part * word[w.part_keys]
            past = min(word[w.keys], start + word[w.part_keys])
            outer = matrix // word[w.inner]
            inner = matrix - outer * word[w.inner]
            q = matrix_at(word, w.q, outer, inner)
            k = matrix_at(word, w.k, outer, inner)
            v = matrix_at(word, w.v, outer, inner)
            g = matrix_at(word, w.g, outer, inner)
            dq = matrix_at(word, w.dq, outer, inner) + part * word[w.share] * size
            dk = matrix_at(word, w.dk, outer, inner)
            dvalues = matrix_at(word, w.dv, outer, inner)
            dk_here, dv_here = dk + start * dk_row * size, dvalues + start * dv_row * size
            described[of.arguments], described[of.matrix] = arguments, matrix
            described[of.outer], described[of.inner] = outer, inner
            described[of.stride], described[of.factors], described[of.room] = stride, other, spare
            function = word[w.multiply]
            while True:
                clear(dq, dq_row, count, d)
                clear(dk_here, dk_row, past - start, d)
                clear(dv_here, dv_row, past - start, dv)
                for query in range(
                    start // _QUERIES * _QUERIES if word[w.causal] != 0 else 0, count, _QUERIES
                ):
                    queries = min(_QUERIES, count - query)
                    for c in range(queries):
                        place = matrix * count + query + c
                        pointer(tops)[c] = pointer(word[w.tops])[place]
                        pointer(log_sums)[c] = pointer(word[w.log_sums])[place]
                        pointer(means)[c] = pointer(word[w.means])[place]
                    q_here, g_here = q + query * q_row * size, g + query * g_row * size
                    q_turned, q_step, q_column = turned(
                        word, q_here, q_row, queries, d, below, turned_q, step
                    )
                    g_turned, g_step, g_column = turned(
                        word, g_here, g_row, queries, dv, below, turned_g, step
                    )
                    described[of.query], described[of.queries] = query, queries
                    end = min(past, query + queries) if word[w.causal] != 0 else past
                    for key in range(start, end, _KEYS):
                        keys = min(_KEYS, end - key)
                        diagonal = key - query if word[w.causal] != 0 else _ANYWHERE
                        described[of.key], described[of.keys], described[of.tile] = key, keys, tile
                        k_here, v_here = k + key * k_row * size, v + key * v_row * size
                        scores(word, scratch, diagonal, tau, k_here, q_turned, q_step, q_column, below)
                        product(
                            _PAIRS, diagonal, keys, word[w.multiply], below, keys, queries, dv, one,
                            v_here, v_row, 1, g_turned, g_step, g_column, moved, step, False,
                        )  # fmt: skip
                        if word[w.random_key] != 0:
                            described[of.tile] = moved
                            call(word[w.drop_tile], scratch, 1, 1, below)
                        softmax_backward(tile, moved, stride, keys, queries, tops, log_sums, means)
                        if word[w.random_key] != 0:
                            described[of.tile] = tile
                            call(word[w.drop_tile], scratch, 0, 1, below)
                        product(
                            _OVER_QUERIES, diagonal, keys, function, below, keys, dv, queries, one,
                            tile, step, 1, g_here, g_row, 1, dvalues + key * dv_row * size, dv_row, True,
                        )  # fmt: skip
                        product(
                            _OVER_QUERIES, diagonal, keys, function, below, keys, d, queries, tau,
                            moved, step, 1, q_here, q_row, 1, dk + key * dk_row * size, dk_row, True,
                        )  # fmt: skip
                        product(
                            _OVER_KEYS, diagonal, keys, function, below, queries, d, keys, tau,
                            moved, 1, step, k_here, k_row, 1, dq + query * dq_row * size, dq_row, True,
                        )  # fmt: skip
                        for c in range(queries if word[w.d_scores] != 0 else 0):
                            place = (matrix * count + query + c) * word[w.keys] + key
                            for r in range(keys):
                                pointer(word[w.d_scores])[place + r] = pointer(moved + r * stride)[c]
                rubbish = rubbish_in(dq, dq_row, count, d)
                rubbish |= rubbish_in(dk_here, dk_row, past - start, d)
                rubbish |= rubbish_in(dv_here, dv_row, past - start, dv)
                if rubbish == 0 or function == word[w.silencing]:
                    break
                function = word[w.silencing]

    return kernel
