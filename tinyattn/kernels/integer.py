"""Matrix products of whole numbers, exactly as NumPy's: sums wrap around, and nothing goes through a float."""

from tinyattn.kernels.simd import i64


def product(real):
    """``c[p, i, :] = Σ_k a[p, i, k] b[p, k, :]`` of 64-bit integers, all contiguous; a tile is a row of c.

    ===== ====================================
    0     address of a (batch, rows, inner)
    1     address of b (batch, inner, columns)
    2     address of c (batch, rows, columns)
    3     rows
    4     inner
    5     columns
    ===== ====================================

    One kernel serves both dtypes; use f32's.
    """

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        rows, inner, columns = word[3], word[4], word[5]
        for tile in range(first, last):
            a, c = i64(word[0] + tile * inner * 8), i64(word[2] + tile * columns * 8)
            matrix = word[1] + tile // rows * inner * columns * 8
            for j in range(columns):
                c[j] = 0
            for k in range(inner):
                b, factor = i64(matrix + k * columns * 8), a[k]
                for j in range(columns):
                    c[j] += factor * b[j]

    return kernel
