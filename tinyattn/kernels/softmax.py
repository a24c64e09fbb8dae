"""Softmax, log-softmax and cross-entropy over the rows of a matrix, with masks.

    softmax      y_j = e^{x_j − m} / s,     m = max x,  s = Σ e^{x_j − m};       dx_j = y_j (dy_j − Σ y dy)
    log-softmax  y_j = x_j − m − ln s;                                           dx_j = dy_j − e^{y_j} Σ dy
    cross-entropy of a target t, smoothed by ε: with the distribution q = (1 − ε) [j = t] + ε / C,
                 loss = −Σ q_j ln softmax(x)_j;                                  dx_j = (softmax(x)_j − q_j) g

Matrices are contiguous, R rows of C numbers. A row is gone over in a few passes, as they are written here:
its maximum; its exponentials and their sum; the result.

**Masks.** A masked number counts as −∞ whatever it is, NaN included. The mask of row r begins at the address
of the mask plus Σ i_k stride_k numbers, where i₀ … i₃ is r written as a position in the four *row
dimensions*; a stride of 0 repeats the mask along a dimension. A row without a number left gives softmax 0
(log-softmax −∞ throughout) and gradient 0; without a mask, a row of −∞ gives NaN.
"""

import math

from tinyattn.kernels import SCRATCH_BYTES
from tinyattn.kernels.calls.softmax import SOFTMAX_TILE, rows_of_softmax
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.gather import read_index
from tinyattn.kernels.language.elementary import Elementary
from tinyattn.kernels.language.formula import select
from tinyattn.kernels.language.lanes import ROW_BYTES, largest
from tinyattn.kernels.language.passes import one_pass
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64

_rows_of_softmax = inline(rows_of_softmax)


def _mask_row(real):
    """``(word, r)``: where the mask of row r is."""
    size, w = real.size, place("softmax.forward")
    slowest, fastest = w.sizes, w.sizes + 3
    across = w.strides - w.sizes

    @inline
    def mask_row(word, r):
        at = 0
        for dimension in range(fastest, slowest, -1):
            if r >= word[dimension]:
                at += r % word[dimension] * word[dimension + across]
                r //= word[dimension]
            else:  # the rest of the position is 0, and a division is slow
                at += r * word[dimension + across]
                r = 0
        at += r * word[slowest + across]
        return word[w.mask] + (at if word[w.masking] == 1 else at * size)

    return mask_row


def _stage(real):
    """``(rows, columns, scratch, y) -> address, bytes from row to row`` of room for a tile: scratch, or the result's
    own place.

    In scratch a row has whole vectors to itself. Rows that follow one another closely are slow to write and read
    again: a vector's end, though masked, is at the place of the next row, which then has to wait.
    """
    size = real.size

    @inline
    def stage(rows, columns, scratch, y):
        pitch = (columns * size + ROW_BYTES - 1) // ROW_BYTES * ROW_BYTES
        if rows * pitch <= SCRATCH_BYTES - 2 * SOFTMAX_TILE * size:
            return scratch + 2 * SOFTMAX_TILE * size, pitch
        return y, columns * size

    return stage


def _scores(real):
    """``(arguments, start, count, stage, pitch, tops) -> source, step, factor``: the largest score of each row of a
    tile, and where the tile's scores are, from row to row, up to a factor: scaled and masked on the stage, or in x
    itself if there is no mask.
    """
    pointer, size, mask_row, w = real.pointer, real.size, _mask_row(real), place("softmax.forward")
    infinity, zero, one = real.type(math.inf), real.type(0), real.type(1)

    def allowed(x, mask, scale):
        scores = select(mask, x * scale, -math.inf)
        return scores, scores

    def biased(x, bias, scale):
        scores = select(bias == -math.inf, -math.inf, x * scale + bias)
        return scores, scores

    top = one_pass(real, 1, 0, 1, lambda x, scale: x * scale, ("max",))
    top_allowed = one_pass(real, 2, 1, 1, allowed, ("max",), flags=True)
    top_biased = one_pass(real, 2, 1, 1, biased, ("max",))

    @inline
    def scores(arguments, start, count, stage, pitch, tops):
        word, scale, highest = i64(arguments), pointer(arguments + 8 * w.scale)[0], pointer(tops)
        columns, kind = word[w.columns], word[w.masking]
        row = columns * size
        x = word[w.x] + start * row
        if kind == 0:
            for r in range(count):
                highest[r] = top(columns, x + r * row, scale)
            return x, row, scale
        for r in range(count):
            mask, z = mask_row(word, start + r), stage + r * pitch
            if kind == 1:
                largest_score = top_allowed(columns, x + r * row, mask, z, scale)
            else:
                largest_score = top_biased(columns, x + r * row, mask, z, scale)
            highest[r] = largest_score if largest_score != -infinity else zero
        return stage, pitch, one

    return scores


def _bound(real):
    """What the kernels use, under local names."""
    return real.pointer, real.size, _rows_of_softmax, _scores(real), Elementary(real.name).weight


def _forward(real, fold, finish, write):
    """The kernel that folds the weights of each row, ``fold(columns, scores, staged, factor, top)``, does something to
    all sums of a tile at once, ``finish(count, sums, sums)``, and makes y of that, ``write(columns, scores, staged,
    y, factor, top, finished)``. What ``fold`` leaves in ``staged`` is there for ``write``.
    """
    pointer, size, rows_of, scores, _ = _bound(real)
    stage_of, w = _stage(real), place("softmax.forward")

    def kernel(arguments, first, last, scratch):
        word, tops = i64(arguments), pointer(scratch)
        sums, totals = pointer(scratch + SOFTMAX_TILE * size), scratch + SOFTMAX_TILE * size
        columns = word[w.columns]
        rows, row = rows_of(columns), columns * size
        for tile in range(first, last):
            start = tile * rows
            count, y = min(rows, word[w.rows] - start), word[w.y] + start * row
            stage, pitch = stage_of(count, columns, scratch, y)
            source, step, factor = scores(arguments, start, count, stage, pitch, scratch)
            for r in range(count):
                sums[r] = fold(columns, source + r * step, stage + r * pitch, factor, tops[r])
            finish(count, totals, totals)
            for r in range(count):
                write(columns, source + r * step, stage + r * pitch, y + r * row, factor, tops[r], sums[r])

    return kernel


def forward(real):
    """Softmax of each row of ``scale x`` under a mask."""
    weight = Elementary(real.name).weight

    def weigh(x, factor, highest):
        weights = weight(x * factor - highest)
        return weights, weights

    weighed = one_pass(real, 1, 1, 2, weigh, ("sum",))
    inverted = one_pass(real, 1, 1, 0, lambda s: select(s == 0, 0, 1 / s))
    scaled = one_pass(real, 1, 1, 1, lambda weights, factor: weights * factor)

    @inline
    def write(columns, scores, staged, y, factor, top, inverse):
        scaled(columns, staged, y, inverse)

    return _forward(real, weighed, inverted, write)


def _backward(real, folded, result):
    """The kernel that folds y and dy of each row, and makes dx of them and of what that gave."""
    pointer, size, rows_of, w = real.pointer, real.size, _rows_of_softmax, place("softmax.backward")

    def kernel(arguments, first, last, scratch):
        word, scale = i64(arguments), pointer(arguments + 8 * w.scale)[0]
        columns = word[w.columns]
        rows = rows_of(columns)
        for r in range(first * rows, min(last * rows, word[w.rows])):
            at = r * columns * size
            y, dy, dx = word[w.y] + at, word[w.dy] + at, word[w.dx] + at
            result(columns, y, dy, dx, scale, folded(columns, y, dy))

    return kernel


def backward(real):
    """Gradient of softmax. Where y is 0 nothing comes through, not even a NaN in dy."""
    products = one_pass(real, 2, 0, 0, lambda y, dy: select(y == 0, 0, y * dy), ("sum",))
    result = one_pass(real, 2, 1, 2, lambda y, dy, scale, mean: select(y == 0, 0, y * (dy - mean) * scale))

    return _backward(real, products, result)


def log_forward(real):
    """Logarithm of the softmax; −∞ where the mask is off."""
    weight, log = Elementary(real.name).weight, Elementary(real.name).log
    summed = one_pass(real, 1, 0, 2, lambda x, factor, highest: weight(x * factor - highest), ("sum",))
    logarithms = one_pass(real, 1, 1, 0, lambda s: select(s == 0, 0, log(s)))
    result = one_pass(real, 1, 1, 3, lambda x, factor, highest, logarithm: (x * factor - highest) - logarithm)

    @inline
    def fold(columns, scores, staged, factor, top):
        return summed(columns, scores, factor, top)

    @inline
    def write(columns, scores, staged, y, factor, top, logarithm):
        result(columns, scores, y, factor, top, logarithm)

    return _forward(real, fold, logarithms, write)


def log_backward(real):
    """Gradient of log-softmax. Where y is −∞ (a masked number) the gradient is 0 whatever dy is.

    y is the log-softmax.
    """
    weight = Elementary(real.name).weight
    summed = one_pass(real, 2, 0, 0, lambda y, dy: select(y == -math.inf, 0, dy), ("sum",))

    def gradient(y, dy, scale, s):
        return (select(y == -math.inf, 0, dy) - weight(y) * s) * scale

    result = one_pass(real, 2, 1, 2, gradient)

    return _backward(real, summed, result)


def cross_entropy_forward(real):
    """Loss of each row, its maximum m and ln Σ e^{x − m}, which the backward pass needs.

    For a row whose target is ``ignore_index`` all three are 0, whatever is in it. A row whose target is not in [0, C)
    has loss NaN.
    """
    pointer, size, rows_of, _, weight = _bound(real)
    number, log, w = real.type, Elementary(real.name).log, place("softmax.cross_entropy_forward")
    zero, one, invalid = number(0), number(1), number(math.nan)
    summed = one_pass(real, 1, 0, 1, lambda x, highest: weight(x - highest), ("sum",))
    below = one_pass(real, 1, 0, 1, lambda x, highest: highest - x, ("sum",))
    logarithms = one_pass(real, 1, 1, 0, log)

    def kernel(arguments, first, last, scratch):
        word, smoothing, sums = i64(arguments), pointer(arguments + 8 * w.smoothing)[0], pointer(scratch)
        losses, tops, log_sums = pointer(word[w.losses]), pointer(word[w.tops]), pointer(word[w.log_sums])
        columns = word[w.columns]
        rows = rows_of(columns)
        for tile in range(first, last):
            start = tile * rows
            count = min(rows, word[w.rows] - start)
            for r in range(count):
                row = word[w.x] + (start + r) * columns * size
                tops[start + r], sums[r] = zero, one
                if read_index(word[w.targets], word[w.wide], start + r) != word[w.ignored]:
                    tops[start + r] = largest(pointer(row), columns)
                    sums[r] = summed(columns, row, tops[start + r])
            logarithms(count, scratch, scratch)
            for k in range(count):
                r, row = start + k, word[w.x] + (start + k) * columns * size
                highest, target = tops[r], read_index(word[w.targets], word[w.wide], r)
                log_sums[r] = sums[k]
                if target == word[w.ignored]:
                    losses[r] = zero
                elif target < 0 or target >= columns:
                    losses[r] = invalid
                else:
                    loss = (one - smoothing) * (highest - pointer(row)[target]) + sums[k]
                    if smoothing != zero:
                        loss += smoothing * (below(columns, row, highest) / number(columns))
                    losses[r] = loss

    return kernel


def cross_entropy_backward(real):
    """Gradient of the losses: ``(softmax(x) − q) g``, 0 in rows that are ignored, NaN in rows with a wrong
    target.
    """
    pointer, size, rows_of, _, weight = _bound(real)
    number, w = real.type, place("softmax.cross_entropy_backward")
    zero, one, invalid = number(0), number(1), number(math.nan)
    filled = one_pass(real, 0, 1, 1, lambda value: value)

    def gradient(x, top, log_sum, uniform, g):
        return (weight((x - top) - log_sum) - uniform) * g

    result = one_pass(real, 1, 1, 4, gradient)

    def kernel(arguments, first, last, scratch):
        word, smoothing = i64(arguments), pointer(arguments + 8 * w.smoothing)[0]
        tops, log_sums, gradients = pointer(word[w.tops]), pointer(word[w.log_sums]), pointer(word[w.g])
        columns = word[w.columns]
        rows = rows_of(columns)
        uniform = smoothing / number(columns)
        for r in range(first * rows, min(last * rows, word[w.rows])):
            at = r * columns * size
            target = read_index(word[w.targets], word[w.wide], r)
            if target == word[w.ignored]:
                filled(columns, word[w.dx] + at, zero)
            elif target < 0 or target >= columns:
                filled(columns, word[w.dx] + at, invalid)
            else:
                g = gradients[r * word[w.stride]]
                result(columns, word[w.x] + at, word[w.dx] + at, tops[r], log_sums[r], uniform, g)
                pointer(word[w.dx] + at)[target] -= (one - smoothing) * g

    return kernel
