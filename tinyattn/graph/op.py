"""Operations: the rows of the table that everything else is driven by.

An :class:`Op` knows the type of its result, its derivative, a NumPy reference, the kernels that compute it
and its formula. The ops themselves are in ``tinyattn/ops``; the graph below knows them only by name, which
keeps the floors apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tinyattn import errors
from tinyattn.graph.types import fail


class NotDifferentiable(str):
    """A derivative that doesn't exist, and the reason."""


class _Zero:
    """The derivative of what is constant almost everywhere (a comparison, floor, an index)."""

    def __repr__(self) -> str:
        return "ZERO"


ZERO = _Zero()


OPERATION_COST, LEAST_COST = 0.015, 0.02
"""Nanoseconds of an operation on an element, in a loop of vectors; and the least of any op."""
CHEAP = 0.4
"""An element that is computed in as many nanoseconds is computed again rather than kept: exp, log and tanh are, but
not sin, erf or a power.
"""


@dataclass(frozen=True, eq=False)
class Op:
    """One operation.

    ``infer(*inputs, **attrs)``
        the result's :class:`~tinyattn.graph.types.Type`; for an op of several outputs, a tuple of them.
        Raises the user's errors.
    ``derivative``
        ``(cotangent, node) -> one cotangent, None or ZERO for each input``, written with Tensor operators;
        ``None`` where an input is an index or mask. Or ``ZERO``, or ``NotDifferentiable(reason)``. For
        several outputs, ``cotangent`` maps an output's key to its cotangent.
    ``reference``
        ``(*arrays, **attrs) -> array or tuple of arrays`` in NumPy.
    ``lower``
        ``(node, emit)``: the kernels that compute it (see ``tinyattn/runtime/lower.py``). Views lower to no
        kernel.
    ``definition``
        for a hand-derived op, ``(*inputs, **attrs) -> Tensor(s)``: the same value as a composition of other
        ops.
    ``formula``, ``vjp_formula``
        mathematics as text, with ``{0}``, ``{1}`` … for the inputs.
    ``output_type``
        for an op whose outputs are named by other things than 0, 1, …: ``(node, key) -> Type``.
    """

    name: str
    infer: Callable[..., Any]
    derivative: Any
    reference: Callable[..., Any] | None = None
    lower: Callable[..., None] | None = None
    definition: Callable[..., Any] | None = None
    results: tuple[str, ...] = ()
    """What its outputs are called, if there are several ("": as the value itself); of a derivative, the operands whose
    cotangents they are.
    """
    formula: str = ""
    vjp_formula: str = ""
    elementwise: str = ""
    """What ``kernels/language/opcodes.py`` calls it, if it works element by element; such ops are fused."""
    flops: int = 0
    """Of an elementwise op: floating-point operations an element, as counted in the machine code of its float32
    formula (``tests/ops/test_facts.py`` counts them). A multiply-add is two; comparisons, choices, conversions and
    copies are none. Kernels of other ops are counted where they are emitted.
    """
    cost: float = 0.0
    """Of an elementwise op: rough nanoseconds an element. 0: what its operations take."""
    recompute: bool | None = None
    """Whether a derivative computes it again from its inputs rather than keeping its value. None: if it is a view, or
    elementwise and cheap.
    """
    view: Callable[..., Any] | None = None
    """``(reference to the input, node) -> reference to the same memory seen differently, or None``."""
    pieces: Callable[..., Any] | None = None
    """Of an op whose result is its inputs side by side: ``(node) -> where each begins in it``, as starts of a slice."""
    impure: bool = False
    mixed: bool = False
    """Whether its floating-point operands may be of several widths (a loop, a chain of casts)."""
    output_type: Callable[..., Any] | None = None
    kinks: Callable[..., Any] | None = field(default=None)
    """``(*arrays, **attrs) -> array`` of distances to the nearest point where the derivative jumps (for
    gradcheck).
    """

    def __post_init__(self):
        if not self.cost:
            object.__setattr__(self, "cost", max(LEAST_COST, self.flops * OPERATION_COST))
        if self.recompute is None:
            cheap = bool(self.elementwise) and self.cost <= CHEAP
            object.__setattr__(self, "recompute", cheap or self.view is not None)


OPS: dict[str, Op] = {}
"""Every operation by name."""


def register(op: Op) -> Op:
    """Put a row in the table."""
    if op.name in OPS:
        raise ValueError(f"operation {op.name} is defined twice")
    OPS[op.name] = op
    return op


def check_operands(op: Op, inputs) -> None:
    """No operation takes floating-point numbers of two widths, unless it says so: its kernels would read the one as
    the other.
    """
    if len(inputs) < 2 or op.mixed or len(inputs) == 2 and inputs[0].dtype is inputs[1].dtype:
        return
    real = None
    for source in inputs:
        dtype = source.dtype
        if dtype is not None and dtype.kind == "f" and dtype is not real:
            if real is not None and dtype != real:
                got = f"got {[str(x.type) for x in inputs]}"
                fail(errors.DTypeError, op.name, "floating-point operands must have one element type", got)
            real = dtype
