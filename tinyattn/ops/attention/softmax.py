"""Softmax and log-softmax over the last axis, with masks.

For a row of scores s and p = softmax(s), the Jacobian is ∂p_i/∂s_j = p_i (δ_ij − p_j), so

    s̄ = p ⊙ (p̄ − ⟨p, p̄⟩),      log-softmax:  s̄ = ȳ − p Σȳ.

A mask is bool (True = may attend) or added to the scores (−∞ = masked). Masked entries have p = 0; a fully
masked row is all zeros, with gradient zero; what stands behind a mask, be it NaN or ∞, never reaches a
result. (Bridle 1990, "Probabilistic interpretation of feedforward classification network outputs, with relationships
to statistical pattern recognition".)
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import BOOL, FLOAT32, Type, fail, is_float, normalize_axis
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import cast, equal, exp, log, stop_gradient, where
from tinyattn.ops.arrays.quotients import by_terms, of_softmax
from tinyattn.ops.arrays.shape import broadcast_to, reshape, transpose
from tinyattn.ops.definition import by_rows, call, hand_derived


def masked_scores(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores with −∞ wherever the mask forbids attention."""
    if mask is None:
        return scores
    mask = reshape(mask, ((1,) * (scores.ndim - mask.ndim) + mask.shape))
    if mask.dtype == BOOL:
        return where(mask, scores, -math.inf)
    return where(equal(mask, -math.inf), -math.inf, scores + mask)


def largest_score(scores: Tensor, masked: bool) -> Tensor:
    """The largest score of each row, taken out before exp; the result doesn't depend on it, so no gradient.
    0 where a mask leaves none.
    """
    if scores.shape[-1] == 0:
        return broadcast_to(as_tensor(0, scores), (*scores.shape[:-1], 1))
    top = stop_gradient(reduce.max(scores, -1, keepdims=True))
    return where(equal(top, -math.inf), 0, top) if masked else top


def row_statistics(node: Tensor) -> tuple[Tensor, Tensor]:
    """The last two outputs of a node that keeps m = max s and l = log Σ e^{s − m} of its rows of scores, for weights
    made again as e^{(s − m) − l}. They don't change with m, so it counts as a constant.
    """
    return stop_gradient(output(node, 1)), output(node, 2)


def _softmax_definition(scores, mask=None):
    scores = masked_scores(scores, mask)
    weights = exp(scores - largest_score(scores, mask is not None))
    total = reduce.sum(weights, -1, keepdims=True)
    return weights * (1 / (total if mask is None else where(equal(total, 0), 1, total)))


def _softmax_backward_definition(p, g):
    g = where(equal(p, 0), 0, g)
    return p * (g - reduce.sum(p * g, -1, keepdims=True))


def _softmax_derivative(g, node):
    scores = by_terms(g, node, lambda g, p: call("softmax_backward", p, g), of_softmax)
    return (scores, *(scores if is_float(m.dtype) else None for m in node.inputs[1:]))


def _infer(scores, *mask):
    return Type(scores.shape, scores.dtype)


hand_derived(
    "softmax",
    _infer,
    _softmax_definition,
    _softmax_derivative,
    lower=by_rows(weights=True),
    formula="softmax({0})",
    vjp_formula="y ⊙ (ḡ − ⟨y, ḡ⟩)",
)
hand_derived(
    "softmax_backward",
    _infer,
    _softmax_backward_definition,
    lower=by_rows(weights=True),
    formula="{0} ⊙ ({1} − ⟨{0}, {1}⟩)",
)


def _log_softmax_definition(scores, mask=None):
    scores = masked_scores(scores, mask)
    shifted = scores - largest_score(scores, mask is not None)
    total = reduce.sum(exp(shifted), -1, keepdims=True)
    if mask is None:
        return shifted - log(total)
    # A masked number is −∞ whatever the others are: no cotangent passes there.
    return where(equal(shifted, -math.inf), -math.inf, shifted - log(where(equal(total, 0), 1, total)))


def _log_softmax_backward_definition(y, g):
    g = where(equal(y, -math.inf), 0, g)
    return g - exp(y) * reduce.sum(g, -1, keepdims=True)


def _log_softmax_derivative(g, node):
    scores = call("log_softmax_backward", node, g)
    return (scores, *(scores if is_float(m.dtype) else None for m in node.inputs[1:]))


hand_derived(
    "log_softmax",
    _infer,
    _log_softmax_definition,
    _log_softmax_derivative,
    lower=by_rows(weights=True),
    formula="log softmax({0})",
    vjp_formula="ḡ − exp(y)·Σḡ",
)
hand_derived(
    "log_softmax_backward",
    _infer,
    _log_softmax_backward_definition,
    lower=by_rows(weights=True),
    formula="{1} − exp({0})·Σ{1}",
)


def check_mask(op: str, mask, shape, dtype) -> Tensor:
    """A user's mask as a bool Tensor, or one of ``dtype``, that broadcasts to ``shape``."""
    mask = as_tensor(mask)
    if mask.dtype != BOOL and not is_float(mask.dtype):
        fail(
            errors.DTypeError,
            op,
            "a mask must be bool (True = may attend) or floating-point (added to the scores)",
            f"got {mask.type}",
            "Write mask != 0.",
        )
    aligned = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.ndim > len(shape) or any(m not in (1, n) for m, n in aligned):
        fail(errors.ShapeError, op, f"the mask must broadcast to {shape}", f"got {mask.shape}")
    return mask if mask.dtype == BOOL else cast(mask, dtype)


def prepare(op: str, x, axis: int, mask):
    """The operand with the axis last, the mask aligned with it, and the axis order that undoes it."""
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    if x.ndim == 0:
        fail(errors.ShapeError, op, "the operand must have an axis", "got a scalar")
    axis = normalize_axis(op, axis, x.ndim)
    if mask is not None:
        mask = check_mask(op, mask, x.shape, x.dtype)
    order = tuple(a for a in range(x.ndim) if a != axis) + (axis,)
    undo = tuple(int(a) for a in np.argsort(order))
    if axis != x.ndim - 1:
        x = transpose(x, order)
        mask = (
            None
            if mask is None
            else transpose(broadcast_to(mask, (1,) * (len(order) - mask.ndim) + mask.shape), order)
        )
    return x, () if mask is None else (mask,), undo


@public(at(real(3, 4), mask=fixed([[True, True, False, True]] * 3)))
def softmax(x, axis: int = -1, mask=None) -> Tensor:
    """``exp x / Σ exp x`` along ``axis``, without overflow. ``mask``: bool (True = may attend) or additive,
    broadcast to x's shape.

    A fully masked row gives zeros. Same shape and type as ``x``; integers and bools become float32. Raises
    ShapeError for a scalar, an axis that isn't there or a mask that doesn't broadcast. Bridle 1990;
    Goodfellow, Bengio & Courville 2016, equation 4.1.
    """
    x, masks, undo = prepare("softmax", x, axis, mask)
    return transpose(call("softmax", x, *masks), undo)


@public(at(real(3, 4)))
def log_softmax(x, axis: int = -1, mask=None) -> Tensor:
    """``x − log Σ exp x`` along ``axis``. ``mask`` as for :func:`softmax`: masked entries are −∞ (and a fully
    masked row is all −∞), their gradients zero.

    Same shape and type as ``x``; integers and bools become float32. Raises ShapeError for the same.
    """
    x, masks, undo = prepare("log_softmax", x, axis, mask)
    return transpose(call("log_softmax", x, *masks), undo)
