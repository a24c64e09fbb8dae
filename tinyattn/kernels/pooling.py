"""The largest pixel of each window, and the way back. A tile is some planes: channels of one image."""

from tinyattn.kernels.calls.pooling import planes_of_pool
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64


@inline
def _wins(other, best):
    """Whether ``other`` takes the place of ``best``: it is larger (of equals the first stays), or a NaN."""
    return (other > best) | (other != other)


@inline
def _better(plane, best, other):
    """The index of the pixel that wins. Without a branch: none could be foreseen."""
    return other if _wins(plane[other], plane[best]) else best


@inline
def _largest(plane, width, top, bottom, left, right):
    """Index of the first maximum (or of the last NaN) of a window within the plane."""
    best = top * width + left
    if (bottom - top == 2) & (right - left == 2):
        best = _better(plane, best, best + 1)
        below = (top + 1) * width + left
        return _better(plane, _better(plane, best, below), below + 1)
    for i in range(top, bottom):
        for j in range(left, right):
            best = _better(plane, best, i * width + j)
    return best


@inline
def _larger(best, other):
    """The number that wins."""
    return other if _wins(other, best) else best


@inline
def _winners(a, b, c, d):
    """Whether each of b, c and d wins over what comes before it."""
    two = _larger(a, b)
    return _wins(b, a), _wins(c, two), _wins(d, _larger(two, c))


@inline
def _pairs(high, wide, down, along, over, beside):
    """Whether windows are the usual ones, 2 by 2 and side by side: then loops along rows are loops of vectors."""
    return (high == 2) & (wide == 2) & (down == 2) & (along == 2) & (over == 0) & (beside == 0)


@inline
def _span(place, step, before, size, end):
    """Where a window begins and ends along an axis, within the plane."""
    start = place * step - before
    return max(start, 0), min(start + size, end)


def max_forward(real):
    """y: the maximum of each window."""
    w = place("pooling.max_forward")
    pointer, size = real.pointer, real.size
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        height, width, rows, columns = word[w.height], word[w.width], word[w.rows], word[w.columns]
        high, wide, down, along = word[w.window], word[w.window + 1], word[w.strides], word[w.strides + 1]
        over, beside = word[w.padding], word[w.padding + 1]
        pairs = _pairs(high, wide, down, along, over, beside)
        tile = in_tile(rows * columns * high * wide + height * width)
        for p in range(first * tile, min(last * tile, word[w.planes])):
            x = pointer(word[w.x] + p * height * width * size)
            y = pointer(word[w.y] + p * rows * columns * size)
            paired = rows if pairs & (2 * rows <= height) & (2 * columns <= width) else 0
            for r in range(paired):
                for c in range(columns):
                    at = 2 * (r * width + c)
                    upper = _larger(x[at], x[at + 1])
                    y[r * columns + c] = _larger(_larger(upper, x[at + width]), x[at + width + 1])
            for r in range(paired, rows):
                top, bottom = _span(r, down, over, high, height)
                for c in range(columns):
                    left, right = _span(c, along, beside, wide, width)
                    y[r * columns + c] = x[_largest(x, width, top, bottom, left, right)]

    return kernel


def max_backward(real):
    """x̄: each ȳ at the maximum of its window, in the order of windows."""
    w = place("pooling.max_backward")
    pointer, size, zero = real.pointer, real.size, real.type(0)
    in_tile = inline(planes_of_pool)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        height, width, rows, columns = word[w.height], word[w.width], word[w.rows], word[w.columns]
        high, wide, down, along = word[w.window], word[w.window + 1], word[w.strides], word[w.strides + 1]
        over, beside = word[w.padding], word[w.padding + 1]
        pairs = _pairs(high, wide, down, along, over, beside)
        tile = in_tile(rows * columns * high * wide + height * width)
        for p in range(first * tile, min(last * tile, word[w.planes])):
            x = pointer(word[w.x] + p * height * width * size)
            dy = pointer(word[w.dy] + p * rows * columns * size)
            dx = pointer(word[w.dx] + p * height * width * size)
            paired = rows if pairs & (2 * rows <= height) & (2 * columns <= width) else 0
            for i in range(2 * paired * width if 2 * columns == width else 0, height * width):
                dx[i] = zero
            for r in range(paired):
                for c in range(columns):
                    at = 2 * (r * width + c)
                    second, third, fourth = _winners(x[at], x[at + 1], x[at + width], x[at + width + 1])
                    g = dy[r * columns + c]
                    dx[at] = zero if second | third | fourth else g
                    dx[at + 1] = g if second & (not (third | fourth)) else zero
                for c in range(columns):
                    at = 2 * (r * width + c)
                    _, third, fourth = _winners(x[at], x[at + 1], x[at + width], x[at + width + 1])
                    g = dy[r * columns + c]
                    dx[at + width] = g if third & (not fourth) else zero
                    dx[at + width + 1] = g if fourth else zero
            for r in range(paired, rows):
                top, bottom = _span(r, down, over, high, height)
                for c in range(columns):
                    left, right = _span(c, along, beside, wide, width)
                    dx[_largest(x, width, top, bottom, left, right)] += dy[r * columns + c]

    return kernel
