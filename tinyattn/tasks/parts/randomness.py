"""Random numbers that never change.

A task must be the same sentences, in the same order, on every machine, with every version of NumPy: a resumed
run has to see the batches the interrupted one would have seen, and a held-out set has to stay the one that
was reported. NumPy promises that for the raw bits of its Philox generator (Salmon et al. 2011, "Parallel
random numbers: as easy as 1, 2, 3"), but not for the methods built on top of them. So this room takes the raw
bits and makes the few distributions it needs itself.

Philox is counter-based: a block of bits is a pure function of (key, counter). The key holds the seed and a
number such as the epoch, and the highest word of the counter holds what the bits are for: streams for
different purposes never meet, and none has to be advanced to reach another.
"""

import zlib

import numpy as np

from tinyattn.errors import DataError


class Stream:
    """An endless stream of 32-bit random words for one purpose."""

    def __init__(self, purpose: str, seed: int, number: int = 0):
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise DataError(f"[seed] must be an integer from 0 to 2**64 - 1, but got {seed!r}.")
        counter = np.array([0, 0, 0, zlib.crc32(purpose.encode())], np.uint64)
        self._philox = np.random.Philox(key=np.array([seed, number], np.uint64), counter=counter)

    def words(self, *shape: int) -> np.ndarray:
        """Uniform uint32 words of the given shape."""
        count = int(np.prod(shape))
        raw = self._philox.random_raw(-(-count // 2))
        return raw.astype("<u8", copy=False).view("<u4")[:count].reshape(shape)

    def integers(self, high: int | np.ndarray, *shape: int) -> np.ndarray:
        """Integers 0 <= i < high, int64 of the given shape; `high` < 2**31 broadcasts against it.

        The top 32 bits of word * high: biased by at most high / 2**32, which no use here can see.
        """
        words = self.words(*shape).astype(np.uint64)
        return (words * np.asarray(high, np.uint64) >> np.uint64(32)).astype(np.int64)

    def permutation(self, count: int) -> np.ndarray:
        """A random order of 0 .. count - 1, int64."""
        return np.argsort(self._philox.random_raw(count), kind="stable")

    def permutations(self, rows: int, count: int) -> np.ndarray:
        """`rows` independent random orders of 0 .. count - 1, uint32 (rows, count); count <= 256.

        The items ride in the low 8 bits of the keys being sorted: sorting is faster than sorting indices, and
        there are no ties.
        """
        keys = self.words(rows, count) & np.uint32(0xFFFFFF00) | np.arange(count, dtype=np.uint32)
        return np.sort(keys, axis=1) & np.uint32(0xFF)

    def subsets(self, sizes: np.ndarray, among: np.ndarray, count: int) -> np.ndarray:
        """A random set in each row, as bool (rows, count): `sizes[i]` of the items 0 .. `among[i]` - 1.

        sizes, among: (rows,) integers, sizes <= among <= count < 256. Taken are the items with the smallest
        random keys.
        """
        items = np.arange(count, dtype=np.uint32)
        keys = self.words(len(sizes), count) & np.uint32(0xFFFFFF00) | items
        keys[items >= among[:, None]] = 0xFFFFFFFF
        largest_taken = np.take_along_axis(np.sort(keys, axis=1), np.maximum(sizes, 1)[:, None] - 1, axis=1)
        return (keys <= largest_taken) & (sizes[:, None] > 0)
