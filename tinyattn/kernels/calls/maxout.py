"""How the kernels of maxout are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

declare("maxout.forward", """
    rows   rows
    pairs  pairs: the length of a row of y
    x      address of x (rows, 2 pairs)
    y      address of y (rows, pairs)
""")  # fmt: skip
declare("maxout.backward", """
    rows   rows
    pairs  pairs: the length of a row of dy
    x      address of x (rows, 2 pairs)
    dy     address of dy (rows, pairs)
    dx     address of dx (rows, 2 pairs)
""")  # fmt: skip


MAXOUT_TILE = 8192
"""Results in a tile of ``maxout.forward`` and ``maxout.backward``."""


def tiles_of_maxout(rows: int, pairs: int) -> int:
    """Tiles of ``maxout.forward`` and ``maxout.backward``."""
    return ceiling(rows * pairs, MAXOUT_TILE)
