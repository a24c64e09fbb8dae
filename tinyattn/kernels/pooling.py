"""The largest pixel of each window, and the way back. A tile is some planes: channels of one image."""

from tinyattn.kernels.calls.pooling import planes_of_pool
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64


def _largest(w):
    """``(word, plane, row, column)``: index of the first maximum (or NaN) of a window within the plane, for a
    kernel whose argument words are at the places ``w``.
    """

    @inline
    def largest(word, plane, row, column):
        top = row * word[w.strides] - word[w.padding]
        left = column * word[w.strides + 1] - word[w.padding + 1]
        width = word[w.width]
        bottom, right = min(top + word[w.window], word[w.height]), min(left + word[w.window + 1], width)
        top, left = max(top, 0), max(left, 0)
        best = top * width + left
        value = plane[best]
        for i in range(top, bottom):
            for j in range(left, right):
                other = plane[i * width + j]
                if other > value or other != other:
                    best, value = i * width + j, other
        return best

    return largest


def max_forward(real):
    """y: the maximum of each window."""
    w = place("pooling.max_forward")
    pointer, size, largest = real.pointer, real.size, _largest(w)
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        pixels, positions = word[w.height] * word[w.width], word[w.rows] * word[w.columns]
        work = positions * word[w.window] * word[w.window + 1] + pixels
        for p in range(first * in_tile(work), min(last * in_tile(work), word[w.planes])):
            x = pointer(word[w.x] + p * pixels * size)
            y = pointer(word[w.y] + p * positions * size)
            for r in range(word[w.rows]):
                for c in range(word[w.columns]):
                    y[r * word[w.columns] + c] = x[largest(word, x, r, c)]

    return kernel


def max_backward(real):
    """x̄: each ȳ at the maximum of its window, in the order of windows."""
    w = place("pooling.max_backward")
    pointer, size, zero, largest = real.pointer, real.size, real.type(0), _largest(w)
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        pixels, positions = word[w.height] * word[w.width], word[w.rows] * word[w.columns]
        work = positions * word[w.window] * word[w.window + 1] + pixels
        for p in range(first * in_tile(work), min(last * in_tile(work), word[w.planes])):
            x = pointer(word[w.x] + p * pixels * size)
            dy = pointer(word[w.dy] + p * positions * size)
            dx = pointer(word[w.dx] + p * pixels * size)
            for i in range(pixels):
                dx[i] = zero
            for r in range(word[w.rows]):
                for c in range(word[w.columns]):
                    dx[largest(word, x, r, c)] += dy[r * word[w.columns] + c]

    return kernel
