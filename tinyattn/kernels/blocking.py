"""How a matrix product is cut up: micro-tiles to suit this machine's registers, and the plan of a product of given sizes and strides.

A plan depends on sizes and strides only, never on the machine or on the number of threads. It says which kernel of
:mod:`tinyattn.kernels.gemm` to run, on how many tiles, with what argument words; and, where B is used many times with columns that aren't
contiguous, how to make a better copy of B first. Nothing here needs Numba.
"""

import dataclasses
import functools
import os
import platform
import struct
from collections.abc import Sequence

import llvmlite.binding as llvm

from tinyattn.kernels import SCRATCH_BYTES
from tinyattn.kernels.tiling import ceiling

# ---- this machine ----


@functools.cache
def vector_bytes() -> int:
    """Width of the machine's vectors: 64 (AVX-512), 32 (AVX2 with fused multiply-add) or 16. ``TINYATTN_VECTOR_BYTES`` overrides it."""
    override = os.environ.get("TINYATTN_VECTOR_BYTES")
    if override:
        return int(override)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        return 64
    return 32 if features.get("avx2") and features.get("fma") else 16


VECTOR_BYTES = vector_bytes()
MASKED_LOADS = VECTOR_BYTES >= 32
"""Whether loading a part of a vector takes no longer than loading a whole one."""
MASKED_STORES = VECTOR_BYTES >= 64
"""The same for storing."""

_MANY_REGISTERS = VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64")
ROWS = 14 if _MANY_REGISTERS else 6
"""Most rows of a micro-tile. With two vectors of columns, 28 (or 12) sums, 2 vectors of B and one number of A fill 32 (or 16) registers."""
HEIGHTS = tuple(rows for rows in range(1, ROWS + 1) if rows < 4 or rows % 2 == 0)
"""Rows that there are micro-tiles for; the others are made up of these."""
WIDE_ROWS = 4 if _MANY_REGISTERS else 2
"""Most rows that have micro-tiles four vectors wide."""
DEPTH = 256
"""Most steps of k between loading and storing a micro-tile: 32 KB of B are then in use at a time, which the first-level cache holds."""


def lanes(dtype: str) -> int:
    """Numbers of ``dtype`` in a vector."""
    return VECTOR_BYTES // _SIZES[dtype]


def panel_vectors(rows: int) -> int:
    """Most vectors of columns in a micro-tile: enough sums to keep the multipliers busy although each sum must wait for its last addition."""
    return 8 if rows == 1 else 4 if rows <= WIDE_ROWS else 2


# ---- plans ----

_SIZES = {"f32": 4, "f64": 8}
_LINE = 64
_PANEL = 128
"""Bytes that the columns of a tile are a multiple of."""
_TILE_FLOPS = 1 << 20
"""Smallest work in a tile, about 4 µs of a fast processor: the sharing of a kernel between threads costs a few tenths of one."""
_LARGE_TILE_FLOPS = 1 << 22
"""Smallest work in a tile of a large product, where fewer are needed to keep threads even."""
_EVEN_TILES, _MOST_TILES = 16, 48
_TILE_BYTES_OF_A = 350_000
"""Most bytes of A that a tile comes back to for every panel of B; a second-level cache holds them."""
_FEW_ROWS = 28
"""Rows of a tile that are not cut up further."""
_PAGE = 4096
_DOT_ROWS = 2
"""Most rows of A for which a column-contiguous B is read by dot products."""


@dataclasses.dataclass(frozen=True)
class Pack:
    """The copy of B, with contiguous rows, that a plan wants to read instead of B: a row of kernel ``gemm.pack``."""

    kernel: str
    tiles: int
    size: int
    """Bytes of the copy."""
    words: tuple[int, ...]

    def arguments(self, source: int, target: int) -> list[int]:
        """Argument words for copying from address ``source`` to address ``target``."""
        return [source, target, *self.words[2:]]


@dataclasses.dataclass(frozen=True)
class Plan:
    """How to make one (batched) product: a row of kernel ``kernel``."""

    kernel: str
    tiles: int
    words: tuple[int, ...]
    """The argument words; those of addresses, α and f are 0."""
    dtype: str
    swapped: bool
    """Whether Cᵀ = Bᵀ Aᵀ is made instead, so that A's and B's words are exchanged."""
    pack: Pack | None
    """The copy of B that must be made before; its address then stands for that of B."""

    @property
    def places(self) -> dict[str, int]:
        """Word in which the address of each operand is, for programs that change it from step to step."""
        a, b = (1, 0) if self.swapped else (0, 1)
        return {"a": a, "b": b, "c": 2, "d": 3, "alpha": 22, "function": 23}

    def arguments(
        self, a: int, b: int, c: int, d: int = 0, alpha: float = 1.0, function: int = 0
    ) -> list[int]:
        """Argument words for operands at these addresses (``d``, ``function``: 0 if absent), C = f(α A B + D)."""
        bits = struct.unpack("<i", struct.pack("<f", alpha)) if self.dtype == "f32" else None
        bits = bits or struct.unpack("<q", struct.pack("<d", alpha))
        given = {"a": a, "b": b, "c": c, "d": d, "alpha": bits[0], "function": function}
        words = list(self.words)
        for name, place in self.places.items():
            words[place] = given[name]
        return words


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
    """The plan of C = f(α A B + D), with A of m × k and B of k × n, for every matrix of a ``batch`` of two dimensions.

    ``a``, ``b``, ``c`` and ``d`` are the strides of the four arrays, in numbers, in the order (outer batch dimension, inner batch dimension,
    row, column). Columns of C and D must have stride 1, or n be 1; all other strides may be anything, 0 included. ``d`` is None for no D; a
    bias has row stride 0; to accumulate, D is C. ``reuse`` is how many times the product will be made with the same B.
    """
    a, b, c, d = tuple(a), tuple(b), tuple(c), None if d is None else tuple(d)
    swapped = n == 1 and m > 1 and c[2] == 1 and (d is None or d[2] == 1)
    if swapped:
        a, b = (*b[:2], b[3], b[2]), (*a[:2], a[3], a[2])
        m, n = n, m
        c, d = (*c[:2], m, 1), None if d is None else (*d[:2], m, 1)
    m, batch, a, b, c, d = _merge(m, batch, a, b, c, d)
    size = _SIZES[dtype]
    packing, pack = n > 1 and b[3] != 1, None
    kernel = "gemm.multiply"
    if packing and k * size <= SCRATCH_BYTES // 2 and b[2] == 1 and m <= _DOT_ROWS:
        kernel, packing = "gemm.dot", k > 1 and a[3] != 1
    elif packing and reuse > 1:
        pack = _pack(n, k, b, size, batch)
        between = pack.words[10]
        b, packing = (between * pack.words[7] * (b[0] > 0), between * (b[1] > 0), pack.words[6], 1), False
    elif b[2] * size % _PAGE == 0 and m * size >= _PAGE:
        packing = True  # the rows of a panel would fall on the same few places of the cache
    rows, columns, group = _tile(m, n, k, batch[0] * batch[1], size)
    units = ceiling(m, rows) * ceiling(n, columns) * batch[0] * batch[1]
    added = d or (0, 0, 0, 1)
    words = (0, 0, 0, 0, m, n, k, a[2], a[3], b[2], b[3], c[2], added[2], batch[1])
    words += (*a[:2], *b[:2], *c[:2], *added[:2], 0, 0, rows, columns, units, group, int(packing))
    return Plan(kernel, ceiling(units, group), words, dtype, swapped, pack)


def _merge(m: int, batch: Sequence[int], a, b, c, d) -> tuple:
    """Where all matrices of a batch dimension have the same B, and the others' rows follow each other evenly: one tall matrix instead."""
    for _ in range(2):
        rows = [strides for strides in (a, c, d) if strides is not None]
        if b[1] == 0 and all(strides[1] == m * strides[2] for strides in rows):
            m, batch = m * batch[1], (batch[0], 1)
        if batch[1] == 1:  # try the other dimension, and leave it the inner one
            batch = (1, batch[0])
            a, b, c = ((0, strides[0], *strides[2:]) for strides in (a, b, c))
            d = d and (0, d[0], *d[2:])
    return m, batch, a, b, c, d


def _tile(m: int, n: int, k: int, matrices: int, size: int) -> tuple[int, int, int]:
    """Rows and columns of a unit of work, and the number of units in a tile."""
    flops = 2 * max(m, 4) * n * k * matrices
    wanted = min(_MOST_TILES, max(min(_EVEN_TILES, flops // _TILE_FLOPS), flops // _LARGE_TILE_FLOPS, 1))
    panel = _PANEL // size
    most = max(1, _TILE_BYTES_OF_A // (size * min(max(k, 1), DEPTH)))
    rows, columns = _even(m, most, 2), max(n, 1)
    while (units := matrices * ceiling(m, rows) * ceiling(n, columns)) < wanted:
        if columns > panel and (columns >= rows or rows <= _FEW_ROWS):
            columns = _even(columns, ceiling(columns, 2), panel)
        elif rows > _FEW_ROWS:
            rows = _even(rows, ceiling(rows, 2), 2)
        else:
            break
    return rows, columns, max(1, units // wanted)


def _even(size: int, most: int, multiple: int) -> int:
    """Size of the parts when ``size`` is cut into even parts of about ``most``, each but the last a multiple of ``multiple``."""
    return max(1, ceiling(ceiling(size, max(1, ceiling(size, most))), multiple) * multiple)


def _pack(n: int, k: int, b: Sequence[int], size: int, batch: Sequence[int]) -> Pack:
    """The plan of a copy of B: rows on whole cache lines, and not all on the same few; one matrix where a batch shares it."""
    outer, inner = (count if stride else 1 for count, stride in zip(batch, b, strict=False))
    line = _LINE // size
    stride = ceiling(n, line) * line
    if stride * size % _PAGE == 0:
        stride += line
    columns = max(1, ceiling(1 << 14, max(k, 1) * line)) * line
    words = (0, 0, k, n, b[2], b[3], stride, inner, b[0], b[1], k * stride, columns)
    matrices = outer * inner
    return Pack("gemm.pack", matrices * ceiling(n, columns), matrices * k * stride * size, words)
