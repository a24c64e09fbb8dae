"""Convolutions as matrix products whose right operand is never stored.

Over an image x of C channels, y[m, p] = Σ_k A[k, m] X[k, p]: k runs over taps of the window and channels, p
over positions of the window in all images of the batch, and X[k, p] is the pixel that tap and channel k sees
at position p, or 0 beyond the border. A tile takes a few vectors of positions at a time, collects their
columns of X in scratch memory, where they fit the first-level cache, and multiplies them with all of A by the
micro-tiles of :mod:`tinyattn.kernels.simd_gemm`.

The window is a grid of taps: at position (r, c) tap (i, j) sees pixel (r·s + o + i·d, …) with a step s, an
origin o and a distance d for either axis. A convolution has the origin −padding; its derivative with respect
to x, a transposed convolution, is s² such grids, one for each phase of the pixels (see
:mod:`tinyattn.ops.layers.convolution`). Where one grid encloses them all, X is collected once for all phases.

The order of additions depends on k only (on positions, for :func:`weight`), and tiles on the shape only.
"""

from tinyattn.kernels import SCRATCH_BYTES, simd_gemm, simd_patch
from tinyattn.kernels.calls import gemm_plan
from tinyattn.kernels.calls.convolution import CONVOLUTION_DEPTH, PANEL_BYTES
from tinyattn.kernels.calls.words import WORDS, place
from tinyattn.kernels.gemm import block_rows, packing
from tinyattn.kernels.language import processor
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64

_SUMS = PANEL_BYTES
"""Where in scratch memory the sums of a panel begin, after the panel itself."""
_ZERO = SCRATCH_BYTES - 8
"""Where in scratch memory there is a 0 in place of a bias."""
_MOST_ROWS = 4096
_LONG, _LONG_ROW = CONVOLUTION_DEPTH, 64
"""Positions that :func:`weight` takes at a time, and bytes between the rows it stores them in."""


@inline
def _segment(position, most, across, area):
    """``(image, row, column, length)`` of the run of positions along a row that begins at ``position``."""
    image = position // area
    row = (position - image * area) // across
    column = position - image * area - row * across
    return image, row, column, min(across - column, most)


def _patches(real, where):
    """``(word, k, past k, position, positions, target, row in bytes)``: rows k of X for some positions, for a
    kernel whose argument words are at the places ``where``.
    """
    pointer, size, lanes, zero = real.pointer, real.size, processor.lanes(real.name), real.type(0)
    half = lanes // 2
    take_each, take_few, take_second = (simd_patch.take_runs(real, *how) for how in ((1, 1), (2, 1), (2, 2)))

    @inline
    def patches(word, first, past, position, positions, target, row_bytes):
        channels, height, width = word[where.channels], word[where.height], word[where.width]
        across, step, taps = word[where.columns], word[where.step + 1], word[where.taps + 1]
        down, aside = word[where.distance], word[where.distance + 1]
        plane, area = height * width * size, word[where.rows] * across
        first_tap = first // channels
        first_i = first_tap // taps
        done = 0
        while done < positions:
            image, row, column, length = _segment(position + done, positions - done, across, area)
            channel, tap = first - first_tap * channels, first_tap - first_i * taps
            h = row * word[where.step] + word[where.origin] + first_i * down
            w = column * step + word[where.origin + 1]
            k = first
            while k < past:
                count = min(channels - channel, past - k)
                exists = 0 <= h < height
                start = w + tap * aside
                source = word[where.x] + (((image * channels + channel) * height + h) * width + start) * size
                for j in range(0, length, lanes):
                    here = min(lanes, length - j)
                    # Of the positions from j on, the first and the one past the last inside the image.
                    left, low = start + j * step, 0
                    if left < 0:
                        low = -(left // step)
                    high = here
                    if left + (here - 1) * step >= width:
                        high = (width - 1 - left) // step + 1
                    if not exists:
                        low, high = 0, 0
                    pixel = source + j * step * size
                    to = target + (k - first) * row_bytes + (done + j) * size
                    if step == 1:
                        take_each(count, pixel, plane, to, row_bytes, low, high, here)
                    elif step == 2 and here <= half:
                        take_few(count, pixel, plane, to, row_bytes, low, high, here)
                    elif step == 2:
                        take_second(count, pixel, plane, to, row_bytes, low, high, here)
                    else:
                        for _ in range(count):
                            from_, into = pointer(pixel), pointer(to)
                            for e in range(here):
                                into[e] = from_[e * step] if low <= e < high else zero
                            pixel += plane
                            to += row_bytes
                k += count
                channel = 0
                tap += 1
                if tap == taps:
                    tap = 0
                    h += down
            done += length

    return patches


def correlate(real):
    """The results y_f[n, m, r, c] = Σ_k A_f[k, m] X[k, (n, r, c)] + bias[m], for one or more phases f. A phase
    uses some rows and columns of taps, and has its results at the first positions of the grid.
    """
    w, of = place("convolution.correlate"), place("convolution.phase")
    phase_bytes = 8 * WORDS["convolution.phase"].count
    pointer, size, lanes = real.pointer, real.size, processor.lanes(real.name)
    micro, patches = simd_gemm.micro_tile(real), _patches(real, w)
    add_each, add_second = simd_patch.add_runs(real, 1), simd_patch.add_runs(real, 2)
    zero, one, wide_rows = real.type(0), real.type(1), gemm_plan.WIDE_ROWS
    wide, narrow = (lanes * gemm_plan.panel_vectors(rows) for rows in (wide_rows, gemm_plan.ROWS))

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        channels, results = word[w.channels], word[w.results]
        across, area = word[w.columns], word[w.rows] * word[w.columns]
        inner, end = word[w.taps] * word[w.taps + 1] * channels, word[w.images] * area
        biases, bias_step, plane, beside = word[w.bias], size, word[w.strides + 1], word[w.strides + 3]
        chunk, phases = word[w.chunk], word[w.phases]
        if biases == 0:
            pointer(scratch + _ZERO)[0] = zero
            biases, bias_step = scratch + _ZERO, 0
        # How many positions in a row are evenly apart in the result.
        run = area if phases == 1 and word[w.strides + 2] == across * beside else across
        width = wide if results <= wide_rows else narrow
        line, most = width * size, max(1, _MOST_ROWS // phases)
        for q in range(first * word[w.tile], min(last * word[w.tile], end), width):
            positions = min(width, end - q)
            vectors = -(-positions // lanes)
            for top in range(0, results, most):
                rows = min(most, results - top)
                for k in range(0, inner, chunk):
                    depth = min(chunk, inner - k)
                    patches(word, k, k + depth, q, positions, scratch, line)
                    for f in range(phases):
                        phase, panel, a_k, used = i64(word[w.table] + phase_bytes * f), scratch, k, depth
                        if phases > 1:
                            i = k // chunk - phase[of.first_row]
                            if i < 0 or i >= phase[of.rows]:
                                continue
                            used = phase[of.columns] * channels
                            panel, a_k = scratch + phase[of.first_column] * channels * line, i * used
                        a = phase[of.a] + (a_k * results + top) * size
                        sums = scratch + _SUMS + f * rows * line
                        r = 0
                        while r < rows:
                            height = block_rows(rows - r)
                            c = sums + r * line
                            before = c if a_k > 0 else 0
                            micro(
                                *(height, vectors, lanes, used, one, a + r * size, size, results * size),
                                *(panel, line, c, line, before, line),
                            )
                            r += height
                for f in range(phases):
                    phase, sums = i64(word[w.table] + phase_bytes * f), scratch + _SUMS + f * rows * line
                    bottom, right = (area, run) if phases == 1 else (phase[of.height], phase[of.width])
                    done = 0
                    while done < positions:
                        image, row, column, length = _segment(q + done, positions - done, run, area)
                        exist = min(length, right - column) if row < bottom else 0
                        to = image * word[w.strides] + row * word[w.strides + 2] + column * beside
                        to = phase[of.y] + (to + top * plane) * size
                        bias = biases + top * bias_step
                        for j in range(0, exist, lanes):
                            here, from_ = min(lanes, exist - j), sums + (done + j) * size
                            into = to + j * beside * size
                            if beside == 1:
                                add_each(rows, from_, line, bias, bias_step, into, plane * size, here)
                            elif beside == 2:
                                add_second(rows, from_, line, bias, bias_step, into, plane * size, here)
                            else:
                                for m in range(rows):
                                    values, added = pointer(from_ + m * line), pointer(bias + m * bias_step)
                                    spaced = pointer(into + m * plane * size)
                                    for e in range(here):
                                        spaced[e * beside] = values[e] + added[0]
                        done += length

    return kernel


def weight(real):
    """The derivative with respect to A, of some positions: G[k, m] = Σ_p X[k, p] ȳ[m, p]. A tile is some
    rows of one chunk of positions.
    """
    w = place("convolution.weight")
    size, lanes = real.size, processor.lanes(real.name)
    micro, patches, pack = simd_gemm.micro_tile(real), _patches(real, w), packing(real)
    one, wide_rows = real.type(1), gemm_plan.WIDE_ROWS
    wide, narrow = (lanes * gemm_plan.panel_vectors(rows) for rows in (wide_rows, gemm_plan.ROWS))
    line = _LONG * size + _LONG_ROW

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        area, results = word[w.rows] * word[w.columns], word[w.results]
        inner = word[w.taps] * word[w.taps + 1] * word[w.channels]
        blocks = -(-inner // word[w.tile])
        left = scratch + _SUMS
        for tile in range(first, last):
            chunk = tile // blocks
            k = (tile - chunk * blocks) * word[w.tile]
            rows = min(word[w.tile], inner - k)
            width = wide if rows <= wide_rows else narrow
            begin = chunk * word[w.chunk]
            target = word[w.parts] + (chunk * inner + k) * results * size
            for q in range(begin, min(begin + word[w.chunk], word[w.images] * area), _LONG):
                positions = min(_LONG, begin + word[w.chunk] - q, word[w.images] * area - q)
                patches(word, k, k + rows, q, positions, left, line)
                for m in range(0, results, width):
                    here = min(width, results - m)
                    done = 0
                    while done < positions:
                        image = (q + done) // area
                        place = q + done - image * area
                        length = min(positions - done, area - place)
                        source = word[w.dy] + ((image * results + m) * area + place) * size
                        to = scratch + done * width * size
                        pack(source, area * size, here, size, length, to, width * size)
                        done += length
                    vectors = -(-here // lanes)
                    r = 0
                    while r < rows:
                        height = block_rows(rows - r)
                        c = target + (r * results + m) * size
                        before = c if q > begin else 0
                        micro(
                            *(height, vectors, here - (vectors - 1) * lanes, positions, one),
                            *(left + r * line, line, size, scratch, width * size),
                            *(c, results * size, before, results * size),
                        )
                        r += height

    return kernel
