"""How the kernels of recurrent cells and maxout are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

# Recurrent cells. B rows of H hidden units; an array has two words, its address and the stride of its rows in numbers.

_CELL = """
    batch   B
    hidden  H
    mask    address of the mask, a byte for each row, 0 where its sequence has ended; 0: all go on
"""
declare("cells.lstm_forward", _CELL + """
    gates  2 gates (B, 4H) before activation, in the order i, f, g, o
    c      2 c (B, H)
    h      2 h (B, H): matters only with a mask; without one c will do
    new_h  2 h′ (B, H)
    new_c  2 c′ (B, H)
""")  # fmt: skip
declare("cells.lstm_backward", _CELL + """
    gates    2 gates (B, 4H), as in the forward pass
    c        2 c (B, H)
    dh       2 dh′ (B, H)
    dc       2 dc′ (B, H)
    d_gates  2 gradients of the gates (B, 4H)
    dc_in    2 dc (B, H)
    dh_in    2 dh (B, H), without what comes through the gates: dh′ where the mask is 0, else 0; address 0: not wanted
""")  # fmt: skip
declare("cells.gru_forward", _CELL + """
    xp     2 xp (B, 3H): the inputs' part of r, z, n before activation
    hp     2 hp (B, 3H): the state's part
    h      2 h (B, H)
    new_h  2 h′ (B, H)
""")  # fmt: skip
declare("cells.gru_backward", _CELL + """
    xp     2 xp (B, 3H), as in the forward pass
    hp     2 hp (B, 3H)
    h      2 h (B, H)
    dh     2 dh′ (B, H)
    dxp    2 gradient of xp (B, 3H)
    dhp    2 gradient of hp (B, 3H)
    dh_in  2 dh (B, H), without what comes through hp
""")  # fmt: skip
declare("cells.maxout_forward", """
    rows   rows
    pairs  pairs: the length of a row of y
    x      address of x (rows, 2 pairs)
    y      address of y (rows, pairs)
""")  # fmt: skip
declare("cells.maxout_backward", """
    rows   rows
    pairs  pairs: the length of a row of dy
    x      address of x (rows, 2 pairs)
    dy     address of dy (rows, pairs)
    dx     address of dx (rows, 2 pairs)
""")  # fmt: skip


CELL_COLUMNS = 512
"""Most hidden units in a tile of a recurrent cell."""
CELL_TILE = 2048
"""About how many numbers of the hidden state a tile of a recurrent cell holds."""


def rows_of_cell(hidden: int) -> int:
    """Rows of the batch in a tile of a recurrent cell."""
    return max(1, CELL_TILE // max(1, min(hidden, CELL_COLUMNS)))


def tiles_of_cell(batch: int, hidden: int) -> int:
    """Tiles of every kernel of a recurrent cell: blocks of rows times blocks of hidden units."""
    return ceiling(batch, rows_of_cell(hidden)) * ceiling(hidden, CELL_COLUMNS)


MAXOUT_TILE = 8192
"""Results in a tile of ``cells.maxout_forward`` and ``cells.maxout_backward``."""


def tiles_of_maxout(rows: int, pairs: int) -> int:
    """Tiles of ``cells.maxout_forward`` and ``cells.maxout_backward``."""
    return ceiling(rows * pairs, MAXOUT_TILE)
