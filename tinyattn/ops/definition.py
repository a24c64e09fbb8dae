"""Hand-derived operations: a definition, a derivative and kernels side by side.

The *definition* is a composition of other operations; it gives the picture when the op is opened, the value
in the reference interpreter, and derivatives of any order. The *derivative* is in closed form, usually
another op with a definition of its own. The *kernels* compute the same value fast.
``tests/ops/test_proof.py`` checks for every such op that the gradient of the definition equals the hand-derived
one.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.op import Op, register
from tinyattn.graph.tensor import Tensor, make, outputs
from tinyattn.graph.traverse import substitute
from tinyattn.graph.types import Type, is_float


def by_definition(cotangent, node: Tensor):
    """The derivative of an op obtained by differentiating its definition."""
    variables = [placeholder(source.type) for source in node.inputs]
    assert node.op.definition is not None
    values = node.op.definition(*variables, **node.attrs)
    results = values if isinstance(values, tuple) else (values,)
    parts = cotangent if isinstance(cotangent, Mapping) else {0: cotangent}
    seeds: dict[Tensor, Tensor] = {}
    for key, g in parts.items():
        value = results[key]
        seeds[value] = make("add", seeds[value], g) if value in seeds else g
    pulled = pull_back(seeds, variables)
    mapping = dict(zip(variables, node.inputs, strict=True))
    found = {k: p for k, p in enumerate(pulled) if p is not None and is_float(variables[k].dtype)}
    moved = dict(zip(found, substitute(list(found.values()), mapping), strict=True))
    return [moved.get(k) for k in range(len(variables))]


def hand_derived(name: str, infer: Callable, definition: Callable, derivative=by_definition, **more) -> Op:
    """Register an op that owns its definition; ``more`` are other fields of its row. Without ``lower`` or
    ``elementwise`` it is compiled as its definition.
    """
    return register(Op(name, infer, derivative, definition=definition, **more))


def by_rows(weights: bool = False) -> Callable:
    """The ``lower`` of an op whose definition goes over rows: elementwise operations, sums and maxima over the last
    axis, and of results of those over the others. ``weights``: its exponentials are of numbers ≤ 0, and count as 0
    where they would be subnormal, which beside the largest, 1, is nothing.
    """

    def lower(node: Tensor, emit) -> None:
        operands = [emit.value(source) for source in node.inputs]
        results = {key: emit.result(node, key) for key in sorted(emit.asked(node)) or [None]}
        emit.rows(node.op.name, operands, results, node.attrs, weights)

    return lower


def like_first(*inputs, **attrs) -> Type:
    """The type of the first input."""
    return inputs[0].type


def bits(value: float, dtype) -> int:
    """A number as a word of a kernel's argument block: its bits in the kernel's type."""
    return int(np.asarray(value, dtype).view(np.int32 if np.dtype(dtype).itemsize == 4 else np.int64))


def row_or_constant(emit, node: Tensor, index: int, number: float, width: int):
    """Where an optional input, a row of ``width`` numbers, is; ``number`` all along it if there is none."""
    if len(node.inputs) > index:
        return emit.contiguous(emit.value(node.inputs[index]))
    return emit.constant(np.full(width, number, node.inputs[0].dtype))


def call(name: str, *inputs, count: int | None = None, **attrs):
    """Apply an op; with ``count``, return that many outputs."""
    node = make(name, *inputs, **attrs)
    return node if count is None else outputs(node, count)
