"""Large sums over ranks that travel while their terms are still being computed.

A term is one array, in *buckets*: who computes it says which of them is written. Each rank adds its terms up by the
tree, a bucket at a time while it is in the caches. What it has added up it can give away only once its last term is
there, so the time that is to be had is the rest of the computation of that one:

    last term       [ bucket 0 | bucket 1 | bucket 2 | bucket 3 ]
    slices to the others       [    0     |    1     |    2     |    3     ]
    sums to the others                    [    0     |    1     |    2     |    3     ]

Collectives of one communicator must begin in the same order on all ranks. Slices go in the order of the buckets; sums
too, but when they begin depends on what has arrived, so that they have a communicator of their own.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyattn import ranks
from tinyattn.ranks import tree
from tinyattn.ranks.exchange import Slices, Sum


class Buckets:
    """Sums of ``terms`` arrays of which each bucket has so many ``blocks`` of ``block`` elements. whole: all ranks need
    all of the sum; else each keeps its slices.

    For each sum: ``begin()``; for each of the own ``terms`` in order ``room(term)``, ``told(k)`` of its buckets, in any
    order, and ``close()``; then ``end()``.
    """

    def __init__(self, blocks: Sequence[int], block: int, terms: int, dtype: np.dtype, whole: bool):
        self._blocks, self._block, self._dtype, self._whole = list(blocks), block, dtype, whole
        self._slices = {size: [Slices(count, size) for count in blocks] for size in (block, 1)}
        ends = np.cumsum([0, *blocks]) * block
        self.spans = [slice(*pair) for pair in itertools.pairwise(ends.tolist())]
        """Where the buckets are."""
        own = zip(self.spans, self._slices[block], strict=True)
        self.mine = [slice(at.start + s.mine.start, at.start + s.mine.stop) for at, s in own]
        """The own slices of them."""
        self.terms = tree.share(terms, ranks.rank(), ranks.size())
        several = ranks.size() > 1
        self._sums = [Sum(slices, terms, dtype) for slices in self._slices[block]] if several else []
        self._given = self._new() if several else np.empty(0, dtype)
        self._rooms: dict[int, np.ndarray] = {}
        """Arrays for the terms and their sums, by the first term of each."""
        self.begin()

    def _new(self) -> np.ndarray:
        return np.empty(self.spans[-1].stop, self._dtype)

    def begin(self) -> None:
        """A new sum. Nothing of the one before is used any more."""
        self._stacks = [tree.Stack() for _ in self.spans]
        self._term = -1
        self._written: set[int] = set()
        self._added = self._summed = 0
        self._gathering: list[Any] = []

    def room(self, term: int) -> list[np.ndarray]:
        """Where the buckets of the next term are to be written."""
        kept = {first for (first, _), _ in self._stacks[0].found}
        free = next((first for first in self._rooms if first not in kept), None)
        self._rooms[term] = room = self._new() if free is None else self._rooms.pop(free)
        self._term, self._added = term, 0
        self._written.clear()
        return [room[span] for span in self.spans]

    def told(self, k: int) -> None:
        """Bucket ``k`` of the term is written. It is added up when those before it are. (Between two terms, nobody
        listens: a program that writes them may be run to be measured.)
        """
        if self._term < 0:
            return
        self._written.add(k)
        while self._added in self._written and self._added < len(self.spans):
            self._add(self._added)
            self._added += 1

    def close(self) -> None:
        """All of the term is written."""
        for k in range(self._added, len(self.spans)):
            self.told(k)
        self._term = -1

    def _add(self, k: int) -> None:
        self._stacks[k].push((self._term, 1), self._rooms[self._term][self.spans[k]])
        if self._sums and self._term == self.terms[-1]:
            self._sums[k].begin(self._stacks[k].found)
            while self._summed < k and self._sums[self._summed].here():
                self._take()
            for request in self._gathering:
                request.Test()

    def _take(self) -> None:
        """The next sum is there: keep it, and give it."""
        k, slices = self._summed, self._slices[self._block]
        bucket = self._given[self.spans[k]]
        bucket[slices[k].mine] = self._sums[k].end()
        if self._whole:
            self._gathering.append(slices[k].gather(bucket))
        self._summed += 1

    def end(self) -> np.ndarray:
        """The sum: all of it, or with the own slices of its buckets filled in alone."""
        if not self._sums:
            for stack in self._stacks:
                stack.total()
            return self._rooms[0]
        while self._summed < len(self._sums):
            self._take()
        for request in self._gathering:
            request.Wait()
        return self._given

    def gather(self, array: np.ndarray) -> None:
        """Fill in what the others have of an array like a term, or of one with a number for each block: each rank has
        what belongs to its slices.
        """
        if self._sums:
            parts = np.split(array, np.cumsum(self._blocks[:-1]) * (array.size // sum(self._blocks)))
            slices = self._slices[array.size // sum(self._blocks)]
            for request in [s.gather(part) for s, part in zip(slices, parts, strict=True)]:
                request.Wait()
