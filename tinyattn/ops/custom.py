"""Operations that users derive by hand.

A :func:`custom_vjp` is a hand-derived operation like those in this folder: its *definition* is the user's function,
its *derivative* the user's closed form. It is compiled as its definition, ``ta.gradcheck`` compares the derivative
with finite differences, and pictures write its formulas.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any

from tinyattn import errors
from tinyattn.graph.grad import zeros_like
from tinyattn.graph.leaf import as_tensor, placeholder
from tinyattn.graph.op import OPS
from tinyattn.graph.tensor import Tensor, make, outputs
from tinyattn.graph.traverse import topological
from tinyattn.graph.trees import flatten
from tinyattn.graph.types import fail
from tinyattn.ops.definition import hand_derived


def custom_vjp(fn: Callable, derivative: Callable, formula: str = "", vjp_formula: str = "") -> Callable:
    """``fn`` as an operation with a derivative of its own.

    ``fn(*tensors, **options)`` returns a Tensor or a tuple of them; ``derivative(cotangent, result, *tensors,
    **options)`` returns one cotangent for each tensor (None: no gradient), written with Tensor operators, so that
    it can be differentiated, too. With several results ``cotangent`` and ``result`` are tuples. ``formula`` and
    ``vjp_formula`` are how pictures and texts write them, ``{0}``, ``{1}`` … standing for the tensors, ȳ for the
    cotangent. Options must be hashable. Everything that is differentiated must be an argument: raises TinyattnError
    when ``fn`` closes over Tensors or ``derivative`` returns another number of cotangents, ShapeError when one has
    not the type of its tensor.

        cube = ta.custom_vjp(lambda x: x**3, lambda g, y, x: 3 * g * x**2, "{0}³", "3ȳ·{0}²")
        ta.gradcheck(cube, [x])
    """
    if not callable(fn) or not callable(derivative):
        must = "function and derivative must be functions"
        fail(errors.TinyattnError, "custom_vjp", must, f"got {fn!r} and {derivative!r}")
    name = _free(getattr(fn, "__name__", type(fn).__name__).replace("<lambda>", "custom"))

    def infer(*inputs: Tensor, **options):
        variables = [placeholder(x.type) for x in inputs]
        result = fn(*variables, **options)
        values = flatten(result)
        held = set(variables)
        for node in topological(values):
            if not node.inputs and node not in held and node.op.name != "constant":
                must = "the function must take all that it uses as arguments"
                got = f"it closes over {node!r}"
                fail(
                    errors.TinyattnError,
                    name,
                    must,
                    got,
                    "Its gradient would be lost: pass it as an argument.",
                )
        return tuple(v.type for v in values) if isinstance(result, tuple) else values[0].type

    def definition(*inputs: Tensor, **options):
        result = fn(*inputs, **options)
        return tuple(flatten(result)) if isinstance(result, tuple) else as_tensor(result)

    def pulled(cotangent, node: Tensor):
        result: Any = node
        if isinstance(cotangent, dict):
            result = outputs(node, len(node.op.infer(*node.inputs, **node.attrs)))
            cotangent = tuple(cotangent.get(k, zeros_like(y)) for k, y in enumerate(result))
        found = derivative(cotangent, result, *node.inputs, **node.attrs)
        parts = list(found) if isinstance(found, (tuple, list)) else [found]
        if len(parts) != len(node.inputs):
            must = f"the derivative must return {len(node.inputs)} cotangents, one for each tensor"
            fail(errors.TinyattnError, name, must, f"got {len(parts)}")
        for k, (g, x) in enumerate(zip(parts, node.inputs, strict=True)):
            if g is not None and as_tensor(g, x).type != x.type:
                must = f"the cotangent of tensor {k} must have its type {x.type}"
                got = f"got {as_tensor(g, x).type}"
                fail(errors.ShapeError, name, must, got, "Sum over the axes along which it was broadcast.")
        return [None if g is None else as_tensor(g, x) for g, x in zip(parts, node.inputs, strict=True)]

    hand_derived(
        name, infer, definition, pulled, formula=formula or name, vjp_formula=vjp_formula, mixed=True
    )

    @functools.wraps(fn, updated=())
    def call(*tensors, **options):
        node = make(name, *map(as_tensor, tensors), **options)
        return node if node.dtype is not None else outputs(node, len(node.op.infer(*node.inputs, **options)))

    return call


def _free(name: str) -> str:
    """``name``, or with a number behind it if an operation is called so already."""
    candidates = itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2)))
    return next(candidate for candidate in candidates if candidate not in OPS)
