"""How the kernels of layer normalisation are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_NORM = """
    x        address of x (R, C)
    gain     address of g (C)
    means    address of μ (R)
    scales   address of ρ (R)
    rows     R
    columns  C
    centred  1 to centre, 0 for μ = 0
"""
declare("norm.forward", _NORM + """
    bias     address of b (C)
    y        address of y (R, C); may be x
    epsilon  bits of ε
""")  # fmt: skip
declare("norm.backward", _NORM + """
    dy     address of dy (R, C)
    dx     address of dx (R, C); may be x or dy
    along  address of the sums of dy x̂ (tiles, C)
    over   address of the sums of dy (tiles, C)
""")  # fmt: skip


_NORM_TILE = 4096
"""About how many numbers a tile of ``norm.forward`` has, unless one row has more."""
_NORM_BACKWARD_TILE = 16384
"""At least that many a tile of ``norm.backward``."""
_NORM_BACKWARD_TILES = 64
"""Most tiles of ``norm.backward``: what they leave has to be added up."""


def rows_of_norm(columns: int) -> int:
    """Rows in a tile of ``norm.forward``."""
    return max(1, _NORM_TILE // max(1, columns))


def tiles_of_norm(rows: int, columns: int) -> int:
    """Tiles of ``norm.forward``: blocks of rows."""
    return ceiling(rows, rows_of_norm(columns))


def rows_of_norm_backward(rows: int, columns: int) -> int:
    """Rows in a tile of ``norm.backward``."""
    return max(
        1, _NORM_BACKWARD_TILE // max(1, columns), (rows + _NORM_BACKWARD_TILES - 1) // _NORM_BACKWARD_TILES
    )


def tiles_of_norm_backward(rows: int, columns: int) -> int:
    """Tiles of ``norm.backward``: blocks of rows."""
    return ceiling(rows, rows_of_norm_backward(rows, columns))
