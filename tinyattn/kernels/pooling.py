"""The largest pixel of each window, and the way back. A tile is some planes: channels of one image.

===== ============================================================
0 1 2 addresses of x (planes, H, W), of y or ȳ (planes, H′, W′), and of the result, y or x̄
3     planes
4 5   H, W
6 7   H′, W′
8 9   rows and columns of the window
10 11 strides
12 13 padding
===== ============================================================
"""

from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64
from tinyattn.kernels.tiling import planes_of_pool


def _largest(real):
    """``(word, plane, row, column)``: index of the first maximum (or NaN) of a window within the plane."""

    @inline
    def largest(word, plane, row, column):
        top, left = row * word[10] - word[12], column * word[11] - word[13]
        width = word[5]
        bottom, right = min(top + word[8], word[4]), min(left + word[9], width)
        top, left = max(top, 0), max(left, 0)
        best = top * width + left
        value = plane[best]
        for h in range(top, bottom):
            for w in range(left, right):
                other = plane[h * width + w]
                if other > value or other != other:
                    best, value = h * width + w, other
        return best

    return largest


def max_forward(real):
    """y: the maximum of each window."""
    pointer, size, largest = real.pointer, real.size, _largest(real)
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        work = word[6] * word[7] * word[8] * word[9] + word[4] * word[5]
        for p in range(first * in_tile(work), min(last * in_tile(work), word[3])):
            x = pointer(word[0] + p * word[4] * word[5] * size)
            y = pointer(word[2] + p * word[6] * word[7] * size)
            for r in range(word[6]):
                for c in range(word[7]):
                    y[r * word[7] + c] = x[largest(word, x, r, c)]

    return kernel


def max_backward(real):
    """x̄: each ȳ at the maximum of its window, in the order of windows."""
    pointer, size, zero, largest = real.pointer, real.size, real.type(0), _largest(real)
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        work = word[6] * word[7] * word[8] * word[9] + word[4] * word[5]
        for p in range(first * in_tile(work), min(last * in_tile(work), word[3])):
            x = pointer(word[0] + p * word[4] * word[5] * size)
            dy = pointer(word[1] + p * word[6] * word[7] * size)
            dx = pointer(word[2] + p * word[4] * word[5] * size)
            for i in range(word[4] * word[5]):
                dx[i] = zero
            for r in range(word[6]):
                for c in range(word[7]):
                    dx[largest(word, x, r, c)] += dy[r * word[7] + c]

    return kernel
