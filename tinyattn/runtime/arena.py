"""Arenas: the memory for what programs compute on the way. A run borrows one and gives it back, so programs of all
shapes share it, and each thread that runs at the same time has its own.
"""

import ctypes
from collections.abc import Callable

import numpy as np


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


arenas = Arenas()
