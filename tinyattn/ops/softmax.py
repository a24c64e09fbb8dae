"""Softmax, log-softmax and cross-entropy over the last axis, with masks.

For a row of scores s and p = softmax(s), the Jacobian is ∂p_i/∂s_j = p_i (δ_ij − p_j), so

    s̄ = p ⊙ (p̄ − ⟨p, p̄⟩),      log-softmax:  s̄ = ȳ − p Σȳ,      cross-entropy −log p_t:  s̄ = p −
    onehot(t).

A mask is bool (True = may attend) or added to the scores (−∞ = masked). Masked entries have p = 0; a fully
masked row is all zeros, with gradient zero; what stands behind a mask, be it NaN or ∞, never reaches a
result. (Bridle 1990; the derivative as in 6.1 of the project's equations.)
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor, as_tensor, constant_value, output
from tinyattn.graph.types import BOOL, FLOAT32, INT64, Type, fail, is_float, normalize_axis
from tinyattn.kernels import tiling
from tinyattn.ops import reduce
from tinyattn.ops.elementwise import cast, equal, exp, log, logical_and, not_equal, stop_gradient, where
from tinyattn.ops.hand import bits, by_definition, call, hand_derived
from tinyattn.ops.index import one_hot
from tinyattn.ops.shape import broadcast_to, expand_dims, reshape, transpose
from tinyattn.runtime.operations import flops_of


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


def _softmax_definition(scores, mask=None):
    scores = masked_scores(scores, mask)
    weights = exp(scores - largest_score(scores, mask is not None))
    total = reduce.sum(weights, -1, keepdims=True)
    return weights / (total if mask is None else where(equal(total, 0), 1, total))


def _softmax_backward_definition(p, g):
    g = where(equal(p, 0), 0, g)
    return p * (g - reduce.sum(p * g, -1, keepdims=True))


def _softmax_derivative(g, node):
    scores = call("softmax_backward", node, g)
    return (scores, *(scores if is_float(m.dtype) else None for m in node.inputs[1:]))


def _infer(scores, *mask):
    return Type(scores.shape, scores.dtype)


_COST = 0.8
"""Rough nanoseconds a number of a softmax row."""
_FLOPS = flops_of("exp") + 4
"""Operations a number: x − max, its exponential, the sum, the scaling."""


def _lower_forward(kernel):
    def lower(node, emit):
        x, y = emit.contiguous(emit.value(node.inputs[0])), emit.result(node)
        columns = node.shape[-1]
        rows = node.size // max(columns, 1)
        words = [x, y, rows, columns, bits(1.0, node.dtype)]
        reads = [x]
        if len(node.inputs) > 1:
            mask = emit.value(node.inputs[1])  # the kernel wants its rows contiguous
            if columns > 1 and (mask.shape[-1:], mask.strides[-1:]) != ((columns,), (1,)):
                mask = emit.contiguous(mask.broadcast((*mask.shape[:-1], columns)))
            mask = mask.broadcast(node.shape)
            if node.ndim > 5:
                mask = emit.contiguous(mask).reshaped((rows, columns))
            pad = 5 - mask.ndim
            words += [1 if mask.dtype == BOOL else 2, mask]
            words += [*(1,) * pad, *mask.shape[:-1], *(0,) * pad, *mask.strides[:-1]]
            reads.append(mask)
        else:
            words += [0] * 10
        emit.kernel(
            kernel,
            words,
            tiling.tiles_of_softmax(rows, columns),
            reads=reads,
            writes=[y],
            cost=node.size * _COST,
            flops=float(node.size * _FLOPS),
            in_place=[(y, x)],
        )

    return lower


def _lower_backward(kernel):
    def lower(node, emit):
        p, g = (emit.contiguous(emit.value(v)) for v in node.inputs)
        dx = emit.result(node)
        columns = node.shape[-1]
        rows = node.size // max(columns, 1)
        words = [p, g, dx, rows, columns, bits(1.0, node.dtype)]
        emit.kernel(
            kernel,
            words,
            tiling.tiles_of_softmax(rows, columns),
            reads=[p, g],
            writes=[dx],
            cost=node.size * _COST,
            flops=float(node.size * (_FLOPS if "log" in kernel else 4)),
            in_place=[(dx, g)],
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
            f"{mask.type} was got",
            "Write mask != 0.",
        )
    aligned = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.ndim > len(shape) or any(m not in (1, n) for m, n in aligned):
        fail(errors.ShapeError, op, f"the mask must broadcast to {shape}", f"{mask.shape} was got")
    return mask if mask.dtype == BOOL else cast(mask, dtype)


def prepare(op: str, x, axis: int, mask):
    """The operand with the axis last, the mask aligned with it, and the axis order that undoes it."""
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    if x.ndim == 0:
        fail(errors.ShapeError, op, "the operand must have an axis", "a scalar was got")
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


def softmax(x, axis: int = -1, mask=None) -> Tensor:
    """``exp x / Σ exp x`` along ``axis``, without overflow. ``mask``: bool (True = may attend) or additive,
    broadcast to x's shape.

    A fully masked row gives zeros. Same shape and type as ``x`` (integers become float32).
    """
    x, masks, undo = prepare("softmax", x, axis, mask)
    return transpose(call("softmax", x, *masks), undo)


def log_softmax(x, axis: int = -1, mask=None) -> Tensor:
    """``x − log Σ exp x`` along ``axis``; masked entries are −∞ (and a fully masked row is all −∞), their
    gradients zero.
    """
    x, masks, undo = prepare("log_softmax", x, axis, mask)
    return transpose(call("log_softmax", x, *masks), undo)


# Cross-entropy: −Σ q log p, with q the target's one-hot row, smoothed.


def _target_rows(logits, targets, ignore, smoothing):
    classes = logits.shape[-1]
    hot = one_hot(targets, classes, logits.dtype)
    q = hot * (1 - smoothing) + smoothing / classes
    counted = not_equal(targets, ignore) if ignore is not None else None
    return q, counted


def _in_range(targets, classes):
    return logical_and(targets >= 0, targets < classes)


def _cross_entropy_definition(logits, targets, *, ignore, smoothing):
    top = largest_score(logits, False)
    shifted = logits - top
    log_sum = log(reduce.sum(exp(shifted), -1, keepdims=True))
    q, counted = _target_rows(logits, targets, ignore, smoothing)
    # q·log p only where q > 0, so that a class of probability 0 costs nothing unless it is the target.
    loss = -reduce.sum(where(equal(q, 0), 0, q * (shifted - log_sum)), -1)
    loss = where(_in_range(targets, logits.shape[-1]), loss, math.nan)
    if counted is not None:
        loss = where(counted, loss, 0)
    return loss, reshape(log_sum + top, loss.shape)


def _cross_entropy_backward_definition(logits, targets, log_sum, g, *, ignore, smoothing):
    q, counted = _target_rows(logits, targets, ignore, smoothing)
    rows = (exp(logits - expand_dims(log_sum, -1)) - q) * expand_dims(g, -1)
    return rows if counted is None else where(expand_dims(counted, -1), rows, 0)


def _infer_cross_entropy(logits, targets, *, ignore, smoothing):
    return Type(targets.shape, logits.dtype), Type(targets.shape, logits.dtype)


def _cross_entropy_derivative(cotangents, node):
    logits, targets = node.inputs
    log_sum = output(node, 1)
    if 1 in cotangents:  # somebody differentiates the log-sum-exp itself
        return by_definition(cotangents, node)
    return call("cross_entropy_backward", logits, targets, log_sum, cotangents[0], **node.attrs), None


def _cross_entropy_words(attrs, dtype):
    ignore = attrs["ignore"]
    return [-(1 << 62) if ignore is None else ignore, bits(attrs["smoothing"], dtype)]


def emit_cross_entropy(emit, logits, targets, loss, log_sum, attrs) -> None:
    """Emit the losses of contiguous logits (R, C), and their log-sums."""
    rows, columns = logits.shape
    words = [logits, targets, int(targets.dtype == INT64), loss, log_sum, rows, columns]
    emit.kernel(
        "softmax.cross_entropy_forward",
        [*words, *_cross_entropy_words(attrs, logits.dtype)],
        tiling.tiles_of_softmax(rows, columns),
        reads=[logits, targets],
        writes=[loss, log_sum],
        cost=logits.size * _COST,
        flops=float(logits.size * _FLOPS),
    )


def emit_cross_entropy_backward(emit, logits, targets, log_sum, g, dx, attrs) -> None:
    """Emit the gradient of the logits, which may be written where they are."""
    rows, columns = logits.shape
    words = [logits, targets, int(targets.dtype == INT64), log_sum, g, g.strides[0], dx, rows, columns]
    emit.kernel(
        "softmax.cross_entropy_backward",
        [*words, *_cross_entropy_words(attrs, logits.dtype)],
        tiling.tiles_of_softmax(rows, columns),
        reads=[logits, targets, log_sum, g],
        writes=[dx],
        cost=logits.size * _COST,
        flops=float(logits.size * _FLOPS),
        in_place=[] if dx is logits else [(dx, logits)],
    )


def _lower_cross_entropy(node, emit):
    logits, targets = (emit.contiguous(emit.value(v)) for v in node.inputs)
    emit_cross_entropy(emit, logits, targets, emit.result(node, 0), emit.result(node, 1), node.attrs)


def _lower_cross_entropy_backward(node, emit):
    logits, targets, log_sum = (emit.contiguous(emit.value(v)) for v in node.inputs[:3])
    g = emit.value(node.inputs[3])
    emit_cross_entropy_backward(emit, logits, targets, log_sum, g, emit.result(node), node.attrs)


hand_derived(
    "cross_entropy",
    _infer_cross_entropy,
    _cross_entropy_definition,
    _cross_entropy_derivative,
    lower=_lower_cross_entropy,
    formula="−log softmax({0})[{1}]",
    vjp_formula="(softmax({0}) − onehot({1}))·ḡ",
)
hand_derived(
    "cross_entropy_backward",
    lambda logits, *rest, **attrs: logits.type,
    _cross_entropy_backward_definition,
    lower=_lower_cross_entropy_backward,
    formula="(softmax({0}) − onehot({1}))·{3}",
)


def cross_entropy_rows(
    logits, targets, ignore_index: int | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """``−log softmax(logits)[target]`` of each row: logits (…, C), integer targets (…) → (…); 0 where the
    target is ``ignore_index``.
    """
    logits, targets = as_tensor(logits), as_tensor(targets)
    if not is_float(logits.dtype) or targets.dtype.kind != "i":
        fail(
            errors.DTypeError,
            "cross_entropy",
            "logits must be floating-point and targets integer class numbers",
            f"{logits.type} and {targets.type} were got",
            "Convert targets with .astype(np.int64).",
        )
    if logits.ndim < 1 or logits.shape[:-1] != targets.shape:
        fail(
            errors.ShapeError,
            "cross_entropy",
            "logits (…, C) and targets (…) must agree but for the class axis",
            f"{logits.shape} and {targets.shape} were got",
        )
    if not 0 <= label_smoothing < 1:
        fail(
            errors.ShapeError,
            "cross_entropy",
            "label_smoothing must lie in [0, 1)",
            f"{label_smoothing} was got",
        )
    classes = logits.shape[-1]
    value = (
        targets.storage.array
        if targets.storage is not None
        else constant_value(targets)
        if targets.op.name == "constant"
        else None
    )
    if value is not None and value.size:
        wrong = value[
            ((value < 0) | (value >= classes))
            & (value != (ignore_index if ignore_index is not None else -1 << 62))
        ]
        if wrong.size:
            fail(
                errors.ShapeError,
                "cross_entropy",
                f"targets must lie in 0..{classes - 1}",
                f"{wrong.flat[0]} was got",
                "Set ignore_index= for padding.",
            )
    rows = reshape(logits, (-1, classes)) if logits.ndim != 2 else logits
    loss, _ = call(
        "cross_entropy",
        rows,
        reshape(targets, (-1,)) if targets.ndim != 1 else targets,
        count=2,
        ignore=ignore_index,
        smoothing=float(label_smoothing),
    )
    return reshape(loss, targets.shape)


def cross_entropy(logits, targets, ignore_index: int | None = None, label_smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy, a scalar in nats: logits (…, C), integer targets (…), the mean over targets other
    than ``ignore_index``.

    ``label_smoothing`` ε mixes the target with the uniform distribution, (1 − ε)·onehot + ε/C. Raises
    ShapeError or DTypeError for what doesn't fit; targets out of range known only at run time give NaN.
    """
    return mean_of_rows(
        cross_entropy_rows(logits, targets, ignore_index, label_smoothing), targets, ignore_index
    )


def mean_of_rows(rows: Tensor, targets, ignore_index: int | None) -> Tensor:
    """The mean of the losses of those targets that count."""
    if ignore_index is None:
        return reduce.sum(rows) * (1 / rows.size) if rows.size else reduce.sum(rows)
    counted = reduce.sum(cast(not_equal(as_tensor(targets), ignore_index), rows.dtype))
    return reduce.sum(rows) / where(equal(counted, 0), 1, counted)
