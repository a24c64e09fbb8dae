"""Building and running chains of elementwise operations from a test."""

import ctypes
import math

import numpy as np
from kernel_call import real_bits
from numba import config

from tinyattn.kernels.build import generate, native
from tinyattn.kernels.language.chains import NUMBER, Chain, block_of_chain, tiles_of_chain, way

KIND = {
    np.dtype(t): k
    for t, k in zip(("f4", "f8", "i4", "i8", "?"), ("f32", "f64", "i32", "i64", "bool"), strict=True)
}


def run(dtype, shape, inputs, outputs, steps, order=None):
    """Run ``[(operation, kind, *operands)]`` on arrays (or Python numbers), and write the values named in ``outputs``, ``[(array,
    value)]``.
    """
    extents = list(shape) or [1]
    spread = [np.broadcast_to(a, shape) if isinstance(a, np.ndarray) else None for a in inputs]
    targets = [a for a, _ in outputs]
    strides = [[] if a is None else [s // a.itemsize for s in a.strides] or [1] for a in (*spread, *targets)]
    ways = [NUMBER if a is None else way(extents, s) for a, s in zip(spread, strides, strict=False)]
    kinds = [dtype if a is None else KIND[a.dtype] for a in spread]
    chain = Chain(
        dtype,
        tuple((operation, kind, tuple(operands)) for operation, kind, *operands in steps),
        tuple(zip(kinds, ways, strict=True)),
        tuple((KIND[a.dtype], value) for a, value in outputs),
        len(extents) - 1,
    )
    sources = [
        real_bits(x, dtype) if a is None else a.ctypes.data for x, a in zip(inputs, spread, strict=True)
    ]
    places = [a.ctypes.data for a in targets]
    columns = extents[-1]
    words = np.array(chain.arguments(extents, block_of_chain(columns), sources, strides, places), np.int64)
    tiles = tiles_of_chain(math.prod(extents[:-1]), columns)
    if config.DISABLE_JIT:
        kernel = generate.pure(chain)
    else:
        kernel = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(native.make(chain))
    for first, last in [(0, tiles)] if order is None else [(t, t + 1) for t in order]:
        kernel(words.ctypes.data, first, last, 0)


def apply(dtype, operation, kind, *arrays, result=None):
    """One operation on arrays of the same shape or that broadcast to the first one's."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    out = np.zeros(shape, result or arrays[-1].dtype)
    run(dtype, shape, arrays, [(out, len(arrays))], [(operation, kind, *range(len(arrays)))])
    return out
