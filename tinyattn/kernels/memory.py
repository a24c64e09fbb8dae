"""Writing to the memory of a Neural Turing Machine, and the gradients of that (Graves et al. 2014, 3.2).

With H heads of weightings w_h over the N places, first all heads erase and then all add:

    M′_ij = M_ij Π_h (1 − w_hi e_hj) + Σ_h w_hi a_hj

Let G be the gradient of M′, and M^h the memory after the erases of all heads but h. Then

    dM_ij = G_ij Π_h (1 − w_hi e_hj),    dw_hi = Σ_j G_ij (a_hj − M^h_ij e_hj),
    de_hj = −Σ_i w_hi G_ij M^h_ij,       da_hj = Σ_i w_hi G_ij

A tile is one entry of the batch. Everything is a pass over the rows (:mod:`tinyattn.kernels.sweep`).
"""

from tinyattn.kernels.simd import copy_bytes, i64
from tinyattn.kernels.sweep import dot_rows, sweep
from tinyattn.kernels.tiling import ROW_ROOM


def _erase(real):
    """``x, e, w → x (1 − w e)``."""
    return sweep(real, 1, 1, 1, lambda x, e, w: x * (1 - w * e))


def write_forward(real):
    """The memory after a write.

    ===== ============================================================
    0     B
    1     N
    2     W
    3     H, at least 1
    4     address of M (B, N, W)
    5     address of w (B, H, N)
    6     address of e (B, H, W)
    7     address of a (B, H, W)
    8     address of M′ (B, N, W)
    ===== ============================================================

    All arrays are contiguous.
    """
    size, erase = real.size, _erase(real)
    erase_and_add = sweep(real, 1, 2, 1, lambda x, e, a, w: x * (1 - w * e) + w * a)
    add = sweep(real, 1, 1, 1, lambda x, a, w: x + w * a)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[1], word[2], word[3]
        for b in range(first, last):
            source, result = word[4] + b * places * width * size, word[8] + b * places * width * size
            w, e, a = word[5], word[6], word[7]
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
    """Gradients of a write.

    ====== ============================================================
    0 … 7  as in :func:`write_forward`
    8      address of G (B, N, W)
    9      address of dM (B, N, W)
    10     address of dw (B, H, N)
    11     address of de (B, H, W)
    12     address of da (B, H, W)
    13     address of room for B · (2 N W + N + W + ROW_ROOM) numbers
    ====== ============================================================
    """
    pointer, size, one = real.pointer, real.size, real.type(1)
    erase, dots = _erase(real), dot_rows(real)
    gradients = sweep(real, 2, 2, 1, lambda x, g, e, a, w: (g * (a - x * e), -(w * (g * x)), w * g), sums=2)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[1], word[2], word[3]
        whole, w, e, a = places * width * size, word[5], word[6], word[7]
        for b in range(first, last):
            terms = word[13] + b * (2 * whole + (places + width + ROW_ROOM) * size)
            others, sums = terms + whole, terms + 2 * whole
            line = sums + (places + ROW_ROOM) * size
            ones, g, result = pointer(line), word[8] + b * whole, word[9] + b * whole
            for j in range(width):
                ones[j] = one
            for head in range(b * heads, (b + 1) * heads):
                # What the other heads' erases leave of the memory.
                left = word[4] + b * whole
                for other in range(b * heads, (b + 1) * heads):
                    if other != head:
                        erase(
                            left, e + other * width * size, w + other * places * size, others, places, width
                        )
                        left = others
                at, row = head * width * size, head * places * size
                gradients(
                    left, g, e + at, a + at, w + row, terms, word[11] + at, word[12] + at, places, width
                )
                dots(terms, places, width, line, sums)
                copy_bytes(word[10] + row, sums, places * size)
                erase(g if head == b * heads else result, e + at, w + row, result, places, width)

    return kernel
