"""What ranks give each other: sums of arrays, bit for bit the same however many ranks there are.

MPI's own sums come in whatever order its library thinks is fastest for so many ranks. Here the collectives only move
numbers: each rank gets its slice of what all ranks have (Alltoallv), adds it up by the tree (tree.py), and gives the
sum to all (Allgatherv). These are as many bytes as in the usual ring: each rank sends and receives 2 (N − 1)/N of the
array.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyattn import ranks
from tinyattn.ranks import tree
from tinyattn.ranks.tree import Node


class Slices:
    """Which part of an array of ``count`` blocks of ``block`` elements is whose."""

    def __init__(self, count: int, block: int = 1):
        parts = [tree.share(count, k, ranks.size()) for k in range(ranks.size())]
        self.lengths = [len(part) * block for part in parts]
        self.starts = [part.start * block for part in parts]
        self.of = [slice(at, at + length) for at, length in zip(self.starts, self.lengths, strict=True)]
        self.mine = self.of[ranks.rank()]

    def gather(self, array: np.ndarray) -> Any:
        """Begin to fill in the slices of the others, each of which has its own; the request to wait for. It may begin
        while what is given in other ways is on its way."""
        from mpi4py import MPI

        place = [array, self.lengths, self.starts, MPI._typedict[array.dtype.char]]
        return ranks.group(aside=True).Iallgatherv(MPI.IN_PLACE, place)


class Sum:
    """The own slice of the sum of ``terms`` arrays of which each rank has its share, for one sum after the other."""

    def __init__(self, slices: Slices, terms: int, dtype: np.dtype):
        self._slices = slices
        self._nodes, counts = _nodes(terms)
        length = slices.lengths[ranks.rank()]
        self._got = np.empty((len(self._nodes), length), dtype)
        self._taken = _places(np.multiply(counts, length))
        self._request: Any = None

    def begin(self, owned: Sequence[tuple[Node, np.ndarray]]) -> None:
        """Give and take. owned: the nodes that this rank has added up, of the terms that are its share; they must stay
        as they are until the sum is there."""
        from mpi4py import MPI

        given, sent = owned[0][1] if owned else self._got, _places(self._slices.lengths, self._slices.starts)
        if len(owned) != 1:
            given = np.concatenate(
                [array[part] for part in self._slices.of for _, array in owned] or [given[:0, 0]]
            )
            sent = _places(np.multiply(self._slices.lengths, len(owned)))
        kind = MPI._typedict[self._got.dtype.char]
        self._request = ranks.group().Ialltoallv([given, sent, kind], [self._got, self._taken, kind])

    def here(self) -> bool:
        """Whether all has come. (This is also when the library moves what is on its way.)"""
        return self._request.Test()

    def end(self) -> np.ndarray:
        """The sum, in memory that is used again for the next."""
        self._request.Wait()
        return tree.total(zip(self._nodes, self._got, strict=True))


def everywhere(terms: int, owned: Sequence[tuple[Node, np.ndarray]]) -> np.ndarray:
    """The sum of ``terms`` small arrays, on all ranks."""
    if ranks.size() == 1:
        return tree.total(owned)
    from mpi4py import MPI

    nodes, counts = _nodes(terms)
    given = np.stack([array for _, array in owned])
    got = np.empty((len(nodes), given.shape[1]), given.dtype)
    kind = MPI._typedict[given.dtype.char]
    taken = _places(np.multiply(counts, given.shape[1]))
    ranks.group().Allgatherv([given, given.size, kind], [got, taken, kind])
    return tree.total(zip(nodes, got, strict=True))


def all_reduce(array: np.ndarray) -> np.ndarray:
    """The sum of an array over all ranks, added up in the order of their numbers."""
    if ranks.size() == 1:
        return array
    result = array.flatten()
    slices = Slices(result.size)
    total = Sum(slices, ranks.size(), result.dtype)
    total.begin([((ranks.rank(), 1), result)])
    result[slices.mine] = total.end()
    slices.gather(result).Wait()
    return result.reshape(array.shape)


def _nodes(terms: int) -> tuple[list[Node], list[int]]:
    """The nodes that all ranks have added up, in order, and how many are those of each."""
    whose = [list(tree.nodes(tree.share(terms, k, ranks.size()))) for k in range(ranks.size())]
    return [node for each in whose for node in each], [len(each) for each in whose]


def _places(lengths: Any, starts: Any = None) -> tuple[Any, Any]:
    """Lengths, and where what is for each rank begins: by default one after the other."""
    return lengths, np.cumsum(lengths) - lengths if starts is None else starts
