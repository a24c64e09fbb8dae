"""A training step in fixed pieces: the batch is cut into *shards*, whose gradients are computed one by one, by one rank
or by several, and added up in one fixed order. The result is the same, bit for bit, for any number of ranks.

    rows of shard s of S      ⌊s B / S⌋ … ⌊(s + 1) B / S⌋
    gradient                  g = Σ_s (w_s / W) ∇ L_s      L_s is the mean of w_s of all W predictions of the batch
    random numbers            those of a counter that begins at s 2³² / S in each step

Of each shard one program makes the gradients, one contiguous array in the order in which backward finds them (the last
layer's first); and what is beside them: the new values of buffers such as running averages, which become their mean
over shards, and the loss. What is to be done once (clipping, schedule, update) is a second program, which reads the
sums.

With ``share_optimizer`` a rank keeps moments of its slice of the parameters alone, updates it, and gets the rest from
the others (Rajbhandari et al. 2020, ZeRO, stage 1). A norm of gradients is a sum, too, so its order is fixed as well:
squares are added up in chunks, and slices consist of whole chunks.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn import ranks
from tinyattn.errors import TinyattnError
from tinyattn.graph import trace
from tinyattn.graph.grad import grad
from tinyattn.graph.randomness import default_generator, random_state
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import FLOAT64
from tinyattn.ops.arrays.creation import zeros
from tinyattn.ops.arrays.elementwise import cast, sqrt, square
from tinyattn.ops.arrays.reduce import sum as sum_of
from tinyattn.ops.arrays.shape import concat, reshape
from tinyattn.ranks import tree
from tinyattn.ranks.exchange import Slices, everywhere
from tinyattn.runtime.function import function
from tinyattn.train.optimizer import Optimizer, names_of
from tinyattn.train.pieces import Pieces

CHUNK = 4096
"""Elements whose squares are added up at once."""
COUNTERS = 1 << 32
"""What the counter of random numbers moves on by in a step."""


class ShardedStep:
    """The step of an objective (see ``models/model.py``) in so many shards. make: the optimizer of parameters that have
    so many axes. Raises TinyattnError for parameters of several element types."""

    def __init__(
        self, objective: Any, shards: int, make: Callable[..., Optimizer], share_optimizer: bool = False
    ):
        self.objective, self.shards = objective, shards
        self._mine = tree.share(shards, ranks.rank(), ranks.size())
        self._order: list[Tensor] = list(reversed(objective.parameters))
        kinds = sorted({str(w.dtype) for w in self._order})
        if len(kinds) > 1:
            must = "parameters must have one element type to be trained in shards"
            raise TinyattnError(f"[train] {must}, but got {' and '.join(kinds)}.")
        count = sum(w.size for w in self._order)
        chunks = -(-count // CHUNK)
        self._padding = chunks * CHUNK - count
        self._slices = Slices(chunks, CHUNK)
        names = dict(zip(objective.parameters, names_of(objective.parameters), strict=True))
        shared = share_optimizer and ranks.size() > 1
        self._pieces = Pieces({w: names[w] for w in self._order}, self._slices.mine) if shared else None
        axes = [w.ndim for w in objective.parameters]
        self.optimizer = self._pieces.make(make) if self._pieces else make(objective.parameters, axes)
        self._states: list[Tensor] = []  # buffers that a step changes: means over shards,
        self._others: list[Tensor] = []  # and those of integers, which are the same in all
        self._shard, self._finish = function(self._of_shard), function(self._of_sum)
        self._squares = function(_squares)

    # The programs.

    def _of_shard(self, kind: type, arrays: dict, shares: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Gradients; new buffers and the loss; and the new values of other leaves."""
        parts = self.objective.parts(kind(**arrays))
        loss = sum(part * cast(shares[k], part.dtype) for k, part in enumerate(parts))
        gradients = [reshape(g, (-1,)) for g in grad(loss, self._order)]
        left = trace.withdraw()
        left.pop(default_generator.state, None)
        real = self._order[0].dtype
        self._states = [leaf for leaf in left if leaf.dtype == real]
        self._others = [leaf for leaf in left if leaf.dtype != real]
        states = [reshape(left[leaf] * (1 / self.shards), (-1,)) for leaf in self._states]
        asked = zeros((1,), real)  # who is asked to stop: filled in after the run
        beside = [*states, cast(reshape(loss, (1,)), real), asked]
        padding = [zeros((self._padding,), real)] if self._padding else []
        return concat([*gradients, *padding]), concat(beside), [left[leaf] for leaf in self._others]

    def _of_sum(self, total: Tensor, squares: Tensor | None) -> Tensor:
        """The update, from the own slice of the gradients if the optimizer is shared, else from all; the norm."""
        norm = sqrt(sum_of(_squares(total) if squares is None else squares))
        if self._pieces:
            return self.optimizer.update(self._pieces.gradients(total, self.optimizer), norm)
        start, found = 0, {}
        for w in self._order:
            found[w] = reshape(total[start : start + w.size], w.shape)
            start += w.size
        return self.optimizer.update([found[w] for w in self.optimizer.parameters], norm)

    # A step.

    def take(self, batch: Any, asked: Callable[[], bool]) -> tuple[float, float, bool]:
        """Update the parameters: the loss, the norm of its gradient, and whether some rank is ``asked`` to stop."""
        whole = np.maximum(self.objective.weights(batch), 1)
        words = random_state()
        gradients, beside = tree.Stack(), tree.Stack()
        for shard in self._mine:
            part = rows(batch, shard, self.shards)
            shares = (np.asarray(self.objective.weights(part)) / whole).astype(np.float64)
            default_generator.state.storage.write(words + [0, shard * (COUNTERS // self.shards)])
            found, rest, others = self._shard(type(part), vars(part), shares)
            rest[-1] = asked()
            gradients.push((shard, 1), found)
            beside.push((shard, 1), rest)
        default_generator.state.storage.write(words + [0, COUNTERS])
        rest = everywhere(self.shards, beside.found)
        norm = self._update(self._slices.total(self.shards, gradients.found))
        start = 0
        for leaf in self._states:
            leaf.storage.write(rest[start : start + leaf.size].reshape(leaf.shape))
            start += leaf.size
        for leaf, value in zip(self._others, others, strict=True):
            leaf.storage.write(value)
        return float(rest[-2]), norm, bool(rest[-1])

    def _update(self, part: np.ndarray) -> float:
        """From the own slice of the sum of gradients; the norm."""
        slices = self._slices
        if self._pieces:
            squares = np.zeros(slices.count)
            squares[slices.blocks.start : slices.blocks.stop] = self._squares(part) if part.size else ()
            slices.of_blocks().gather(squares)
            self._pieces.take()
            norm = float(self._finish(part, squares))
            self._pieces.give(slices)
            return norm
        if ranks.size() > 1:
            whole = np.empty(slices.count * CHUNK, part.dtype)
            whole[slices.mine] = part
            slices.gather(whole)
            part = whole
        return float(self._finish(part, None))

    def example(self) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
        """For measuring: a gradient, and what updates the parameters with one when all ranks are done."""
        return np.zeros(self._slices.count * CHUNK, self._order[0].dtype), lambda g: float(
            self._finish(g, None)
        )

    # State.

    def moments(self) -> tuple[int, int]:
        """Bytes of the optimizer's moments on this rank, and of those of all parameters."""
        own = sum(m.storage.array.nbytes for each in self.optimizer.moments_of.values() for m in each)
        whole = sum(w.storage.array.nbytes for w in self._order) * len(self.optimizer.moments)
        return own, whole

    def state_dict(self) -> dict[str, np.ndarray]:
        """That of the optimizer of whole parameters. All ranks must ask for it at once."""
        return (
            self._pieces.state_dict(self.optimizer, self._slices)
            if self._pieces
            else self.optimizer.state_dict()
        )

    def load_state_dict(self, given: dict[str, np.ndarray]) -> None:
        """Restore it."""
        if self._pieces:
            self._pieces.load_state_dict(self.optimizer, given)
        else:
            self.optimizer.load_state_dict(given)


def rows(batch: Any, shard: int, shards: int) -> Any:
    """The rows of a batch, a dataclass of arrays, that belong to a shard."""
    count = max(len(value) for value in vars(batch).values() if np.ndim(value))
    part = tree.share(count, shard, shards)
    cut = {
        name: value[part.start : part.stop]
        for name, value in vars(batch).items()
        if np.ndim(value) and len(value) == count
    }
    return dataclasses.replace(batch, **cut)


def _squares(gradients: Tensor) -> Tensor:
    """The sum of squares of each chunk, float64."""
    return cast(sum_of(square(reshape(gradients, (-1, CHUNK))), axis=1), FLOAT64)
