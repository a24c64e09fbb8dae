"""Reductions along an axis, and running sums, of arrays laid out as (outer, length, inner), where length is
reduced.

Sums are pairwise in effect: blocks of numbers are folded (see :mod:`tinyattn.kernels.language.fold`), then blocks of
those results, and so on, so that the rounding error of a sum of n numbers grows with log n. The order
depends on the sizes alone. No two tiles share a result; to spread one long sum over threads, reduce in two
stages.
"""

from tinyattn.kernels.calls.reduce import REDUCE_COLUMNS, rows_of_reduce
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language.fold import FOLD_BLOCK, combine, fold, fold_columns
from tinyattn.kernels.language.opcodes import FOLDS
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import copy_bytes, i32, i64

_RUN = FOLD_BLOCK * FOLD_BLOCK
_REALS = sum(kind == "real" for _, kind in FOLDS)
"""The codes below this are of reals."""
_LEAF = 8
"""Rows that ``columns`` adds up one after the other."""
_WIDE = 128
"""About how many columns ``columns`` wants at least."""


def rows(real):
    """Reduce rows to numbers: y[o] = scale · fold(x[o, 0], …, x[o, length − 1])."""
    w = place("reduce.rows")
    fold_run = fold(real, "sum", "prod", "max", "min", "sum_squares")
    pointer, rows_in_tile = real.pointer, inline(rows_of_reduce)
    squares, total = FOLDS["sum_squares", "real"], FOLDS["sum", "real"]

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        outer, length, code, size = word[w.outer], word[w.length], word[w.fold], word[w.size]
        scale = pointer(arguments + 8 * w.scale)[0]
        blocks, runs = scratch, scratch + 8 * FOLD_BLOCK
        again = total if code == squares else code
        count = rows_in_tile(length)
        for o in range(first * count, min(last * count, outer)):
            x, y = word[w.x] + o * length * size, word[w.y] + o * size
            if length <= FOLD_BLOCK:
                fold_run(code, x, length, y)
            else:
                filled_runs = 0
                for run in range(0, length, _RUN):
                    filled = 0
                    for start in range(run, min(run + _RUN, length), FOLD_BLOCK):
                        part = min(FOLD_BLOCK, length - start)
                        fold_run(code, x + start * size, part, blocks + filled * size)
                        filled += 1
                    fold_run(again, blocks, filled, runs + filled_runs * size)
                    filled_runs += 1
                fold_run(again, runs, filled_runs, y)
            if code < _REALS:
                pointer(y)[0] *= scale

    return kernel


def columns(real):
    """Reduce columns: y[o, j] = scale · fold(x[o, 0, j], …, x[o, length − 1, j]).
    Eight rows are added up one after the other, then such sums in pairs, and pairs of pairs: of k sums,
    those wait in scratch that correspond to the ones in k written in binary. Narrow rows are first joined,
    as if they were one wide row.
    """
    w = place("reduce.columns")
    operations = "sum", "prod", "max", "min"
    pointer, combine_run = real.pointer, combine(real, *operations)
    fold_rows = fold_columns(real, *operations)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        length, inner, code, size = word[w.length], word[w.inner], word[w.fold], word[w.size]
        scale = pointer(arguments + 8 * w.scale)[0]
        parts = (inner + REDUCE_COLUMNS - 1) // REDUCE_COLUMNS
        joined = max(1, min(_WIDE // inner, length // 2))
        wide_rows, level = length // joined, 8 * REDUCE_COLUMNS
        stride = joined * inner * size
        for tile in range(first, last):
            o, column = tile // parts, tile % parts * REDUCE_COLUMNS
            count = min(REDUCE_COLUMNS, inner - column)
            x = word[w.x] + (o * length * inner + column) * size
            y = word[w.y] + (o * inner + column) * size
            width = count * joined
            top = scratch
            leaves = 0
            for row in range(0, wide_rows, _LEAF):
                fold_rows(code, x + row * stride, stride, min(_LEAF, wide_rows - row), width, top)
                top += level
                leaves += 1
                k = leaves
                while k % 2 == 0:
                    top -= level
                    combine_run(code, top, width, top - level)
                    k //= 2
            while top > scratch + level:
                top -= level
                combine_run(code, top, width, top - level)
            # Take joined rows apart, and add those that were left over.
            for part in range(1, joined):
                combine_run(code, scratch + part * inner * size, count, scratch)
            for row in range(wide_rows * joined, length):
                combine_run(code, x + row * inner * size, count, scratch)
            if code < _REALS:
                sums, means = pointer(scratch), pointer(y)
                for j in range(count):
                    means[j] = sums[j] * scale
            else:
                copy_bytes(y, scratch, count * size)

    return kernel


def _extreme(real, operation):
    """The kernel that finds where the maximum or minimum is."""
    fold_run, pointer, rows_in_tile = fold(real, operation), real.pointer, inline(rows_of_reduce)
    codes = [FOLDS[operation, kind] for kind in ("real", "i32", "i64")]
    code_real, code_i32, code_i64 = codes
    real_size, w = real.size, place("reduce.argmax")

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        outer, length, code = word[w.outer], word[w.length], word[w.fold]
        size = real_size if code == code_real else 4 if code == code_i32 else 8
        count = rows_in_tile(length)
        for o in range(first * count, min(last * count, outer)):
            x = word[w.x] + o * length * size
            fold_run(code, x, length, scratch)
            i = 0
            if code == code_real:
                numbers, number = pointer(x), pointer(scratch)[0]
                # Either no number is NaN, or the extreme is, and the first NaN is wanted.
                while i < length - 1 and numbers[i] != number and numbers[i] == numbers[i]:
                    i += 1
            elif code == code_i32:
                numbers_4, number_4 = i32(x), i32(scratch)[0]
                while i < length - 1 and numbers_4[i] != number_4:
                    i += 1
            elif code == code_i64:
                numbers_8, number_8 = i64(x), i64(scratch)[0]
                while i < length - 1 and numbers_8[i] != number_8:
                    i += 1
            i64(word[w.y])[o] = i

    return kernel


def argmax(real):
    """Where each row has its maximum: the first such place, or the first NaN if there is one."""
    return _extreme(real, "max")


def argmin(real):
    """Where each row has its minimum; as :func:`argmax`, with FOLDS["min", kind]."""
    return _extreme(real, "min")


def cumsum(real):
    """Running sums: y[o, r, j] = x[o, 0, j] + … + x[o, r, j], or x[o, r, j] + … + x[o, length − 1, j] in
    reverse.
    """
    w = place("reduce.cumsum")
    pointer, combine_run, rows_in_tile = real.pointer, combine(real, "sum"), inline(rows_of_reduce)
    zero, code_real, code_i32 = real.type(0), FOLDS["sum", "real"], FOLDS["sum", "i32"]

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        outer, length, inner, code = word[w.outer], word[w.length], word[w.inner], word[w.fold]
        size = word[w.size]
        start, step = (length - 1, -1) if word[w.reverse] != 0 else (0, 1)
        if inner == 1:
            count = rows_in_tile(length)
            for o in range(first * count, min(last * count, outer)):
                x, y = word[w.x] + o * length * size, word[w.y] + o * length * size
                if code == code_real:
                    x_real, y_real, sum_real = pointer(x), pointer(y), zero
                    for r in range(length):
                        sum_real += x_real[start + step * r]
                        y_real[start + step * r] = sum_real
                elif code == code_i32:
                    x_4, y_4, sum_4 = i32(x), i32(y), 0
                    for r in range(length):
                        sum_4 += x_4[start + step * r]
                        y_4[start + step * r] = sum_4
                else:
                    x_8, y_8, sum_8 = i64(x), i64(y), 0
                    for r in range(length):
                        sum_8 += x_8[start + step * r]
                        y_8[start + step * r] = sum_8
        else:
            parts = (inner + REDUCE_COLUMNS - 1) // REDUCE_COLUMNS
            for tile in range(first, last):
                o, column = tile // parts, tile % parts * REDUCE_COLUMNS
                count = min(REDUCE_COLUMNS, inner - column)
                offset = (o * length * inner + column) * size
                for r in range(length):
                    row = offset + (start + step * r) * inner * size
                    copy_bytes(word[w.y] + row, word[w.x] + row, count * size)
                    if r > 0:
                        combine_run(code, word[w.y] + row - step * inner * size, count, word[w.y] + row)

    return kernel
