"""How the kernels of products of integers are called: argument words."""

from tinyattn.kernels.calls.declaration import declare

declare("integer.product", """
    a        address of a (batch, rows, inner)
    b        address of b (batch, inner, columns)
    c        address of c (batch, rows, columns)
    rows     rows
    inner    inner
    columns  columns
""")  # fmt: skip
