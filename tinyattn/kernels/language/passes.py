"""One pass along a row of numbers: formulas applied to it, results written, sums or maxima taken, all at once.

Normalisations go over a row a few times: its mean, its deviations and their squares, the result. Each such
pass is a formula (see :mod:`tinyattn.kernels.language.formula`) of the vectors read and of some numbers that are the
same all along; what it returns is written, or folded:

    one_pass(real, 2, 1, 1, lambda x, y, k: x + k * y)   makes   pass(n, x, y, target, k)

Rows are taken in vectors of 128 bytes, as in :mod:`tinyattn.kernels.language.lanes`, so that a sum has the same bits
on every machine; a last vector that isn't full is read and written under a mask. Results may be written to
a place that is read from, as each vector is read before it is written. LLVM's own vectoriser would check at
run time that none of the pointers overlap, which for rows of a hundred numbers costs more than the work.
"""

import ctypes
import math

import numpy as np
from numba import types

from tinyattn.kernels.language.formula import NUMPY, Value
from tinyattn.kernels.language.lanes import ROW_BYTES, add, larger
from tinyattn.kernels.language.simd import PURE, instructions
from tinyattn.kernels.language.vectors import Vectors, at, constant

_COMPACT_BYTES = 64
_FOLDS = {"sum": (add, 0.0), "max": (larger, -math.inf)}


def several(results):
    """What a formula returns, as a tuple."""
    return results if isinstance(results, tuple) else (results,)


def one_pass(
    real,
    reads: int,
    writes: int,
    numbers: int,
    formula,
    folds: tuple[str, ...] = (),
    flags: bool = False,
    compact: bool = False,
):
    """``pass(n, addresses to read …, addresses to write …, numbers …)``, which returns what is folded.

    ``formula(*vectors, *numbers)`` returns one result for each place to write, then one for each of
    ``folds`` (``"sum"`` or ``"max"``), as a tuple unless it is one. What is folded is returned likewise.
    With ``flags``, what is read last are bytes, which count as bools. ``compact``, if nothing is folded, is
    for short rows and long formulas: narrower vectors, and where the machine allows it all of them masked, so
    that the formula stands there once.
    """
    if PURE:
        return _pure(real, reads, writes, formula, folds, flags)
    v = Vectors(real.name, (_COMPACT_BYTES if compact else ROW_BYTES) // real.size)
    kinds = [v] * (reads - flags) + [Vectors("bool", v.lanes)] * flags
    steps = [_FOLDS[fold][0] for fold in folds]
    neutral = [v.all(_FOLDS[fold][1]) for fold in folds]

    def write(builder, values):
        n, *values = values
        starts, constants = [at(builder, a) for a in values[: reads + writes]], values[reads + writes :]
        spread = [Value(builder, v.spread(builder, number)) for number in constants]

        def body(index, partial, mask):
            vectors = [
                Value(builder, kind.load(builder, kind.place(builder, start, index), mask))
                for kind, start in zip(kinds, starts, strict=False)
            ]
            results = several(formula(*vectors, *spread))
            for start, result in zip(starts[reads:], results, strict=False):
                v.store(builder, result.value, v.place(builder, start, index), mask)
            joined = []
            for step, before, start, result in zip(steps, partial, neutral, results[writes:], strict=True):
                value = result.value if mask is None else builder.select(mask, result.value, start)
                joined.append(step(Value(builder, before), Value(builder, value)).value)
            return joined

        if compact:
            return v.each(builder, constant(0), n, lambda index, mask: body(index, (), mask))
        found = v.fold(builder, n, neutral, body)
        numbers = [v.halved(builder, vector, step) for vector, step in zip(found, steps, strict=True)]
        return numbers[0] if len(numbers) == 1 else numbers or None

    number = real.numba_type
    result = {0: types.void, 1: number}.get(len(folds), types.UniTuple(number, len(folds)))
    return instructions(result(*[types.int64] * (1 + reads + writes), *[number] * numbers), write)


def _pure(real, reads, writes, formula, folds, flags):
    """The same pass with NumPy."""
    number, lanes = NUMPY[real.name], ROW_BYTES // real.size

    def run(n, *arguments):
        n, addresses = int(n), arguments[: reads + writes]
        kinds = [number] * (reads + writes)
        if flags:
            kinds[reads - 1] = np.bool_
        views = [
            np.frombuffer((ctypes.c_byte * (n * np.dtype(kind).itemsize)).from_address(int(a)), kind)
            for a, kind in zip(addresses, kinds, strict=True)
        ]
        partial = [np.full(lanes, _FOLDS[fold][1], number) for fold in folds]
        with np.errstate(all="ignore"):
            for start in range(0, n, lanes):
                part = slice(start, min(start + lanes, n))
                vectors = [view[part].copy() for view in views[:reads]]
                results = several(formula(*vectors, *map(number, arguments[reads + writes :])))
                for view, result in zip(views[reads:], results, strict=False):
                    view[part] = result
                for fold, state, result in zip(folds, partial, results[writes:], strict=True):
                    state[: part.stop - start] = _FOLDS[fold][0](state[: part.stop - start], result)
            found = []
            for fold, state in zip(folds, partial, strict=True):
                while len(state) > 1:
                    state = _FOLDS[fold][0](*np.split(state, 2))
                found.append(state[0])
        return (found[0] if len(found) == 1 else tuple(found)) if found else None

    return run
