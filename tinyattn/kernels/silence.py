"""Products in which a coefficient of 0 silences what it meets, be it NaN or infinite."""

from tinyattn.kernels.calls.silence import SILENCE_ROWS
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.simd import i64


def zeros(real):
    """``C = A B`` again, without the terms whose coefficient is 0, in those rows of C that have a NaN.

    0 times NaN or ∞ is NaN, so the result tells where rubbish was met; as a rule nowhere, and then C is only read.
    """
    w = place("silence.zeros")
    pointer, size, zero, block = real.pointer, real.size, real.type(0), SILENCE_ROWS

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        rows, inner, columns = word[w.rows], word[w.inner], word[w.columns]
        for row in range(first * block, min(last * block, word[w.matrices] * rows)):
            c, poisoned = pointer(word[w.c] + row * columns * size), 0
            for j in range(columns):
                poisoned += c[j] != c[j]
            if poisoned == 0:
                continue
            matrix, i = row // rows, row % rows
            along, across = matrix // word[w.inner_matrices], matrix % word[w.inner_matrices]
            a = (
                word[w.a]
                + (along * word[w.a_batch] + across * word[w.a_batch + 1] + i * word[w.a_row]) * size
            )
            b = word[w.b] + (along * word[w.b_batch] + across * word[w.b_batch + 1]) * size
            for j in range(columns):
                c[j] = zero
            for k in range(inner):
                x = pointer(a + k * word[w.a_column] * size)[0]
                if x != zero:
                    for j in range(columns):
                        c[j] += x * pointer(b + (k * word[w.b_row] + j * word[w.b_column]) * size)[0]

    return kernel
