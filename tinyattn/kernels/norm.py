"""Layer normalisation and RMS normalisation of the rows of a matrix, and their derivative.

    x̂ = (x − μ) ρ,   y = g x̂ + b;        u = dy g,   dx = ρ (u − mean u − x̂ mean(u x̂)),   dg = Σ dy x̂,   db = Σ dy

The variance is the mean of the squared deviations from the mean that was just found: a second pass over a
row that is in the nearest cache costs little, and the difference of two large sums would lose every digit.
Where nothing is to be centred, μ is 0 and the term mean u is left out.

The sums over rows, dg and db, are taken by tile: each writes the sums of its own rows, and ``reduce.columns``
adds up those of all tiles. Which rows make a tile depends on the sizes alone, so the bits of the sums don't
depend on the number of threads.
"""

from tinyattn.kernels.calls.norm import rows_of_norm, rows_of_norm_backward
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.passes import one_pass
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64
from tinyattn.kernels.language.vecmath import sqrt

_rows_of_norm, _rows_of_norm_backward = inline(rows_of_norm), inline(rows_of_norm_backward)


def forward(real):
    """Normalised rows, and μ and ρ of each."""
    w = place("norm.forward")
    pointer, size, number, rows_of, root = real.pointer, real.size, real.type, _rows_of_norm, sqrt(real)
    zero, one = number(0), number(1)
    added = one_pass(real, 1, 0, 0, lambda x: x, ("sum",))
    squared = one_pass(real, 1, 0, 1, lambda x, mean: (x - mean) * (x - mean), ("sum",))
    written = one_pass(real, 3, 1, 2, lambda x, g, b, mean, scale: (x - mean) * scale * g + b)

    def kernel(arguments, first, last, scratch):
        word, epsilon = i64(arguments), pointer(arguments + 8 * w.epsilon)[0]
        columns, share = word[w.columns], one / number(word[w.columns])
        means, scales = pointer(word[w.means]), pointer(word[w.scales])
        rows = rows_of(columns)
        for r in range(first * rows, min(last * rows, word[w.rows])):
            x, y = word[w.x] + r * columns * size, word[w.y] + r * columns * size
            mean = added(columns, x) * share if word[w.centred] != 0 else zero
            scale = one / root(squared(columns, x, mean) * share + epsilon)
            written(columns, x, word[w.gain], word[w.bias], y, mean, scale)
            means[r] = mean
            scales[r] = scale

    return kernel


def backward(real):
    """Gradients of the rows, and for each tile the sums over its rows that make up those of g and b."""
    w = place("norm.backward")
    pointer, size, number, rows_of = real.pointer, real.size, real.type, _rows_of_norm_backward
    zero, one = number(0), number(1)
    cleared = one_pass(real, 0, 1, 1, lambda value: value)

    def terms(x, dy, g, along, over, mean, scale):
        normal, u = (x - mean) * scale, dy * g
        return along + dy * normal, over + dy, u, u * normal

    def result(x, dy, g, mean, scale, total, product):
        return scale * (dy * g - total - (x - mean) * scale * product)

    summed = one_pass(real, 5, 2, 2, terms, ("sum", "sum"))
    written = one_pass(real, 3, 1, 4, result)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns, share = word[w.columns], one / number(word[w.columns])
        means, scales = pointer(word[w.means]), pointer(word[w.scales])
        rows = rows_of(word[w.rows], columns)
        for tile in range(first, last):
            along, over = word[w.along] + tile * columns * size, word[w.over] + tile * columns * size
            cleared(columns, along, zero)
            cleared(columns, over, zero)
            for r in range(tile * rows, min((tile + 1) * rows, word[w.rows])):
                at = r * columns * size
                x, dy, scale = word[w.x] + at, word[w.dy] + at, scales[r]
                mean = means[r] if word[w.centred] != 0 else zero
                total, product = summed(columns, x, dy, word[w.gain], along, over, along, over, mean, scale)
                if word[w.centred] == 0:
                    total = zero
                written(
                    columns, x, dy, word[w.gain], word[w.dx] + at, mean, scale, total * share, product * share
                )

    return kernel
