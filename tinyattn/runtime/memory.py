"""Buffers, and references into them: how the compiler talks about memory before it has addresses.

A :class:`Ref` is a strided view of a buffer, like a NumPy array without the data; reshape, transpose, slice
and broadcast are arithmetic on its strides. Inside a loop a reference may *move*: its address is a function
of the iteration.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np


@dataclass(eq=False)
class Region:
    """A stretch of the program: the whole of it, or the body of a loop of ``length`` iterations."""

    parent: "Region | None" = None
    length: int = 1
    items: list = field(default_factory=list)
    """Rows and regions, in order of execution."""
    copies: dict = field(default_factory=dict)
    """Contiguous copies and packed matrices made here, by what they are made of."""
    node: Any = None
    """The scan whose loop this is."""

    @property
    def depth(self) -> int:
        return 0 if self.parent is None else self.parent.depth + 1


@dataclass(eq=False)
class Buffer:
    """A block of memory: in the arena, placed there by the memory plan; or an array of its own; or what each call
    brings along.
    """

    nbytes: int
    home: Region
    array: np.ndarray | None = None
    slot: int | None = None
    """Number of the input or output of the program that it is."""
    label: str = ""
    offset: int = -1
    """Bytes from the start of the arena, once planned."""
    alias: "Buffer | None" = None
    """The buffer whose memory this one shares, if it was placed in place."""

    @property
    def planned(self) -> bool:
        """Whether it is in the arena."""
        return self.array is None and self.slot is None

    def root(self) -> "Buffer":
        buffer = self
        while buffer.alias is not None:
            buffer = buffer.alias
        return buffer


@dataclass(frozen=True)
class Moving:
    """In ``region`` the address moves: by ``((iteration + first) mod period) · stride`` elements.

    The period is a power of two, or 0 for none; 0 minus 1 is the mask of all bits.
    """

    region: Region
    stride: int
    first: int = 0
    period: int = 0


def contiguous_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Row-major strides, in elements."""
    strides, size = [], 1
    for extent in reversed(shape):
        strides.append(size)
        size *= extent
    return tuple(reversed(strides))


@dataclass(frozen=True)
class Ref:
    """``shape`` elements of ``dtype`` in a buffer, at ``offset`` with ``strides`` (both in elements)."""

    buffer: Buffer
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype
    moving: tuple[Moving, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the elements follow each other in row-major order."""
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent == 1:
                continue
            if stride != expected:
                return self.size == 0
            expected *= extent
        return True

    @property
    def region(self) -> Region:
        """The innermost region in which this reference has a meaning."""
        return max([self.buffer.home, *(m.region for m in self.moving)], key=lambda r: r.depth)

    @property
    def whole(self) -> bool:
        """Whether this is all of a buffer, in order."""
        return not self.moving and self.offset == 0 and self.contiguous and self.nbytes == self.buffer.nbytes

    def transposed(self, axes: Sequence[int]) -> "Ref":
        return replace(
            self, shape=tuple(self.shape[a] for a in axes), strides=tuple(self.strides[a] for a in axes)
        )

    def swapped(self) -> "Ref":
        """The last two axes exchanged."""
        return self.transposed((*range(self.ndim - 2), self.ndim - 1, self.ndim - 2))

    def broadcast(self, shape: Sequence[int]) -> "Ref":
        if shape == self.shape:
            return self
        extra = len(shape) - self.ndim
        strides = [0] * extra + [
            0 if mine == 1 and theirs != 1 else stride
            for mine, theirs, stride in zip(self.shape, shape[extra:], self.strides, strict=True)
        ]
        return replace(self, shape=tuple(shape), strides=tuple(strides))

    def sliced(self, starts: Sequence[int], steps: Sequence[int], shape: Sequence[int]) -> "Ref":
        offset = self.offset + sum(start * stride for start, stride in zip(starts, self.strides, strict=True))
        strides = tuple(stride * step for stride, step in zip(self.strides, steps, strict=True))
        return replace(self, offset=offset, shape=tuple(shape), strides=strides)

    def reshaped(self, shape: Sequence[int]) -> "Ref | None":
        """The same elements in another shape, if strides can say so; else None (a copy is needed)."""
        shape = tuple(shape)
        if self.size == 0 or self.size == 1:
            return replace(self, shape=shape, strides=contiguous_strides(shape))
        # Merge what can be merged, then hand the merged axes out to the new shape.
        merged: list[tuple[int, int]] = []  # (extent, stride) of its fastest axis
        for extent, stride in zip(self.shape, self.strides, strict=True):
            if extent == 1:
                continue
            if merged and merged[-1][1] == stride * extent:
                merged[-1] = (merged[-1][0] * extent, stride)
            else:
                merged.append((extent, stride))
        strides: list[int] = []
        groups = list(reversed(merged))
        left, stride = groups.pop(0)
        for extent in reversed(shape):
            if extent == 1:
                strides.append(0)
                continue
            if left == 1:
                left, stride = groups.pop(0)
            if left % extent:
                return None
            strides.append(stride)
            stride *= extent
            left //= extent
        return replace(self, shape=shape, strides=tuple(reversed(strides)))

    def row(self, index: int) -> "Ref":
        """Entry ``index`` along the first axis."""
        return replace(
            self, offset=self.offset + index * self.strides[0], shape=self.shape[1:], strides=self.strides[1:]
        )

    def at(self, region: Region, reverse: bool, length: int) -> "Ref":
        """The slice of this stack that iteration t of a loop sees (t counts down with ``reverse``)."""
        stride = self.strides[0]
        offset = self.offset + (stride * (length - 1) if reverse else 0)
        moving = (*self.moving, Moving(region, -stride if reverse else stride))
        return replace(self, offset=offset, shape=self.shape[1:], strides=self.strides[1:], moving=moving)


def full_ref(buffer: Buffer, shape: Sequence[int], dtype: np.dtype) -> Ref:
    """All of a buffer in row-major order."""
    return Ref(buffer, 0, tuple(shape), contiguous_strides(shape), dtype)
