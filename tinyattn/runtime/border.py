"""The border of a program: which of the caller's arrays are read and written where they are, and which are copied.

Kernels read and write numbers that are aligned to their own size and follow each other in row-major order. Inputs
that are like this stay where they are, unless the program updates a leaf in the same memory; outputs are written
once, into new arrays or into those of ``out``, unless one of these overlaps what the program reads.
"""

import bisect
from collections.abc import Sequence
from typing import NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph.types import SHORT, Type, fail
from tinyattn.runtime.arena import address_of, results
from tinyattn.runtime.lower import Lowered

Out = Sequence[np.ndarray | None] | None

_PLAIN = 0x1 | 0x100  # ndarray.flags.num of arrays that are row-major and aligned


class _Places:
    """Where arrays are in memory."""

    def __init__(self, arrays: Sequence[np.ndarray]):
        self._spans = sorted((address_of(array), array.nbytes) for array in arrays if array.size)
        self._starts = [start for start, _ in self._spans]
        self._longest = max((size for _, size in self._spans), default=0)

    def meet(self, array: np.ndarray) -> bool:
        """Whether one of them shares memory with a contiguous array."""
        if not self._starts:
            return False
        start = address_of(array)
        first = bisect.bisect_right(self._starts, start - self._longest)
        last = bisect.bisect_left(self._starts, start + array.nbytes)
        return any(at + size > start for at, size in self._spans[first:last])


class Border:
    """What a program takes and gives: types of inputs and outputs; and the memory of leaves, those it reads and those
    it updates.
    """

    def __init__(self, lowered: Lowered, read: Sequence[np.ndarray], updated: Sequence[np.ndarray]):
        self.inputs, self.outputs = (
            [Type(ref.shape, ref.dtype) for ref in refs] for refs in (lowered.inputs, lowered.outputs)
        )
        self._read, self._updated = _Places(read), _Places(updated)

    def readable(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The inputs as kernels read them: the arrays themselves where that is possible, else copies."""
        if len(arrays) != len(self.inputs):
            self._refuse(arrays)
        found = []
        for array, (shape, dtype) in zip(arrays, self.inputs, strict=True):
            if getattr(array, "shape", None) != shape:
                self._refuse(arrays)
            plain = (
                isinstance(array, np.ndarray)  # (a NumPy scalar's memory is not for keeps)
                and array.dtype == dtype
                and array.flags.num & _PLAIN == _PLAIN
                and not self._updated.meet(array)
            )
            if not plain:
                copy = np.empty(shape, dtype)
                np.copyto(copy, array)
                array = copy
            found.append(array)
        return found

    def _refuse(self, arrays: Sequence[np.ndarray]) -> NoReturn:
        wanted = [shape for shape, _ in self.inputs]
        got = [getattr(array, "shape", type(array).__name__) for array in arrays]
        fail(errors.ShapeError, "program", f"the inputs must be arrays of the shapes {wanted}", f"got {got}")

    def writable(self, out: Out, arrays: Sequence[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The results, and the arrays that the program writes them into: the same, but where one of ``out``
        overlaps what the program reads or another result.
        """
        if out is None:
            made = [results.array(shape, dtype) for shape, dtype in self.outputs]
            return made, made
        if len(out) != len(self.outputs):
            must = f"out must hold an array, or None, for each of the {len(self.outputs)} outputs"
            fail(errors.ShapeError, "program", must, f"got {len(out)}")
        found: list[np.ndarray] = []
        written: list[np.ndarray] = []
        for given, kind in zip(out, self.outputs, strict=True):
            result = results.array(*kind) if given is None else _checked(given, kind)
            taken = given is not None and (
                self._read.meet(result)
                or any(np.may_share_memory(result, other) for other in (*arrays, *found))
            )
            found.append(result)
            written.append(np.empty(*kind) if taken else result)
        return found, written


def _checked(array: np.ndarray, kind: Type) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        got = type(array).__name__
    elif array.shape != kind.shape or array.dtype != kind.dtype:
        got = f"{SHORT.get(array.dtype, array.dtype)}{list(array.shape)}"
    elif not array.flags.carray:
        got = "one that is read-only, or strided"
    else:
        return array
    must = f"out must be a writable, contiguous array of type {kind}"
    fail(errors.ShapeError, "program", must, f"got {got}")
