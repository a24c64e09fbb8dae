"""The part of an optimizer that one of several ranks keeps: the moments of its slices of all parameters.

    a bucket of parameters                  [  w₉  |     w₈     | w₇ |   w₆   ]
    those of rank 1 of 3                            [ piece | piece ]

Each piece is a parameter of its own for the optimizer, whose rules work element by element: its new values are those
that the whole would have had.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyattn.graph.leaf import parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.ranks.buckets import Buckets
from tinyattn.train.layout import Layout
from tinyattn.train.optimizer import Optimizer


class Pieces:
    """The pieces of parameters, one after the other, in a rank's slices of the buckets of their layout. names: of all
    parameters.
    """

    def __init__(self, names: Mapping[Tensor, str], layout: Layout, buckets: Buckets):
        self._names, self._layout, self._buckets = names, layout, buckets
        self._values = np.empty(layout.size, layout.parameters[0].dtype)
        """An array for what is gathered. (New memory would take longer than the gathering.)"""
        self._found: list[tuple[Tensor, slice, Tensor, int]] = []
        """Of each piece the whole, where in it, the piece itself, and where it is in the layout."""
        for mine in buckets.mine:
            for w, start in layout.starts.items():
                first, past = max(mine.start, start), min(mine.stop, start + w.size)
                if first < past:
                    inside = slice(first - start, past - start)
                    piece = parameter(w.storage.array.reshape(-1)[inside], name=w.name)
                    self._found.append((w, inside, piece, first))

    def make(self, make: Callable[..., Optimizer]) -> Optimizer:
        """The optimizer of the pieces, ``make(parameters, axes)``; without any, that of an unused number."""
        if not self._found:
            return make([parameter(np.zeros(1, self._layout.parameters[0].dtype))], [1])
        return make([piece for _, _, piece, _ in self._found], [w.ndim for w, *_ in self._found])

    def gradients(self, totals: Sequence[Tensor], optimizer: Optimizer) -> list[Tensor]:
        """Those of its parameters, from those of each slice."""
        found = {}
        for total, mine in zip(totals, self._buckets.mine, strict=True):
            for _, _, piece, at in self._found:
                if mine.start <= at < mine.stop:
                    found[piece] = total[at - mine.start : at - mine.start + piece.size]
        return [found.get(leaf, leaf) for leaf in optimizer.parameters]  # (an unused number is 0)

    def take(self) -> None:
        """Let the pieces be what the parameters are."""
        for w, inside, piece, _ in self._found:
            piece.storage.write(w.storage.array.reshape(-1)[inside])

    def give(self) -> None:
        """Let the parameters, on all ranks, be what the pieces are."""
        for w, value in self._gathered([piece.storage.array for _, _, piece, _ in self._found]).items():
            w.storage.write(value)

    def state_dict(self, optimizer: Optimizer) -> dict[str, np.ndarray]:
        """Of the optimizer of whole parameters, from what all ranks have."""
        found = {"steps": optimizer.steps.numpy(), "lr": optimizer.lr.numpy()}
        for number, moment in enumerate(optimizer.moments):
            own = [leaves[number].storage.array for leaves in self._moments(optimizer)]
            for w, value in self._gathered(own).items():
                found[f"{moment}.{self._names[w]}"] = value.copy()
        return found

    def load_state_dict(self, optimizer: Optimizer, given: Mapping[str, Any]) -> None:
        """Keep the own part of that of whole parameters."""
        optimizer.steps.assign(given["steps"])
        optimizer.lr.storage.write(given["lr"])
        for (w, inside, _, _), leaves in zip(self._found, self._moments(optimizer), strict=True):
            for moment, leaf in zip(optimizer.moments, leaves, strict=True):
                leaf.storage.write(np.asarray(given[f"{moment}.{self._names[w]}"]).reshape(-1)[inside])

    def _moments(self, optimizer: Optimizer) -> list[tuple[Tensor, ...]]:
        """Those of each piece, in the order of the pieces; the optimizer may have them in another."""
        known = optimizer.moments_of
        return [known[piece] for _, _, piece, _ in self._found]

    def _gathered(self, own: Sequence[np.ndarray]) -> dict[Tensor, np.ndarray]:
        """The arrays of all parameters, from those of the pieces of all ranks."""
        values = self._values
        for array, (_, _, _, at) in zip(own, self._found, strict=True):
            values[at : at + array.size] = array
        self._buckets.gather(values)
        return self._layout.values(values)
