"""The additive score of Bahdanau et al. (2015), with the tanh and the weighted sum in one pass.

    e[b, i, j] = Σ_a v[a] tanh(q[b, i, a] + k[b, j, a])

for queries q (B, Tq, A) and keys k (B, Tk, A) that are already multiplied by their matrices. With t the tanh
and d = de[b, i, j],

    dq[b, i, a] = v[a] Σ_j d (1 − t²),    dk[b, j, a] = v[a] Σ_i d (1 − t²),    dv[a] = Σ_bij d t

The backward kernel computes t again rather than keep B · Tq · Tk · A numbers, by far the largest array of a
model: reading it back from the outermost cache would make the two passes together faster by a third at best,
and from memory not at all.
"""

from tinyattn.kernels.calls.score import SCORE_COLUMNS, columns_of_score, scores_in_tile
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import vecmath
from tinyattn.kernels.language.lanes import dot
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64, select

_columns_of_score, _scores_in_tile = inline(columns_of_score), inline(scores_in_tile)


def additive_forward(real):
    """Scores of all pairs of a query and a key."""
    w = place("score.additive_forward")
    pointer, size, tanh, zero = real.pointer, real.size, vecmath.tanh(real), real.type(0)
    scores_in, most = _scores_in_tile, SCORE_COLUMNS

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        queries, keys, width = word[w.queries], word[w.keys], word[w.width]
        tile_size, e, t = scores_in(width), pointer(word[w.scores]), pointer(scratch)
        at, past = first * tile_size, min(last * tile_size, word[w.batches] * queries * keys)
        # Runs of scores that share a query; a tile may begin and end in the middle of one.
        while at < past:
            b, i, j = at // keys // queries, at // keys % queries, at % keys
            run = min(keys - j, past - at)
            q_row = word[w.q] + (b * word[w.q_batch] + i * word[w.q_row]) * size
            k_row = word[w.k] + (b * word[w.k_batch] + j * word[w.k_row]) * size
            for s in range(run):
                score = zero
                for column in range(0, width, most):
                    q = pointer(q_row + column * size)
                    k = pointer(k_row + (s * word[w.k_row] + column) * size)
                    columns = min(most, width - column)
                    for a in range(columns):
                        t[a] = tanh(q[a] + k[a])
                    score += dot(t, pointer(word[w.v] + column * size), columns)
                e[at + s] = score
            at += run

    return kernel


def additive_backward(real):
    """Gradients of the scores. A key whose score has no gradient isn't looked at, so NaN behind a mask stays
    there.
    """
    w = place("score.additive_backward")
    pointer, size, tanh = real.pointer, real.size, vecmath.tanh(real)
    columns_of, most = _columns_of_score, SCORE_COLUMNS
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        queries, keys, width = word[w.queries], word[w.keys], word[w.width]
        block = columns_of(word[w.batches], width)
        blocks = (width + block - 1) // block
        # In one array, so that the inner loop has few pointers: v, the query, and the sums for dq and dv.
        s = pointer(scratch)
        for tile in range(first, last):
            b, column = tile // blocks, tile % blocks * block
            columns = min(block, width - column)
            v, dv = pointer(word[w.v] + column * size), pointer(word[w.dv] + (b * width + column) * size)
            for a in range(columns):
                s[a] = v[a]
                s[a + 3 * most] = zero
            if word[w.dk_adding] == 0:
                for j in range(keys):
                    dk = pointer(word[w.dk] + ((b * keys + j) * width + column) * size)
                    for a in range(columns):
                        dk[a] = zero
            for i in range(queries):
                q = pointer(word[w.q] + (b * word[w.q_batch] + i * word[w.q_row] + column) * size)
                dq = pointer(word[w.dq] + ((b * queries + i) * width + column) * size)
                de = pointer(word[w.d_scores] + (b * queries + i) * keys * size)
                for a in range(columns):
                    s[a + most] = q[a]
                    s[a + 2 * most] = zero
                for j in range(keys):
                    k = pointer(word[w.k] + (b * word[w.k_batch] + j * word[w.k_row] + column) * size)
                    dk = pointer(word[w.dk] + ((b * keys + j) * width + column) * size)
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
                dv[a] = select(word[w.dv_adding] == 0, zero, dv[a]) + s[a + 3 * most]

    return kernel
