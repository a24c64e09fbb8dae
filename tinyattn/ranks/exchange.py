"""What ranks give each other: sums of arrays, bit for bit the same however many ranks there are.

MPI's own sums come in whatever order its library thinks is fastest for so many ranks. Here the collectives only move
numbers: each rank gets its slice of what all ranks have (Alltoallv), adds it up by the tree (tree.py), and gives the
sum to all (Allgatherv). These are as many bytes as in the usual ring: each rank sends and receives 2 (N − 1)/N of the
array.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn import ranks
from tinyattn.ranks import tree
from tinyattn.ranks.tree import Node


class Slices:
    """Which part of an array of ``count`` blocks of ``block`` elements is whose."""

    def __init__(self, count: int, block: int = 1):
        self.count = count
        self.parts = [tree.share(count, k, ranks.size()) for k in range(ranks.size())]
        self.lengths = [len(part) * block for part in self.parts]
        self.starts = [part.start * block for part in self.parts]
        self.blocks = self.parts[ranks.rank()]
        self.mine = slice(self.starts[ranks.rank()], self.starts[ranks.rank()] + self.lengths[ranks.rank()])

    def of_blocks(self) -> "Slices":
        """The same slices of an array that has one element for each block."""
        return Slices(self.count)

    def gather(self, array: np.ndarray) -> None:
        """Fill in the slices of the others, each of which has its own."""
        group = ranks.group()
        if group is not None:
            from mpi4py import MPI

            kind = MPI._typedict[array.dtype.char]
            group.Allgatherv(MPI.IN_PLACE, [array, self.lengths, self.starts, kind])

    def total(self, terms: int, owned: Sequence[tuple[Node, np.ndarray]]) -> np.ndarray:
        """The own slice of the sum of ``terms`` arrays. owned: the nodes that this rank has added up, of the terms that
        are its share; they may be overwritten."""
        group = ranks.group()
        if group is None or ranks.size() == 1:
            return tree.total(owned)
        from mpi4py import MPI

        whose = [list(tree.nodes(tree.share(terms, k, ranks.size()))) for k in range(ranks.size())]
        ends = [slice(at, at + length) for at, length in zip(self.starts, self.lengths, strict=True)]
        given = owned[0][1] if len(owned) == 1 else None
        if given is None:
            given = np.concatenate([array[part] for part in ends for _, array in owned] or [_NOTHING])
        length, kind = self.lengths[ranks.rank()], MPI._typedict[given.dtype.char]
        got = np.empty((sum(map(len, whose)), length), given.dtype)
        sent = np.multiply(self.lengths, len(owned))
        taken = np.multiply([len(each) for each in whose], length)
        group.Alltoallv(
            [given, sent, np.cumsum(sent) - sent, kind], [got, taken, np.cumsum(taken) - taken, kind]
        )
        return tree.total(zip((node for each in whose for node in each), got, strict=True))


def everywhere(terms: int, owned: Sequence[tuple[Node, np.ndarray]]) -> np.ndarray:
    """The sum of ``terms`` small arrays, on all ranks: see Slices.total."""
    group = ranks.group()
    if group is None or ranks.size() == 1:
        return tree.total(owned)
    from mpi4py import MPI

    whose = [list(tree.nodes(tree.share(terms, k, ranks.size()))) for k in range(ranks.size())]
    given = np.stack([array for _, array in owned])
    length, kind = given.shape[1], MPI._typedict[given.dtype.char]
    got = np.empty((sum(map(len, whose)), length), given.dtype)
    taken = np.multiply([len(each) for each in whose], length)
    group.Allgatherv([given, given.size, kind], [got, taken, np.cumsum(taken) - taken, kind])
    return tree.total(zip((node for each in whose for node in each), got, strict=True))


_NOTHING = np.empty(0, np.float32)


def all_reduce(array: np.ndarray) -> np.ndarray:
    """The sum of an array over all ranks, added up in the order of their numbers."""
    if ranks.size() == 1:
        return array
    result = array.flatten()
    slices = Slices(result.size)
    mine = ((ranks.rank(), 1), result)
    result[slices.mine] = slices.total(ranks.size(), [mine])
    slices.gather(result)
    return result.reshape(array.shape)
