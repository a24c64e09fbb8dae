"""Which element types a kernel meets: the last look before memory is read.

A kernel is compiled for float32 or float64 and reads every operand as that, but for the few named here. What a row of
a program hands to its kernel is compared with this, so that an operation that forgot to bring its operands to one type
stops with an error instead of reading one type as another.
"""

from collections.abc import Iterable

import numpy as np

from tinyattn.graph.types import BOOL, DTYPES, INT32, INT64, SHORT
from tinyattn.runtime.memory import Ref

_INDICES: frozenset[np.dtype] = frozenset({INT32, INT64})
_WHOLE: frozenset[np.dtype] = frozenset({INT32, INT64, BOOL})

ROWS = "rows."
"""Before the name of an op that goes over rows: its kernel is generated, and says of each operand what it is."""
_BESIDE: dict[str, frozenset[np.dtype]] = {
    # What it moves or computes is told apart by the row itself (see emit_copy, emit_fill and emit_chain).
    **dict.fromkeys(("copy.strided", "copy.fill", "elementwise.chain"), frozenset(DTYPES)),
    # Integers and bools go by the number of the operation, and positions are integers.
    **dict.fromkeys(
        ("reduce.rows", "reduce.columns", "reduce.cumsum", "reduce.argmax", "reduce.argmin"), _WHOLE
    ),
    "integer.product": frozenset({INT64}),
    # Indices, and elements that are moved by their size.
    **dict.fromkeys(("gather.take", "gather.scatter_add", "gather.check"), _INDICES),
    **dict.fromkeys(("sort.order", "sort.leading"), frozenset({INT64})),
    # Masks, and the state of the random numbers.
    **dict.fromkeys(("attention.forward", "attention.backward"), frozenset({BOOL, INT64})),
    **dict.fromkeys(("random.uniform", "random.dropout"), frozenset({INT64})),
}


class KernelTypeError(RuntimeError):
    """A kernel was handed an element type that it isn't compiled for: a mistake of this library."""


def check_kinds(kernel: str, own: np.dtype, refs: Iterable[Ref], where) -> None:
    """Raise KernelTypeError unless all of ``refs`` are of the kernel's ``own`` type or of one it takes beside it."""
    beside = frozenset(DTYPES) if kernel.startswith(ROWS) else _BESIDE.get(kernel, frozenset())
    for ref in refs:
        if ref.dtype != own and ref.dtype not in beside:
            raise KernelTypeError(
                f"[{kernel}] the kernel for {SHORT[own]} was handed {SHORT[ref.dtype]}{list(ref.shape)} by {where!r}; "
                "this is a mistake of tinyattn, not yours: please report it."
            )
