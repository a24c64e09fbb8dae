"""What a program found wrong while it ran: an index out of range.

The kernel that looks at indices stores the first wrong place in the *fault* cell of its assembly, and the row behind
it ends the program. Nothing has been read by that index then, and no leaf written: updates come after all checks
(``tinyattn/runtime/schedule.py``). The indices are still where they were, so the wrong one can be named.
"""

import ctypes
from collections.abc import Iterable

import numpy as np

from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor
from tinyattn.kernels.calls.words import WORDS

CHECK = "gather.check"
"""The kernel whose row is followed by one that looks at the fault cell."""


class Fault:
    """Stands in a row's words for the address of the fault cell."""


FAULT = Fault()


def checks_in(order: Iterable[Tensor]) -> list[Tensor]:
    """The nodes of ``order`` that can end a program: checks of indices, and loops that hold one."""
    found = []
    for node in order:
        if node.op.name == "within" or node.op.name == "scan" and _holds(node):
            found.append(node)
    return found


def _holds(node: Tensor) -> bool:
    inner = node.attrs["body"].nodes()
    stacked = [n for n in inner if n.op.name == "scan"]
    return any(n.op.name == "within" for n in inner) or any(map(_holds, stacked))


@scope.isolated
def raise_fault(assembly) -> None:
    """Raise the error of the check that ended a run, and make the assembly ready for the next one."""
    place, row = int(assembly.fault[0]) - 1, int(assembly.fault[1])
    assembly.fault[:] = 0
    first = assembly.checks[row]
    w = WORDS[CHECK].place
    address, kind = int(assembly.words[first + w.indices]), int(assembly.words[first + w.wide])
    integer = ctypes.c_int64 if kind else ctypes.c_int32
    index = integer.from_address(address + place * ctypes.sizeof(integer)).value
    node = assembly.rows[row].node
    with scope.on_behalf_of(node):
        node.op.reference(np.array([index]), **node.attrs)
