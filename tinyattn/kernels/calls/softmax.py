"""How the kernels of softmax and cross-entropy are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

# Softmax and cross-entropy. Rows and columns: R rows of C numbers, contiguous.

declare("softmax.forward softmax.log_forward", """
    x        address of x (R, C)
    y        address of y (R, C); may be x
    rows     R
    columns  C
    scale    bits of a factor of x (1 for none)
    masking  kind of mask: 0 none; 1 bytes, 0 where x is masked; 2 numbers to add to scale x, −∞ where it is
    mask     address of the mask; the numbers of a row follow one another (not read, like the rest, if there is none)
    sizes    4 the four row dimensions, slowest first; their product is R
    strides  4 stride of the mask along each of them, in its numbers
""")  # fmt: skip
declare("softmax.backward softmax.log_backward", """
    y        address of y (R, C): the result of the forward pass
    dy       address of dy (R, C)
    dx       address of dx (R, C); may be dy
    rows     R
    columns  C
    scale    bits of the factor of x
""")  # fmt: skip
_CROSS_ENTROPY = """
    x          address of the logits (R, C)
    targets    address of the targets (R)
    wide       kind of the targets: 0 for i32, 1 for i64
    tops       address of m = max x (R)
    log_sums   address of ln Σ e^{x − m} (R)
    rows       R
    columns    C
    ignored    ignore_index
    smoothing  bits of ε, the label smoothing
"""
declare("softmax.cross_entropy_forward", _CROSS_ENTROPY + """
    losses  address of the losses (R)
""")  # fmt: skip
declare("softmax.cross_entropy_backward", _CROSS_ENTROPY + """
    g       address of the gradients of the losses (R)
    stride  stride of g in numbers; 0: one number for all rows
    dx      address of dx (R, C); may be x
""")  # fmt: skip


SOFTMAX_TILE = 2048
"""Most numbers in a tile of a softmax kernel, unless one row has more."""


def rows_of_softmax(columns: int) -> int:
    """Rows in a tile of a softmax kernel."""
    return max(1, SOFTMAX_TILE // max(1, columns))


def tiles_of_softmax(rows: int, columns: int) -> int:
    """Tiles of every kernel in softmax.py."""
    return ceiling(rows, rows_of_softmax(columns))
