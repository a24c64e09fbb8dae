"""Operands that meet in one operation are brought to one element type: here, and nowhere else.

A kernel reads memory as one type. So an operation of several operands begins with one of these functions, and what
it builds may rely on it; ``make`` and the lowering look again (``graph/op.py``, ``runtime/kinds.py``).
"""

import warnings
from collections.abc import Sequence

from tinyattn.graph import scope
from tinyattn.graph.leaf import as_tensor, constant, widest
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import BOOL, FLOAT32, FLOAT64, INT64, Type, is_float, promote


def common_operands(*values) -> list[Tensor]:
    """Operands as Tensors of the widest element type among them, which numbers take, too."""
    if _are_alike(values):
        return list(values)
    if len(values) == 2 and (beside := _beside_number(*values)):
        return beside
    like = widest(values)
    return _alike([as_tensor(v, like) for v in values], ())


def number_operands(*values) -> list[Tensor]:
    """Like :func:`common_operands`; bools count as the integers 0 and 1 (int64)."""
    found = common_operands(*values)
    return [make("cast", x, dtype=INT64) for x in found] if found and found[0].dtype == BOOL else found


def real_operands(*values, optional: Sequence = ()) -> list:
    """Operands as Tensors of the widest floating-point type among them, or float32; then the ``optional`` ones, None
    where they are None.
    """
    if not optional and _are_alike(values) and is_float(values[0].dtype):
        return list(values)
    like = widest((*values, *optional))
    like = like if like and is_float(like.dtype) else Type((), FLOAT32)
    given = [as_tensor(v, like) for v in (*values, *(v for v in optional if v is not None))]
    found = _alike(given, (FLOAT32,))
    behind = iter(found[len(values) :])
    return [*found[: len(values)], *(None if v is None else next(behind) for v in optional)]


def _are_alike(values) -> bool:
    """Whether all are Tensors of one type already, as they nearly always are."""
    first = values[0].dtype if values and isinstance(values[0], Tensor) else None
    if first is None:
        return False
    for other in values:
        if not isinstance(other, Tensor) or other.dtype is not first:
            return False
    return True


def _beside_number(a, b) -> list[Tensor] | None:
    """A floating-point Tensor and a Python number, in either order; None for anything else."""
    if type(b) in (float, int) and isinstance(a, Tensor) and is_float(a.dtype):
        return [a, constant(b, a.dtype)]
    if type(a) in (float, int) and isinstance(b, Tensor) and is_float(b.dtype):
        return [constant(a, b.dtype), b]
    return None


def _alike(found: list[Tensor], least: tuple) -> list[Tensor]:
    kinds = {x.dtype for x in found}
    dtype = promote(*kinds, *least)
    if dtype == FLOAT64 and FLOAT32 in kinds and any(map(_is_weight, found)):
        warnings.warn(
            f"float64 data has met float32 parameters: from here on everything is float64\n  at {scope.user_line()}\n"
            "  Convert the data with .astype(np.float32), or the model with .to(np.float64).",
            stacklevel=1,  # one place for all: said once a line of the user
        )
    return [x if x.dtype == dtype else make("cast", x, dtype=dtype) for x in found]


def _is_weight(x: Tensor) -> bool:
    """Whether this is a float32 parameter, transposed or cut out perhaps."""
    while x.op.view is not None:
        x = x.inputs[0]
    return x.op.name == "parameter" and x.dtype == FLOAT32
