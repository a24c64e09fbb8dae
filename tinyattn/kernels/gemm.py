"""Matrix products, C = f(α A B + D), for a whole batch of matrices of any strides.

A product is cut into tiles of C, a tile into micro-tiles that stay in registers
(:mod:`tinyattn.kernels.simd_gemm`), and k into stretches of at most ``DEPTH``, so that the panel of B in use,
two vectors wide, stays in the first-level cache while all rows of the tile pass by, and these rows of A, of
one stretch, in the second-level cache while all panels do (Goto and van de Geijn 2008):

    for each stretch of k:  for each panel of B's columns:  for each block of A's rows:  one micro-tile

Tiles side by side that a thread does one after the other are one wide tile, so that it meets their rows of A
once.

A is read where it lies, with any strides: a micro-tile reads one number of A at a time, so a transposed A
costs nothing. Rows of B are read as vectors, so its columns should be contiguous; a panel whose columns
aren't is first transposed into scratch memory, where it serves all rows of the tile. For one or two rows
that wouldn't pay, and :func:`dot` reads each column of such a B once instead. Rows of A or B that are a large
power of two apart compete for the same few places in the caches: they are copied, row by row, to where they
don't.

D is anything that is added: a bias (row stride 0), a residual, or C itself, which accumulates. f is another
kernel. Arithmetic is plain IEEE, and k = 0 gives f(D). The order of additions depends on k only: the bits
are the same for any tiles, any number of threads and any width of vectors.
"""

from tinyattn.kernels import SCRATCH_BYTES, simd_gemm
from tinyattn.kernels.calls import gemm_plan
from tinyattn.kernels.calls.gemm import COPY_COLUMNS, COPY_PANELS, COPY_ROWS
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import processor, simd_dot, vecmath
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import call, copy_bytes, i64, select

_DEPTH = gemm_plan.DEPTH
_ROWS = gemm_plan.ROWS
_HALF = SCRATCH_BYTES // 2
_WIDE = SCRATCH_BYTES // 8
"""Where in scratch memory, after a panel of B, some of B's columns are that are copied together."""
_PIECE = 512
"""Bytes of a row of them: whole panels, and not so few that finding the row's page costs more than reading."""
_BAND = _WIDE + _DEPTH * (_PIECE + gemm_plan.LINE)
"""Where the tile's rows of A are, if they are copied: ``gemm_plan.BAND_BYTES`` are left."""


_W = place("gemm.multiply")


@inline
def _units_from(word, unit, past):
    """``(outer and inner batch index, first row, first column, rows, columns, units)`` of the units of work
    from ``unit`` on and before ``past`` that lie side by side.
    """
    tile_rows, tile_columns = word[_W.tile_rows], word[_W.tile_columns]
    across, down = -(-word[_W.columns] // tile_columns), -(-word[_W.rows] // tile_rows)
    matrix = unit // (across * down)
    tile = unit - matrix * (across * down)
    row = tile // across * tile_rows
    column = tile % across * tile_columns
    outer, units = matrix // word[_W.inner_matrices], min(past - unit, across - tile % across)
    rows, columns = min(tile_rows, word[_W.rows] - row), min(units * tile_columns, word[_W.columns] - column)
    return outer, matrix - outer * word[_W.inner_matrices], row, column, rows, columns, units


@inline
def block_rows(rows):
    """Rows in the next block of the ``rows`` left: even shares, of heights that micro-tiles have."""
    height = -(-rows // -(-rows // _ROWS))
    if height > 4 and height & 1:
        height = height + 1 if height < rows else height - 3
    return height


@inline
def _copy_apart(source, stride, rows, size, target):
    """Copy rows of ``size`` bytes to ``target``; their distance there, an odd number of cache lines, so that
    neighbours never compete for places in a cache.
    """
    apart = (-(-size // gemm_plan.LINE) | 1) * gemm_plan.LINE
    for r in range(rows):
        copy_bytes(target + r * apart, source + r * stride, size)
    return apart


def packing(real):
    """``(source, column stride, columns, k stride, depth, target, target stride)``: make rows contiguous.

    Strides are in bytes. Whole vectors are written; what the last one has beyond ``columns`` is rubbish.
    """
    pointer, size, lanes = real.pointer, real.size, processor.lanes(real.name)
    copy, transpose = simd_gemm.copy_vector(real), simd_gemm.transpose_block(real)

    @inline
    def pack(source, column_stride, columns, step, depth, target, target_step):
        for j in range(0, columns, lanes):
            here, to, count = source + j * column_stride, target + j * size, min(columns - j, lanes)
            if column_stride == size:
                for k in range(depth):
                    copy(here + k * step, to + k * target_step, count)
            elif step == size and depth >= lanes:
                for start in range(0, depth, lanes):
                    k = min(start, depth - lanes)
                    transpose(here + k * size, column_stride, count, to + k * target_step, target_step)
            else:
                for k in range(depth):
                    row = pointer(to + k * target_step)
                    for i in range(count):
                        row[i] = pointer(here + i * column_stride + k * step)[0]

    return pack


def multiply(real):
    """C = f(α A B + D) for m × k matrices A and k × n matrices B, in a batch of two dimensions.

    A tile is ``group`` units of work; :func:`.gemm_plan.plan` makes the words.
    """
    w = place("gemm.multiply")
    pointer, size, lanes = real.pointer, real.size, processor.lanes(real.name)
    micro, pack = simd_gemm.micro_tile(real), packing(real)
    wide_rows = gemm_plan.WIDE_ROWS
    single, broad, narrow = (lanes * gemm_plan.panel_vectors(rows) for rows in (1, wide_rows, _ROWS))
    # Without masked loads, a panel that ends in a part of a vector must be copied too.
    part = 0 if processor.MASKED_LOADS else lanes - 1

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        k, a_row, a_step = word[w.inner], word[w.a_row] * size, word[w.a_step] * size
        b_step, b_column, c_row = word[w.b_step] * size, word[w.b_column] * size, word[w.c_row] * size
        alpha, function = pointer(arguments + 8 * w.alpha)[0], word[w.function]
        deepest = -(-k // max(1, -(-k // _DEPTH)))
        unit, past = first * word[w.group], min(last * word[w.group], word[w.units])
        while unit < past:
            outer, inner, row, column, rows, columns, units = _units_from(word, unit, past)
            unit += units
            a = word[w.a] + (outer * word[w.a_batch] + inner * word[w.a_batch + 1]) * size + row * a_row
            b = word[w.b] + (outer * word[w.b_batch] + inner * word[w.b_batch + 1]) * size + column * b_column
            c = (
                word[w.c]
                + (outer * word[w.c_batch] + inner * word[w.c_batch + 1] + column) * size
                + row * c_row
            )
            d, d_row = word[w.d], word[w.d_row] * size
            if d != 0:
                d += (outer * word[w.d_batch] + inner * word[w.d_batch + 1] + column) * size + row * d_row
            width = single if rows == 1 else broad if rows <= wide_rows else narrow
            start = 0
            while True:
                depth = min(deepest, k - start)
                band, band_row, band_step, wide_step = a, a_row, a_step, b_step
                if word[w.copied] & COPY_ROWS:
                    band = scratch + _BAND
                    if a_step == size:
                        band_row = _copy_apart(a, a_row, rows, depth * size, band)
                    else:
                        band_step = _copy_apart(a, a_step, depth, rows * size, band)
                for j in range(0, columns, width):
                    here = min(width, columns - j)
                    vectors = -(-here // lanes)
                    panel, panel_step = b + j * b_column, b_step
                    if word[w.copied] & COPY_COLUMNS:
                        piece = j * size % _PIECE
                        if piece == 0:
                            some = min(_PIECE, (columns - j) * size)
                            wide_step = _copy_apart(panel, b_step, depth, some, scratch + _WIDE)
                        panel, panel_step = scratch + _WIDE + piece, wide_step
                    if word[w.copied] & COPY_PANELS or here & part:
                        pack(panel, b_column, here, panel_step, depth, scratch, width * size)
                        panel, panel_step = scratch, width * size
                    r = 0
                    while r < rows:
                        height = block_rows(rows - r)
                        added = d + r * d_row + j * size if d != 0 else 0
                        target = c + r * c_row + j * size
                        micro(
                            *(height, vectors, here - (vectors - 1) * lanes, depth, alpha),
                            *(band + r * band_row, band_row, band_step, panel, panel_step),
                            *(target, c_row, added, d_row),
                        )
                        if function != 0 and start + depth >= k:
                            call(function, target, c_row, height, here)
                        r += height
                start += depth
                if start >= k:
                    break
                # The next stretch of k adds to what is in C now.
                a, b, d, d_row = a + depth * a_step, b + depth * b_step, c, c_row

    return kernel


def dot(real):
    """C = f(α A B + D) by dot products of A's rows and B's contiguous columns; called like :func:`multiply`."""
    w = place("gemm.dot")
    pointer, size = real.pointer, real.size
    dot_columns, at_once = simd_dot.dot_columns(real), simd_dot.COLUMNS

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        k, a_row, a_step, b_column = (
            word[w.inner],
            word[w.a_row] * size,
            word[w.a_step],
            word[w.b_column] * size,
        )
        c_row, d_row = word[w.c_row] * size, word[w.d_row] * size
        alpha, function = pointer(arguments + 8 * w.alpha)[0], word[w.function]
        sums = pointer(scratch)
        for unit in range(first * word[w.group], min(last * word[w.group], word[w.units])):
            outer, inner, row, column, rows, columns, _ = _units_from(word, unit, unit + 1)
            b = word[w.b] + (outer * word[w.b_batch] + inner * word[w.b_batch + 1]) * size + column * b_column
            c = word[w.c] + (outer * word[w.c_batch] + inner * word[w.c_batch + 1] + column) * size
            d = word[w.d] + (outer * word[w.d_batch] + inner * word[w.d_batch + 1] + column) * size
            for r in range(row, row + rows):
                a = word[w.a] + (outer * word[w.a_batch] + inner * word[w.a_batch + 1]) * size + r * a_row
                if word[w.copied] != 0:
                    copied, spaced = pointer(scratch + _HALF), pointer(a)
                    for i in range(k):
                        copied[i] = spaced[i * a_step]
                    a = scratch + _HALF
                for j in range(0, columns, at_once):
                    dot_columns(
                        k, a, b + j * b_column, b_column, min(columns - j, at_once), scratch + j * size
                    )
                out, added = pointer(c + r * c_row), pointer(d + r * d_row)
                if word[w.d] != 0:
                    for j in range(columns):
                        out[j] = alpha * sums[j] + added[j]
                else:
                    for j in range(columns):
                        out[j] = alpha * sums[j]
                if function != 0:
                    call(function, c + r * c_row, 0, 1, columns)

    return kernel


def pack(real):
    """Copy k × n matrices of any strides to matrices with contiguous rows; a tile is some columns of one."""
    w = place("gemm.pack")
    size, copy = real.size, packing(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        k, n, wide = word[w.inner], word[w.columns], word[w.tile_columns]
        step, column_stride = word[w.source_row], word[w.source_column]
        across = -(-n // wide)
        for tile in range(first, last):
            matrix, column = tile // across, tile % across * wide
            outer = matrix // word[w.inner_matrices]
            inner = matrix - outer * word[w.inner_matrices]
            source = (
                word[w.source]
                + (outer * word[w.source_batch] + inner * word[w.source_batch + 1] + column * column_stride)
                * size
            )
            target = word[w.target] + (matrix * word[w.target_matrix] + column) * size
            columns = min(wide, n - column)
            copy(source, column_stride * size, columns, step * size, k, target, word[w.target_row] * size)

    return kernel


def _in_place(real, function):
    """The kernel ``(address, stride of rows in bytes, rows, columns)`` that replaces x by ``function(x)``."""
    pointer = real.pointer

    def kernel(address, stride, rows, columns):
        for r in range(rows):
            row = pointer(address + r * stride)
            for j in range(columns):
                row[j] = function(row[j])

    return kernel


def relu(real):
    """f(x) = max(x, 0), and NaN for NaN."""
    zero = real.type(0)

    @inline
    def function(x):
        return select(x < zero, zero, x)

    return _in_place(real, function)


def tanh(real):
    """f(x) = tanh x."""
    return _in_place(real, vecmath.tanh(real))


def sigmoid(real):
    """f(x) = 1 / (1 + e⁻ˣ)."""
    return _in_place(real, vecmath.sigmoid(real))
