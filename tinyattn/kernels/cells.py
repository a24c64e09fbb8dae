"""The pointwise halves of recurrent cells: gates, new states and derivatives, without the matrix products.

With σ the logistic function and all products elementwise,

    LSTM   i, f, g, o = σ, σ, tanh, σ of the gates;    c′ = f c + i g;    h′ = o tanh c′
    GRU    r, z = σ(x + h parts);    n = tanh(x_n + r h_n);    h′ = (1 − z) n + z h

Both are torch's.

Backward kernels compute the gates again rather than read them from memory: a transcendental function costs a
quarter of a nanosecond, and nothing but the inputs needs to be kept.

Common to all: B rows of H hidden units. Every array has the stride of its rows (in numbers) in the word after
its address, so that a slice of a longer array will do. ``mask`` is the address of B bytes, or 0. Where the
byte of a row is 0, that row's sequence has ended: the state passes through unchanged, its gradient passes
back unchanged, and gates get gradient 0 whatever is in them. Results may not overlap with anything.
"""

from tinyattn.kernels import vecmath
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import i64, select, u8
from tinyattn.kernels.tiling import CELL_COLUMNS, MAXOUT_TILE, rows_of_cell

_rows_of_cell = inline(rows_of_cell)


@inline
def _extent(word, tile):
    """``(first row, past row, first column, columns)`` of a tile."""
    batch, hidden = word[0], word[1]
    rows, blocks = _rows_of_cell(hidden), (hidden + CELL_COLUMNS - 1) // CELL_COLUMNS
    row, column = tile // blocks * rows, tile % blocks * CELL_COLUMNS
    return row, min(row + rows, batch), column, min(CELL_COLUMNS, hidden - column)


@inline
def _runs(word, row):
    """Whether the sequence of this row is still running."""
    return word[2] == 0 or u8(word[2])[row] != 0


def _part(real):
    """``(argument words, k, row, column)``: pointer into the array of word k (address) and k + 1 (stride)."""
    pointer, size = real.pointer, real.size

    @inline
    def part(word, k, row, column):
        return pointer(word[k] + (row * word[k + 1] + column) * size)

    return part


def lstm_forward(real):
    """New state of an LSTM.

    ====== ============================================================
    0 1 2  B, H, mask
    3 4    gates (B, 4H) before activation, in the order i, f, g, o
    5 6    c (B, H)
    7 8    h (B, H): matters only with a mask; without one c will do
    9 10   result: h′ (B, H)
    11 12  result: c′ (B, H)
    ====== ============================================================
    """
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[1]
        for tile in range(first, last):
            row, past, column, columns = _extent(word, tile)
            for r in range(row, past):
                gates, c = part(word, 3, r, column), part(word, 5, r, column)
                new_h, new_c = part(word, 9, r, column), part(word, 11, r, column)
                h, runs = part(word, 7, r, column), _runs(word, r)
                for j in range(columns):
                    kept = sigmoid(gates[hidden + j]) * c[j]
                    state = kept + sigmoid(gates[j]) * tanh(gates[2 * hidden + j])
                    new_c[j] = select(runs, state, c[j])
                    new_h[j] = select(runs, sigmoid(gates[3 * hidden + j]) * tanh(state), h[j])

    return kernel


def lstm_backward(real):
    """Gradients of an LSTM's gates and state.

    ====== ============================================================
    0 1 2  B, H, mask
    3 4    gates (B, 4H), as in the forward pass
    5 6    c (B, H)
    7 8    dh′ (B, H)
    9 10   dc′ (B, H)
    11 12  result: dgates (B, 4H)
    13 14  result: dc (B, H)
    15 16  result: dh (B, H), without what comes through the gates: dh′ where the mask is 0, and otherwise 0.
           Address 0: not wanted
    ====== ============================================================
    """
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[1]
        for tile in range(first, last):
            row, past, column, columns = _extent(word, tile)
            for r in range(row, past):
                gates, c = part(word, 3, r, column), part(word, 5, r, column)
                dh, dc = part(word, 7, r, column), part(word, 9, r, column)
                dgates, dc_in = part(word, 11, r, column), part(word, 13, r, column)
                dh_in = part(word, 15, r, column)
                runs = _runs(word, r)
                for j in range(columns):
                    i, f = sigmoid(gates[j]), sigmoid(gates[hidden + j])
                    g, o = tanh(gates[2 * hidden + j]), sigmoid(gates[3 * hidden + j])
                    t = tanh(f * c[j] + i * g)
                    d = dc[j] + dh[j] * o * (one - t * t)
                    dgates[j] = select(runs, d * g * i * (one - i), zero)
                    dgates[hidden + j] = select(runs, d * c[j] * f * (one - f), zero)
                    dgates[2 * hidden + j] = select(runs, d * i * (one - g * g), zero)
                    dgates[3 * hidden + j] = select(runs, dh[j] * t * o * (one - o), zero)
                    dc_in[j] = select(runs, d * f, dc[j])
                if word[15] != 0:
                    for j in range(columns):
                        dh_in[j] = select(runs, zero, dh[j])

    return kernel


def gru_forward(real):
    """New state of a GRU that resets after the product.

    ====== ============================================================
    0 1 2  B, H, mask
    3 4    xp (B, 3H): the inputs' part of r, z, n before activation
    5 6    hp (B, 3H): the state's part
    7 8    h (B, H)
    9 10   result: h′ (B, H)
    ====== ============================================================
    """
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[1]
        for tile in range(first, last):
            row, past, column, columns = _extent(word, tile)
            for r in range(row, past):
                xp, hp = part(word, 3, r, column), part(word, 5, r, column)
                h, new_h = part(word, 7, r, column), part(word, 9, r, column)
                runs = _runs(word, r)
                for j in range(columns):
                    reset, z = sigmoid(xp[j] + hp[j]), sigmoid(xp[hidden + j] + hp[hidden + j])
                    n = tanh(xp[2 * hidden + j] + reset * hp[2 * hidden + j])
                    new_h[j] = select(runs, n + z * (h[j] - n), h[j])

    return kernel


def gru_backward(real):
    """Gradients of a GRU that resets after the product.

    ====== ============================================================
    0 1 2  B, H, mask
    3 4    xp (B, 3H), as in the forward pass
    5 6    hp (B, 3H)
    7 8    h (B, H)
    9 10   dh′ (B, H)
    11 12  result: dxp (B, 3H)
    13 14  result: dhp (B, 3H)
    15 16  result: dh (B, H), without what comes through hp
    ====== ============================================================
    """
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[1]
        for tile in range(first, last):
            row, past, column, columns = _extent(word, tile)
            for r in range(row, past):
                xp, hp, h = part(word, 3, r, column), part(word, 5, r, column), part(word, 7, r, column)
                dh, dxp = part(word, 9, r, column), part(word, 11, r, column)
                dhp, dh_in = part(word, 13, r, column), part(word, 15, r, column)
                runs = _runs(word, r)
                for j in range(columns):
                    reset, z = sigmoid(xp[j] + hp[j]), sigmoid(xp[hidden + j] + hp[hidden + j])
                    n = tanh(xp[2 * hidden + j] + reset * hp[2 * hidden + j])
                    dn = dh[j] * (one - z) * (one - n * n)
                    dxp[j] = select(runs, dn * hp[2 * hidden + j] * reset * (one - reset), zero)
                    dxp[hidden + j] = select(runs, dh[j] * (h[j] - n) * z * (one - z), zero)
                    dxp[2 * hidden + j] = select(runs, dn, zero)
                    dhp[2 * hidden + j] = select(runs, dn * reset, zero)
                    dh_in[j] = select(runs, dh[j] * z, dh[j])
                # A copy, because seven streams of results at once are slower than five and two.
                for gate in range(2):
                    for j in range(columns):
                        dhp[gate * hidden + j] = dxp[gate * hidden + j]

    return kernel


def maxout_forward(real):
    """``y[i, j] = max(x[i, 2j], x[i, 2j + 1])`` (Goodfellow et al. 2013, with two pieces); NaN where either
    is.

    ===== ============================================================
    0     rows
    1     pairs: the length of a row of y
    2     address of x (rows, 2 pairs)
    3     address of y (rows, pairs)
    ===== ============================================================
    """
    pointer, tile_size = real.pointer, MAXOUT_TILE

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, y = pointer(word[2]), pointer(word[3])
        for i in range(first * tile_size, min(last * tile_size, word[0] * word[1])):
            a, b = x[2 * i], x[2 * i + 1]
            y[i] = select(a != a or a >= b, a, b)

    return kernel


def maxout_backward(real):
    """The gradient goes to the larger of a pair, to the first if they are equal, and the other gets 0.

    ===== ============================================================
    0     rows
    1     pairs
    2     address of x (rows, 2 pairs)
    3     address of dy (rows, pairs)
    4     address of dx (rows, 2 pairs)
    ===== ============================================================
    """
    pointer, tile_size, zero = real.pointer, MAXOUT_TILE, real.type(0)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, dy, dx = pointer(word[2]), pointer(word[3]), pointer(word[4])
        for i in range(first * tile_size, min(last * tile_size, word[0] * word[1])):
            a, b = x[2 * i], x[2 * i + 1]
            wins = a != a or a >= b
            dx[2 * i] = select(wins, dy[i], zero)
            dx[2 * i + 1] = select(wins, zero, dy[i])

    return kernel
