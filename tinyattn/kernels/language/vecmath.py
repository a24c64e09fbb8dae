"""Elementary functions of one number for kernels to call: ``exp(real)``, ``log(real)``, … make them for a number
type from the formulas in :mod:`tinyattn.kernels.language.elementary`. In a loop they become vector code.
"""

import functools

import numpy as np
from numba import types

from tinyattn.kernels.language.elementary import Elementary
from tinyattn.kernels.language.formula import NUMPY, Value
from tinyattn.kernels.language.formula import sqrt as exact_sqrt
from tinyattn.kernels.language.simd import PURE, instructions

_NUMBA = {
    "f32": types.float32,
    "f64": types.float64,
    "i32": types.int32,
    "i64": types.int64,
    "bool": types.boolean,
}


def scalar(formula, result, *arguments):
    """A formula as a function that kernels can call, with the kinds (``"f32"``, …) of its result and of its
    arguments.
    """
    if PURE:

        def function(*values):
            with np.errstate(all="ignore"):
                return formula(*(NUMPY[kind](value) for kind, value in zip(arguments, values, strict=True)))

        return function

    def write(builder, values):
        return formula(*(Value(builder, value) for value in values)).value

    return instructions(_NUMBA[result](*(_NUMBA[kind] for kind in arguments)), write)


def _for_kernels(method):
    """``real -> function``: a method of :class:`Elementary` as kernels call it."""

    def factory(real):
        return scalar(getattr(Elementary(real.name), method), real.name, real.name)

    factory.__name__ = method
    return functools.cache(factory)


exp, weight, expm1, sigmoid, tanh = map(_for_kernels, ("exp", "weight", "expm1", "sigmoid", "tanh"))
log, log1p, erf, sin, cos = map(_for_kernels, ("log", "log1p", "erf", "sin", "cos"))


@functools.cache
def sqrt(real):
    """The square root, exactly rounded."""
    return scalar(exact_sqrt, real.name, real.name)
