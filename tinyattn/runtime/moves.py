"""Copies and fills between strided memory."""

import functools

import numpy as np

from tinyattn.graph.body import Body, argument
from tinyattn.graph.tensor import make
from tinyattn.graph.types import Type
from tinyattn.kernels import tiling
from tinyattn.runtime.memory import Ref, Region


def coalesce(shape, *strides) -> tuple[list[int], list[list[int]]]:
    """The same iteration space with as few axes as possible: neighbours that all the strides step through alike become one."""
    extents: list[int] = []
    merged: list[list[int]] = [[] for _ in strides]
    for axis, extent in enumerate(shape):
        if extent == 1:
            continue
        steps = [s[axis] for s in strides]
        if extents and all(m[-1] == step * extent for m, step in zip(merged, steps, strict=True)):
            extents[-1] *= extent
            for m, step in zip(merged, steps, strict=True):
                m[-1] = step
        else:
            extents.append(extent)
            for m, step in zip(merged, steps, strict=True):
                m.append(step)
    return extents or [1], [m or [1] for m in merged]


@functools.cache
def _identity(dtype: np.dtype) -> Body:
    """The body of a copy: one ``cast`` to the type itself."""
    x = argument(0, Type((), dtype))
    return Body([x], [make("cast", x, dtype=dtype)])


def emit_copy(emit, source: Ref, target: Ref, region: Region | None = None) -> None:
    """Copy ``source`` (which may broadcast) to ``target``, any strides on both sides."""
    source = source.broadcast(target.shape)
    if target.size == 0:
        return
    extents, (from_strides, to_strides) = coalesce(target.shape, source.strides, target.strides)
    if target.contiguous and target.dtype.itemsize > 1:
        from tinyattn.runtime.elementwise import chain_of, emit_chain

        emit_chain(emit, chain_of(_identity(source.dtype)), [source], [target], region=region)
        return
    tiles = min(16, -(-target.size // 4096))  # INTERIM
    words = [source, target, target.dtype.itemsize, len(extents), extents, from_strides, to_strides, tiles]
    emit.kernel(
        "interim.strided", words, tiles, reads=[source], writes=[target], cost=target.size * 0.3, region=region
    )  # fmt: skip


def emit_fill(emit, target: Ref, value: float) -> None:
    """Set contiguous memory to one number."""
    emit_copy(emit, emit.constant(np.asarray(value, target.dtype)), target)
