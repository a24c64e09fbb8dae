"""The addressing of the heads of a Neural Turing Machine, all stages in one pass (Graves et al. 2014, 3.3).

A head's linear map emits, in this order, a key k (W numbers) and what is still to be activated: a strength, a
gate, S = 2R + 1 shifts and a sharpening. With β = softplus, g = σ, s = softmax, γ = 1 + softplus of these,

    c_i = k·M_i / (|k| |M_i| + ε),   w^c = softmax(β c),   w^g = g w^c + (1 − g) w_{t−1},
    w̃_i = Σ_k s_k w^g_{(i − k) mod N},   w_i = w̃_i^γ / Σ_j w̃_j^γ

The backward kernel reads c and w and does the rest again: two exponentials and two logarithms for each place
cost less than keeping what they gave at every step of a loop. Powers are e^{γ log z} of the weights z
relative to the largest. Where they are small their relative error is larger, but so is what they are added to.

A tile is one entry of the batch. The rows of the memory are read by vector loops of their own
(:mod:`tinyattn.kernels.sweep`); everything else is along the N places. Weights to be shifted lie in memory
with R more at either end, copied from the other end, so that no index needs a remainder.
"""

from tinyattn.kernels import vecmath
from tinyattn.kernels.lanes import dot, largest, total
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64, select
from tinyattn.kernels.sweep import dot_rows, sweep
from tinyattn.kernels.tiling import ROW_ROOM, room_of_address
from tinyattn.kernels.vecmath import scalar
from tinyattn.kernels.vector import sqrt

_room_of_address = inline(room_of_address)


def _norms(real):
    """``(memory, places, width, squares, ones, result)``: |M_i|; all are addresses."""
    pointer, dots, root, one = real.pointer, dot_rows(real), scalar(sqrt, real.name, real.name), real.type(1)

    @inline
    def norms(memory, places, width, squares, ones, result):
        source, target, line, lengths = pointer(memory), pointer(squares), pointer(ones), pointer(result)
        for i in range(places * width):
            target[i] = source[i] * source[i]
        for j in range(width):
            line[j] = one
        dots(squares, places, width, ones, result)
        for i in range(places):
            lengths[i] = root(lengths[i])

    return norms


def _activated(real):
    """``(emitted, shifts, s) -> (β, g, γ)`` from behind the key; the distribution over shifts goes to s."""
    exp, log1p, sigmoid = vecmath.exp(real), vecmath.log1p(real), vecmath.sigmoid(real)
    zero, one = real.type(0), real.type(1)

    @inline
    def softplus(x):
        return log1p(exp(select(x > zero, -x, x))) + select(x > zero, x, zero)

    @inline
    def activated(emitted, shifts, s):
        top, whole = emitted[2], zero
        for j in range(shifts):
            top = max(top, emitted[2 + j])
        for j in range(shifts):
            s[j] = exp(emitted[2 + j] - top)
            whole += s[j]
        for j in range(shifts):
            s[j] /= whole
        return softplus(emitted[0]), sigmoid(emitted[1]), one + softplus(emitted[2 + shifts])

    return activated


def _mixed(real):
    """``(x, s, backwards, shifts, places, result)``: Σ_k s_k x_{i − k}, or backwards Σ_k s_k x_{i + k}.

    x_i is at x[i + R], with R more at either end, which are filled in here.
    """

    @inline
    def mixed(x, s, backwards, shifts, places, result):
        radius = shifts // 2
        for k in range(radius):
            x[radius - 1 - k] = x[radius - 1 - k + places]
            x[places + radius + k] = x[radius + k]
        for j in range(shifts):
            factor, start = s[j], j if backwards else shifts - 1 - j
            if j == 0:
                for i in range(places):
                    result[i] = factor * x[i + start]
            else:
                for i in range(places):
                    result[i] += factor * x[i + start]

    return mixed


def _stages(real):
    """``(c, β, g, s, shifts, previous, places, content, gated, shifted) -> top``: w^c, w^g (from the R-th
    number on) and w̃, and the largest of the last (1 if they are all 0).
    """
    weight, mixed, zero, one = vecmath.weight(real), _mixed(real), real.type(0), real.type(1)

    @inline
    def stages(c, strength, gate, s, shifts, previous, places, content, gated, shifted):
        for i in range(places):
            content[i] = strength * c[i]
        top, rest, radius = largest(content, places), one - gate, shifts // 2
        for i in range(places):
            content[i] = weight(content[i] - top)
        factor = one / total(content, places)
        for i in range(places):
            content[i] *= factor
            gated[i + radius] = gate * content[i] + rest * previous[i]
        mixed(gated, s, False, shifts, places, shifted)
        top = largest(shifted, places)
        return one if top == zero else top

    return stages


def _powers(real):
    """``(x, top, exponent, places, result)``: (x / top)^exponent for 0 ≤ x ≤ top and an exponent ≥ 0; 0⁰ = 1."""
    weight, log, zero, one = vecmath.weight(real), vecmath.log(real), real.type(0), real.type(1)

    @inline
    def powers(x, top, exponent, places, result):
        of_zero = select(exponent == zero, one, zero)
        for i in range(places):
            z = x[i] / top
            result[i] = select(z == zero, of_zero, weight(exponent * log(select(z == zero, one, z))))

    return powers


def forward(real):
    """New weightings of all heads.

    ===== ============================================================
    0     B
    1     N, at least 1
    2     W
    3     H
    4     S, odd
    5     bits of ε
    6     address of what the heads emit (B, H, W + S + 3)
    7     address of M (B, N, W)
    8     address of the previous weightings (B, H, N)
    9     address of w (B, H, N)
    10    address of c (B, H, N)
    11    address of room for B · room_of_address(N, W, S) numbers
    ===== ============================================================

    All arrays are contiguous.
    """
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    norms, activated, stages, powers = _norms(real), _activated(real), _stages(real), _powers(real)
    dots, root, room_of = dot_rows(real), scalar(sqrt, real.name, real.name), _room_of_address

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads, shifts = word[1], word[2], word[3], word[4]
        eps, room = pointer(arguments + 8 * 5)[0], room_of(places, width, shifts) * size
        piece = (places + ROW_ROOM + 2 * shifts) * size
        for b in range(first, last):
            memory, base = word[7] + b * places * width * size, word[11] + b * room
            lengths, ones, squares = base, base + 6 * piece, base + 6 * piece + width * size
            norms(memory, places, width, squares, ones, lengths)
            n, content, gated = pointer(lengths), pointer(base + 2 * piece), pointer(base + 3 * piece)
            products, shifted, s = pointer(base + piece), pointer(base + 4 * piece), pointer(base + 5 * piece)
            for head in range(b * heads, (b + 1) * heads):
                key, row = word[6] + head * (width + shifts + 3) * size, head * places * size
                previous, w, c = pointer(word[8] + row), pointer(word[9] + row), pointer(word[10] + row)
                length = root(dot(pointer(key), pointer(key), width))
                dots(memory, places, width, key, base + piece)
                for i in range(places):
                    c[i] = products[i] / (length * n[i] + eps)
                strength, gate, gamma = activated(pointer(key + width * size), shifts, s)
                top = stages(c, strength, gate, s, shifts, previous, places, content, gated, shifted)
                powers(shifted, top, gamma, places, w)
                whole = total(w, places)
                factor = one if whole == zero else one / whole
                for i in range(places):
                    w[i] *= factor

    return kernel


def backward(real):
    """Gradients of the weightings.

    ====== ============================================================
    0 … 11 as in :func:`forward`; w and c are read
    12     address of dw (B, H, N)
    13     address of the gradient of what the heads emit (B, H, W + S + 3)
    14     address of dM (B, N, W)
    15     address of the gradient of the previous weightings (B, H, N)
    ====== ============================================================
    """
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    norms, activated, stages, powers = _norms(real), _activated(real), _stages(real), _powers(real)
    mixed, root, room_of = _mixed(real), scalar(sqrt, real.name, real.name), _room_of_address
    log, sigmoid = vecmath.log(real), vecmath.sigmoid(real)
    # dM_i += A_i k − B_i M_i, and dk = Σ_i A_i M_i.
    along = sweep(real, 2, 1, 2, lambda d, m, k, a, b: (d + (a * k - b * m), a * m), sums=1)

    def kernel(arguments, first, last, scratch):
        word, table = i64(arguments), i64(scratch)
        places, width, heads, shifts = word[1], word[2], word[3], word[4]
        eps, room = pointer(arguments + 8 * 5)[0], room_of(places, width, shifts) * size
        piece, radius = (places + ROW_ROOM + 2 * shifts) * size, shifts // 2
        for b in range(first, last):
            memory, base = word[7] + b * places * width * size, word[11] + b * room
            d_memory = pointer(word[14] + b * places * width * size)
            for i in range(places * width):
                d_memory[i] = zero
            ones, squares = base + 6 * piece, base + 6 * piece + width * size
            norms(memory, places, width, squares, ones, base)
            n, terms, content = pointer(base), pointer(base + piece), pointer(base + 2 * piece)
            gated, shifted = pointer(base + 3 * piece), pointer(base + 4 * piece)
            s, d = pointer(base + 5 * piece), pointer(base + 5 * piece + shifts * size)
            for head in range(b * heads, (b + 1) * heads):
                emission, row = head * (width + shifts + 3) * size, head * places * size
                key, c = pointer(word[6] + emission), pointer(word[10] + row)
                emitted, d_key = pointer(word[6] + emission + width * size), pointer(word[13] + emission)
                previous, w, g = pointer(word[8] + row), pointer(word[9] + row), pointer(word[12] + row)
                d_previous, result = pointer(word[15] + row), pointer(word[13] + emission + width * size)
                strength, gate, gamma = activated(emitted, shifts, s)
                top = stages(c, strength, gate, s, shifts, previous, places, content, gated, shifted)
                # Sharpening: with z = w̃ / top, the sum of z^γ is that of z z^{γ − 1}.
                powers(shifted, top, gamma - one, places, terms)
                mean, whole = dot(w, g, places), dot(shifted, terms, places)
                slope = gamma / (top if whole == zero else whole)
                for i in range(places):
                    x, rest = shifted[i], g[i] - mean
                    d[i + radius] = slope * terms[i] * rest
                    terms[i] = select(x == zero, zero, w[i] * rest * log(select(x == zero, one, x)))
                result[2 + shifts] = total(terms, places) * sigmoid(emitted[2 + shifts])
                # Shift, with its softmax.
                whole = zero
                for j in range(shifts):
                    by_shift = dot(
                        pointer(base + 5 * piece + (shifts + radius) * size),
                        pointer(base + 3 * piece + (shifts - 1 - j) * size),
                        places,
                    )
                    result[2 + j] = by_shift * s[j]
                    whole += by_shift * s[j]
                for j in range(shifts):
                    result[2 + j] -= whole * s[j]
                mixed(d, s, True, shifts, places, shifted)
                # Interpolation.
                for i in range(places):
                    terms[i] = shifted[i] * (content[i] - previous[i])
                    d_previous[i] = (one - gate) * shifted[i]
                    shifted[i] *= gate
                result[1] = total(terms, places) * gate * (one - gate)
                # Content: softmax, then the cosine, of which A and B are what is along the other and along itself.
                mean, length = dot(content, shifted, places), root(dot(key, key, width))
                for i in range(places):
                    content[i] *= shifted[i] - mean
                result[0] = dot(content, c, places) * sigmoid(emitted[0])
                for i in range(places):
                    shifted[i] = strength * content[i] / (length * n[i] + eps)
                    gated[i] = shifted[i] * c[i]
                across = dot(gated, n, places)
                for i in range(places):
                    gated[i] = select(n[i] == zero, zero, gated[i] * length / select(n[i] == zero, one, n[i]))
                table[0] = word[14] + b * places * width * size
                table[1] = memory
                table[2] = word[6] + emission
                table[3] = base + 4 * piece
                table[4] = base + 3 * piece
                table[5] = table[0]
                table[6] = word[13] + emission
                along(scratch, places, width)
                across = zero if length == zero else across / length
                for j in range(width):
                    d_key[j] -= across * key[j]

    return kernel
