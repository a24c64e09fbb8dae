"""Reductions along an axis, and running sums: sum, product, maximum, minimum, of what is laid out as (outer, reduced, inner).

Sums are pairwise in effect: blocks of ``FOLD_BLOCK`` numbers are folded (see :mod:`tinyattn.kernels.fold`), then blocks of those
results, and so on, so that the rounding error of a sum of n numbers grows like log n. The order depends only on
the sizes. A tile never shares a result with another one; to spread one long sum over threads, reduce in two stages.
"""

import math

from tinyattn.kernels.fold import FOLD_BLOCK, combine, fold
from tinyattn.kernels.opcodes import FOLDS
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import copy_bytes, f32, f64, i32, i64
from tinyattn.kernels.tiling import CUMSUM_COLUMNS, REDUCE_COLUMNS, rows_of_cumsum, rows_of_reduce

_SUM, _SQUARES = FOLDS["sum", "real"], FOLDS["sum_squares", "real"]
_LARGEST_RUN = FOLD_BLOCK * FOLD_BLOCK


def rows(real):
    """Reduce each row: y[o] = scale · fold(x[o, 0], …, x[o, length − 1]).

    ====== ==================================================================================
    0      outer
    1      length
    2      address of x (outer, length), contiguous
    3      address of y (outer,)
    4      operation and kind: FOLDS[operation, kind]
    5      bytes of an element of x (and of y)
    6      bits of the scale, a real; used only where the kind is real (1/length for a mean)
    ====== ==================================================================================

    Length at most 2³⁰. Of no numbers, the sum is 0, the product 1, the maximum the least number of the kind.
    """
    fold_run, pointer, rows_in_tile = fold(real), real.pointer, inline(rows_of_reduce)
    last_real, code_sum, code_squares = max(v for (o, k), v in FOLDS.items() if k == "real"), _SUM, _SQUARES

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        outer, length, operation, size = word[0], word[1], word[4], word[5]
        scale = pointer(arguments + 48)[0]
        blocks, runs = scratch, scratch + 8 * FOLD_BLOCK
        again = code_sum if operation == code_squares else operation
        count = rows_in_tile(length)
        for o in range(first * count, min(last * count, outer)):
            x, y = word[2] + o * length * size, word[3] + o * size
            if length <= FOLD_BLOCK:
                fold_run(operation, x, length, y)
            else:
                for run in range(0, length, _LARGEST_RUN):
                    filled = 0
                    for start in range(run, min(run + _LARGEST_RUN, length), FOLD_BLOCK):
                        part = min(FOLD_BLOCK, length - start)
                        fold_run(operation, x + start * size, part, blocks + filled * size)
                        filled += 1
                    fold_run(again, blocks, filled, runs + (run // _LARGEST_RUN) * size)
                fold_run(again, runs, (length + _LARGEST_RUN - 1) // _LARGEST_RUN, y)
            if operation == again and _is_real(operation) or operation == code_squares:
                pointer(y)[0] *= scale

    return kernel
