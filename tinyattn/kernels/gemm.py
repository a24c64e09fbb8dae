import numpy as np
from numba import njit
from tinyattn.kernels import blocking
from tinyattn.kernels import simd_gemm
from tinyattn.kernels.real import inline,FLAGS
from tinyattn.kernels.simd import call,i64
PACK_A, PACK_B = 1, 2
B_SCRATCH = 3 << 18

def _pack_panel(real):
    pointer, size, lanes = real.pointer, real.size, blocking.lanes(real.name)
    copy, transpose = simd_gemm.copy_vector(real), simd_gemm.transpose_block(real)
    one, zero = real.size, real.type(0)

    @njit(fastmath=FLAGS, error_model="numpy", boundscheck=False)
    def pack_panel(source, count, stride, depth, step, target, width):
        if stride == one:
            for k in range(depth):
                for j in range(0, width, lanes):
                    copy(source + k * step + j * size, target + (k * width + j) * size, min(max(count - j, 0), lanes))
        elif step == one and depth >= lanes:
            for j in range(0, width, lanes):
                here = min(j, count - 1)
                for first in range(0, depth, lanes):
                    k = min(first, depth - lanes)
                    transpose(source + here * stride + k * size, stride, min(max(count - j, 1), lanes), target + (k * width + j) * size, width * size)
        else:
            for k in range(depth):
                to = pointer(target + k * width * size)
                for j in range(width):
                    to[j] = pointer(source + min(j, count - 1) * stride + k * step)[0]
    return pack_panel


@inline
def next_height(rows):
    height = (rows + 13) // 14
    height = (rows + height - 1)//height
    if height > 8 and height & 1:
        height = height + 1 if height < rows else (height + 1) // 2
    return height

def multiply(real):
    pointer, size, lanes = real.pointer, real.size, np.int64(blocking.lanes(real.name))
    micro = simd_gemm.micro_tile(real)
    pack = _pack_panel(real)
    block_rows, padded, panel = blocking.ROWS, np.int64(blocking.padded_rows(real.name)), blocking.panel_columns(real.name)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        m, n, k = word[4], word[5], word[6]
        a_row, a_step, b_step, b_column = word[7] * size, word[8] * size, word[9] * size, word[10] * size
        panel_step, c_row, d_row_given = word[11] * size, word[12] * size, word[13] * size
        alpha = pointer(arguments + 8 * 24)[0]
        epilogue = word[25]
        tile_rows, tile_columns, group, depth_step, packing, width = word[26], word[27], word[28], word[29], word[30], word[31] * lanes
        across = (n + tile_columns - 1) // tile_columns
        down = (m + tile_rows - 1) // tile_rows
        b_scratch = scratch + B_SCRATCH
        for unit in range(first * group, min(last * group, word[15])):
            matrix = unit // (across * down)
            place = unit - matrix * (across * down)
            m0 = place // across
            n0 = (place - m0 * across) * tile_columns
            m0 = m0 * tile_rows
            outer = matrix // word[14]
            inner = matrix - outer * word[14]
            rows, columns = min(tile_rows, m - m0), min(tile_columns, n - n0)
            a = word[0] + (outer * word[16] + inner * word[17]) * size + m0 * a_row
            b = word[1] + (outer * word[18] + inner * word[19]) * size
            c = word[2] + (outer * word[20] + inner * word[21] + n0) * size + m0 * c_row
            d, d_row = word[3], d_row_given
            if d != 0:
                d += (outer * word[22] + inner * word[23] + n0) * size + m0 * d_row
            k0 = 0
            while True:
                depth = min(depth_step, k - k0)
                panel_bytes = padded * depth * size
                if packing & PACK_A:
                    r, target = 0, scratch
                    while r < rows:
                        height = next_height(rows - r)
                        pack(a + r * a_row + k0 * a_step, height, a_row, depth, a_step, target, padded)
                        r += height
                        target += panel_bytes
                for j in range(0, columns, width):
                    wide = min(width, columns - j)
                    vectors = (wide + lanes - 1) // lanes
                    tail = wide - (vectors - 1) * lanes
                    b_here, b_here_step = b + (n0 + j) // panel * panel_step + k0 * b_step, b_step
                    if packing & PACK_B:
                        pack(b_here, wide, b_column, depth, b_step, b_scratch, width)
                        b_here, b_here_step = b_scratch, width * size
                    r, panel_of_a = 0, scratch
                    while r < rows:
                        height = next_height(rows - r)
                        a_here, a_here_row, a_here_step = a + r * a_row + k0 * a_step, a_row, a_step
                        if packing & PACK_A:
                            a_here, a_here_row, a_here_step = panel_of_a, size, padded * size
                            panel_of_a += panel_bytes
                        d_here = d + r * d_row + j * size if d != 0 else 0
                        micro(height, vectors, tail, depth, alpha, a_here, a_here_row, a_here_step,
                                  b_here, b_here_step, c + r * c_row + j * size, c_row, d_here, d_row)
                        r += height
                    if epilogue != 0 and k0 + depth >= k:
                        call(epilogue, c + j*size, c_row, rows, wide)
                k0 += depth
                if k0 >= k:
                    break
                d, d_row = c, c_row
    return kernel
