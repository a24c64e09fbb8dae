"""Assembly: from rows and planned buffers to the table of words that the executor runs.

Argument blocks, their tables and the program itself are 64-bit words in one array. A word that holds the
address of something that moves with a loop gets a POINT row at the start of that loop's body, which sets it
anew in every iteration. Words with addresses in the arena, in inputs and in outputs are set by the BIND rows at the
beginning, where these are in a call: one row for each base address.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from tinyattn.kernels.build import native, together
from tinyattn.runtime import faults
from tinyattn.runtime.lower import SHARE_ABOVE, Lowered, Row
from tinyattn.runtime.memory import Ref, Region
from tinyattn.runtime.threads import pool

HALT, KERNEL, LOOP, END, POINT, BIND, CHECK = 0, 1, 2, 3, 4, 5, 6  # as in tinyattn/kernels/executor.py
ROW = 8
PROGRAM: list[together.Wanted] = [("executor.program", "f32"), ("executor.helper", "f32")]


def _wanted(region: Region) -> Iterator[together.Wanted]:
    """The kernels and chains that rows run and call."""
    for item in region.items:
        if isinstance(item, Region):
            yield from _wanted(item)
            continue
        yield (item.kernel, item.dtype) if item.chain is None else item.chain
        words = list(item.words)
        for word in words:
            if isinstance(word, list):
                words.extend(word)
            elif isinstance(word, str):
                yield word, item.dtype


class Assembly:
    """The words of a program. One run at a time may use them: loops count in them, and they point to its memory.

    ``bases`` takes the addresses of a call's memory: of the arena, then, by number, of inputs and outputs.
    """

    def __init__(self, lowered: Lowered):
        self.keep: list[np.ndarray] = []
        """Arrays that the words point to."""
        self.fault = np.zeros(2, np.int64)
        """Place of a wrong index, plus 1, and the row that met it; see ``tinyattn/runtime/faults.py``."""
        self.checks: dict[int, int] = {}
        """Row that checks indices → its first word."""
        self._cells = np.zeros((1 + len(lowered.inputs) + len(lowered.outputs), 2), np.int64)
        cells: Any = self._cells[:, 0]
        self.bases = memoryview(cells)
        self._bound: dict[int, list[int]] = {}  # words that move with a base
        self._blocks: list[Any] = []  # argument words; ("block", k) is the address of word k
        self._points: dict[Region, list[tuple[int, Ref]]] = {}
        self.rows: list[Row] = []
        args: dict[Row, int] = {}
        together.ensure([*PROGRAM, *_wanted(lowered.main)], pool.threads - 1)
        self._collect(lowered.main, args)
        self.words = np.zeros(len(self._blocks) + 1, np.int64)
        start = self.words.ctypes.data
        table = self._table(lowered.main, args, start)
        self.table = np.array(table, np.int64).reshape(-1, ROW)
        self.table_address = self.table.ctypes.data
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
                base, self._blocks[first + k] = self._place(word)
                if base is not None:
                    self._bound.setdefault(base, []).append(first + k)
                for moving in word.moving:
                    self._points.setdefault(moving.region, []).append((first + k, word))
            elif isinstance(word, list):
                self._blocks[first + k] = ("block", self._block(word, dtype))
            elif word is faults.FAULT:
                self._blocks[first + k] = self.fault.ctypes.data
            elif isinstance(word, str):
                self._blocks[first + k] = native.address(word, dtype)
            else:
                self._blocks[first + k] = int(word)
        return first

    def _place(self, ref: Ref) -> tuple[int | None, int]:
        """The number of a base and the distance from it to a reference's first element (at iteration 0 of what it
        moves with); without a base, the address.
        """
        buffer, offset = ref.buffer.root(), ref.offset * ref.dtype.itemsize
        if buffer.array is not None:
            self.keep.append(buffer.array)
            return None, buffer.array.ctypes.data + offset
        if buffer.slot is not None:
            return 1 + buffer.slot, offset
        return 0, buffer.offset + offset

    # The program.
    def _table(self, main: Region, args: dict[Row, int], start: int) -> list[list]:
        """The rows of the program, in the order in which they are run; places of counters stand in them already."""
        table: list[list] = []
        self._fixups: list[tuple[int, int, tuple]] = []
        self._base_cells: dict[tuple[int, Region], int] = {}  # (word, region of its POINT) → row of the table
        self._outermost: dict[int, int] = {}  # word → row of the table that first points it anew
        counters: dict[Region, int] = {}

        def add(*words) -> int:
            table.append([*words, *[0] * (ROW - len(words))])
            return len(table) - 1

        def counter(region: Region) -> tuple[str, int]:
            return "counter", counters.setdefault(region, len(counters))

        def point(region: Region) -> None:
            """What moves with a loop gets its address anew at each step."""
            for word, ref in self._points.get(region, ()):
                moving = next(m for m in ref.moving if m.region is region)
                inner = [m for m in ref.moving if m.region.depth > region.depth]
                step, last = moving.stride * ref.dtype.itemsize, moving.period - 1
                row = add(POINT, 0, self._blocks[word], step, counter(region), moving.first, last)
                self._base_cells[word, region] = row
                self._outermost.setdefault(word, row)
                next_region = min(inner, key=lambda m: m.region.depth).region if inner else None
                self._fixups.append((row, 1, ("base", word, next_region) if inner else ("word", word)))

        def walk(region: Region) -> None:
            point(region)
            for item in region.items:
                if isinstance(item, Region):
                    opening = add(LOOP, item.length, 0, counter(item))
                    walk(item)
                    table[opening][2] = add(END, item.length, opening + 1, counter(item)) + 1
                else:
                    run(item)

        def run(row: Row) -> None:
            shared = int(row.cost > SHARE_ABOVE and 1 < row.tiles)
            function = native.make(row.chain or (row.kernel, row.dtype))
            add(KERNEL, function, start + 8 * args[row], row.tiles, shared)
            if row.kernel == faults.CHECK:
                self.checks[len(self.rows)] = args[row]
                add(CHECK, self.fault.ctypes.data, len(self.rows))
            self.rows.append(row)

        for base in sorted(self._bound):
            add(BIND, self._cells.ctypes.data + 16 * base, 0, len(self._bound[base]))
        walk(main)
        add(HALT)
        self._counters: Any = np.zeros(len(counters) + 1, np.int64)
        for words in table:
            for k, value in enumerate(words):
                if isinstance(value, tuple):
                    words[k] = self._counters.ctypes.data + 8 * value[1]
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
        # What moves with a base is a word or, of words that a loop points anew, the base of the outermost POINT.
        self._targets = []
        for row, base in enumerate(sorted(self._bound)):
            cells = [(self._outermost.get(word), word) for word in self._bound[base]]
            targets = [start + 8 * word if k is None else address + 8 * (ROW * k + 2) for k, word in cells]
            self._targets.append(np.array(targets, np.int64))
            self.table[row, 2] = self._targets[-1].ctypes.data
        del self._blocks, self._points, self._fixups, self._base_cells, self._bound, self._outermost

    def kernel_rows(self) -> np.ndarray:
        """Indices of the table's KERNEL rows, in the order of ``rows``."""
        return np.flatnonzero(self.table[:, 0] == KERNEL)
