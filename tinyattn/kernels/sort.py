"""The order of the numbers in each row: which comes first, second, …; equal ones stay in the order they are in, and
NaN comes last (first, if the order is downwards).

Merge sort from below: runs of 1, 2, 4, … positions, each twice as long as the ones it is merged from, go to and fro
between two rows of memory. Where only the first k are asked for, they are kept in a heap with the last of them on top:
most of the other numbers are compared with that one alone.
"""

from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64


@inline
def _goes_before(b, a, downwards):
    """Whether b, which stands behind a, must come before it."""
    if downwards != 0:
        return b > a or (b != b and a == a)
    return b < a or (a != a and b == b)


def order(real):
    """``y[r]`` = the positions of row r in the order of their numbers."""
    w = place("sort.order")
    pointer, size = real.pointer, real.size

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        n, whole, downwards = word[w.length], word[w.whole], word[w.downwards]
        for row in range(first, last):
            numbers = pointer(word[w.x] + row * n * size)
            integers = i64(word[w.x] + row * n * 8)
            here, there = word[w.y] + row * n * 8, word[w.room] + row * n * 8
            for i in range(n):
                i64(here)[i] = i
            width = 1
            while width < n:
                old, new = i64(here), i64(there)
                for start in range(0, n, 2 * width):
                    a, middle, past = start, min(start + width, n), min(start + 2 * width, n)
                    b = middle
                    for k in range(start, past):
                        take_b = False
                        if a >= middle:
                            take_b = True
                        elif b < past:
                            if whole != 0:
                                take_b = _goes_before(integers[old[b]], integers[old[a]], downwards)
                            else:
                                take_b = _goes_before(numbers[old[b]], numbers[old[a]], downwards)
                        if take_b:
                            new[k] = old[b]
                            b += 1
                        else:
                            new[k] = old[a]
                            a += 1
                here, there = there, here
                width *= 2
            if here != word[w.y] + row * n * 8:
                done, result = i64(here), i64(there)
                for i in range(n):
                    result[i] = done[i]

    return kernel


_TOP = 0
"""The place in a heap of the last of its numbers."""


@inline
def _is_later(numbers, integers, whole, downwards, i, j):
    """Whether position i comes behind position j in the order."""
    if whole != 0:
        before, behind = (
            _goes_before(integers[i], integers[j], downwards),
            _goes_before(integers[j], integers[i], downwards),
        )
    else:
        before, behind = (
            _goes_before(numbers[i], numbers[j], downwards),
            _goes_before(numbers[j], numbers[i], downwards),
        )
    return behind or (not before and i > j)


@inline
def _sift(heap, size, at, numbers, integers, whole, downwards):
    """Let the position at a place of a heap sink to where those below it come before it."""
    moving = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _is_later(numbers, integers, whole, downwards, heap[child + 1], heap[child]):
            child += 1
        if not _is_later(numbers, integers, whole, downwards, heap[child], moving):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = moving


def leading(real):
    """``y[r]`` = the first k positions of row r in the order of their numbers."""
    w = place("sort.leading")
    pointer, size = real.pointer, real.size

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        n, count, whole, downwards = word[w.length], word[w.count], word[w.whole], word[w.downwards]
        for row in range(first, last):
            numbers = pointer(word[w.x] + row * n * size)
            integers = i64(word[w.x] + row * n * 8)
            heap = i64(word[w.y] + row * count * 8)
            for i in range(count):
                heap[i] = i
            for i in range(count // 2 - 1, -1, -1):
                _sift(heap, count, i, numbers, integers, whole, downwards)
            for i in range(count, n):
                top = heap[_TOP]
                if whole != 0:
                    better = _goes_before(integers[i], integers[top], downwards)
                else:
                    better = _goes_before(numbers[i], numbers[top], downwards)
                if better:
                    heap[_TOP] = i
                    _sift(heap, count, _TOP, numbers, integers, whole, downwards)
            for past in range(count - 1, 0, -1):  # the last of them goes behind all others
                heap[_TOP], heap[past] = heap[past], heap[_TOP]
                _sift(heap, past, _TOP, numbers, integers, whole, downwards)

    return kernel
