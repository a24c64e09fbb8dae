"""Keys and values kept from step to step, for decoding one position after another.

A causal model that continues a sequence needs, at position t, the query of t alone, but the keys and values
of all positions up to t. They never change once computed, so they are kept: position t then costs one row of
every product instead of t. The memory has the full length from the beginning and the position is a number in
the program, not in its shapes: one program serves all steps.

    K' = K with row t replaced by k_t,    V' likewise,    o_t = softmax(q_t K'ᵀ / √d + mask) V'

where the mask leaves the positions 0 … t. A cache is a value like any other Tensor: writing gives a new one,
and a compiled step that assigns it to the leaves it came from writes into their memory.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, fail
from tinyattn.ops.arrays.creation import arange, zeros
from tinyattn.ops.arrays.elementwise import logical_and, where
from tinyattn.ops.arrays.index import index_update
from tinyattn.ops.arrays.shape import reshape
from tinyattn.ops.attention.attention import attention

Position = Any
"""Where new positions begin: an integer, or a 0-d integer Tensor that is known only when the program runs."""


class KVCache(NamedTuple):
    """``keys`` (B, H, T, D) and ``values`` (B, H, T, D_v) of up to T positions of B sequences, in H heads."""

    keys: Tensor
    values: Tensor

    @classmethod
    def empty(cls, batch: int, heads: int, length: int, width: int, dtype: Any = np.float32) -> "KVCache":
        """Room for ``length`` positions of ``batch`` sequences: (batch, heads, length, width), zeros."""
        nothing = zeros((batch, heads, length, width), dtype)
        return cls(nothing, nothing)

    @property
    def length(self) -> int:
        """T, the number of positions there is room for."""
        return self.keys.shape[-2]

    def write(self, keys: Tensor, values: Tensor, position: Position) -> "KVCache":
        """The cache with n new positions, (B, H, n, D) and (B, H, n, D_v), from ``position`` on.

        Several positions at once need an integer ``position``. Raises ShapeError when they do not fit in.
        """
        count, first = keys.shape[-2], as_position(position)
        if isinstance(first, int):
            if not 0 <= first <= self.length - count:
                must = f"{count} positions from {first} on must lie in 0..{self.length - 1}"
                hint = "Make the cache longer."
                fail(errors.ShapeError, "KVCache", must, f"the last would be {first + count - 1}", hint)
            index: Any = (..., slice(first, first + count), slice(None))
        elif count == 1:
            index, keys, values = (..., first, slice(None)), keys[..., 0, :], values[..., 0, :]
        else:
            must = "a position known only at run time must take one new position at a time"
            hint = "Begin with an integer position, or pass the tokens one by one."
            fail(errors.ShapeError, "KVCache", must, f"got {count}", hint)
        return KVCache(index_update(self.keys, index, keys), index_update(self.values, index, values))

    def attend(
        self, query: Tensor, keys: Tensor, values: Tensor, position: Position, mask: Tensor | None = None
    ) -> "tuple[Tensor, KVCache]":
        """Write new positions, and let each attend to itself and all before it.

        query and keys (B, H, n, D), values (B, H, n, D_v): what belongs to the n positions from ``position``
        on. ``mask`` (…, T), as ``ta.attention`` takes it, forbids more. Returns (B, H, n, D_v) and the new
        cache.
        """
        cache, count, first = self.write(keys, values, position), query.shape[-2], as_position(position)
        if isinstance(first, int) and first == 0:  # nothing is before them
            own = None if mask is None else mask[..., :count]
            return attention(query, keys, values, own, is_causal=True), cache
        last = reshape(arange(count), (count, 1)) + first
        visible = reshape(arange(self.length), (1, self.length)) <= last
        if mask is not None:
            visible = logical_and(visible, mask) if mask.dtype == BOOL else where(visible, mask, -math.inf)
        return attention(query, *cache, mask=visible), cache


def as_position(position: Position) -> int | Tensor:
    """A Python integer, or a 0-d integer Tensor."""
    if isinstance(position, (int, np.integer)):
        return int(position)
    position = as_tensor(position)
    if position.shape or position.dtype.kind != "i":
        must = "a position must be an integer or a 0-d integer Tensor"
        fail(errors.ShapeError, "KVCache", must, f"got {position.type}")
    return position
