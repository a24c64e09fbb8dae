"""Writing to the memory of a Neural Turing Machine, and the gradients of that (Graves et al. 2014, 3.2).

With H heads of weightings w_h over the N places, first all heads erase and then all add:

    M′_ij = M_ij Π_h (1 − w_hi e_hj) + Σ_h w_hi a_hj

Let G be the gradient of M′, and M^h the memory after the erases of all heads but h. Then

    dM_ij = G_ij Π_h (1 − w_hi e_hj),    dw_hi = Σ_j G_ij (a_hj − M^h_ij e_hj),
    de_hj = −Σ_i w_hi G_ij M^h_ij,       da_hj = Σ_i w_hi G_ij

A tile is one entry of the batch. Everything is a pass over the rows (:mod:`tinyattn.kernels.sweep`).
"""

from tinyattn.kernels.simd import i64
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
        word, table = i64(arguments), i64(scratch)
        places, width, heads = word[1], word[2], word[3]
        for b in range(first, last):
            source, result = word[4] + b * places * width * size, word[8] + b * places * width * size
            # The last to erase is the first to add: one pass.
            for h in range(heads):
                head = b * heads + h
                table[0] = source
                table[1] = word[6] + head * width * size
                if h < heads - 1:
                    table[2] = word[5] + head * places * size
                    table[3] = result
                    erase(scratch, places, width)
                else:
                    table[2] = word[7] + head * width * size
                    table[3] = word[5] + head * places * size
                    table[4] = result
                    erase_and_add(scratch, places, width)
                source = result
            for h in range(heads - 1):
                head = b * heads + h
                table[0] = result
                table[1] = word[7] + head * width * size
                table[2] = word[5] + head * places * size
                table[3] = result
                add(scratch, places, width)

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
        word, table = i64(arguments), i64(scratch)
        places, width, heads = word[1], word[2], word[3]
        whole = places * width * size
        for b in range(first, last):
            room = word[13] + b * (2 * whole + (places + width + ROW_ROOM) * size)
            terms, others, sums = room, room + whole, room + 2 * whole
            ones = pointer(sums + (places + ROW_ROOM) * size)
            for j in range(width):
                ones[j] = one
            for h in range(heads):
                head = b * heads + h
                erased = word[4] + b * whole
                # What the other heads' erases leave of the memory, and what all leave of the gradient.
                for k in range(heads):
                    if k != h:
                        table[0] = erased
                        table[1] = word[6] + (b * heads + k) * width * size
                        table[2] = word[5] + (b * heads + k) * places * size
                        table[3] = others
                        erase(scratch, places, width)
                        erased = others
                table[0] = erased
                table[1] = word[8] + b * whole
                table[2] = word[6] + head * width * size
                table[3] = word[7] + head * width * size
                table[4] = word[5] + head * places * size
                table[5] = terms
                table[6] = word[11] + head * width * size
                table[7] = word[12] + head * width * size
                gradients(scratch, places, width)
                dots(terms, places, width, sums + (places + ROW_ROOM) * size, sums)
                source, target = pointer(sums), pointer(word[10] + head * places * size)
                for i in range(places):
                    target[i] = source[i]
                table[0] = word[8] + b * whole if h == 0 else word[9] + b * whole
                table[1] = word[6] + head * width * size
                table[2] = word[5] + head * places * size
                table[3] = word[9] + b * whole
                erase(scratch, places, width)

    return kernel
