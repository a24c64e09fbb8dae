"""How the kernels of taking rows, putting them back, and checking indices are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_TAKEN = """
    outer    outer
    n        n
    inner    inner
    indices  address of the indices (count)
    wide     kind of the indices: 0 for i32, 1 for i64
    count    count
"""
declare("gather.take", _TAKEN + """
    x  address of x (outer, n, inner)
    y  address of y (outer, count, inner)
""")  # fmt: skip
declare("gather.scatter_add", _TAKEN + """
    dy      address of dy (outer, count, inner)
    dx      address of dx (outer, n, inner)
    adding  1: add to what is in dx; 0: to zero
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


GATHER_COLUMNS = 4096
"""Most columns in a tile of ``gather.take``."""
GATHER_TILE = 8192
"""About how many numbers a tile of ``gather.take`` holds."""
SCATTER_TILE = 65536
"""About how many numbers a tile of ``gather.scatter_add`` reads or writes."""


CHECK_TILE = 16384
"""Indices in a tile of ``gather.check``."""


def tiles_of_check(count: int) -> int:
    """Tiles of ``gather.check``."""
    return ceiling(count, CHECK_TILE)


def rows_of_take(inner: int) -> int:
    """Rows in a tile of ``gather.take``, given the length of a row."""
    return max(1, GATHER_TILE // max(1, min(inner, GATHER_COLUMNS)))


def tiles_of_take(outer: int, count: int, inner: int) -> int:
    """Tiles of ``gather.take``: blocks of rows times blocks of columns."""
    return ceiling(outer * count, rows_of_take(inner)) * ceiling(inner, GATHER_COLUMNS)


def bands_of_scatter(n: int, inner: int, count: int) -> int:
    """How many tiles share the n result rows of one outer slice.

    Each of them reads all indices and picks its own. This must cost little beside the additions, hence few
    tiles for short rows.
    """
    return max(1, min(n, 16, inner // 16, -(-max(n, count) * inner // SCATTER_TILE)))


def tiles_of_scatter(outer: int, n: int, inner: int, count: int) -> int:
    """Tiles of ``gather.scatter_add``: bands of result rows of each outer slice."""
    return outer * bands_of_scatter(n, inner, count)
