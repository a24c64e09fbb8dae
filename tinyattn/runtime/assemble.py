"""Assembly: from rows and planned buffers to the table of words that the executor runs.

Argument blocks, their tables and the program itself are 64-bit words in one array. A word that holds the
address of something that moves with a loop gets a POINT row at the start of that loop's body, which sets it
anew in every iteration.
"""

from typing import Any

import numpy as np

from tinyattn.kernels import build
from tinyattn.runtime.lower import SHARE_ABOVE, Lowered, Row
from tinyattn.runtime.memory import Ref, Region

HALT, KERNEL, LOOP, END, POINT = 0, 1, 2, 3, 4  # as in tinyattn/kernels/executor.py
ROW = 8
MAX_TILES = (1 << 20) - 1


class Assembly:
    """The words of a program, and the memory they point into."""

    def __init__(self, lowered: Lowered, peak: int):
        self.arena_bytes = peak
        self.arena = aligned_bytes(peak)
        self.keep: list[np.ndarray] = []
        self._blocks: list[Any] = []  # argument words; ("block", k) is the address of word k
        self._points: dict[Region, list[tuple[int, Ref]]] = {}
        self.rows: list[Row] = []
        args: dict[Row, int] = {}
        self._collect(lowered.main, args)
        self.words = np.zeros(len(self._blocks) + 1, np.int64)
        start = self.words.ctypes.data
        table = self._table(lowered.main, args, start)
        self.table = np.array(table, np.int64).reshape(-1, ROW)
        self._resolve(start)

    # Argument blocks.
    def _collect(self, region: Region, args: dict) -> None:
        for item in region.items:
            if isinstance(item, Region):
                self._collect(item, args)
            else:
                args[item] = self._block(item.words, item.dtype)

    def _block(self, words: list, dtype: str) -> int:
        """Lay out a list of words (and the tables it points to); return the index of its first word."""
        first = len(self._blocks)
        self._blocks += [0] * max(len(words), 1)
        for k, word in enumerate(words):
            if isinstance(word, Ref):
                self._blocks[first + k] = self.address(word)
                for moving in word.moving:
                    self._points.setdefault(moving.region, []).append((first + k, word))
            elif isinstance(word, list):
                self._blocks[first + k] = ("block", self._block(word, dtype))
            elif isinstance(word, str):
                self._blocks[first + k] = build.address(word, dtype)
            else:
                self._blocks[first + k] = int(word)
        return first

    def address(self, ref: Ref) -> int:
        """The address of a reference's first element (at iteration 0 of what it moves with)."""
        buffer = ref.buffer.root()
        if buffer.array is not None:
            base = buffer.array.ctypes.data
            self.keep.append(buffer.array)
        else:
            base = self.arena.ctypes.data + buffer.offset
        return base + ref.offset * ref.dtype.itemsize

    # The program.
    def _table(self, main: Region, args: dict[Row, int], start: int) -> list[list]:
        table: list[list] = []
        fixups: list[tuple[int, int, tuple]] = []
        counters: dict[Region, int] = {}
        base_cells: dict[tuple[int, Region], int] = {}  # (word, region of its POINT) → row of the table

        def counter(region: Region) -> int:
            if region not in counters:
                counters[region] = len(counters)
            return counters[region]

        def walk(region: Region) -> None:
            for word, ref in self._points.get(region, ()):
                moving = next(m for m in ref.moving if m.region is region)
                inner = [m for m in ref.moving if m.region.depth > region.depth]
                row = len(table)
                base_cells[word, region] = row
                size = ref.dtype.itemsize
                target = (
                    ("base", word, min(inner, key=lambda m: m.region.depth).region)
                    if inner
                    else ("word", word)
                )
                table.append(
                    [
                        POINT,
                        0,
                        self._blocks[word],
                        moving.stride * size,
                        ("counter", counter(region)),
                        moving.first,
                        moving.period - 1,
                        0,
                    ]
                )
                fixups.append((row, 1, target))
            for item in region.items:
                if isinstance(item, Region):
                    opening = len(table)
                    table.append([LOOP, item.length, 0, ("counter", counter(item)), 0, 0, 0, 0])
                    walk(item)
                    table.append([END, item.length, opening + 1, ("counter", counter(item)), 0, 0, 0, 0])
                    table[opening][2] = len(table)
                else:
                    shared = int(item.cost > SHARE_ABOVE and 1 < item.tiles)
                    function = (
                        build.address(item.kernel, item.dtype)
                        if item.chain is None
                        else build.chain_address(item.chain)
                    )
                    table.append(
                        [
                            KERNEL,
                            function,
                            start + 8 * args[item],
                            min(item.tiles, MAX_TILES),
                            shared,
                            0,
                            0,
                            0,
                        ]
                    )
                    self.rows.append(item)

        walk(main)
        table.append([HALT] + [0] * (ROW - 1))
        self._counters: Any = np.zeros(len(counters) + 1, np.int64)
        for row in table:
            for k, value in enumerate(row):
                if isinstance(value, tuple):
                    row[k] = self._counters.ctypes.data + 8 * value[1]
        self._fixups, self._base_cells, self._start = fixups, base_cells, start
        return table

    def _resolve(self, start: int) -> None:
        for k, word in enumerate(self._blocks):
            self.words[k] = start + 8 * word[1] if isinstance(word, tuple) else word
        address = self.table.ctypes.data
        for row, column, target in self._fixups:
            if target[0] == "word":
                value = start + 8 * target[1]
            else:
                value = address + 8 * (ROW * self._base_cells[target[1], target[2]] + 2)
            self.table[row, column] = value
        del self._blocks, self._points, self._fixups, self._base_cells

    def kernel_rows(self) -> np.ndarray:
        """Indices of the table's KERNEL rows, in the order of ``rows``."""
        return np.flatnonzero(self.table[:, 0] == KERNEL)

    def view(self, ref: Ref) -> np.ndarray:
        """The memory of a reference that doesn't move, as an array."""
        buffer = ref.buffer.root()
        memory = (
            buffer.array.reshape(-1).view(np.uint8)
            if buffer.array is not None
            else self.arena[buffer.offset :]
        )
        size = ref.dtype.itemsize
        if ref.size == 0:
            return np.zeros(ref.shape, ref.dtype)
        low = ref.offset + sum(min(0, (n - 1) * s) for n, s in zip(ref.shape, ref.strides, strict=True))
        high = ref.offset + sum(max(0, (n - 1) * s) for n, s in zip(ref.shape, ref.strides, strict=True)) + 1
        flat = memory[low * size : high * size].view(ref.dtype)
        return np.lib.stride_tricks.as_strided(
            flat[ref.offset - low :], ref.shape, [s * size for s in ref.strides]
        )


def aligned_bytes(size: int, alignment: int = 64) -> np.ndarray:
    """Zeroed bytes whose address is a multiple of ``alignment``."""
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size]
