"""The argument words of kernels for arrays, products and images; see :mod:`tinyattn.kernels.words`."""

from tinyattn.kernels.declaration import declare

# Taking rows, copying.

declare("gather.take", """
    x        address of x (outer, n, inner)
    outer    outer
    n        n
    inner    inner
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    y        address of y (outer, count, inner)
""")  # fmt: skip
declare("gather.scatter_add", """
    dy       address of dy (outer, count, inner)
    outer    outer
    n        n
    inner    inner
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    dx       address of dx (outer, n, inner)
    adding   1: add to what is in dx; 0: to zero
""")  # fmt: skip
declare("gather.check", """
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
    n        n: an index is less than this,
    lowest   and not less than this (−n, or 0)
    ignored  a number that is let through as it is (0 if there is none: that is allowed anyway)
    y        address of y (count), of the same kind
    fault    address of the fault cell: 0, or the least wrong i, plus 1
""")  # fmt: skip
declare("copy.strided", """
    size        bytes of an element: 1, 4 or 8
    x           address of x
    y           address of y; they don't overlap
    dimensions  dimensions, at least 2 (``tiling.copy_plan`` adds some of size 1)
    shape       address of the shape, a word each, in the order of the plan
    x_strides   address of the strides of x, in elements, a word each
    y_strides   address of the strides of y, likewise
""")  # fmt: skip
declare("copy.fill", """
    size   bytes of an element: 1, 4 or 8
    y      address of y, contiguous
    count  elements
    value  bits of the value
""")  # fmt: skip

# Random numbers.

_RANDOM = """
    key      address of the key (64 bits: the seed)
    counter  address of the counter base (64 bits)
    stream   the stream (a number, 64 bits)
    count    n
"""
declare("random.uniform", _RANDOM + """
    y  address of y (n)
""")  # fmt: skip
declare("random.bits", _RANDOM + """
    y  address of y (n) of 32-bit (f32) or 64-bit (f64) integers
""")  # fmt: skip
declare("random.dropout", _RANDOM + """
    x  address of x (n)
    y  address of y (n); may be x
    p  bits of p, a number in [0, 1]
""")  # fmt: skip

# Small products of integers.

declare("integer.product", """
    a        address of a (batch, rows, inner)
    b        address of b (batch, inner, columns)
    c        address of c (batch, rows, columns)
    rows     rows
    inner    inner
    columns  columns
""")  # fmt: skip

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

# Images. Pairs are of rows, columns.

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

_POOL = """
    planes   images · channels
    height   H
    width    W
    rows     H′
    columns  W′
    window   2 its size
    strides  2 its steps
    padding  2 pixels beyond the border
"""
declare("pooling.max_forward", _POOL + """
    x  address of x (planes, H, W)
    y  address of y (planes, H′, W′)
""")  # fmt: skip
declare("pooling.max_backward", _POOL + """
    x   address of x (planes, H, W)
    dy  address of dy (planes, H′, W′)
    dx  address of dx (planes, H, W)
""")  # fmt: skip

# What measures the machine.

declare("microbenchmark.multiply_add", """
    numbers  address of two numbers, and room for a third
""")  # fmt: skip
declare("microbenchmark.scale", """
    x     address of x
    y     address of y
    size  how many numbers
""")  # fmt: skip
