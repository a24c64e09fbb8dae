"""Writing to the memory of a Neural Turing Machine, and the gradients of that (Graves et al. 2014, 3.2).

With H heads of weightings w_h over the N places, first all heads erase and then all add:

    M′_ij = M_ij Π_h (1 − w_hi e_hj) + Σ_h w_hi a_hj

Let G be the gradient of M′, and M^h the memory after the erases of all heads but h. Then

    dM_ij = G_ij Π_h (1 − w_hi e_hj),    dw_hi = Σ_j G_ij (a_hj − M^h_ij e_hj),
    de_hj = −Σ_i w_hi G_ij M^h_ij,       da_hj = Σ_i w_hi G_ij

A tile is one entry of the batch. Everything is a pass over the rows (:mod:`tinyattn.kernels.language.sweep`).
"""

from tinyattn.kernels.calls.memory import ROW_ROOM
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.simd import copy_bytes, i64
from tinyattn.kernels.language.sweep import dot_rows, sweep


def _erase(real):
    """``x, e, w → x (1 − w e)``."""
    return sweep(real, 1, 1, 1, lambda x, e, w: x * (1 - w * e))


def write_forward(real):
    """The memory after a write.
    All arrays are contiguous.
    """
    where = place("memory.write_forward")
    size, erase = real.size, _erase(real)
    erase_and_add = sweep(real, 1, 2, 1, lambda x, e, a, w: x * (1 - w * e) + w * a)
    add = sweep(real, 1, 1, 1, lambda x, a, w: x + w * a)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[where.places], word[where.width], word[where.heads]
        for b in range(first, last):
            source = word[where.memory] + b * places * width * size
            result = word[where.written] + b * places * width * size
            w, e, a = word[where.weights], word[where.erase], word[where.add]
            last_head = (b + 1) * heads - 1
            for head in range(b * heads, last_head):
                erase(source, e + head * width * size, w + head * places * size, result, places, width)
                source = result
            # The last to erase is the first to add: one pass.
            row, line = last_head * places * size, last_head * width * size
            erase_and_add(source, e + line, a + line, w + row, result, places, width)
            for head in range(b * heads, last_head):
                add(result, a + head * width * size, w + head * places * size, result, places, width)

    return kernel


def write_backward(real):
    """Gradients of a write."""
    where = place("memory.write_backward")
    pointer, size, one = real.pointer, real.size, real.type(1)
    erase, dots = _erase(real), dot_rows(real)
    gradients = sweep(real, 2, 2, 1, lambda x, g, e, a, w: (g * (a - x * e), -(w * (g * x)), w * g), sums=2)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[where.places], word[where.width], word[where.heads]
        whole, w, e, a = places * width * size, word[where.weights], word[where.erase], word[where.add]
        for b in range(first, last):
            terms = word[where.room] + b * (2 * whole + (places + width + ROW_ROOM) * size)
            others, sums = terms + whole, terms + 2 * whole
            line = sums + (places + ROW_ROOM) * size
            ones, g, result = pointer(line), word[where.g] + b * whole, word[where.d_memory] + b * whole
            for j in range(width):
                ones[j] = one
            for head in range(b * heads, (b + 1) * heads):
                # What the other heads' erases leave of the memory.
                left = word[where.memory] + b * whole
                for other in range(b * heads, (b + 1) * heads):
                    if other != head:
                        erase(
                            left, e + other * width * size, w + other * places * size, others, places, width
                        )
                        left = others
                at, row = head * width * size, head * places * size
                gradients(
                    left,
                    g,
                    e + at,
                    a + at,
                    w + row,
                    terms,
                    word[where.d_erase] + at,
                    word[where.d_add] + at,
                    places,
                    width,
                )
                dots(terms, places, width, line, sums)
                copy_bytes(word[where.d_weights] + row, sums, places * size)
                erase(g if head == b * heads else result, e + at, w + row, result, places, width)

    return kernel
