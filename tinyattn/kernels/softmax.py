"""Softmax, log-softmax and cross-entropy over the rows of a matrix, with masks.

    softmax      y_j = e^{x_j − m} / s,     m = max x,  s = Σ e^{x_j − m};       dx_j = y_j (dy_j − Σ y dy)
    log-softmax  y_j = x_j − m − ln s;                                           dx_j = dy_j − e^{y_j} Σ dy
    cross-entropy of a target t, smoothed by ε: with the distribution q = (1 − ε) [j = t] + ε / C,
                 loss = −Σ q_j ln softmax(x)_j;                                  dx_j = (softmax(x)_j − q_j) g

Matrices are contiguous, R rows of C numbers. Rows of attention are short, 5 to 30 numbers, and exponentials
of so few don't fill the machine's vectors. So a tile takes many rows, subtracts each row's maximum, and then
takes the exponentials of all its numbers in one run.

**Masks.** A masked number counts as −∞ whatever it is, NaN included. The mask of row r begins at the address
of the mask plus Σ i_k stride_k numbers, where i₀ … i₃ is r written as a position in the four *row
dimensions*; a stride of 0 repeats the mask along a dimension. A row without a number left gives softmax 0
(log-softmax −∞ throughout) and gradient 0; without a mask, a row of −∞ gives NaN.
"""

import math

from tinyattn.kernels import SCRATCH_BYTES, vecmath
from tinyattn.kernels.gather import read_index
from tinyattn.kernels.lanes import largest, total
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64, select, u8
from tinyattn.kernels.tiling import SOFTMAX_TILE, rows_of_softmax

_rows_of_softmax = inline(rows_of_softmax)
_BLOCK = SOFTMAX_TILE
"""Exponentials taken in one run, and the most rows of a tile."""


def _weight(real):
    """eᶻ for z ≤ 0, but 0 where it would be subnormal.

    Beside the largest weight, 1, that is nothing, and arithmetic with subnormal numbers is slow.
    """
    exp, zero, lowest = vecmath.exp(real), real.type(0), real.type(-87 if real.size == 4 else -708)

    @inline
    def weight(z):
        return select(z < lowest, zero, exp(select(z < lowest, zero, z)))

    return weight


def _stage(real):
    """``(rows, columns, scratch, y) -> address`` of room for a tile: scratch, or the result's own place.

    Scratch keeps the results apart from the arguments (which may be in the same place, and then LLVM's vector
    loops don't apply). Its first two blocks are left for exponentials and for numbers that belong to rows.
    """
    size = real.size
    most = SCRATCH_BYTES // size - 2 * _BLOCK

    @inline
    def stage(rows, columns, scratch, y):
        return scratch + 2 * _BLOCK * size if rows * columns <= most else y

    return stage


def _mask_to(real):
    """``(word, r, z)``: the mask of row r as numbers to add, to z. Words as in :func:`forward`."""
    pointer, size, infinity, zero = real.pointer, real.size, real.type(math.inf), real.type(0)

    @inline
    def mask_to(word, r, z):
        columns, kind, step = word[3], word[5], word[7]
        offset = r % word[11] * word[15]
        r //= word[11]
        offset += r % word[10] * word[14]
        r //= word[10]
        offset += r % word[9] * word[13] + r // word[9] * word[12]
        allowed, bias = u8(word[6] + offset), pointer(word[6] + offset * size)
        if step != 1:
            for j in range(columns):
                if kind == 1:
                    z[j] = zero if allowed[j * step] != 0 else -infinity
                else:
                    z[j] = bias[j * step]
        elif kind == 1:
            for j in range(columns):
                z[j] = select(allowed[j] != 0, zero, -infinity)
        else:
            for j in range(columns):
                z[j] = bias[j]

    return mask_to


def _shifted(real):
    """``(arguments, start, count, stage)``: rows of x, scaled, masked and less their maxima, to the stage."""
    pointer, size, mask_to = real.pointer, real.size, _mask_to(real)
    infinity, zero = real.type(math.inf), real.type(0)

    @inline
    def shifted(arguments, start, count, stage):
        word, columns, scale = i64(arguments), i64(arguments)[3], pointer(arguments + 8 * 4)[0]
        x, tile, masked = pointer(word[0] + start * columns * size), pointer(stage), word[5] != 0
        if masked:
            for r in range(count):
                mask_to(word, start + r, pointer(stage + r * columns * size))
        else:
            for i in range(count * columns):
                tile[i] = zero
        for i in range(count * columns):
            tile[i] = select(tile[i] == -infinity, -infinity, x[i] * scale + tile[i])
        for r in range(count):
            z = pointer(stage + r * columns * size)
            highest = largest(z, columns)
            if masked and highest == -infinity:
                highest = zero
            for j in range(columns):
                z[j] -= highest

    return shifted


def forward(real):
    """Softmax of each row of ``scale x`` under a mask.

    ======== ==========================================================
    0        address of x (R, C)
    1        address of y (R, C); may be x
    2        R
    3        C
    4        bits of the scale (1 for none)
    5        kind of mask: 0 none; 1 bytes, 0 where x is masked; 2 numbers to add to scale x, −∞ where it is
    6        address of the mask
    7        stride of the mask along a row, in its numbers (words 7 to 15 are not read if there is no mask)
    8 … 11   the four row dimensions, slowest first; their product is R
    12 … 15  stride of the mask along each of them
    ======== ==========================================================
    """
    pointer, size, rows_of, stage_of = real.pointer, real.size, _rows_of_softmax, _stage(real)
    shifted, weight, zero, one = _shifted(real), _weight(real), real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        rows = rows_of(columns)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[2] - start)
            result = word[1] + start * columns * size
            stage = stage_of(count, columns, scratch, result)
            shifted(arguments, start, count, stage)
            z = pointer(stage)
            for i in range(count * columns):
                z[i] = weight(z[i])
            for r in range(count):
                y, z = pointer(result + r * columns * size), pointer(stage + r * columns * size)
                s = total(z, columns)
                factor = one / s if s != zero else zero
                for j in range(columns):
                    y[j] = z[j] * factor

    return kernel


def backward(real):
    """Gradient of softmax. Where y is 0 nothing comes through, not even a NaN in dy.

    ===== ============================================================
    0     address of y (R, C): the result of the forward pass
    1     address of dy (R, C)
    2     address of dx (R, C); may be dy
    3     R
    4     C
    5     bits of the scale
    ===== ============================================================
    """
    pointer, size, zero = real.pointer, real.size, real.type(0)
    rows_of, stage_of = _rows_of_softmax, _stage(real)

    def kernel(arguments, first, last, scratch):
        word, scale = i64(arguments), pointer(arguments + 8 * 5)[0]
        columns = word[4]
        rows = rows_of(columns)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[3] - start)
            offset = start * columns * size
            stage = stage_of(count, columns, scratch, word[2] + offset)
            y, dy, products = pointer(word[0] + offset), pointer(word[1] + offset), pointer(stage)
            for i in range(count * columns):
                products[i] = select(y[i] == zero, zero, y[i] * dy[i] * scale)
            for r in range(count):
                at = r * columns * size
                y, dx = pointer(word[0] + offset + at), pointer(word[2] + offset + at)
                products = pointer(stage + at)
                mean = total(products, columns)
                for j in range(columns):
                    dx[j] = products[j] - y[j] * mean

    return kernel


def log_forward(real):
    """Logarithm of the softmax; −∞ where the mask is off. Argument words as in :func:`forward`."""
    pointer, size, rows_of, stage_of = real.pointer, real.size, _rows_of_softmax, _stage(real)
    shifted, weight, log, zero = _shifted(real), _weight(real), vecmath.log(real), real.type(0)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        columns = word[3]
        rows = rows_of(columns)
        terms, sums = pointer(scratch), pointer(scratch + _BLOCK * size)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[2] - start)
            result = word[1] + start * columns * size
            stage = stage_of(count, columns, scratch, result)
            shifted(arguments, start, count, stage)
            for r in range(count):
                sums[r] = zero
            # A block is the whole tile, or a part of its only row.
            for at in range(0, count * columns, _BLOCK):
                z, block = pointer(stage + at * size), min(_BLOCK, count * columns - at)
                for i in range(block):
                    terms[i] = weight(z[i])
                part = min(columns, block)
                for k in range(block // part):
                    sums[k] += total(pointer(scratch + k * part * size), part)
            for r in range(count):
                sums[r] = select(sums[r] == zero, zero, log(sums[r]))
            for r in range(count):
                y, z = pointer(result + r * columns * size), pointer(stage + r * columns * size)
                logarithm = sums[r]
                for j in range(columns):
                    y[j] = z[j] - logarithm

    return kernel


def log_backward(real):
    """Gradient of log-softmax. Where y is −∞ (a masked number) the gradient is 0 whatever dy is.

    Argument words as in :func:`backward`; y is the log-softmax.
    """
    pointer, size, rows_of, stage_of = real.pointer, real.size, _rows_of_softmax, _stage(real)
    weight, zero, infinity = _weight(real), real.type(0), real.type(math.inf)

    def kernel(arguments, first, last, scratch):
        word, scale = i64(arguments), pointer(arguments + 8 * 5)[0]
        columns = word[4]
        rows = rows_of(columns)
        terms, sums = pointer(scratch), pointer(scratch + _BLOCK * size)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[3] - start)
            offset = start * columns * size
            stage = stage_of(count, columns, scratch, word[2] + offset)
            y, dy, kept = pointer(word[0] + offset), pointer(word[1] + offset), pointer(stage)
            for i in range(count * columns):
                kept[i] = select(y[i] == -infinity, zero, dy[i] * scale)
            for r in range(count):
                sums[r] = total(pointer(stage + r * columns * size), columns)
            for at in range(0, count * columns, _BLOCK):
                y, block = pointer(word[0] + offset + at * size), min(_BLOCK, count * columns - at)
                for i in range(block):
                    terms[i] = weight(y[i])
                part = min(columns, block)
                for k in range(block // part):
                    inside = (at + k * part) * size
                    dx, kept = pointer(word[2] + offset + inside), pointer(stage + inside)
                    p, s = pointer(scratch + k * part * size), sums[k]
                    for j in range(part):
                        dx[j] = kept[j] - p[j] * s

    return kernel


def cross_entropy_forward(real):
    """Loss of each row, and the logarithm of the sum of its exponentials, which the backward pass needs.

    A row whose target is ``ignore_index`` has loss 0, whatever is in it. A row whose target is not in [0, C)
    has loss NaN.

    ===== ============================================================
    0     address of the logits x (R, C)
    1     address of the targets (R)
    2     kind of the targets: 0 for i32, 1 for i64
    3     address of the losses (R)
    4     address of ln Σ eˣ (R)
    5     R
    6     C
    7     ignore_index
    8     bits of ε, the label smoothing
    ===== ============================================================
    """
    pointer, size, number, rows_of = real.pointer, real.size, real.type, _rows_of_softmax
    weight, log, zero, one, invalid = _weight(real), vecmath.log(real), number(0), number(1), number(math.nan)

    def kernel(arguments, first, last, scratch):
        word, smoothing = i64(arguments), pointer(arguments + 8 * 8)[0]
        losses, normalisers, columns = pointer(word[3]), pointer(word[4]), word[6]
        rows = rows_of(columns)
        terms, sums = pointer(scratch), pointer(scratch + _BLOCK * size)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[5] - start)
            logits = word[0] + start * columns * size
            for r in range(count):
                normalisers[start + r] = largest(pointer(logits + r * columns * size), columns)
                sums[r] = zero
            for at in range(0, count * columns, _BLOCK):
                block = min(_BLOCK, count * columns - at)
                part = min(columns, block)
                for k in range(block // part):
                    x, z = pointer(logits + (at + k * part) * size), pointer(scratch + k * part * size)
                    highest = normalisers[start + k]
                    for j in range(part):
                        z[j] = x[j] - highest
                for i in range(block):
                    terms[i] = weight(terms[i])
                for k in range(block // part):
                    sums[k] += total(pointer(scratch + k * part * size), part)
            for r in range(count):
                sums[r] = log(sums[r])
            for r in range(count):
                x, highest = pointer(logits + r * columns * size), normalisers[start + r]
                normalisers[start + r] = highest + sums[r]
                target = read_index(word[1], word[2], start + r)
                if target == word[7]:
                    losses[start + r] = zero
                elif target < 0 or target >= columns:
                    losses[start + r] = invalid
                else:
                    loss = (one - smoothing) * (highest - x[target]) + sums[r]
                    if smoothing != zero:
                        loss += smoothing * (highest - total(x, columns) / number(columns))
                    losses[start + r] = loss

    return kernel


def cross_entropy_backward(real):
    """Gradient of the losses: ``(softmax(x) − q) g``, 0 in rows that are ignored, NaN in rows with a wrong
    target.

    ===== ============================================================
    0     address of the logits x (R, C)
    1     address of the targets (R)
    2     kind of the targets: 0 for i32, 1 for i64
    3     address of ln Σ eˣ (R), from the forward pass
    4     address of g (R): the gradients of the losses
    5     stride of g in numbers; 0: one number for all rows
    6     address of dx (R, C); may be x
    7     R
    8     C
    9     ignore_index
    10    bits of ε
    ===== ============================================================
    """
    pointer, size, number, rows_of = real.pointer, real.size, real.type, _rows_of_softmax
    weight, zero, one, invalid = _weight(real), number(0), number(1), number(math.nan)

    def kernel(arguments, first, last, scratch):
        word, smoothing = i64(arguments), pointer(arguments + 8 * 10)[0]
        normalisers, gradients, columns = pointer(word[3]), pointer(word[4]), word[8]
        rows = rows_of(columns)
        uniform = smoothing / number(columns)
        terms = pointer(scratch)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[7] - start)
            offset = start * columns * size
            for at in range(0, count * columns, _BLOCK):
                block = min(_BLOCK, count * columns - at)
                part = min(columns, block)
                for k in range(block // part):
                    x, z = (
                        pointer(word[0] + offset + (at + k * part) * size),
                        pointer(scratch + k * part * size),
                    )
                    normaliser = normalisers[start + k]
                    for j in range(part):
                        z[j] = x[j] - normaliser
                for i in range(block):
                    terms[i] = weight(terms[i])
                for k in range(block // part):
                    target = read_index(word[1], word[2], start + k)
                    gradient = gradients[(start + k) * word[5]]
                    ignored = target == word[9]
                    if not ignored and (target < 0 or target >= columns):
                        gradient = invalid
                    dx, z = (
                        pointer(word[6] + offset + (at + k * part) * size),
                        pointer(scratch + k * part * size),
                    )
                    for j in range(part):
                        dx[j] = select(ignored, zero, (z[j] - uniform) * gradient)
                    inside = target - at if columns > _BLOCK else target
                    if not ignored and 0 <= inside < part:
                        dx[inside] -= (one - smoothing) * gradient

    return kernel
