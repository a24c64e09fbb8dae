"""Matrix products of whole numbers, exactly as NumPy's: sums wrap around, and nothing goes through a float."""

from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.simd import i64


def product(real):
    """``c[p, i, :] = Σ_k a[p, i, k] b[p, k, :]`` of 64-bit integers, all contiguous; a tile is a row of c.
    One kernel serves both dtypes; use f32's.
    """
    w = place("integer.product")

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        rows, inner, columns = word[w.rows], word[w.inner], word[w.columns]
        for tile in range(first, last):
            a, c = i64(word[w.a] + tile * inner * 8), i64(word[w.c] + tile * columns * 8)
            matrix = word[w.b] + tile // rows * inner * columns * 8
            for j in range(columns):
                c[j] = 0
            for k in range(inner):
                b, factor = i64(matrix + k * columns * 8), a[k]
                for j in range(columns):
                    c[j] += factor * b[j]

    return kernel
