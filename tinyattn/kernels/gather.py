"""Rows picked by index, and rows put back by index: embeddings, pointers into a sequence, and their
derivatives.

An array is seen as ``x[outer, n, inner]`` where the index runs over the middle axis. ``take`` reads y[o, i,
:] = x[o, index[i], :]; its transpose ``scatter_add`` is dx[o, index[i], :] += dy[o, i, :], where several i
may meet in one row. To keep the sum's order (that of i) without locks, a tile owns a band of *result* rows
and walks over all indices.

Both trust their indices: :func:`check` has looked at them, has counted negative ones from the end, and tells of the
first that is wrong, so that the program ends before anything is read by it. Indices are 32-bit (kind 0) or 64-bit
(kind 1).

The kernels only move numbers, except ``scatter_add``, so 32- and 64-bit integers go through those for f32 and
f64.
"""

from tinyattn.kernels.calls.gather import CHECK_TILE, GATHER_COLUMNS, bands_of_scatter, rows_of_take
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import atomic_load, atomic_swap_if, i32, i64

_bands_of_scatter, _rows_of_take = inline(bands_of_scatter), inline(rows_of_take)


@inline
def read_index(indices, kind, i):
    """Number i of 32-bit (kind 0) or 64-bit (kind 1) integers."""
    return i64(indices)[i] if kind == 1 else i32(indices)[i] + 0


def take(real):
    """``y[o, i, :] = x[o, index[i], :]``."""
    w = place("gather.take")
    pointer, size, most_columns, rows_of = real.pointer, real.size, GATHER_COLUMNS, _rows_of_take

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        n, inner, count = word[w.n], word[w.inner], word[w.count]
        indices, kind = word[w.indices], word[w.wide]
        rows, bands = rows_of(inner), (inner + most_columns - 1) // most_columns
        for tile in range(first, last):
            column = tile % bands * most_columns
            columns = min(most_columns, inner - column)
            start = tile // bands * rows
            past = min(start + rows, word[w.outer] * count)
            outer, i = start // max(count, 1), start % max(count, 1)
            for row in range(start, past):
                index = read_index(indices, kind, i)
                x = pointer(word[w.x] + ((outer * n + index) * inner + column) * size)
                y = pointer(word[w.y] + (row * inner + column) * size)
                for j in range(columns):
                    y[j] = x[j]
                i += 1
                if i == count:
                    outer, i = outer + 1, 0

    return kernel


def scatter_add(real):
    """``dx[o, k, :]`` = the sum of ``dy[o, i, :]`` over all i with ``index[i] == k``, in the order of i."""
    w = place("gather.scatter_add")
    pointer, size, bands_of, zero = real.pointer, real.size, _bands_of_scatter, real.type(0)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        n, inner, count = word[w.n], word[w.inner], word[w.count]
        indices, kind = word[w.indices], word[w.wide]
        bands = bands_of(n, inner, count)
        for tile in range(first, last):
            outer, band = tile // bands, tile % bands
            low, high = band * n // bands, (band + 1) * n // bands
            if word[w.adding] == 0:
                dx = pointer(word[w.dx] + outer * n * inner * size)
                for j in range(low * inner, high * inner):
                    dx[j] = zero
            for i in range(count):
                index = read_index(indices, kind, i)
                if low <= index < high:
                    dx = pointer(word[w.dx] + (outer * n + index) * inner * size)
                    dy = pointer(word[w.dy] + (outer * count + i) * inner * size)
                    for j in range(inner):
                        dx[j] += dy[j]

    return kernel


def check(real):
    """``y[i]`` = index i counted from the front, if it is allowed; the least wrong i is stored as i + 1."""
    w = place("gather.check")

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        indices, kind, n, lowest = word[w.indices], word[w.wide], word[w.n], word[w.lowest]
        ignored, fault = word[w.ignored], word[w.fault]
        for i in range(first * CHECK_TILE, min(last * CHECK_TILE, word[w.count])):
            index = read_index(indices, kind, i)
            if index != ignored:
                if index >= n or index < lowest:
                    index = 0
                    while True:
                        seen = atomic_load(fault)
                        if 0 < seen <= i + 1 or atomic_swap_if(fault, seen, i + 1):
                            break
                elif index < 0:
                    index += n
            if kind == 1:
                i64(word[w.y])[i] = index
            else:
                i32(word[w.y])[i] = index

    return kernel
