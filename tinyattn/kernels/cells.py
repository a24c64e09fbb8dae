"""The pointwise halves of recurrent cells: gates, new states and derivatives, without the matrix products.

With σ the logistic function and all products elementwise,

    LSTM   i, f, g, o = σ, σ, tanh, σ of the gates;    c′ = f c + i g;    h′ = o tanh c′
    GRU    r, z = σ(x + h parts);    n = tanh(x_n + r h_n);    h′ = (1 − z) n + z h

Both are torch's.

Backward kernels compute the gates again rather than read them from memory: a transcendental function costs a
quarter of a nanosecond, and nothing but the inputs needs to be kept.

Common to all: B rows of H hidden units. Every array has the stride of its rows (in numbers) in the word after
its address, so that a slice of a longer array will do. Where the mask of a row is 0, that row's sequence has
ended: the state passes through unchanged, its gradient passes back unchanged, and gates get gradient 0 whatever
is in them. Results may not overlap with anything.
"""

from tinyattn.kernels.calls.cells import CELL_COLUMNS, MAXOUT_TILE, rows_of_cell
from tinyattn.kernels.calls.words import place
from tinyattn.kernels.language import vecmath
from tinyattn.kernels.language.real import inline
from tinyattn.kernels.language.simd import i64, select, u8

_rows_of_cell = inline(rows_of_cell)


@inline
def _extent(batch, hidden, tile):
    """``(first row, past row, first column, columns)`` of a tile."""
    rows, blocks = _rows_of_cell(hidden), (hidden + CELL_COLUMNS - 1) // CELL_COLUMNS
    row, column = tile // blocks * rows, tile % blocks * CELL_COLUMNS
    return row, min(row + rows, batch), column, min(CELL_COLUMNS, hidden - column)


@inline
def _runs(mask, row):
    """Whether the sequence of this row is still running; ``mask`` is an address or 0."""
    return mask == 0 or u8(mask)[row] != 0


def _part(real):
    """``(argument words, k, row, column)``: pointer into the array whose address and stride begin at word k."""
    pointer, size = real.pointer, real.size

    @inline
    def part(word, k, row, column):
        return pointer(word[k] + (row * word[k + 1] + column) * size)

    return part


def lstm_forward(real):
    """New state of an LSTM."""
    w = place("cells.lstm_forward")
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[w.hidden]
        for tile in range(first, last):
            row, past, column, columns = _extent(word[w.batch], hidden, tile)
            for r in range(row, past):
                gates, c = part(word, w.gates, r, column), part(word, w.c, r, column)
                new_h, new_c = part(word, w.new_h, r, column), part(word, w.new_c, r, column)
                h, runs = part(word, w.h, r, column), _runs(word[w.mask], r)
                for j in range(columns):
                    kept = sigmoid(gates[hidden + j]) * c[j]
                    state = kept + sigmoid(gates[j]) * tanh(gates[2 * hidden + j])
                    new_c[j] = select(runs, state, c[j])
                    new_h[j] = select(runs, sigmoid(gates[3 * hidden + j]) * tanh(state), h[j])

    return kernel


def lstm_backward(real):
    """Gradients of an LSTM's gates and state."""
    w = place("cells.lstm_backward")
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[w.hidden]
        for tile in range(first, last):
            row, past, column, columns = _extent(word[w.batch], hidden, tile)
            for r in range(row, past):
                gates, c = part(word, w.gates, r, column), part(word, w.c, r, column)
                dh, dc = part(word, w.dh, r, column), part(word, w.dc, r, column)
                dgates, dc_in = part(word, w.d_gates, r, column), part(word, w.dc_in, r, column)
                dh_in = part(word, w.dh_in, r, column)
                runs = _runs(word[w.mask], r)
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
                if word[w.dh_in] != 0:
                    for j in range(columns):
                        dh_in[j] = select(runs, zero, dh[j])

    return kernel


def gru_forward(real):
    """New state of a GRU that resets after the product."""
    w = place("cells.gru_forward")
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[w.hidden]
        for tile in range(first, last):
            row, past, column, columns = _extent(word[w.batch], hidden, tile)
            for r in range(row, past):
                xp, hp = part(word, w.xp, r, column), part(word, w.hp, r, column)
                h, new_h = part(word, w.h, r, column), part(word, w.new_h, r, column)
                runs = _runs(word[w.mask], r)
                for j in range(columns):
                    reset, z = sigmoid(xp[j] + hp[j]), sigmoid(xp[hidden + j] + hp[hidden + j])
                    n = tanh(xp[2 * hidden + j] + reset * hp[2 * hidden + j])
                    new_h[j] = select(runs, n + z * (h[j] - n), h[j])

    return kernel


def gru_backward(real):
    """Gradients of a GRU that resets after the product."""
    w = place("cells.gru_backward")
    part, sigmoid, tanh = _part(real), vecmath.sigmoid(real), vecmath.tanh(real)
    zero, one = real.type(0), real.type(1)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        hidden = word[w.hidden]
        for tile in range(first, last):
            row, past, column, columns = _extent(word[w.batch], hidden, tile)
            for r in range(row, past):
                xp, hp = part(word, w.xp, r, column), part(word, w.hp, r, column)
                h, dh = part(word, w.h, r, column), part(word, w.dh, r, column)
                dxp, dhp = part(word, w.dxp, r, column), part(word, w.dhp, r, column)
                dh_in = part(word, w.dh_in, r, column)
                runs = _runs(word[w.mask], r)
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
    """
    w = place("cells.maxout_forward")
    pointer, tile_size = real.pointer, MAXOUT_TILE

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, y = pointer(word[w.x]), pointer(word[w.y])
        for i in range(first * tile_size, min(last * tile_size, word[w.rows] * word[w.pairs])):
            a, b = x[2 * i], x[2 * i + 1]
            y[i] = select(a != a or a >= b, a, b)

    return kernel


def maxout_backward(real):
    """The gradient goes to the larger of a pair, to the first if they are equal, and the other gets 0."""
    w = place("cells.maxout_backward")
    pointer, tile_size, zero = real.pointer, MAXOUT_TILE, real.type(0)

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        x, dy, dx = pointer(word[w.x]), pointer(word[w.dy]), pointer(word[w.dx])
        for i in range(first * tile_size, min(last * tile_size, word[w.rows] * word[w.pairs])):
            a, b = x[2 * i], x[2 * i + 1]
            wins = a != a or a >= b
            dx[2 * i] = select(wins, dy[i], zero)
            dx[2 * i + 1] = select(wins, zero, dy[i])

    return kernel
