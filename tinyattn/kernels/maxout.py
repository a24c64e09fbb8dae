"""Maxout with two pieces, ``y[i, j] = max(x[i, 2j], x[i, 2j + 1])`` (Goodfellow et al. 2013), and its derivative."""

from tinyattn.kernels.calls.maxout import MAXOUT_TILE
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.simd import i64, select


def forward(real):
    """The larger of each pair; NaN where either is."""
    w = place("maxout.forward")
    pointer, tile_size = real.pointer, MAXOUT_TILE

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, y = pointer(word[w.x]), pointer(word[w.y])
        for i in range(first * tile_size, min(last * tile_size, word[w.rows] * word[w.pairs])):
            a, b = x[2 * i], x[2 * i + 1]
            y[i] = select(a != a or a >= b, a, b)

    return kernel


def backward(real):
    """The gradient goes to the larger of a pair, to the first if they are equal, and the other gets 0."""
    w = place("maxout.backward")
    pointer, tile_size, zero = real.pointer, MAXOUT_TILE, real.type(0)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, dy, dx = pointer(word[w.x]), pointer(word[w.dy]), pointer(word[w.dx])
        for i in range(first * tile_size, min(last * tile_size, word[w.rows] * word[w.pairs])):
            a, b = x[2 * i], x[2 * i + 1]
            wins = a != a or a >= b
            dx[2 * i] = select(wins, dy[i], zero)
            dx[2 * i + 1] = select(wins, zero, dy[i])

    return kernel
