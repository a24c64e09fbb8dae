"""How the kernels of products that zeros silence are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

# Products that zeros silence. Strides are in numbers.

declare("silence.zeros", """
    a               address of A (…, n, m)
    b               address of B (…, m, k)
    c               address of C (…, n, k), contiguous
    matrices        matrices
    inner_matrices  matrices in the inner batch dimension
    rows            n
    inner           m
    columns         k
    a_batch         2 strides of A along the outer and the inner batch dimension
    a_row           stride of its rows
    a_column        stride of its columns
    b_batch         2 strides of B along the outer and the inner batch dimension
    b_row           stride of its rows
    b_column        stride of its columns
""")  # fmt: skip


SILENCE_ROWS = 32
"""Rows of the product in a tile of ``silence.zeros``."""


def tiles_of_silence(rows: int) -> int:
    """Tiles of ``silence.zeros``: blocks of rows of all matrices."""
    return ceiling(rows, SILENCE_ROWS)
