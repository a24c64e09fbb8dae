"""A training step in fixed pieces: the batch is cut into *shards*, whose gradients are computed one by one, by one rank
or by several, and added up in one fixed order. The result is the same, bit for bit, for any number of ranks.

    rows of shard s of S      ⌊s B / S⌋ … ⌊(s + 1) B / S⌋
    gradient                  g = Σ_s (w_s / W) ∇ L_s      L_s is the mean of w_s of all W predictions of the batch
    random numbers            those of a counter that begins at s 2³² / S in each step

Of each shard one program makes the gradients, in the order in which backward finds them (see ``layout.py``), and is
told of each bucket as soon as it is there: it is added to those of other shards and, in the last shard of a rank, sent,
while the backward pass goes on (see ``ranks/buckets.py``). Beside them it makes the new values of buffers such as
running averages, which become their mean over shards, and the loss. What is to be done once (clipping, schedule,
update) is a second program, which reads the sums.

With ``share_optimizer`` a rank keeps moments of its slices of the parameters alone, updates them, and gets the rest
from the others (Rajbhandari et al. 2020, ZeRO, stage 1). A norm of gradients is a sum, too, so its order is fixed as
well: squares are added up in chunks, and slices consist of whole chunks.
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
from tinyattn.ranks.buckets import Buckets
from tinyattn.ranks.exchange import everywhere
from tinyattn.runtime.function import Function, function
from tinyattn.train.layout import CHUNK, Layout
from tinyattn.train.optimizer import Optimizer, names_of
from tinyattn.train.pieces import Pieces

COUNTERS = 1 << 32
"""What the counter of random numbers moves on by in a step."""


class ShardedStep:
    """The step of an objective (see ``models/model.py``) in so many shards. make: the optimizer of parameters that have
    so many axes. Raises TinyattnError for parameters of several element types."""

    def __init__(
        self, objective: Any, shards: int, make: Callable[..., Optimizer], share_optimizer: bool = False
    ):
        self.objective, self.shards = objective, shards
        kinds = sorted({str(w.dtype) for w in objective.parameters})
        if len(kinds) > 1:
            must = "parameters must have one element type to be trained in shards"
            raise TinyattnError(f"[train] {must}, but got {' and '.join(kinds)}.")
        self._layout = layout = Layout(objective.parameters)
        shared = share_optimizer and ranks.size() > 1
        self._real = objective.parameters[0].dtype
        self._buckets = Buckets(layout.chunks, CHUNK, shards, self._real, whole=not shared)
        names = dict(zip(objective.parameters, names_of(objective.parameters), strict=True))
        self._pieces = Pieces(names, layout, self._buckets) if shared else None
        axes = [w.ndim for w in objective.parameters]
        self.optimizer = self._pieces.make(make) if self._pieces else make(objective.parameters, axes)
        self._states: list[Tensor] = []  # buffers that a step changes: means over shards,
        self._others: list[Tensor] = []  # and those of integers, which are the same in all
        self._shard, self._finish = Function(self._of_shard, self._told), function(self._of_sum)
        self._squares = function(_squares)

    def _told(self, result: int) -> None:
        """Results are buckets first."""
        if result < len(self._layout.buckets):
            self._buckets.told(result)

    # The programs.

    def _of_shard(
        self, kind: type, arrays: dict, shares: Tensor
    ) -> tuple[list[Tensor], Tensor, list[Tensor]]:
        """Gradients, in buckets; new buffers and the loss; and the new values of other leaves."""
        parts = self.objective.parts(kind(**arrays))
        loss = sum(part * cast(shares[k], part.dtype) for k, part in enumerate(parts))
        order = self._layout.parameters
        gradients = dict(zip(order, grad(loss, order), strict=True))
        buckets = []
        for bucket, padding in zip(self._layout.buckets, self._layout.padding, strict=True):
            flat = [reshape(gradients[w], (-1,)) for w in bucket]
            buckets.append(concat([*flat, zeros((padding,), self._real)]))
        left = trace.withdraw()
        left.pop(default_generator.state, None)
        self._states = [leaf for leaf in left if leaf.dtype == self._real]
        self._others = [leaf for leaf in left if leaf.dtype != self._real]
        states = [reshape(left[leaf] * (1 / self.shards), (-1,)) for leaf in self._states]
        asked = zeros((1,), self._real)  # who is asked to stop: filled in after the run
        beside = [*states, cast(reshape(loss, (1,)), self._real), asked]
        return buckets, concat(beside), [left[leaf] for leaf in self._others]

    def _of_sum(self, totals: list[Tensor], squares: Tensor | None) -> Tensor:
        """The update, from the own slices of the gradients if the optimizer is shared, else from all; the norm."""
        norm = sqrt(sum_of(concat([_squares(total) for total in totals]) if squares is None else squares))
        if self._pieces:
            return self.optimizer.update(self._pieces.gradients(totals, self.optimizer), norm)
        found = {}
        for bucket, total in zip(self._layout.buckets, totals, strict=True):
            start = 0
            for w in bucket:
                found[w] = reshape(total[start : start + w.size], w.shape)
                start += w.size
        return self.optimizer.update([found[w] for w in self.optimizer.parameters], norm)

    # A step.

    def take(self, batch: Any, asked: Callable[[], bool]) -> tuple[float, float, bool]:
        """Update the parameters: the loss, the norm of its gradient, and whether some rank is ``asked`` to stop."""
        whole = np.maximum(self.objective.weights(batch), 1)
        words = random_state()
        buckets, beside = self._buckets, tree.Stack()
        buckets.begin()
        for shard in buckets.terms:
            part = rows(batch, shard, self.shards)
            shares = (np.asarray(self.objective.weights(part)) / whole).astype(np.float64)
            default_generator.state.storage.write(words + [0, shard * (COUNTERS // self.shards)])
            out = buckets.room(shard), None, None
            _, rest, others = self._shard(type(part), vars(part), shares, out=out)
            buckets.close()
            rest[-1] = asked()
            beside.push((shard, 1), rest)
        default_generator.state.storage.write(words + [0, COUNTERS])
        rest = everywhere(self.shards, beside.found)
        norm = self._update(buckets.end())
        start = 0
        for leaf in self._states:
            leaf.storage.write(rest[start : start + leaf.size].reshape(leaf.shape))
            start += leaf.size
        for leaf, value in zip(self._others, others, strict=True):
            leaf.storage.write(value)
        return float(rest[-2]), norm, bool(rest[-1])

    def _update(self, sums: np.ndarray) -> float:
        """From the sums of gradients; the norm."""
        if not self._pieces:
            return float(self._finish([sums[span] for span in self._buckets.spans], None))
        squares = np.zeros(self._layout.size // CHUNK)
        own = [sums[mine] for mine in self._buckets.mine]
        for mine, part in zip(self._buckets.mine, own, strict=True):
            squares[mine.start // CHUNK : mine.stop // CHUNK] = self._squares(part)
        self._buckets.gather(squares)
        self._pieces.take()
        norm = float(self._finish(own, squares))
        self._pieces.give()
        return norm

    def example(self) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
        """For measuring: a gradient, and what updates the parameters with one when all ranks are done."""
        return np.zeros(self._layout.size, self._real), self._update

    # State.

    def moments(self) -> tuple[int, int]:
        """Bytes of the optimizer's moments on this rank, and of those of all parameters."""
        own = sum(m.storage.array.nbytes for each in self.optimizer.moments_of.values() for m in each)
        whole = sum(w.storage.array.nbytes for w in self._layout.parameters) * len(self.optimizer.moments)
        return own, whole

    def state_dict(self) -> dict[str, np.ndarray]:
        """That of the optimizer of whole parameters. All ranks must ask for it at once."""
        return self._pieces.state_dict(self.optimizer) if self._pieces else self.optimizer.state_dict()

    def load_state_dict(self, given: dict[str, np.ndarray]) -> None:
        """Restore it."""
        if self._pieces:
            self._pieces.load_state_dict(self.optimizer, given)
        else:
            self.optimizer.load_state_dict(given)


def rows(batch: Any, shard: int, shards: int) -> Any:
    """The rows of a batch, a dataclass of arrays, that belong to a shard."""
    count = len(batch.valid)
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
