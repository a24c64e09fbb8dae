"""Where all parameters are in one array, those that backward finds first, the last layer's, at its beginning.

    [ w₉ | w₈ | w₇ | 0 … | w₆ | w₅ | w₄ | 0 … | w₃ | w₂ | w₁ | 0 … ]
      bucket 0             bucket 1             bucket 2

*Buckets* are what is sent at once. They consist of whole *chunks*, and so do slices of them: sums of squares of a chunk
are the same for any number of ranks.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn.graph.tensor import Tensor

CHUNK = 4096
"""Elements whose squares are added up at once."""
LEAST, MOST = 1 << 20, 8
"""Bytes from which a bucket is full, so that it is worth a message to everyone; and how many buckets there are at most,
more or less, since each costs as many messages."""


class Layout:
    """The places of ``parameters``, of one element type, in the order in which they are used: that of their module."""

    def __init__(self, parameters: Sequence[Tensor]):
        self.parameters: list[Tensor] = list(reversed(parameters))
        full = max(LEAST, sum(w.storage.array.nbytes for w in self.parameters) // MOST)
        self.buckets: list[list[Tensor]] = []
        room = 0
        for w in self.parameters:
            if room <= 0:
                self.buckets.append([])
                room = full
            self.buckets[-1].append(w)
            room -= w.storage.array.nbytes
        sizes = [sum(w.size for w in bucket) for bucket in self.buckets]
        self.chunks = [-(-size // CHUNK) for size in sizes]
        """Of each bucket."""
        self.padding = [count * CHUNK - size for count, size in zip(self.chunks, sizes, strict=True)]
        """Unused elements at the end of each bucket."""
        self.size = sum(self.chunks) * CHUNK
        self.starts: dict[Tensor, int] = {}
        """Where each parameter begins."""
        place = 0
        for bucket, padding in zip(self.buckets, self.padding, strict=True):
            for w in bucket:
                self.starts[w] = place
                place += w.size
            place += padding

    def values(self, array: np.ndarray) -> dict[Tensor, np.ndarray]:
        """What an array of them holds for each."""
        return {w: array[at : at + w.size].reshape(w.shape) for w, at in self.starts.items()}
