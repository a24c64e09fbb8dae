"""Copies and fills between strided memory."""

import numpy as np

from tinyattn.kernels.calls.copy import copy_plan, tiles_of_fill
from tinyattn.runtime.kinds import KernelTypeError
from tinyattn.runtime.memory import Ref, Region


def coalesce(shape, *strides) -> tuple[list[int], list[list[int]]]:
    """The same iteration space with as few axes as possible: neighbours that all the strides step through
    alike become one.
    """
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


def emit_copy(emit, source: Ref, target: Ref, region: Region | None = None) -> None:
    """Copy ``source`` (which may broadcast) to ``target``, any strides on both sides."""
    source = source.broadcast(target.shape)
    if source.dtype != target.dtype:
        raise KernelTypeError(
            f"a copy must keep the element type, but {source.dtype} was to become {target.dtype}"
        )
    if target.size == 0:
        return
    shape, source_strides, target_strides, tiles = copy_plan(target.shape, source.strides, target.strides)
    words = {
        "size": target.dtype.itemsize, "x": source, "y": target, "dimensions": len(shape), "shape": list(shape),
        "x_strides": list(source_strides), "y_strides": list(target_strides),
    }  # fmt: skip
    emit.kernel(
        "copy.strided",
        words,
        tiles,
        reads=[source],
        writes=[target],
        dtype=np.float32,
        cost=target.nbytes * 0.1,
        region=region,
    )


def emit_fill(emit, target: Ref, value: float) -> None:
    """Set contiguous memory to one number."""
    size = target.dtype.itemsize
    pattern = int(np.asarray(value, target.dtype).view({1: np.uint8, 4: np.int32, 8: np.int64}[size]))
    words = {"size": size, "y": target, "count": target.size, "value": pattern}
    emit.kernel(
        "copy.fill",
        words,
        tiles_of_fill(target.size, size),
        reads=[],
        writes=[target],
        dtype=np.float32,
        cost=target.nbytes * 0.05,
    )
