"""How the kernels of folds along an axis are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

declare("reduce.rows", """
    outer   outer
    length  length (at most 2³⁰; a sum of nothing is 0, and a maximum of nothing the least number)
    x       address of x (outer, length), contiguous
    y       address of y (outer,)
    fold    FOLDS[operation, kind]; x and y are of this kind
    size    bytes of an element
    scale   bits of the scale, a real (1/length for a mean); used if the kind is real
""")  # fmt: skip
declare("reduce.columns", """
    outer   outer
    length  length (at least 1, at most 2³⁰)
    inner   inner
    x       address of x (outer, length, inner), contiguous
    y       address of y (outer, inner)
    fold    FOLDS[operation, kind]; x and y are of this kind; not sum_squares
    size    bytes of an element
    scale   bits of the scale, a real (1/length for a mean); used if the kind is real
""")  # fmt: skip
declare("reduce.cumsum", """
    outer    outer
    length   length
    inner    inner
    x        address of x (outer, length, inner), contiguous
    y        address of y, likewise; they don't overlap
    fold     FOLDS["sum", kind] with the kind of both: real, i32 or i64
    size     bytes of an element
    reverse  1 for reverse, else 0
""")  # fmt: skip
declare("reduce.argmax reduce.argmin", """
    outer   outer
    length  length (at least 1)
    x       address of x (outer, length), contiguous
    y       address of y (outer,), i64
    fold    FOLDS["max", kind] or FOLDS["min", kind] with the kind of x: real, i32 or i64
""")  # fmt: skip


REDUCE_TILE = 16384
"""About how many numbers a tile of ``reduce.rows`` and ``reduce.argmax`` reads, unless one row has more."""
REDUCE_COLUMNS = 512
"""Most columns in a tile of ``reduce.columns`` and ``reduce.cumsum``."""


def rows_of_reduce(length: int) -> int:
    """Rows in a tile of ``reduce.rows``, ``reduce.argmax`` and ``reduce.argmin``."""
    return max(1, REDUCE_TILE // max(1, length))


def tiles_of_reduce_rows(outer: int, length: int) -> int:
    """Tiles of ``reduce.rows``, ``reduce.argmax`` and ``reduce.argmin``: blocks of rows."""
    return ceiling(outer, rows_of_reduce(length))


def tiles_of_reduce_columns(outer: int, inner: int) -> int:
    """Tiles of ``reduce.columns``: outer entries times blocks of columns."""
    return outer * ceiling(inner, REDUCE_COLUMNS)


def tiles_of_cumsum(outer: int, length: int, inner: int) -> int:
    """Tiles of ``reduce.cumsum``: blocks of rows if inner is 1, else outer entries times blocks of
    columns.
    """
    return tiles_of_reduce_rows(outer, length) if inner == 1 else tiles_of_reduce_columns(outer, inner)
