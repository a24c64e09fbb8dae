"""Rows of different lengths, stored without padding.

A corpus is many short sequences. Kept as one flat array and the offsets where rows begin, it takes no more
memory than its tokens, and a padded batch is cut out of it with one indexing operation:

    row i = flat[offsets[i] : offsets[i + 1]]
"""

from collections.abc import Iterable

import numpy as np


class Ragged:
    """A sequence of arrays that share a dtype and all axes but the first.

    flat: (total, ...); lengths: (rows,) integers that sum to total.
    """

    def __init__(self, flat: np.ndarray, lengths: np.ndarray):
        self.flat = flat
        self.lengths = np.asarray(lengths, np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.lengths)])

    @classmethod
    def from_rows(cls, rows: Iterable[np.ndarray]) -> "Ragged":
        """Copy a non-empty list of arrays into one."""
        rows = list(rows)
        return cls(np.concatenate(rows), np.array([len(row) for row in rows]))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> np.ndarray:
        """Row `row` as a view; negative rows count from the end."""
        row = range(len(self))[row]
        return self.flat[self.offsets[row] : self.offsets[row + 1]]

    def columns(self) -> np.ndarray:
        """For each element of `flat`, its place in its row: (total,) int64."""
        return np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], self.lengths)

    def take(self, rows: np.ndarray) -> "Ragged":
        """A new Ragged of the given rows, in the given order; `rows` is (n,) integers."""
        taken = Ragged(self.flat[:0], self.lengths[rows])
        taken.flat = self.flat[taken.columns() + np.repeat(self.offsets[rows], taken.lengths)]
        return taken

    def pad(self, rows: np.ndarray, width: int) -> np.ndarray:
        """The given rows, none longer than `width`, as one array (n, width, …), zeros behind each."""
        columns = np.arange(width)
        present = columns < self.lengths[rows, None]
        padded = np.zeros((*present.shape, *self.flat.shape[1:]), self.flat.dtype)
        padded[present] = self.flat[(self.offsets[rows, None] + columns)[present]]
        return padded
