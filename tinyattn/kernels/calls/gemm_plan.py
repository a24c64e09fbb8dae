"""How a matrix product is cut up: micro-tiles for this machine's registers, and plans for given sizes and
strides.

A plan depends on sizes, strides and the machine's caches, not on the number of threads. It says which kernel
of :mod:`tinyattn.kernels.gemm` to run, on how many tiles, with what argument words; and, where B will be
used many times but its columns aren't contiguous, what copy of B to make first. Nothing here needs Numba.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from tinyattn.kernels import SCRATCH_BYTES, ceiling
from tinyattn.kernels.calls.gemm import COPY_COLUMNS, COPY_PANELS, COPY_ROWS
from tinyattn.kernels.language.opcodes import SIZES
from tinyattn.kernels.language.processor import MANY_REGISTERS, second_cache

ROWS = 14 if MANY_REGISTERS else 6
"""Most rows of a micro-tile. With two vectors of columns, 28 (or 12) vectors of sums, two of B and one
number of A, spread, fill 32 (or 16) registers."""
HEIGHTS = tuple(rows for rows in range(1, ROWS + 1) if rows < 4 or rows % 2 == 0)
"""Numbers of rows that there are micro-tiles for; others are made up of these."""
WIDE_ROWS = 4 if MANY_REGISTERS else 2
"""Most rows of a micro-tile that may be four vectors wide."""
DEPTH = 256
"""Most steps of k between loading and storing a micro-tile. A panel of B then has 32 KB at most."""


BAND_BYTES = SCRATCH_BYTES * 5 // 8
"""Room in scratch memory for a tile's rows of A, one stretch of k: half as much again as they have, at most."""
_TILE_BYTES_OF_A = min(max(1 << 17, second_cache() // 3), BAND_BYTES * 2 // 3)
"""Most bytes of A that a tile comes back to for every panel of B: they should stay in the second-level
cache, beside what passes through it."""


def panel_vectors(rows: int) -> int:
    """Most vectors of columns in a micro-tile: a sum takes four cycles, so it takes eight to stay busy."""
    return 8 if rows == 1 else 4 if rows <= WIDE_ROWS else 2


LINE, _PANEL = 64, 128
"""Bytes of a cache line; bytes that the width of a tile is a multiple of."""
_TILE_FLOPS, _LARGE_TILE_FLOPS = 3 << 18, 1 << 22
"""Least work in a tile: about 3 µs, where sharing a kernel costs 0.2; and the same when there are tiles
enough."""
_ENOUGH_TILES, _MOST_TILES = 16, 32
_FEW_ROWS = 28
"""Rows of a tile that aren't cut up further; four times as many if each tile must pack panels of B."""
_MANY_ROWS = 256
"""Rows of A that make a copy of B pay even if its rows are not quite as badly placed."""
_MOST_COLUMNS = 1 << 15
"""Most columns of a tile: ``gemm.dot`` has as many sums in scratch memory."""
_DOT_ROWS = 2
"""Most rows of A for which dot products with B's columns are faster than packing B."""
_CACHE_STRIDE = 4096
"""Rows that are a multiple of this many bytes apart get few places in the caches unless they are copied; and
to read a panel of B from afar costs a page for each row."""
_COPIED_BYTES = 256, 512
"""Least bytes of a row of A, and of the row of C that it is for, for a copy of A to pay."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """A copy of B with contiguous rows: the kernel that makes it, its tiles, and its size in bytes. ``words`` are those
    of the kernel but for the addresses.
    """

    kernel: str
    tiles: int
    words: dict[str, Any]
    size: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to make a product: the kernel, its tiles, and its words but for addresses, α and f (see :meth:`call`).

    ``swapped`` says that Cᵀ = Bᵀ Aᵀ is made instead. If there is a ``pack``, it must be run first, and its copy takes
    B's place (or A's, if swapped).
    """

    kernel: str
    tiles: int
    words: dict[str, Any]
    swapped: bool
    pack: Pack | None

    def call(self, a: Any, b: Any, c: Any, d: Any, alpha: int, function: Any) -> dict[str, Any]:
        """All words: for the addresses of the operands (d: 0 for none), the bits of α, and the address of f (0 for
        none).
        """
        if self.swapped:
            a, b = b, a
        return self.words | {"a": a, "b": b, "c": c, "d": d, "alpha": alpha, "function": function}


def plan(
    m: int,
    n: int,
    k: int,
    a: Sequence[int],
    b: Sequence[int],
    c: Sequence[int],
    dtype: str,
    d: Sequence[int] | None = None,
    batch: Sequence[int] = (1, 1),
    reuse: int = 1,
) -> Plan:
    """The plan of C = f(α A B + D), A of m × k and B of k × n, for all matrices of a ``batch`` of two
    dimensions.

    ``a``, ``b``, ``c`` and ``d`` are strides, in numbers, in the order (outer batch dimension, inner batch
    dimension, row, column). Columns of C and D must have stride 1, or n be 1; other strides may be anything.
    ``d`` is None for no D; a bias has row stride 0; to accumulate, D is C. ``reuse`` says how many times
    the product will be made with the same B (the same A, if n is 1).
    """
    a, b, c = tuple(a), tuple(b), tuple(c)
    d = None if d is None else tuple(d)
    swapped = n == 1 and m > 1 and c[2] == 1 and (d is None or d[2] == 1)
    if swapped:
        m, n = n, m
        a, b = (*b[:2], b[3], b[2]), (*a[:2], a[3], a[2])
        c, d = (*c[:2], n, 1), None if d is None else (*d[:2], n, 1)
    m, batch, a, b, c, d = _merge(m, batch, a, b, c, d)
    size, pack = SIZES[dtype], None
    scattered = n > 1 and b[3] != 1
    kernel, copied = "gemm.multiply", COPY_PANELS if scattered else 0
    if scattered and b[2] == 1 and m <= _DOT_ROWS and k * size <= SCRATCH_BYTES // 2:
        kernel, copied = "gemm.dot", int(k > 1 and a[3] != 1)
    elif scattered and reuse > 1:
        pack = _pack(n, k, b, size, batch)
        row, inner, between = (pack.words[name] for name in ("target_row", "inner_matrices", "target_matrix"))
        b, copied = (between * inner * (b[0] != 0), between * (b[1] != 0), row, 1), 0
    elif _crowded(m, k, b[2] * size):
        copied = COPY_COLUMNS
    if kernel == "gemm.multiply" and _competing(m, n, k, a, size):
        copied |= COPY_ROWS
    rows, columns, group = _tile(m, n, k, batch[0] * batch[1], size, copied)
    units = ceiling(m, rows) * ceiling(n, columns) * batch[0] * batch[1]
    added = d or (0, 0, 0, 1)
    words = {
        "rows": m, "columns": n, "inner": k, "a_row": a[2], "a_step": a[3], "b_step": b[2], "b_column": b[3],
        "c_row": c[2], "d_row": added[2], "inner_matrices": batch[1], "a_batch": a[:2], "b_batch": b[:2],
        "c_batch": c[:2], "d_batch": added[:2], "tile_rows": rows, "tile_columns": columns, "units": units,
        "group": group, "copied": copied,
    }  # fmt: skip
    return Plan(kernel, ceiling(units, group), words, swapped, pack)


def _merge(m: int, batch: Sequence[int], a, b, c, d) -> tuple:
    """Where a batch dimension has one B, and rows go on evenly from matrix to matrix: a single tall
    matrix."""
    for _ in range(2):
        if b[1] == 0 and all(strides[1] == m * strides[2] for strides in (a, c, d) if strides is not None):
            m, batch = m * batch[1], (batch[0], 1)
        if batch[1] == 1:  # try the other dimension, and let it be the inner one
            batch = (1, batch[0])
            a, b, c = ((0, strides[0], *strides[2:]) for strides in (a, b, c))
            d = None if d is None else (0, d[0], *d[2:])
    return m, batch, a, b, c, d


def _crowded(m: int, k: int, stride: int) -> bool:
    """Whether packing all columns of B in a tile pays: where its rows' distance is bad for the caches, and
    many rows of A share the copy.
    """
    if k == 1 or stride % _CACHE_STRIDE:
        return False
    return m > _FEW_ROWS if stride % (2 * _CACHE_STRIDE) == 0 else m > _MANY_ROWS and k > DEPTH


def _competing(m: int, n: int, k: int, a: Sequence[int], size: int) -> bool:
    """Whether copying a tile's part of A pays, for a tall A whose rows (or columns, if these are contiguous) are at
    a bad distance: a micro-tile goes along 14 rows at once, and they would have 8 places in the first-level cache.
    """
    apart = a[2] if a[3] == 1 else a[3] if a[2] == 1 else 0
    enough = m > 4 * _FEW_ROWS and k * size >= _COPIED_BYTES[0] and n * size >= _COPIED_BYTES[1]
    return enough and apart > 0 and apart * size % _CACHE_STRIDE == 0


def _tile(m: int, n: int, k: int, matrices: int, size: int, packing: int) -> tuple[int, int, int]:
    """Rows and columns of a unit of work, and the number of units in a tile."""
    flops = 2 * max(m, 4) * n * k * matrices  # for few rows, reading B takes longer than computing
    wanted = max(1, min(_ENOUGH_TILES, flops // _TILE_FLOPS), min(_MOST_TILES, flops // _LARGE_TILE_FLOPS))
    panel, few = _PANEL // size, _FEW_ROWS * (4 if packing else 1)
    rows = min(m, _even(m, max(1, _TILE_BYTES_OF_A // (size * max(1, min(k, DEPTH)))), 2))
    columns = min(n, _even(n, _MOST_COLUMNS, panel))
    while (units := matrices * ceiling(m, max(rows, 1)) * ceiling(n, max(columns, 1))) < wanted:
        if columns > panel and (columns >= rows or rows <= few):
            columns = _even(columns, ceiling(columns, 2), panel)
        elif rows > few:
            rows = _even(rows, ceiling(rows, 2), 2)
        else:
            break
    return max(rows, 1), max(columns, 1), max(1, units // wanted)


def _even(size: int, most: int, multiple: int) -> int:
    """The size of even parts of about ``most``, rounded up to a ``multiple``."""
    return ceiling(ceiling(size, max(1, ceiling(size, most))), multiple) * multiple


def _pack(n: int, k: int, b: Sequence[int], size: int, batch: Sequence[int]) -> Pack:
    """The plan of a copy of B with its rows on cache lines; a batch that shares one matrix gets one copy."""
    outer, inner = (count if stride else 1 for count, stride in zip(batch, b[:2], strict=True))
    line = LINE // size
    row = ceiling(n, line) * line
    if row * size % _CACHE_STRIDE == 0:
        row += line
    columns = ceiling(1 << 14, max(k, 1) * line) * line
    words = {
        "inner": k, "columns": n, "source_row": b[2], "source_column": b[3], "target_row": row,
        "inner_matrices": inner, "source_batch": b[:2], "target_matrix": k * row, "tile_columns": columns,
    }  # fmt: skip
    return Pack("gemm.pack", outer * inner * ceiling(n, columns), words, outer * inner * k * row * size)
