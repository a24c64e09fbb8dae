"""The memory of programs.

*Arenas* are for what is computed on the way. A run borrows one and gives it back, so programs of all shapes share it,
and each thread that runs at the same time has its own.

*Results* are new arrays, and they are the caller's. New memory of that size costs more than many a kernel, because the
system hands it out page by page; so the memory of results that nobody has any more is used for the next ones.
"""

import contextlib
import ctypes
import math
import mmap
import weakref
from collections.abc import Callable

import numpy as np

_HUGE = 1 << 22
"""Bytes from which memory is asked for in large pages (as NumPy does)."""


def aligned_bytes(size: int, alignment: int = 64) -> np.ndarray:
    """Zeroed bytes whose address is a multiple of ``alignment``."""
    memory = np.zeros(size + alignment, np.uint8)
    start = -memory.ctypes.data % alignment
    return memory[start : start + size]


def _address_reader() -> Callable[[np.ndarray], int]:
    """How to get the address of an array's elements: ``a.ctypes.data`` takes eight times as long as reading the word
    behind the head that all Python objects have, where NumPy's ABI has it.
    """
    head, word = object.__basicsize__, ctypes.c_void_p.from_address

    def fast(array: np.ndarray) -> int:
        return word(id(array) + head).value or 0

    def slow(array: np.ndarray) -> int:
        return array.ctypes.data

    samples: list[np.ndarray] = [np.zeros(3), np.zeros((4, 5), np.int32)[1:, 2:], np.zeros(())]
    return fast if all(fast(sample) == slow(sample) for sample in samples) else slow


address_of = _address_reader()
"""The address of an array's first element."""


class Arena:
    """Some memory, and its address."""

    __slots__ = ("memory", "address")

    def __init__(self, size: int):
        self.memory = aligned_bytes(size)
        self.address = address_of(self.memory)


class Arenas:
    """The arenas of this process that no run is using. (Lists are taken from and added to in one step each, so neither
    threads nor signal handlers need a lock.)
    """

    def __init__(self) -> None:
        self.idle: list[Arena] = []

    def take(self, size: int) -> Arena:
        """An arena of at least ``size`` bytes, the one that was used last if it is large enough, else in its place a
        new one.
        """
        try:
            arena = self.idle.pop()
        except IndexError:
            return Arena(size)
        return arena if arena.memory.nbytes >= size else Arena(size)

    def give(self, arena: Arena) -> None:
        """Let others use it."""
        self.idle.append(arena)

    def trim(self, size: int) -> None:
        """Drop arenas more than twice as large as any program needs now."""
        self.idle[:] = [arena for arena in self.idle if arena.memory.nbytes <= 2 * size]

    @property
    def nbytes(self) -> int:
        """Bytes of all that are idle."""
        return sum(arena.memory.nbytes for arena in self.idle)


class Results:
    """Arrays for results. A large one lies in a block, and is watched with a weak reference. Views of an array hold the
    last array of its chain of bases; as a block is no array (nor a memoryview, which NumPy looks through), that is the
    one that is watched, and when it is gone nobody sees the block.
    """

    SMALLEST, LARGEST = 1 << 18, 1 << 28
    """Bytes of the smallest array that this is done for, and of all blocks that wait for their next use."""

    def __init__(self) -> None:
        self._idle: list[mmap.mmap] = []
        self._lent: dict[int, tuple[weakref.ref, mmap.mmap]] = {}

    def array(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """An array whose elements are still to be written."""
        size = math.prod(shape) * dtype.itemsize
        if not self.SMALLEST <= size <= self.LARGEST:
            return np.empty(shape, dtype)
        block = self._block(size)
        array: np.ndarray = np.ndarray(shape, dtype, block)
        watch = weakref.ref(array, self._give)
        self._lent[id(watch)] = watch, block
        return array

    def _block(self, size: int) -> mmap.mmap:
        for _ in range(len(self._idle)):
            try:
                block = self._idle.pop()
            except IndexError:
                break
            if size <= len(block) <= 1.25 * size:
                return block
            self._idle.insert(0, block)
        private = hasattr(mmap, "MAP_PRIVATE")  # (a forked child's are its own; on Windows there are none)
        block = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) if private else mmap.mmap(-1, size)
        if size >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                block.madvise(mmap.MADV_HUGEPAGE)
        return block

    def _give(self, watch: weakref.ref) -> None:
        self._idle.append(self._lent.pop(id(watch))[1])
        while sum(map(len, self._idle)) > self.LARGEST:
            del self._idle[:1]


arenas = Arenas()
results = Results()
