"""Building and running row chains from a test."""

import ctypes

import numpy as np
from elementwise_call import KIND
from kernel_call import real_bits
from numba import config

from tinyattn.kernels import SCRATCH_BYTES, ceiling
from tinyattn.kernels.build import native, row_writer
from tinyattn.kernels.language.chains import CONTIGUOUS, NUMBER, REPEATED, SUMMED, way
from tinyattn.kernels.language.row_chains import RowChain, block_of_rows

_scratch = np.zeros(SCRATCH_BYTES // 8 + 8, np.int64)


def tiles_of(dtype, shape, summed):
    """How many tiles there are."""
    rows = int(np.prod(shape[:-1]))
    return ceiling(rows, block_of_rows(rows, shape[-1], dtype, summed)[0])


def run(dtype, shape, inputs, steps, outputs, order=None, keeps=True):
    """Run ``[(operation, kind, *operands)]`` on arrays (or Python numbers) that broadcast to ``shape``; the values named
    in ``outputs``, ``[(array, value, way)]``, are written. A SUMMED array is (tiles, columns).
    """
    spread = [np.broadcast_to(a, shape) if isinstance(a, np.ndarray) else None for a in inputs]
    strides = [[] if a is None else [s // a.itemsize for s in a.strides] for a in spread]
    for array, _, mode in outputs:
        own = [s // array.itemsize for s in array.strides]
        strides.append(own if mode == CONTIGUOUS else [*own, 0] if mode == REPEATED else [0] * len(shape))
    ways = [NUMBER if a is None else way(shape, s) for a, s in zip(spread, strides, strict=False)]
    kinds = [dtype if a is None else KIND[a.dtype] for a in spread]
    chain = RowChain(
        dtype,
        tuple((operation, kind, tuple(operands)) for operation, kind, *operands in steps),
        tuple(zip(kinds, ways, strict=True)),
        tuple((KIND[a.dtype], value, mode) for a, value, mode in outputs),
        len(shape) - 1,
        keeps,
    )
    rows, summed = int(np.prod(shape[:-1])), any(mode == SUMMED for _, _, mode in outputs)
    block = block_of_rows(rows, shape[-1], dtype, summed)
    sources = [
        real_bits(x, dtype) if a is None else a.ctypes.data for x, a in zip(inputs, spread, strict=True)
    ]
    places = [a.ctypes.data for a, _, _ in outputs]
    words = np.array(chain.arguments(shape, block, sources, strides, places), np.int64)
    if config.DISABLE_JIT:
        kernel = row_writer.pure(chain)
    else:
        kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(native.make(chain))
    _scratch[:] = -1  # rubbish: a kernel may not count on what is there
    scratch = (_scratch.ctypes.data + 63) // 64 * 64
    tiles = tiles_of(dtype, shape, summed)
    for first, last in [(0, tiles)] if order is None else [(t, t + 1) for t in order]:
        kernel(words.ctypes.data, first, last, scratch)
