"""Operands that meet in one operation are brought to one element type: here, and nowhere else.

A kernel reads memory as one type. So an operation of several operands begins with one of these functions, and what
it builds may rely on it; ``make`` and the lowering look again (``graph/types.py``, ``runtime/lower.py``).
"""

import warnings

from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor, as_tensor, make, widest
from tinyattn.graph.types import FLOAT32, FLOAT64, Type, is_float, promote


def common_operands(*values) -> list:
    """Operands as Tensors of the widest element type among them, which numbers take, too; None stays None."""
    return _operands(values, widest(values), ())


def real_operands(*values) -> list:
    """Operands as Tensors of the widest floating-point type among them, or float32; None stays None."""
    like = widest(values)
    return _operands(values, like if like and is_float(like.dtype) else Type((), FLOAT32), (FLOAT32,))


def _operands(values, like: Type | None, least: tuple) -> list:
    found = [None if v is None else as_tensor(v, like) for v in values]
    kinds = {x.dtype for x in found if x is not None}
    dtype = promote(*kinds, *least)
    if dtype == FLOAT64 and FLOAT32 in kinds and any(map(_is_weight, found)):
        warnings.warn(
            f"float64 data has met float32 parameters: from here on everything is float64\n  at {scope.user_line()}\n"
            "  Convert the data with .astype(np.float32), or the model with .to(np.float64).",
            stacklevel=1,  # one place for all: said once a line of the user
        )
    return [x if x is None or x.dtype == dtype else make("cast", x, dtype=dtype) for x in found]


def _is_weight(x: Tensor | None) -> bool:
    """Whether this is a float32 parameter, transposed or cut out perhaps."""
    while x is not None and x.op.view is not None:
        x = x.inputs[0]
    return x is not None and x.op.name == "parameter" and x.dtype == FLOAT32
