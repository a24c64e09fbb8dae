"""From sentences of every length to arrays of a few shapes.

A compiled program has fixed shapes: every new one is traced and planned again, and every column of padding is
computed for nothing. So a task names a few padded shapes (source, target), for instance (10, 12), (20, 22),
(30, 32); an example belongs to the first that holds it, and a batch is made of examples of one shape.

What does not fill a batch moves up into the next larger shape, where it fits as well. So all training batches
are full, and an epoch leaves out fewer than `batch_size` examples in all, others each time. In evaluation
every example comes exactly once, and only the last batch is filled up with rows marked as not valid.

The order of an epoch is a pure function of (seed, epoch), so a place in the stream of batches is three
integers.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.checks import check_positive
from tinyattn.tasks.ragged import Ragged
from tinyattn.tasks.randomness import Stream
from tinyattn.tasks.vocabulary import BOS, EOS


@dataclass(frozen=True)
class Batch:
    """B examples padded with 0 to one shape (S, T).

    Rows that only fill a batch up repeat its last example, with valid False, target_length 0 and target_out
    all padding: a loss that ignores padding ignores them without being told.
    """

    source: np.ndarray  # (B, S) int32: x
    source_length: np.ndarray  # (B,) int32: len(x)
    target_in: np.ndarray  # (B, T) int32: <bos> y, what the decoder is given
    target_out: np.ndarray  # (B, T) int32: y <eos>, what it must say
    target_length: np.ndarray  # (B,) int32: len(y) + 1, the places of target_out that count
    index: np.ndarray  # (B,) int64: which examples of the split these are
    valid: np.ndarray  # (B,) bool: False in rows that only fill the batch up

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, S, T)."""
        return (*self.source.shape, self.target_in.shape[1])

    @property
    def tokens(self) -> int:
        """How many target tokens count, <eos> included."""
        return int(self.target_length.sum())


class Batcher:
    """Cuts batches out of one split.

    source, target: Ragged int32 rows without <bos> and <eos>; shapes: the padded shapes (S, T), smallest
    first, where T has room for one more token than the target. Raises DataError for an example that fits none
    of them.
    """

    def __init__(self, source: Ragged, target: Ragged, shapes: Sequence[tuple[int, int]], batch_size: int):
        self.batch_size = check_positive("batches", "batch_size", batch_size)
        self.source, self.target, self.shapes = source, target, tuple(shapes)
        fits = np.stack([(source.lengths <= s) & (target.lengths < t) for s, t in self.shapes], axis=1)
        too_long = ~fits.any(axis=1)
        if too_long.any():
            row = int(np.argmax(too_long))
            got = f"got example {row} of {source.lengths[row]} and {target.lengths[row]} tokens"
            raise DataError(f"[batches] examples must fit one of the shapes {self.shapes}, but {got}.")
        self.shape_of = fits.argmax(axis=1)

    def plan(self, order: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The rows of each full batch, smallest shape first, and the rows left over.

        order: all rows, (n,) integers; it says which of one shape come first.
        """
        batches: list[np.ndarray] = []
        left = np.array([], np.int64)
        for shape in range(len(self.shapes)):
            rows = np.concatenate([left, order[self.shape_of[order] == shape]])
            full = len(rows) // self.batch_size * self.batch_size
            batches.extend(rows[:full].reshape(-1, self.batch_size))
            left = rows[full:]
        return batches, left

    def batch(self, rows: np.ndarray) -> Batch:
        """The given examples, at most batch_size of them, as one batch of exactly batch_size rows."""
        width, height = self.shapes[self.shape_of[rows].max()]
        valid = np.arange(self.batch_size) < len(rows)
        rows = np.concatenate([rows, np.repeat(rows[-1:], self.batch_size - len(rows))])
        lengths = self.target.lengths[rows]
        target_out = self.target.pad(rows, height)
        target_in = np.concatenate([np.full((len(rows), 1), BOS, np.int32), target_out[:, :-1]], axis=1)
        target_out[np.arange(len(rows)), lengths] = EOS
        target_out[~valid] = 0
        return Batch(
            source=self.source.pad(rows, width),
            source_length=self.source.lengths[rows].astype(np.int32),
            target_in=target_in,
            target_out=target_out,
            target_length=np.where(valid, lengths + 1, 0).astype(np.int32),
            index=rows,
            valid=valid,
        )


class OrderedBatches:
    """Every example once, by shape, then in the order of the split; can be iterated over again and again."""

    def __init__(self, batcher: Batcher):
        self.batcher = batcher

    def __len__(self) -> int:
        return math.ceil(len(self.batcher.source) / self.batcher.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        full, left = self.batcher.plan(np.arange(len(self.batcher.source)))
        for rows in full + ([left] if len(left) else []):
            yield self.batcher.batch(rows)


class ShuffledBatches:
    """An endless iterator of full batches, epoch after epoch, each in its own order.

    `state()` says where it stands and `restore(state)` brings any iterator over the same examples there: what
    follows is bit-identical. Raises DataError when there are fewer examples than one batch.
    """

    def __init__(self, batcher: Batcher, seed: int):
        if len(batcher.source) < batcher.batch_size:
            got = f"{len(batcher.source)} examples and batches of {batcher.batch_size}"
            raise DataError(f"[batches] one batch must fit into the training examples, but got {got}.")
        self.batcher = batcher
        self.seed, self.epoch, self.position = int(seed), 0, 0
        self._plan = self._shuffle()

    def __len__(self) -> int:
        """Batches in an epoch, the same in every epoch: nothing but the last remainder is left out."""
        return len(self.batcher.source) // self.batcher.batch_size

    def __iter__(self) -> "ShuffledBatches":
        return self

    def __next__(self) -> Batch:
        if self.position == len(self):
            self.epoch, self.position = self.epoch + 1, 0
            self._plan = self._shuffle()
        rows = self._plan[self.position]
        self.position += 1
        return self.batcher.batch(rows)

    def _shuffle(self) -> list[np.ndarray]:
        stream = Stream("batch order", self.seed, self.epoch)
        batches, _ = self.batcher.plan(stream.permutation(len(self.batcher.source)))
        return [batches[i] for i in stream.permutation(len(batches))]

    def state(self) -> dict[str, int]:
        """Where the iterator stands, and what it iterates over: integers only, fit for JSON."""
        here = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return here | {"batch_size": self.batcher.batch_size, "examples": len(self.batcher.source)}

    def restore(self, state: dict[str, int]) -> None:
        """Go to where `state` was taken. Raises DataError when it is not of these examples and batch size."""
        own = self.state()
        integers = isinstance(state, dict) and all(
            type(value) is int and value >= 0 for value in state.values()
        )
        if not integers or state.keys() != own.keys():
            expected = f"the state must hold integers: {', '.join(own)}"
            raise DataError(f"[batches] {expected}, but got {state!r}.")
        for key in ("batch_size", "examples"):
            if state[key] != own[key]:
                expected = f"{key} of the state must be {own[key]}, as in this run"
                raise DataError(f"[batches] {expected}, but got {state[key]}.")
        if state["position"] > len(self):
            expected = f"position of the state must lie in 0..{len(self)}"
            raise DataError(f"[batches] {expected}, but got {state['position']}.")
        self.seed, self.epoch, self.position = state["seed"], state["epoch"], state["position"]
        self._plan = self._shuffle()
