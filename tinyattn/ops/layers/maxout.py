"""Maxout: the larger of each pair of neighbours, y_j = max(x_2j, x_2j+1); the cotangent goes to the winner
(Goodfellow et al. 2013).
"""

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import apart, at
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import Type, fail
from tinyattn.kernels.calls.maxout import tiles_of_maxout
from tinyattn.ops.arrays.elementwise import greater_equal, where
from tinyattn.ops.arrays.shape import reshape, stack
from tinyattn.ops.definition import call, hand_derived


def _definition(x):
    first, second = x[..., 0::2], x[..., 1::2]
    return where(greater_equal(first, second), first, second)


def _backward_definition(x, g):
    first_wins = greater_equal(x[..., 0::2], x[..., 1::2])
    return reshape(stack([where(first_wins, g, 0), where(first_wins, 0, g)], -1), x.shape)


def _lower(kernel, *names):
    def lower(node, emit):
        operands = [emit.contiguous(emit.value(s)) for s in node.inputs]
        result = emit.result(node)
        x = operands[0]
        pairs = x.shape[-1] // 2
        rows = x.size // max(x.shape[-1], 1)
        emit.kernel(
            kernel,
            {"rows": rows, "pairs": pairs, **dict(zip(names, (*operands, result), strict=True))},
            tiles_of_maxout(rows, pairs),
            reads=operands,
            writes=[result],
            cost=x.size * 0.2,
        )

    return lower


hand_derived(
    "maxout",
    lambda x: Type((*x.shape[:-1], x.shape[-1] // 2), x.dtype),
    _definition,
    lambda g, node: (call("maxout_backward", node.inputs[0], g),),
    lower=_lower("maxout.forward", "x", "y"),
    formula="max of pairs of {0}",
    vjp_formula="ḡ to the winner",
    kinks=lambda x: x[..., 0::2] - x[..., 1::2],
)
hand_derived(
    "maxout_backward",
    lambda x, g: x.type,
    _backward_definition,
    lower=_lower("maxout.backward", "x", "dy", "dx"),
    formula="{1} to the winners of {0}",
)


@public(at(apart(3, 4)))
def maxout(x) -> Tensor:
    """The larger of each pair of neighbours along the last axis: x (…, 2L) → (…, L); the first on ties. Of any
    element type, which the result has. Raises ShapeError for an odd number of them. Bahdanau et al. 2015, appendix
    A.2.2.
    """
    x = as_tensor(x)
    if x.ndim == 0 or x.shape[-1] % 2:
        fail(errors.ShapeError, "maxout", "the last axis must have an even size", f"got shape {x.shape}")
    return call("maxout", x)
