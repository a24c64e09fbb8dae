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
from tinyattn.graph.op import OPS
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import BOOL, FLOAT32, Type, fail, is_float, normalize_axis
from tinyattn.kernels.calls.softmax import tiles_of_softmax
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import cast, equal, exp, log, stop_gradient, where
from tinyattn.ops.arrays.quotients import by_terms, of_softmax
from tinyattn.ops.arrays.shape import broadcast_to, transpose
from tinyattn.ops.definition import bits, call, hand_derived


def masked_scores(scores: Tensor, mask: Tensor | None) -> Tensor:
    """Scores with −∞ wherever the mask forbids attention."""
    if mask is None:
        return scores
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
    return weights / (total if mask is None else where(equal(total, 0), 1, total))


def _softmax_backward_definition(p, g):
    g = where(equal(p, 0), 0, g)
    return p * (g - reduce.sum(p * g, -1, keepdims=True))


def _softmax_derivative(g, node):
    scores = by_terms(g, node, lambda g, p: call("softmax_backward", p, g), of_softmax)
    return (scores, *(scores if is_float(m.dtype) else None for m in node.inputs[1:]))


def _infer(scores, *mask):
    return Type(scores.shape, scores.dtype)


COST = 0.8
"""Rough nanoseconds a number of a softmax row."""
FLOPS = OPS["exp"].flops + 4
"""Operations a number: x − max, its exponential, the sum, the scaling."""


def _lower_forward(kernel):
    def lower(node, emit):
        x, y = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
        columns = node.shape[-1]
        rows = node.size // max(columns, 1)
        words = {"x": x, "y": y, "rows": rows, "columns": columns, "scale": bits(1.0, node.dtype)}
        reads = [x]
        if len(node.inputs) > 1:
            mask = emit.value(node.inputs[1])  # the kernel wants its rows contiguous
            if columns > 1 and (mask.shape[-1:], mask.strides[-1:]) != ((columns,), (1,)):
                mask = emit.contiguous(mask.broadcast((*mask.shape[:-1], columns)))
            mask = mask.broadcast(node.shape)
            if node.ndim > 5:
                mask = emit.contiguous(mask).reshaped((rows, columns))
            pad = 5 - mask.ndim
            words |= {"masking": 1 if mask.dtype == BOOL else 2, "mask": mask}
            words |= {"sizes": [*(1,) * pad, *mask.shape[:-1]], "strides": [*(0,) * pad, *mask.strides[:-1]]}
            reads.append(mask)
        else:
            words |= {"masking": 0, "mask": 0, "sizes": (0,) * 4, "strides": (0,) * 4}
        emit.kernel(
            kernel,
            words,
            tiles_of_softmax(rows, columns),
            reads=reads,
            writes=[y],
            cost=node.size * COST,
            flops=float(node.size * FLOPS),
            in_place=[([y], [x])],
        )

    return lower


def _lower_backward(kernel):
    def lower(node, emit):
        p, g = (emit.contiguous(emit.value(v)) for v in node.inputs)
        dx = emit.result(node)
        columns = node.shape[-1]
        rows = node.size // max(columns, 1)
        scale = bits(1.0, node.dtype)
        words = {"y": p, "dy": g, "dx": dx, "rows": rows, "columns": columns, "scale": scale}
        emit.kernel(
            kernel,
            words,
            tiles_of_softmax(rows, columns),
            reads=[p, g],
            writes=[dx],
            cost=node.size * COST,
            flops=float(node.size * (FLOPS if "log" in kernel else 4)),
            in_place=[([dx], [g])],
        )

    return lower


hand_derived(
    "softmax",
    _infer,
    _softmax_definition,
    _softmax_derivative,
    lower=_lower_forward("softmax.forward"),
    formula="softmax({0})",
    vjp_formula="y ⊙ (ḡ − ⟨y, ḡ⟩)",
)
hand_derived(
    "softmax_backward",
    _infer,
    _softmax_backward_definition,
    lower=_lower_backward("softmax.backward"),
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
    lower=_lower_forward("softmax.log_forward"),
    formula="log softmax({0})",
    vjp_formula="ḡ − exp(y)·Σḡ",
)
hand_derived(
    "log_softmax_backward",
    _infer,
    _log_softmax_backward_definition,
    lower=_lower_backward("softmax.log_backward"),
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

    A fully masked row gives zeros. Same shape and type as ``x`` (integers become float32).
    """
    x, masks, undo = prepare("softmax", x, axis, mask)
    return transpose(call("softmax", x, *masks), undo)


@public(at(real(3, 4)))
def log_softmax(x, axis: int = -1, mask=None) -> Tensor:
    """``x − log Σ exp x`` along ``axis``; masked entries are −∞ (and a fully masked row is all −∞), their
    gradients zero.
    """
    x, masks, undo = prepare("log_softmax", x, axis, mask)
    return transpose(call("log_softmax", x, *masks), undo)
