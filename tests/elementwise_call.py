"""Writing and running programs for the vector machine from a test."""

import math

import kernel_call
import numpy as np

from tinyattn.kernels import opcodes, tiling

KIND = {np.dtype(t): k for t, k in zip(("f4", "f8", "i4", "i8", "?"), range(5), strict=True)}


def _descriptor(array, shape, keep):
    """Words that describe an input, broadcast to the iteration space."""
    spread = np.broadcast_to(array, shape)
    strides = np.array([stride // array.itemsize for stride in spread.strides] or [0], np.int64)
    keep.append(strides)
    if spread.flags.c_contiguous and spread.size > 1:
        mode = opcodes.CONTIGUOUS
    else:
        mode = opcodes.STRIDED if strides.any() else opcodes.SCALAR
    return [array.ctypes.data, KIND[array.dtype], mode, strides.ctypes.data]


def run(dtype, shape, inputs, outputs, instructions, registers=0, order=None):
    """Run ``[(operation, kind, destination, *slots)]`` on arrays; slots are inputs, then outputs, then registers."""
    keep = []
    n = math.prod(shape)
    sizes = np.array(shape or (1,), np.int64)
    words = [(opcodes.OPCODES[i[0], i[1]].number, *i[2:], *[0] * (6 - len(i))) for i in instructions]
    code = np.array(words, np.int64).reshape(-1, 5)
    sources = np.array([_descriptor(a, shape, keep) for a in inputs], np.int64)
    targets = np.array([[a.ctypes.data, KIND[a.dtype], 0, 0] for a in outputs], np.int64)
    arguments = [n, len(sizes), sizes, len(code), code]
    arguments += [len(inputs), sources, len(outputs), targets, registers]
    tiles = tiling.tiles_of_elementwise(n)
    kernel_call.run("elementwise.run", dtype, arguments, tiles, order)


def apply(dtype, operation, kind, *arrays, result=None):
    """One operation on arrays of the same shape or that broadcast to the first one's."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    out = np.zeros(shape, result or arrays[-1].dtype)
    slots = range(len(arrays))
    run(dtype, shape, arrays, [out], [(operation, kind, len(arrays), *slots)])
    return out
