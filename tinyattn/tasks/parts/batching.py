"""From examples to batches of few shapes.

A compiled program has fixed shapes: every new one is traced and planned again. In training all batches are full,
and an epoch leaves out fewer than `batch_size` examples in all, others each time. In evaluation every example
comes exactly once, and only the last batch is filled up with rows marked as not valid.

The order of an epoch is a pure function of (seed, epoch), so a place in the stream of batches is three
integers.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.parts.checks import check_positive
from tinyattn.tasks.parts.randomness import Stream


class Batcher:
    """Cuts batches out of `count` examples of one shape.

    make(rows, valid): the batch of the given examples, rows (batch_size,) int64; where valid (batch_size,) is
    False a row repeats the last example and must count for nothing.
    """

    def __init__(self, count: int, batch_size: int, make: Callable[[np.ndarray, np.ndarray], Any]):
        self.count, self.batch_size, self.make = (
            count,
            check_positive("batches", "batch_size", batch_size),
            make,
        )

    def plan(self, order: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The rows of each full batch and the rows left over; order: all rows, (count,) integers."""
        full = len(order) // self.batch_size * self.batch_size
        return list(order[:full].reshape(-1, self.batch_size)), order[full:]

    def batch(self, rows: np.ndarray) -> Any:
        """The given examples, at most batch_size of them, as one batch of exactly batch_size rows."""
        valid = np.arange(self.batch_size) < len(rows)
        return self.make(np.concatenate([rows, np.repeat(rows[-1:], self.batch_size - len(rows))]), valid)


class ShapedBatcher(Batcher):
    """Cuts batches out of examples of a few shapes, each batch from examples of one shape.

    shape_of: (count,) integers, the shape of each example, the smallest 0. What does not fill a batch moves up into
    the next larger shape, where it fits as well.
    """

    def __init__(self, shape_of: np.ndarray, batch_size: int, make: Callable[[np.ndarray, np.ndarray], Any]):
        super().__init__(len(shape_of), batch_size, make)
        self.shape_of = shape_of

    def plan(self, order: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
        """The rows of each full batch, smallest shape first, and the rows left over; order says which of one shape
        come first.
        """
        batches: list[np.ndarray] = []
        left = np.array([], np.int64)
        for shape in np.unique(self.shape_of):
            full, left = super().plan(np.concatenate([left, order[self.shape_of[order] == shape]]))
            batches.extend(full)
        return batches, left


class OrderedBatches:
    """Every example once, those of one shape together; can be iterated over again and again."""

    def __init__(self, batcher: Batcher):
        self.batcher = batcher

    def __len__(self) -> int:
        return math.ceil(self.batcher.count / self.batcher.batch_size)

    def __iter__(self) -> Iterator[Any]:
        full, left = self.batcher.plan(np.arange(self.batcher.count))
        for rows in full + ([left] if len(left) else []):
            yield self.batcher.batch(rows)


class Place:
    """Where an endless iterator stands: an epoch and a position in it, among so many examples in batches of
    some size. `state()` tells it and `restore(state)` brings any iterator over the same examples there.
    """

    def __init__(self, seed: int, examples: int, batch_size: int, length: int):
        if length < 1:
            got = f"{examples} examples and batches of {batch_size}"
            raise DataError(f"[batches] one batch must fit into the training examples, but got {got}.")
        self.seed, self.epoch, self.position = int(seed), 0, 0
        self.examples, self.batch_size, self.length = examples, batch_size, length

    def __len__(self) -> int:
        """Batches in an epoch, the same in every epoch."""
        return self.length

    def advance(self) -> int:
        """The position of the next batch; a new epoch begins where one ends."""
        if self.position == self.length:
            self.epoch, self.position = self.epoch + 1, 0
            self.begin()
        self.position += 1
        return self.position - 1

    def begin(self) -> None:
        """Called at the beginning of each epoch but the first, and by `restore`."""

    def state(self) -> dict[str, int]:
        """Where the iterator stands, and what it iterates over: integers only, fit for JSON."""
        here = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return here | {"batch_size": self.batch_size, "examples": self.examples}

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
        self.begin()


class ShuffledBatches(Place):
    """An endless iterator of full batches, epoch after epoch, each in its own order: nothing but the last
    remainder is left out. Raises DataError when there are fewer examples than one batch.
    """

    def __init__(self, batcher: Batcher, seed: int):
        super().__init__(seed, batcher.count, batcher.batch_size, batcher.count // batcher.batch_size)
        self.batcher = batcher
        self.begin()

    def __iter__(self) -> "ShuffledBatches":
        return self

    def __next__(self) -> Any:
        position = self.advance()
        return self.batcher.batch(self._plan[position])

    def begin(self) -> None:
        stream = Stream("batch order", self.seed, self.epoch)
        batches, _ = self.batcher.plan(stream.permutation(self.batcher.count))
        self._plan = [batches[i] for i in stream.permutation(len(batches))]


class RandomBatches(Place):
    """An endless iterator of batches whose examples are drawn anew each time: make(stream) makes one.

    count: of how many examples; length: how many batches are called an epoch.
    """

    def __init__(self, make: Callable[[Stream], Any], seed: int, count: int, batch_size: int, length: int):
        super().__init__(seed, count, batch_size, length)
        self.make = make

    def __iter__(self) -> "RandomBatches":
        return self

    def __next__(self) -> Any:
        position = self.advance()
        return self.make(Stream("random batch", self.seed, self.epoch * len(self) + position))
