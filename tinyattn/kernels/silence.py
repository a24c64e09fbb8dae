"""Products in which a coefficient of 0 silences what it meets, be it NaN or infinite."""

from tinyattn.kernels.simd import i64
from tinyattn.kernels.tiling import SILENCE_ROWS


def zeros(real):
    """``C = A B`` again, without the terms whose coefficient is 0, in those rows of C that have a NaN.

    0 times NaN or ∞ is NaN, so the result tells where rubbish was met; as a rule nowhere, and then C is only read.

    ====== ====================================================================================
    0 1 2  addresses of A (…, n, m), B (…, m, k) and C (…, n, k), which is contiguous
    3–7    matrices, matrices in the inner batch dimension, n, m, k
    8–11   strides of A: of the outer and the inner batch dimension, of rows, of columns (in numbers)
    12–15  the same for B
    ====== ====================================================================================
    """
    pointer, size, zero, block = real.pointer, real.size, real.type(0), SILENCE_ROWS

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        rows, inner, columns = word[5], word[6], word[7]
        for row in range(first * block, min(last * block, word[3] * rows)):
            c, poisoned = pointer(word[2] + row * columns * size), 0
            for j in range(columns):
                poisoned += c[j] != c[j]
            if poisoned == 0:
                continue
            matrix, i = row // rows, row % rows
            along, across = matrix // word[4], matrix % word[4]
            a = word[0] + (along * word[8] + across * word[9] + i * word[10]) * size
            b = word[1] + (along * word[12] + across * word[13]) * size
            for j in range(columns):
                c[j] = zero
            for k in range(inner):
                x = pointer(a + k * word[11] * size)[0]
                if x != zero:
                    for j in range(columns):
                        c[j] += x * pointer(b + (k * word[14] + j * word[15]) * size)[0]

    return kernel
