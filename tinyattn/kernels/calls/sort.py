"""How the kernels of sorting are called: argument words."""

from tinyattn.kernels.calls.declaration import declare

declare("sort.order", """
    rows       rows
    length     numbers in a row
    x          address of x (rows, n), contiguous
    whole      kind of x: 0 for reals, 1 for i64
    downwards  1: downwards
    y          address of y (rows, n) i64
    room       address of as many i64 to work with
""")  # fmt: skip
declare("sort.leading", """
    rows       rows
    length     numbers in a row
    count      k, 0 < k ≤ n
    x          address of x (rows, n), contiguous
    whole      kind of x: 0 for reals, 1 for i64
    downwards  1: downwards
    y          address of y (rows, k) i64
""")  # fmt: skip
