"""The addressing of the heads of a Neural Turing Machine, all stages in one pass (Graves et al. 2014, 3.3).

A head's linear map emits, in this order, a key k (W numbers) and what is still to be activated: a strength, a
gate, S = 2R + 1 shifts and a sharpening. With β = softplus, g = σ, s = softmax, γ = 1 + softplus of these,

    c_i = k·M_i / (|k| |M_i| + ε),   w^c = softmax(β c),   w^g = g w^c + (1 − g) w_{t−1},
    w̃_i = Σ_k s_k w^g_{(i − k) mod N},   w_i = w̃_i^γ / Σ_j w̃_j^γ

The backward kernel reads c and w and does the rest again: two exponentials and two logarithms for each place
cost less than keeping what they gave at every step of a loop. Powers are e^{γ log z} of the weights z
relative to the largest. Where they are small their relative error is larger, but so is what they are added to.

A tile is one entry of the batch. The formulas are made loops by :mod:`tinyattn.kernels.language.passes` and
:mod:`tinyattn.kernels.language.sweep`. Weights to be shifted lie in memory with R more at either end, copied from the
other end, so that no index needs a remainder.
"""

import functools

from tinyattn.kernels.calls.address import room_of_address
from tinyattn.kernels.calls.memory import ROW_ROOM
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import vecmath
from tinyattn.kernels.language.elementary import Elementary
from tinyattn.kernels.language.formula import absolute, sqrt
from tinyattn.kernels.language.formula import select as choose
from tinyattn.kernels.language.lanes import dot, largest, total
from tinyattn.kernels.language.passes import one_pass
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64
from tinyattn.kernels.language.sweep import dot_rows, sweep

_room_of_address = inline(room_of_address)
_along = functools.partial(one_pass, compact=True)


def _norms(real):
    """``(memory, places, width, squares, ones, result)``: |M_i|; all are addresses."""
    pointer, dots, one = real.pointer, dot_rows(real), real.type(1)
    square, root = _along(real, 1, 1, 0, lambda x: x * x), _along(real, 1, 1, 0, sqrt)

    @inline
    def norms(memory, places, width, squares, ones, result):
        square(places * width, memory, squares)
        line = pointer(ones)
        for j in range(width):
            line[j] = one
        dots(squares, places, width, ones, result)
        root(places, result, result)

    return norms


def _activated(real):
    """``(emitted, shifts, result) -> (β, g, γ)`` from the address behind the key. The result has three lines as
    long as what is emitted there: softplus and σ of that, and the distribution over shifts.
    """
    pointer, size, one, weight = real.pointer, real.size, real.type(1), Elementary(real.name).weight
    formulas = Elementary(real.name)

    def softplus(x):
        return formulas.log1p(formulas.exp(-absolute(x))) + choose(x > 0, x, 0)

    both = _along(real, 1, 2, 0, lambda x: (softplus(x), formulas.sigmoid(x)))
    weigh = _along(real, 1, 1, 1, lambda x, top: weight(x - top))
    scale = _along(real, 1, 1, 1, lambda x, factor: factor * x)

    @inline
    def activated(emitted, shifts, result):
        line = (shifts + 3) * size
        s = result + 2 * line
        both(shifts + 3, emitted, result, result + line)
        weigh(shifts, emitted + 2 * size, s, largest(pointer(emitted + 2 * size), shifts))
        scale(shifts, s, s, one / total(pointer(s), shifts))
        return pointer(result)[0], pointer(result + line)[1], one + pointer(result)[2 + shifts]

    return activated


def _mixed(real):
    """``(x, s, backwards, shifts, places, result)``: Σ_k s_k x_{i − k}, or backwards Σ_k s_k x_{i + k}.

    x_i is R numbers after the address x, with R more at either end, which are filled in here.
    """
    pointer, size = real.pointer, real.size
    scale = _along(real, 1, 1, 1, lambda x, s: s * x)
    add = _along(real, 2, 1, 1, lambda x, y, s: y + s * x)

    @inline
    def mixed(x, s, backwards, shifts, places, result):
        radius, line = shifts // 2, pointer(x)
        for k in range(radius):
            line[radius - 1 - k] = line[radius - 1 - k + places]
            line[places + radius + k] = line[radius + k]
        for j in range(shifts):
            start = x + (j if backwards else shifts - 1 - j) * size
            if j == 0:
                scale(places, start, result, s[j])
            else:
                add(places, start, result, result, s[j])

    return mixed


def _stages(real):
    """``(c, β, g, s, shifts, previous, places, content, gated, shifted) -> top``: w^c, w^g (from the R-th
    number on) and w̃, and the largest of the last (1 if they are all 0). c and what follows are addresses.
    """
    pointer, size, mixed, zero, one = real.pointer, real.size, _mixed(real), real.type(0), real.type(1)
    weight = Elementary(real.name).weight
    scale = _along(real, 1, 1, 1, lambda c, strength: strength * c)
    weigh = _along(real, 1, 1, 1, lambda x, top: weight(x - top))

    def interpolate(x, previous, factor, gate):
        content = x * factor
        return content, gate * content + (1 - gate) * previous

    interpolate = _along(real, 2, 2, 2, interpolate)

    @inline
    def stages(c, strength, gate, s, shifts, previous, places, content, gated, shifted):
        scale(places, c, content, strength)
        weigh(places, content, content, largest(pointer(content), places))
        factor, own = one / total(pointer(content), places), gated + shifts // 2 * size
        interpolate(places, content, previous, content, own, factor, gate)
        mixed(gated, s, False, shifts, places, shifted)
        top = largest(pointer(shifted), places)
        return one if top == zero else top

    return stages


def _power(real):
    """The formula of (x / top)^exponent for 0 ≤ x ≤ top and an exponent ≥ 0, where 0⁰ = 1, and of log(x / top)
    (0 for x = 0).
    """
    weight, log = Elementary(real.name).weight, Elementary(real.name).log

    def power(x, top, exponent):
        zero = x == 0
        logarithm = log(choose(zero, 1, x / top))
        of_zero = choose(exponent == 0, exponent + 1, 0)
        return choose(zero, of_zero, weight(exponent * logarithm)), logarithm

    return power


def forward(real):
    """New weightings of all heads.
    All arrays are contiguous.
    """
    where = place("address.forward")
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    norms, activated, stages = _norms(real), _activated(real), _stages(real)
    dots, length_of, room_of = dot_rows(real), vecmath.sqrt(real), _room_of_address
    cosines = _along(real, 2, 1, 2, lambda product, n, length, eps: product / (length * n + eps))
    power = _power(real)
    sharpen = _along(real, 1, 1, 2, lambda x, top, gamma: power(x, top, gamma)[0])
    scale = _along(real, 1, 1, 1, lambda w, factor: w * factor)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[where.places], word[where.width], word[where.heads]
        shifts = word[where.shifts]
        eps, room = pointer(arguments + 8 * where.epsilon)[0], room_of(places, width, shifts) * size
        piece = (places + ROW_ROOM + shifts) * size
        for b in range(first, last):
            memory, n = word[where.memory] + b * places * width * size, word[where.room] + b * room
            content, gated, shifted = n + piece, n + 2 * piece, n + 3 * piece
            ones, line = n + 7 * piece, (shifts + 3) * size
            activations = ones + (width + places * width) * size
            s = pointer(activations + 2 * line)
            norms(memory, places, width, ones + width * size, ones, n)
            for head in range(b * heads, (b + 1) * heads):
                key, row = word[where.emitted] + head * (width + shifts + 3) * size, head * places * size
                w, c = word[where.weights] + row, word[where.content] + row
                length = length_of(dot(pointer(key), pointer(key), width))
                dots(memory, places, width, key, content)
                cosines(places, content, n, c, length, eps)
                strength, gate, gamma = activated(key + width * size, shifts, activations)
                top = stages(
                    c, strength, gate, s, shifts, word[where.previous] + row, places, content, gated, shifted
                )
                sharpen(places, shifted, w, top, gamma)
                whole = total(pointer(w), places)
                scale(places, w, w, one if whole == zero else one / whole)

    return kernel


def backward(real):
    """Gradients of the weightings."""
    where = place("address.backward")
    pointer, size, zero, one = real.pointer, real.size, real.type(0), real.type(1)
    norms, activated, stages, mixed = _norms(real), _activated(real), _stages(real), _mixed(real)
    length_of, room_of = vecmath.sqrt(real), _room_of_address
    log, power = vecmath.log(real), _along(real, 1, 2, 2, _power(real))

    def sharpen(p, logarithm, w, g, slope, mean, scale):
        """Gradients of w̃ and, but for their sum, of γ. (Of w̃ = 0 the logarithm doesn't count: w is 0, too.)"""
        rest = g - mean
        return slope * p * rest, w * rest * (logarithm + scale)

    def interpolate(x, content, previous, gate):
        """Gradients of w^c, of the previous weights and, but for their sum, of g."""
        return gate * x, (1 - gate) * x, x * (content - previous)

    def cosine(scores, n, c, strength, length, eps):
        """What of the gradient is along the other, along itself, and that divided by its length."""
        other = strength * scores / (length * n + eps)
        zero, itself = n == 0, other * c
        return other, itself, choose(zero, 0, itself * length / choose(zero, 1, n))

    sharpen, interpolate = _along(real, 4, 2, 3, sharpen), _along(real, 3, 3, 1, interpolate)
    content_scores = _along(real, 2, 1, 1, lambda content, d, mean: content * (d - mean))
    cosine = _along(real, 3, 3, 3, cosine)
    fill = _along(real, 0, 1, 1, lambda x: x)
    # dM_i += A_i k − B_i M_i, and dk = Σ_i A_i M_i.
    rows = sweep(real, 2, 1, 2, lambda d, m, k, a, b: (d + (a * k - b * m), a * m), sums=1)
    less = _along(real, 2, 1, 1, lambda x, y, factor: x - factor * y)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        places, width, heads = word[where.places], word[where.width], word[where.heads]
        shifts = word[where.shifts]
        eps, room = pointer(arguments + 8 * where.epsilon)[0], room_of(places, width, shifts) * size
        piece, radius = (places + ROW_ROOM + shifts) * size, shifts // 2
        for b in range(first, last):
            memory = word[where.memory] + b * places * width * size
            d_memory = word[where.d_memory] + b * places * width * size
            n = word[where.room] + b * room
            content, gated, shifted, terms = n + piece, n + 2 * piece, n + 3 * piece, n + 4 * piece
            d, logarithms, ones = n + 5 * piece, n + 6 * piece, n + 7 * piece
            activations, line = ones + (width + places * width) * size, (shifts + 3) * size
            sigmoid, s = pointer(activations + line), pointer(activations + 2 * line)
            norms(memory, places, width, ones + width * size, ones, n)
            fill(places * width, d_memory, zero)
            for head in range(b * heads, (b + 1) * heads):
                emission, row = head * (width + shifts + 3) * size, head * places * size
                key, d_key = word[where.emitted] + emission, word[where.d_emitted] + emission
                result = pointer(d_key + width * size)
                previous, w = word[where.previous] + row, word[where.weights] + row
                c = word[where.content] + row
                g, d_previous = word[where.d_weights] + row, word[where.d_previous] + row
                strength, gate, gamma = activated(key + width * size, shifts, activations)
                top = stages(c, strength, gate, s, shifts, previous, places, content, gated, shifted)
                # Sharpening: with z = w̃ / top, the sum of z^γ is that of z z^{γ − 1}.
                power(places, shifted, terms, logarithms, top, gamma - one)
                mean = dot(pointer(w), pointer(g), places)
                whole = dot(pointer(shifted), pointer(terms), places)
                slope = gamma / (top if whole == zero else whole)
                sharpen(places, terms, logarithms, w, g, d + radius * size, terms, slope, mean, log(top))
                result[2 + shifts] = total(pointer(terms), places) * sigmoid[2 + shifts]
                # Shift, with its softmax.
                whole = zero
                for j in range(shifts):
                    source = pointer(gated + (shifts - 1 - j) * size)
                    by_shift = s[j] * dot(pointer(d + radius * size), source, places)
                    result[2 + j] = by_shift
                    whole += by_shift
                for j in range(shifts):
                    result[2 + j] -= whole * s[j]
                mixed(d, s, True, shifts, places, shifted)
                interpolate(places, shifted, content, previous, shifted, d_previous, terms, gate)
                result[1] = total(pointer(terms), places) * gate * (one - gate)
                # Content: softmax, then the cosine.
                mean = dot(pointer(content), pointer(shifted), places)
                content_scores(places, content, shifted, content, mean)
                result[0] = dot(pointer(content), pointer(c), places) * sigmoid[0]
                length = length_of(dot(pointer(key), pointer(key), width))
                cosine(places, content, n, c, content, gated, shifted, strength, length, eps)
                across = dot(pointer(gated), pointer(n), places)
                rows(d_memory, memory, key, content, shifted, d_memory, d_key, places, width)
                less(width, d_key, key, d_key, zero if length == zero else across / length)

    return kernel
