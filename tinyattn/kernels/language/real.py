"""What a kernel needs to know about its number type, so that one source serves float32 and float64."""

import numpy as np
from numba import float32, float64, njit, types
from numba.core import config

from tinyattn.kernels.language import simd

FLAGS = {"contract", "nsz"}
"""Floating-point freedom given to LLVM: fused multiply-add and the sign of zero. Never ``nnan``/``ninf``
(masks hold −inf) and never
``reassoc`` (it would undo rounding tricks and tie the bits of a sum to the width of the machine's
vectors)."""


def inline(function):
    """A helper that is inlined into the kernels that use it (a plain ``njit`` would export a symbol, which
    two objects may share by mistake).
    """
    if config.DISABLE_JIT:
        return function
    options = dict(no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)
    helper = njit(fastmath=FLAGS, error_model="numpy", boundscheck=False, forceinline=True, **options)(
        function
    )
    # Numba would compile it again for every constant that it is called with.
    resolve = helper.get_call_template
    helper.get_call_template = lambda args, kws: resolve(
        tuple(map(types.unliteral, args)), {name: types.unliteral(kind) for name, kind in kws.items()}
    )
    return helper


class Real:
    """A floating-point type as kernels see it.

    ``name`` is ``"f32"`` or ``"f64"``; ``type`` converts a number; ``pointer`` turns an address into a typed
    pointer; ``size`` is in bytes;
    ``lanes`` is the fixed number of partial sums in reductions, the same on every machine.
    """

    def __init__(self, name, scalar, numba_type, pointer):
        self.name, self.type, self.numba_type, self.pointer = name, scalar, numba_type, pointer
        self.size = np.dtype(scalar).itemsize
        self.lanes = 128 // self.size


F32 = Real("f32", np.float32, float32, simd.f32)
F64 = Real("f64", np.float64, float64, simd.f64)
REALS = {"f32": F32, "f64": F64}
