"""How the kernels of matrix products are called: argument words (:mod:`tinyattn.kernels.calls.gemm_plan` decides on
tiles and on what is copied).
"""

from tinyattn.kernels.calls.declaration import declare

COPY_PANELS, COPY_COLUMNS, COPY_ROWS = 1, 2, 4
"""Each panel of B, as the columns of B aren't contiguous; several panels together, as its rows compete in the caches;
the tile's rows of A, as these do."""

# Strides are in numbers. C must not overlap A or B.

declare("gemm.multiply gemm.dot attention_tile.silencing", """
    a               address of A (rows, inner)
    b               address of B (inner, columns)
    c               address of C (rows, columns)
    d               address of D; 0: no D; that of C: accumulate
    rows            rows of A and C
    columns         columns of B and C
    inner           columns of A, rows of B
    a_row           stride of the rows of A
    a_step          stride of its columns
    b_step          stride of the rows of B
    b_column        stride of its columns
    c_row           stride of the rows of C; its columns are contiguous
    d_row           stride of the rows of D, likewise; 0: D is a bias
    inner_matrices  size of the inner batch dimension
    a_batch         2 strides of A along the outer and the inner batch dimension
    b_batch         2 those of B
    c_batch         2 those of C
    d_batch         2 those of D
    alpha           bits of α, in the type of the numbers
    function        address of f, or 0: a kernel (address, stride of rows in bytes, rows, columns), in place
    tile_rows       rows of a unit of work
    tile_columns    columns of a unit of work
    units           units of work in all; a unit is (matrix · units down + down) · units across + across
    group           units of work in a tile
    copied          what is copied to scratch memory first: a sum of COPY_…; in ``dot``, 1: each row of A
""")  # fmt: skip
declare("gemm.pack", """
    source          address of the source (…, inner, columns)
    target          address of the target, matrices with contiguous rows
    inner           rows
    columns         columns
    source_row      stride of the source's rows
    source_column   stride of its columns
    target_row      stride of the target's rows: at least columns, rounded up to a multiple of 64 bytes
    inner_matrices  size of the inner batch dimension
    source_batch    2 strides of the source along the outer and the inner batch dimension
    target_matrix   stride of the target's matrices
    tile_columns    columns in a tile: a multiple of 64 bytes
""")  # fmt: skip
