"""How the kernels of copies and fills are called: argument words and tiles."""

import math
from collections.abc import Sequence

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

declare("copy.strided", """
    size        bytes of an element: 1, 4 or 8
    x           address of x
    y           address of y; they don't overlap
    dimensions  dimensions, at least 2 (``copy_plan`` adds some of size 1)
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


FILL_BYTES = 65536
"""Bytes in a tile of ``copy.fill``."""
_COPY_TILE = 8192
"""About how many elements a tile of ``copy.strided`` has."""
_COPY_STRIP_ROWS = 256
"""Rows of a block in a transposition."""


def tiles_of_fill(n: int, size: int) -> int:
    """Tiles of ``copy.fill`` for n elements of ``size`` bytes."""
    return ceiling(n * size, FILL_BYTES)


def copy_block_columns(columns: int, contiguous: int) -> int:
    """Columns in a tile of ``copy.strided``; ``contiguous``: both strides along the columns are 1."""
    return max(1, min(columns, _COPY_TILE if contiguous else _COPY_TILE // _COPY_STRIP_ROWS))


def copy_block_rows(columns: int, contiguous: int) -> int:
    """Rows in a tile of ``copy.strided``."""
    return max(1, _COPY_TILE // max(1, columns)) if contiguous else _COPY_STRIP_ROWS


def copy_plan(
    shape: Sequence[int], source: Sequence[int], target: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """The best order of dimensions for ``copy.strided``: shape, strides of source and of target (in
    elements), and tiles.

    Dimensions of size 1 go and those that can be joined are; the last one is the one with the smallest
    stride in the target, the one before it, if that isn't also the smallest in the source, the smallest
    there.
    """
    rows = sorted(
        ((n, s, t) for n, s, t in zip(shape, source, target, strict=True) if n != 1),
        key=lambda row: (-abs(row[2]), -abs(row[1])),
    )
    joined: list[tuple[int, int, int]] = []
    for n, s, t in rows:
        if joined and joined[-1][1] == n * s and joined[-1][2] == n * t:
            joined[-1] = (joined[-1][0] * n, s, t)
        else:
            joined.append((n, s, t))
    joined = [(1, 0, 0)] * (2 - len(joined)) + joined
    nearest = min(joined, key=lambda row: (abs(row[1]) or math.inf, row[2]))
    if nearest is not joined[-1]:
        joined.remove(nearest)
        joined.insert(-1, nearest)
    sizes, sources, targets = (tuple(row[i] for row in joined) for i in range(3))
    contiguous = int(sources[-1] == 1 and targets[-1] == 1)
    tiles = ceiling(sizes[-1], copy_block_columns(sizes[-1], contiguous))
    tiles *= ceiling(sizes[-2], copy_block_rows(sizes[-1], contiguous))
    return sizes, sources, targets, tiles * math.prod(sizes[:-2])
