"""The additive score of Bahdanau et al. (2015), with the tanh and the weighted sum in one pass.

    e[b, i, j] = Σ_a v[a] tanh(q[b, i, a] + k[b, j, a])

for queries q (B, Tq, A) and keys k (B, Tk, A) that are already multiplied by their matrices. With t the tanh
and d = de[b, i, j],

    dq[b, i, a] = v[a] Σ_j d (1 − t²),    dk[b, j, a] = v[a] Σ_i d (1 − t²),    dv[a] = Σ_bij d t

The backward kernel computes t again rather than keep B · Tq · Tk · A numbers, by far the largest array of a
model: reading it back from the outermost cache would make the two passes together faster by a third at best,
and from memory not at all.
"""

from tinyattn.kernels import vecmath
from tinyattn.kernels.lanes import dot
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64, select
from tinyattn.kernels.tiling import SCORE_COLUMNS, columns_of_score, scores_in_tile

_columns_of_score, _scores_in_tile = inline(columns_of_score), inline(scores_in_tile)


def additive_forward(real):
    """Scores of all pairs of a query and a key.

    ====== ============================================================
    0 1 2  address of q, stride of its batch entries, stride of its rows (in numbers; 0 repeats)
    3 4 5  the same for k
    6      address of v (A)
    7      address of e (B, Tq, Tk), contiguous
    8      B
    9      Tq
    10     Tk
    11     A
    ====== ============================================================
    """
    pointer, size, tanh, zero = real.pointer, real.size, vecmath.tanh(real), real.type(0)
    scores_in, most = _scores_in_tile, SCORE_COLUMNS

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        queries, keys, width = word[9], word[10], word[11]
        tile_size, e, t = scores_in(width), pointer(word[7]), pointer(scratch)
        at, past = first * tile_size, min(last * tile_size, word[8] * queries * keys)
        # Runs of scores that share a query; a tile may begin and end in the middle of one.
        while at < past:
            b, i, j = at // keys // queries, at // keys % queries, at % keys
            run = min(keys - j, past - at)
            q_row = word[0] + (b * word[1] + i * word[2]) * size
            k_row = word[3] + (b * word[4] + j * word[5]) * size
            for s in range(run):
                score = zero
                for column in range(0, width, most):
                    q, k = pointer(q_row + column * size), pointer(k_row + (s * word[5] + column) * size)
                    columns = min(most, width - column)
                    for a in range(columns):
                        t[a] = tanh(q[a] + k[a])
                    score += dot(t, pointer(word[6] + column * size), columns)
                e[at + s] = score
            at += run

    return kernel


def additive_backward(real):
    """Gradients of the scores. A key whose score has no gradient isn't looked at, so NaN behind a mask stays
    there.

    ====== ============================================================
    0 1 2  address of q, stride of its batch entries, stride of its rows
    3 4 5  the same for k
    6      address of v (A)
    7      address of de (B, Tq, Tk), contiguous
    8      B
    9      Tq
    10     Tk
    11     A
    12     address of dq (B, Tq, A), contiguous
    13     address of dk (B, Tk, A), contiguous
    14     1: add to what is in dk; 0: to zero
    15     address of dv (B, A), contiguous: to be summed over B
    16     1: add to what is in dv; 0: to zero
    ====== ============================================================
    """
    pointer, size, tanh = real.pointer, real.size, vecmath.tanh(real)
    columns_of, most = _columns_of_score, SCORE_COLUMNS
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        queries, keys, width = word[9], word[10], word[11]
        block = columns_of(word[8], width)
        blocks = (width + block - 1) // block
        # In one array, so that the inner loop has few pointers: v, the query, and the sums for dq and dv.
        s = pointer(scratch)
        for tile in range(first, last):
            b, column = tile // blocks, tile % blocks * block
            columns = min(block, width - column)
            v, dv = pointer(word[6] + column * size), pointer(word[15] + (b * width + column) * size)
            for a in range(columns):
                s[a] = v[a]
                s[a + 3 * most] = zero
            if word[14] == 0:
                for j in range(keys):
                    dk = pointer(word[13] + ((b * keys + j) * width + column) * size)
                    for a in range(columns):
                        dk[a] = zero
            for i in range(queries):
                q = pointer(word[0] + (b * word[1] + i * word[2] + column) * size)
                dq = pointer(word[12] + ((b * queries + i) * width + column) * size)
                de = pointer(word[7] + (b * queries + i) * keys * size)
                for a in range(columns):
                    s[a + most] = q[a]
                    s[a + 2 * most] = zero
                for j in range(keys):
                    k = pointer(word[3] + (b * word[4] + j * word[5] + column) * size)
                    dk = pointer(word[13] + ((b * keys + j) * width + column) * size)
                    d = de[j]
                    if d != zero:
                        for a in range(columns):
                            t = tanh(s[a + most] + k[a])
                            slope = d * (one - t * t)
                            s[a + 2 * most] += slope
                            s[a + 3 * most] += d * t
                            dk[a] += s[a] * slope
                for a in range(columns):
                    dq[a] = s[a] * s[a + 2 * most]
            for a in range(columns):
                dv[a] = select(word[16] == 0, zero, dv[a]) + s[a + 3 * most]

    return kernel
