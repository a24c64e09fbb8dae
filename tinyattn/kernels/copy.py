"""Moving memory: from any strides to any strides, and filling it with one value.

What is copied is a list of planes, and a plane is worked off in blocks of rows and columns:
``copy_plan`` orders the dimensions so that the columns lie close together in the destination, and the
rows do in the source if the columns don't. Then a transposition goes block by block through the cache, and
whole blocks of 4-byte elements through registers: of lines a power of two apart the cache can hold but few.
"""

from tinyattn.kernels import simd_gemm
from tinyattn.kernels.calls.copy import FILL_BYTES, copy_block_columns, copy_block_rows
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import processor
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import copy_bytes, i32, i64, u8

_STRIP = 16
"""Columns that are read at a time where they are far apart: few, so that their cache lines stay near until
used up.
"""


def strided(real):
    """y[i, j, …] = x[i, j, …], each with strides of its own.
    The last two dimensions are rows and columns of a plane, the others count planes. One kernel serves both
    dtypes; use f32's.
    """
    w = place("copy.strided")
    rows_in_block, columns_in_block = inline(copy_block_rows), inline(copy_block_columns)
    transpose, lanes = simd_gemm.transpose_block(real), processor.lanes(real.name)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        size, dimensions = word[w.size], word[w.dimensions]
        shape, x_strides, y_strides = i64(word[w.shape]), i64(word[w.x_strides]), i64(word[w.y_strides])
        rows, columns = shape[dimensions - 2], shape[dimensions - 1]
        x_row, x_step = x_strides[dimensions - 2], x_strides[dimensions - 1]
        y_row, y_step = y_strides[dimensions - 2], y_strides[dimensions - 1]
        contiguous = 1 if x_step == 1 and y_step == 1 else 0
        wide = columns_in_block(columns, contiguous)
        high = rows_in_block(columns, contiguous)
        across = (columns + wide - 1) // wide
        down = (rows + high - 1) // high
        for tile in range(first, last):
            column, rest = tile % across * wide, tile // across
            row, plane = rest % down * high, rest // down
            from_x = row * x_row + column * x_step
            to_y = row * y_row + column * y_step
            for d in range(dimensions - 3, -1, -1):
                coordinate = plane % shape[d]
                plane = plane // shape[d]
                from_x += coordinate * x_strides[d]
                to_y += coordinate * y_strides[d]
            count = min(wide, columns - column)
            strip = count if contiguous != 0 else _STRIP
            for left in range(0, count, strip):
                some, height, done = min(strip, count - left), min(high, rows - row), 0
                if size == 4 and x_row == 1 and y_step == 1 and some % lanes == 0 and contiguous == 0:
                    done = height - height % lanes
                    for r in range(0, done, lanes):
                        x = word[w.x] + (from_x + r + left * x_step) * 4
                        y = word[w.y] + (to_y + r * y_row + left) * 4
                        for j in range(0, some, lanes):
                            transpose(x + j * x_step * 4, x_step * 4, lanes, y + j * 4, y_row * 4)
                for r in range(done, height):
                    x = word[w.x] + (from_x + r * x_row + left * x_step) * size
                    y = word[w.y] + (to_y + r * y_row + left * y_step) * size
                    if contiguous != 0:
                        copy_bytes(y, x, some * size)
                    elif size == 4:
                        x_4, y_4 = i32(x), i32(y)
                        for j in range(some):
                            y_4[j * y_step] = x_4[j * x_step]
                    elif size == 8:
                        x_8, y_8 = i64(x), i64(y)
                        for j in range(some):
                            y_8[j * y_step] = x_8[j * x_step]
                    else:
                        x_1, y_1 = u8(x), u8(y)
                        for j in range(some):
                            y_1[j * y_step] = x_1[j * x_step]

    return kernel


def fill(real):
    """y[i] = value.
    One kernel serves both dtypes; use f32's.
    """
    w = place("copy.fill")

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        size, n = word[w.size], word[w.count]
        in_tile = FILL_BYTES // size
        start, past = first * in_tile, min(last * in_tile, n)
        if size == 4:
            y_4, value_4 = i32(word[w.y]), i32(arguments + 8 * w.value)[0]
            for i in range(start, past):
                y_4[i] = value_4
        elif size == 8:
            y_8, value_8 = i64(word[w.y]), word[w.value]
            for i in range(start, past):
                y_8[i] = value_8
        else:
            y_1, value_1 = u8(word[w.y]), u8(arguments + 8 * w.value)[0]
            for i in range(start, past):
                y_1[i] = value_1

    return kernel
