"""How the kernels of convolutions are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_GRID = """
    x         address of x (N, C, H, W)
    images    N
    channels  C
    height    H
    width     W
    results   M
    rows      rows of positions
    columns   columns of positions
    step      2 s
    taps      2 taps of the window
    origin    2 o
    distance  2 d
"""
declare("convolution.correlate", _GRID + """
    bias     address of the bias (M,), or 0
    strides  4 strides of the results, in numbers: image, m, row, column
    tile     positions in a tile, a multiple of 512 bytes
    chunk    how many k are collected at a time; with several phases, those of one row of taps
    phases   number of phases
    table    address of their words, those of a phase after the other
""")  # fmt: skip
declare("convolution.phase", """
    a             address of A (its taps · C, M)
    y             address of the result
    first_row     first row of taps
    rows          rows of taps
    first_column  first column of taps
    columns       columns of taps
    height        rows of positions
    width         columns of positions
""")  # fmt: skip
declare("convolution.weight", _GRID + """
    dy     address of ȳ (N, M, rows, columns)
    parts  address of the result (chunks, taps · C, M): sums over chunks of positions
    tile   rows k in a tile
    chunk  positions in a chunk
""")  # fmt: skip


CONVOLUTION_DEPTH = 256
"""Positions that ``convolution.weight`` takes at a time, and k that ``convolution.correlate`` does."""
PANEL_BYTES = 1 << 17
"""Room for a panel, whose rows are four vectors long at most."""
_CONVOLUTION_FLOPS = 1 << 21
"""About how many operations a tile of ``convolution.correlate`` takes."""
_CONVOLUTION_ROWS = 256
"""Rows of the weights' gradient in a tile of ``convolution.weight``."""
_CONVOLUTION_TILES = 8


def positions_in_tile(inner: int, results: int, size: int) -> int:
    """Positions in a tile of ``convolution.correlate``, for numbers of ``size`` bytes."""
    panel = 512 // size
    return panel * max(1, _CONVOLUTION_FLOPS // (2 * panel * max(1, inner) * max(4, results)))


def rows_of_panel(results: int) -> int:
    """How many k there is room for in a panel, which is wider if there are few results."""
    return PANEL_BYTES // (256 if results <= 4 else 128)


def cut_of_weight(inner: int, positions: int) -> tuple[int, int, int]:
    """Rows in a tile of ``convolution.weight``, positions in a chunk, and chunks.

    Positions are cut up only where rows alone make few tiles, as each chunk has its own sums.
    """
    rows = min(inner, _CONVOLUTION_ROWS)
    wanted = ceiling(_CONVOLUTION_TILES, ceiling(inner, rows))
    depth = CONVOLUTION_DEPTH * ceiling(ceiling(positions, wanted), CONVOLUTION_DEPTH)
    return rows, depth, ceiling(positions, depth)
