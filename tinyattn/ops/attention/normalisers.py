"""Attention weights without exponentials: the positive parts of the scores, divided by a length or by their sum.

    by length   A = relu(S) / n,                n: the keys that may be attended to
    by sum      A = relu(S) / (Σ relu(S) + ε)
    none        A = relu(S)

With s the factor that follows relu, each row has the cotangent

    S̄ = [S > 0] s Ā,          by sum:  S̄ = [S > 0] s (Ā − Σ A Ā).

A row without a positive score, such as a fully masked one, gives zeros and gradient zero. Division by the
length is what keeps a vision transformer as good as with softmax (Wortsman et al. 2023, "Replacing softmax with ReLU
in vision transformers"); the raw form followed by :func:`rms_norm` is ReLA (Zhang, Titov & Sennrich 2021, "Sparse
attention with linear units").
"""

import math

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, positive
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import BOOL, Type, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import cast, equal, maximum, not_equal, relu, where
from tinyattn.ops.arrays.shape import broadcast_to, transpose
from tinyattn.ops.attention.softmax import masked_scores, prepare
from tinyattn.ops.definition import by_definition, call, hand_derived


def _length(scores: Tensor, mask: Tensor | None) -> Tensor:
    """How many numbers of each row aren't masked, at least 1."""
    if mask is None:
        return as_tensor(max(scores.shape[-1], 1), scores)
    open_ = mask if mask.dtype == BOOL else not_equal(mask, -math.inf)
    return maximum(reduce.sum(cast(broadcast_to(open_, scores.shape), scores.dtype), -1, keepdims=True), 1)


def _definition(scores, mask=None, *, by, eps):
    weights = relu(masked_scores(scores, mask))
    if by == "length":
        scale = 1 / _length(scores, mask)
    elif by == "sum":
        # Where the sum is 0, so are all the weights; ε = 0 is allowed.
        total = reduce.sum(weights, -1, keepdims=True)
        scale = 1 / where(equal(total, 0), 1, total + eps)
    else:
        scale = as_tensor(1, scores)
    return weights * scale, broadcast_to(scale, (*scores.shape[:-1], 1))


def _backward_definition(weights, scale, g, *, by):
    g = where(weights > 0, g, 0)
    if by == "sum":
        g = g - reduce.sum(weights * g, -1, keepdims=True)
    return where(weights > 0, g * scale, 0)


def _derivative(cotangents, node):
    if 1 in cotangents:  # somebody differentiates the factor itself
        return by_definition(cotangents, node)
    by = node.attrs["by"]
    scores = call("relu_norm_backward", output(node, 0), output(node, 1), cotangents[0], by=by)
    return (scores, *(scores if is_float(m.dtype) else None for m in node.inputs[1:]))


hand_derived(
    "relu_norm",
    lambda scores, *mask, by, eps: (scores.type, Type((*scores.shape[:-1], 1), scores.dtype)),
    _definition,
    _derivative,
    formula="relu({0}) / n, or / (Σ relu({0}) + ε), or alone",
    vjp_formula="[{0} > 0] s ḡ, by sum [{0} > 0] s (ḡ − ⟨y, ḡ⟩)",
    kinks=lambda scores, *mask, **attrs: scores,
    results=("", "sum"),
)
hand_derived(
    "relu_norm_backward",
    lambda weights, scale, g, *, by: weights.type,
    _backward_definition,
    formula="[{0} > 0] {1} {2}, by sum [{0} > 0] {1} ({2} − ⟨{0}, {2}⟩)",
)


@public(at(positive(3, 4), by="sum"))
def relu_norm(scores, axis: int = -1, mask=None, by: str = "length", eps: float = 1e-6) -> Tensor:
    """``relu(scores)`` as attention weights along ``axis``: divided by the number of keys that aren't masked
    (``by="length"``), by its sum plus ``eps`` (``"sum"``), or as it is (``"none"``).

    ``mask``: bool (True = may attend) or additive, broadcast to the scores' shape. A row without a positive score
    gives zeros. Same shape and type as ``scores``; integers and bools become float32. Raises ShapeError for a mask
    that doesn't broadcast, TinyattnError for another ``by``. Wortsman et al. 2023, section 3.
    """
    if by not in ("length", "sum", "none"):
        fail(errors.TinyattnError, "relu_norm", 'by must be "length", "sum" or "none"', f"got {by!r}")
    scores, masks, undo = prepare("relu_norm", scores, axis, mask)
    return transpose(call("relu_norm", scores, *masks, count=2, by=by, eps=float(eps))[0], undo)
