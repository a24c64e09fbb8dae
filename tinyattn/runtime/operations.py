"""How many floating-point operations a kernel does: what its author counts in the inner loop.

An addition, multiplication or division is one operation, a fused multiply-add two. A function such as exp counts
the operations of its polynomial (``tinyattn/kernels/elementary.py``, float32), since that is what the machine
does; comparisons, selections, conversions and copies are none.
"""

FLOPS = {
    "exp": 20, "expm1": 22, "log": 25, "log1p": 32, "tanh": 28, "sigmoid": 26, "erf": 40, "sin": 30, "cos": 30,
    "pow": 60, "gelu": 45, "gelu_backward": 65, "gelu_tanh": 34, "gelu_tanh_backward": 42,
    "log2": 30, "log10": 32, "tan": 50, "arcsin": 35, "arccos": 35, "arctan": 50, "sinh": 50, "cosh": 30,
    "arcsinh": 40, "arccosh": 40, "arctanh": 36, "logaddexp": 55,
    "multiply_add": 2, "dtanh": 3, "dsigmoid": 3,
    "copy": 0, "neg": 0, "abs": 0, "sign": 0, "where": 0, "relu": 0, "step": 0, "maximum": 0, "minimum": 0,
    "floor": 0, "ceil": 0, "round": 0, "isfinite": 0,
}  # fmt: skip
"""Operations an element; 1 for everything else that gives a real number."""


def flops_of(operation: str, kind: str = "real") -> int:
    """Operations an element of an elementwise operation on numbers of ``kind``."""
    if kind != "real" or operation.startswith("to_") or operation in ("lt", "le", "gt", "ge", "eq", "ne"):
        return 0
    return FLOPS.get(operation, 1)
