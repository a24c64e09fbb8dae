"""The part of an optimizer that one of several ranks keeps: the moments of a slice of all parameters.

    the parameters, one after the other     [  w₁  |     w₂     | w₃ |   w₄   ]
    those of rank 1 of 3                            [ piece | piece ]

Each piece is a parameter of its own for the optimizer, whose rules work element by element: its new values are those
that the whole would have had.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyattn.graph.leaf import parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.ranks.exchange import Slices
from tinyattn.train.optimizer import Optimizer


class Pieces:
    """The pieces of parameters, one after the other, in a slice of them. names: of all parameters."""

    def __init__(self, names: Mapping[Tensor, str], mine: slice):
        self.names, self.parameters, self._mine = names, list(names), mine
        self._found: list[tuple[Tensor, slice, Tensor, int]] = []
        """Of each piece the whole, where in it, the piece itself, and where it is in the slice."""
        start = 0
        for w in self.parameters:
            first, past = max(mine.start, start), min(mine.stop, start + w.size)
            if first < past:
                inside = slice(first - start, past - start)
                leaf = parameter(w.storage.array.reshape(-1)[inside], name=w.name)
                self._found.append((w, inside, leaf, first - mine.start))
            start += w.size

    def make(self, make: Callable[..., Optimizer]) -> Optimizer:
        """The optimizer of the pieces, ``make(parameters, axes)``; without any, that of an unused number."""
        if not self._found:
            return make([parameter(np.zeros(1, self.parameters[0].dtype))], [1])
        return make([piece for _, _, piece, _ in self._found], [w.ndim for w, *_ in self._found])

    def gradients(self, total: Tensor, optimizer: Optimizer) -> list[Tensor]:
        """Those of its parameters, from those of the slice."""
        found = {piece: total[at : at + piece.size] for _, _, piece, at in self._found}
        return [found.get(leaf, leaf) for leaf in optimizer.parameters]  # (an unused number is 0)

    def take(self) -> None:
        """Let the pieces be what the parameters are."""
        for w, inside, piece, _ in self._found:
            piece.storage.write(w.storage.array.reshape(-1)[inside])

    def give(self, slices: Slices) -> None:
        """Let the parameters, on all ranks, be what the pieces are."""
        values = self._gathered(slices, [piece.storage.array for _, _, piece, _ in self._found])
        for w, value in zip(self.parameters, values, strict=True):
            w.storage.write(value)

    def state_dict(self, optimizer: Optimizer, slices: Slices) -> dict[str, np.ndarray]:
        """Of the optimizer of whole parameters, from what all ranks have."""
        found = {"steps": optimizer.steps.numpy(), "lr": optimizer.lr.numpy()}
        for number, moment in enumerate(optimizer.moments):
            own = [leaves[number].storage.array for leaves in self._moments(optimizer)]
            values = self._gathered(slices, own)
            found |= {
                f"{moment}.{name}": value.copy()
                for name, value in zip(self.names.values(), values, strict=True)
            }
        return found

    def load_state_dict(self, optimizer: Optimizer, given: Mapping[str, Any]) -> None:
        """Keep the own part of that of whole parameters."""
        optimizer.steps.assign(given["steps"])
        optimizer.lr.storage.write(given["lr"])
        for (w, inside, _, _), leaves in zip(self._found, self._moments(optimizer), strict=True):
            for moment, leaf in zip(optimizer.moments, leaves, strict=True):
                leaf.storage.write(np.asarray(given[f"{moment}.{self.names[w]}"]).reshape(-1)[inside])

    def _moments(self, optimizer: Optimizer) -> list[tuple[Tensor, ...]]:
        """Those of each piece, in the order of the pieces; the optimizer may have them in another."""
        known = optimizer.moments_of
        return [known[piece] for _, _, piece, _ in self._found]

    def _gathered(self, slices: Slices, own: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays of all parameters, from those of the pieces of all ranks."""
        values = np.empty(sum(slices.lengths), self.parameters[0].dtype)
        for array, (_, _, _, at) in zip(own, self._found, strict=True):
            values[self._mine.start + at : self._mine.start + at + array.size] = array
        slices.gather(values)
        found, start = [], 0
        for w in self.parameters:
            found.append(values[start : start + w.size].reshape(w.shape))
            start += w.size
        return found
