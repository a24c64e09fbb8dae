"""Which slots a search may name next, so that its answers are of the kind that is asked for.

A tour names every point once, and ends by itself. A polygon ends when it is closed, by naming its first point again; no
point comes twice but that one, and no two sides cross. That says nothing of which tour or polygon is wanted: points may
be left out of a polygon, and corners may turn inwards.

Shapes in comments: R rows of a search, N points, S = N + 1 slots (0 the end, 1 + j the point j), K = S corners kept.
"""

from typing import NamedTuple

import numpy as np

import tinyattn as ta

LEAST = 3
"""Corners of a polygon."""


class Tour(NamedTuple):
    """What each row has named so far."""

    named: ta.Tensor
    """(R, S) bool: which slots."""
    number: ta.Tensor
    """(R,) int32: how many."""
    size: ta.Tensor
    """(R,) int32: how many points there are."""

    @classmethod
    def nothing(cls, points: ta.Tensor, count: ta.Tensor) -> "Tour":
        """Before the first of points (R, N, D)."""
        rows, longest, _ = points.shape
        return cls(ta.zeros((rows, longest + 1), np.bool_), ta.zeros(rows, np.int32), count)

    def grown(self, points: ta.Tensor, slot: ta.Tensor) -> "Tour":
        """With the point of this slot (R,); slot 0 changes nothing."""
        number = self.number + (slot > 0).astype(np.int32)
        return Tour(ta.logical_or(self.named, _only(slot, self.named)), number, self.size)

    def allowed(self, points: ta.Tensor, once: bool = True) -> ta.Tensor:
        """(R, S) bool: which slots may come next; once: no point a second time."""
        done = (self.number >= self.size).reshape(-1, 1)
        barred = ta.logical_or(self.named, done) if once else ta.broadcast_to(done, self.named.shape)
        return ta.concat([done, ta.logical_not(barred[:, 1:])], axis=1)


class Polygon(NamedTuple):
    """What is drawn so far of each row's."""

    corners: ta.Tensor
    """(R, K, 2): the last one at the end; 0 where there is none yet."""
    number: ta.Tensor
    """(R,) int32: how many corners."""
    named: ta.Tensor
    """(R, S) bool: the slots of its corners."""
    first: ta.Tensor
    """(R,) int32: the slot of its first corner, 0 before."""
    closed: ta.Tensor
    """(R,) bool."""

    @classmethod
    def nothing(cls, points: ta.Tensor) -> "Polygon":
        """Before the first of points (R, N, 2)."""
        rows, count, _ = points.shape
        return cls(
            ta.zeros((rows, count + 1, 2), points.dtype), ta.zeros(rows, np.int32),
            ta.zeros((rows, count + 1), np.bool_), ta.zeros(rows, np.int32), ta.zeros(rows, np.bool_),
        )  # fmt: skip

    def grown(self, points: ta.Tensor, slot: ta.Tensor) -> "Polygon":
        """With the point of this slot (R,) as its next corner; slot 0 changes nothing."""
        rows, width = slot.shape[0], points.shape[2]
        named = slot > 0
        closed = ta.logical_or(self.closed, ta.logical_and(named, slot == self.first))
        place = ta.broadcast_to(ta.maximum(slot - 1, 0).reshape(rows, 1, 1), (rows, 1, width))
        corner = ta.take_along_axis(points, place, 1)
        moved = ta.concat([self.corners[:, 1:], corner], axis=1)
        return Polygon(
            ta.where(named.reshape(rows, 1, 1), moved, self.corners),
            self.number + named.astype(np.int32),
            ta.logical_or(self.named, _only(slot, self.named)),
            ta.where(self.number == 0, slot, self.first),
            closed,
        )

    def allowed(self, points: ta.Tensor) -> ta.Tensor:
        """(R, S) bool: which slots may come next."""
        rows, count, _ = points.shape
        slots = ta.arange(count + 1, dtype=self.first.dtype).reshape(1, count + 1)
        crossing = self._crossing(points)  # (R, K − 2, N), of sides from the oldest on
        sides = crossing.shape[1]
        side = ta.arange(sides, dtype=self.number.dtype).reshape(1, sides, 1)
        oldest = (sides + 2 - self.number).reshape(rows, 1, 1)  # the first side's place
        new = ta.logical_not(ta.any(ta.logical_and(crossing, side >= oldest), axis=1))  # (R, N)
        closing = ta.logical_not(ta.any(ta.logical_and(crossing, side > oldest), axis=1))
        closing = ta.logical_and(closing, (self.number >= LEAST).reshape(rows, 1))
        new = ta.logical_and(new, ta.logical_not(self.named[:, 1:]))
        closing = ta.logical_and(closing, slots[:, 1:] == self.first.reshape(rows, 1))
        closed = self.closed.reshape(rows, 1)
        points_next = ta.logical_and(ta.logical_or(new, closing), ta.logical_not(closed))
        return ta.concat([closed, points_next], axis=1)

    def _crossing(self, points: ta.Tensor) -> ta.Tensor:
        """Whether the way from the last corner to each point meets the sides drawn so far, but for the last one, which
        ends where it begins: (R, K − 2, N) bool; a side is from corner k to k + 1.
        """
        here = self.corners[:, -1:]  # (R, 1, 2)
        start, end = (ta.expand_dims(part, 2) for part in (self.corners[:, :-2], self.corners[:, 1:-1]))
        here, there = ta.expand_dims(here, 1), ta.expand_dims(points, 1)  # (R, 1, 1, 2), (R, 1, N, 2)
        apart = _turn(start, end, here) * _turn(start, end, there) <= 0
        across = _turn(here, there, start) * _turn(here, there, end) <= 0
        return ta.logical_and(apart, across)


def _only(slot: ta.Tensor, slots: ta.Tensor) -> ta.Tensor:
    """Of slots (R, S) that of each row, slot (R,)."""
    return ta.arange(slots.shape[1], dtype=slot.dtype) == slot.reshape(-1, 1)


def _turn(a: ta.Tensor, b: ta.Tensor, c: ta.Tensor) -> ta.Tensor:
    """Twice the area of the triangle a b c (…, 2): positive where c lies to the left of the way from a to b."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (
        c[..., 0] - a[..., 0]
    )
