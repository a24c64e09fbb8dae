"""Calling a kernel from a test: an argument block from numbers and arrays, and tiles in any order."""

import ctypes
import struct

import numpy as np
from numba import config

from tinyattn.kernels import SCRATCH_BYTES
from tinyattn.kernels.build import native
from tinyattn.kernels.calls.words import WORDS

TYPES = {"f32": np.float32, "f64": np.float64}
_scratch = np.zeros(SCRATCH_BYTES // 8 + 8, np.int64)


def _function(name, dtype):
    if config.DISABLE_JIT:  # run it as plain Python
        from tinyattn.kernels.build import compiler

        return compiler.kernel_function(name, dtype)
    return native.function(name, dtype)


_callbacks = {}


def address(name, dtype):
    """The address of a kernel that another kernel is to call; in plain Python, of a callback."""
    if not config.DISABLE_JIT:
        return native.address(name, dtype)
    if (name, dtype) not in _callbacks:
        kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
        _callbacks[name, dtype] = kind(_function(name, dtype))
    return ctypes.cast(_callbacks[name, dtype], ctypes.c_void_p).value


def real_bits(value, dtype):
    """A number as a word of an argument block."""
    return struct.unpack("<q", struct.pack("<d", value) if dtype == "f64" else struct.pack("<fi", value, 0))[
        0
    ]


def run(name, dtype, words, tiles, order=None):
    """Run tiles ``0 <= t < tiles`` of a kernel: all in one call, or one by one in the given order.

    ``words`` are given by their names or, where they have none, in their order; an array among them stands for its
    address.
    """
    words = WORDS[name].pack(words) if name in WORDS else words
    block = np.array([w.ctypes.data if isinstance(w, np.ndarray) else w for w in words], np.int64)
    # Rubbish in scratch: a kernel may not count on what is there.
    _scratch[:] = -1
    scratch = (_scratch.ctypes.data + 63) // 64 * 64
    kernel = _function(name, dtype)
    for first, last in [(0, tiles)] if order is None else [(t, t + 1) for t in order]:
        kernel(block.ctypes.data, first, last, scratch)


def shuffled(tiles):
    """The tiles in an order that is neither up nor down."""
    return np.random.default_rng(tiles).permutation(tiles).tolist()
