"""Losses: how far predictions are from their targets, as one number (or one for each element).

    cross_entropy     −Σ_c w_c q_c log p_c,  p = softmax of the logits, q = onehot of the target, or given
    nll_loss          −w_t log p_t,          from log-probabilities
    kl_div            Σ y (log y − log p),   from log-probabilities
    bce_with_logits   −a y log σ(x) − (1 − y) log(1 − σ(x)) = a y softplus(−x) + (1 − y) softplus(x)
    mse_loss          e²,  e = x − y
    l1_loss           |e|
    smooth_l1_loss    e²/2β where |e| < β, else |e| − β/2
    huber_loss        e²/2 where |e| ≤ δ, else δ (|e| − δ/2)

What is done with the losses of the elements is their ``reduction``: "mean", "sum" or "none", as in torch. The
mean of weighted classes is the weighted mean, Σ w_t loss / Σ w_t. (Szegedy et al. 2016, 7 for label smoothing;
Huber 1964; Girshick 2015 for the smooth L1 loss.)
"""

import math

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import apart, at, fixed, positive, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import broadcast, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.bounds import within
from tinyattn.ops.arrays.elementwise import (
    abs,
    cast,
    equal,
    exp,
    less,
    log,
    logical_and,
    not_equal,
    softplus,
    where,
)
from tinyattn.ops.arrays.index import take, take_along_axis
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import expand_dims, squeeze
from tinyattn.ops.attention.softmax import log_softmax
from tinyattn.ops.losses.cross_entropy import (
    check_smoothing,
    classes_hint,
    counted_rows,
    cross_entropy_rows,
    mean_of_rows,
)


def _check_reduction(op: str, reduction: str, more: tuple[str, ...] = ()) -> None:
    known = ("mean", "sum", "none", *more)
    if reduction not in known:
        names = ", ".join(map(repr, known[:-1])) + f" or {known[-1]!r}"
        fail(errors.TinyattnError, op, f"reduction must be {names}", f"got {reduction!r}")


def _reduced(losses: Tensor, reduction: str) -> Tensor:
    """The mean (of nothing: NaN), the sum, or the losses themselves."""
    if reduction == "none":
        return losses
    total = reduce.sum(losses)
    return total * (1 / losses.size if losses.size else math.nan) if reduction == "mean" else total


def _operands(op: str, x, target, reduction: str, more: tuple[str, ...] = ()) -> tuple[Tensor, Tensor]:
    """Predictions and targets in one floating-point type, once their shapes and the reduction fit."""
    _check_reduction(op, reduction, more)
    x, target = real_operands(x, target)
    if target.shape not in (x.shape, ()):
        must = "predictions and targets must have the same shape"
        hint = "They are compared one by one: reshape one of them."
        fail(errors.ShapeError, op, must, f"got {x.shape} and {target.shape}", hint)
    return x, target


def _class_weight(op: str, weight, x: Tensor) -> Tensor:
    """A weight for each class, in the type of the scores ``x``."""
    weight = as_tensor(weight)
    if weight.shape != x.shape[-1:]:
        must = f"weight must have one number for each of the {x.shape[-1]} classes"
        fail(errors.ShapeError, op, must, f"got shape {weight.shape}")
    return cast(weight, x.dtype)


def _weights_of(op: str, targets: Tensor, weight: Tensor, ignore_index: int | None) -> Tensor:
    """The weight of each target's class, 0 for those that don't count."""
    targets = within(op, "targets", targets, weight.shape[-1], negative=False, ignore=ignore_index)
    if ignore_index is None:
        return take(weight, targets)
    counted = not_equal(targets, ignore_index)
    return where(counted, take(weight, where(counted, targets, 0)), 0)


def _mean_by_weight(losses: Tensor, weights: Tensor) -> Tensor:
    """Σ losses / Σ weights; 0 where nothing weighs."""
    total = reduce.sum(weights)
    return reduce.sum(losses) / where(equal(total, 0), 1, total)


def _to_probabilities(logits, targets, ignore_index, label_smoothing, weight, reduction) -> Tensor:
    """Cross-entropy to a distribution for each row."""
    op = "cross_entropy"
    if ignore_index is not None:
        must = "ignore_index needs targets that are class numbers"
        fail(errors.DTypeError, op, must, f"got probabilities {targets.type}", "Leave ignore_index out.")
    logits, q = real_operands(logits, targets)
    if label_smoothing:
        q = q * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    log_p = log_softmax(logits)
    # A class that can't be (log p = −∞) and isn't wanted (q = 0) costs nothing.
    log_p = where(logical_and(equal(q, 0), equal(log_p, -math.inf)), 0, log_p)
    if weight is not None:
        log_p = log_p * _class_weight(op, weight, logits)
    return _reduced(-reduce.sum(q * log_p, -1), reduction)


@public(at(real(3, 4), fixed([1, 0, 3])))
def cross_entropy(
    logits,
    targets,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    weight=None,
    reduction: str = "mean",
) -> Tensor:
    """Cross-entropy in nats between softmax(logits), logits (…, C), and targets.

    ``targets``: integer classes (…), those equal to ``ignore_index`` don't count; or probabilities (…, C) in
    floating-point numbers, differentiable too. ``label_smoothing`` ε mixes the target with the uniform
    distribution, (1 − ε)·onehot + ε/C. ``weight`` (C,): how much each class counts; the mean is then Σ w_t
    loss / Σ w_t for classes (for probabilities it stays the mean over rows, as in torch). ``reduction``: "mean"
    → (), 0 if nothing counts; "sum" → (); "none" → (…). Raises ShapeError or DTypeError for what doesn't fit.
    torch's ``cross_entropy``, but the classes are on the last axis.
    """
    op = "cross_entropy"
    logits, targets = as_tensor(logits), as_tensor(targets)
    _check_reduction(op, reduction)
    check_smoothing(label_smoothing)
    if is_float(logits.dtype) and is_float(targets.dtype) and targets.shape == logits.shape and logits.ndim:
        return _to_probabilities(logits, targets, ignore_index, label_smoothing, weight, reduction)
    if weight is None:
        rows = cross_entropy_rows(logits, targets, ignore_index, label_smoothing)
        return mean_of_rows(rows, targets, ignore_index) if reduction == "mean" else _reduced(rows, reduction)
    logits = counted_rows(logits, targets, ignore_index)
    rows = cross_entropy_rows(logits, targets, ignore_index)
    class_weight = _class_weight(op, weight, logits)
    weights = _weights_of("cross_entropy", targets, class_weight, ignore_index)
    losses = weights * rows
    if label_smoothing:
        spread = -matmul(log_softmax(logits), class_weight) * (label_smoothing / logits.shape[-1])
        if ignore_index is not None:
            spread = where(not_equal(targets, ignore_index), spread, 0)
        losses = losses * (1 - label_smoothing) + spread
    return _mean_by_weight(losses, weights) if reduction == "mean" else _reduced(losses, reduction)


@public(at(real(3, 4), fixed([1, 0, 3])))
def nll_loss(
    log_probabilities, targets, weight=None, ignore_index: int | None = None, reduction: str = "mean"
) -> Tensor:
    """−w_t log p_t: log_probabilities (…, C), targets (…), integer classes → (), or (…) with ``reduction="none"``.

    ``weight``, ``ignore_index`` and ``reduction`` as for :func:`cross_entropy`, which is this of ``log_softmax``.
    Raises ShapeError or DTypeError. torch's ``nll_loss``, but the classes are on the last axis.
    """
    op = "nll_loss"
    log_p, targets = as_tensor(log_probabilities), as_tensor(targets)
    _check_reduction(op, reduction)
    if not is_float(log_p.dtype) or targets.dtype.kind != "i":
        must = "log-probabilities must be floating-point and targets integer class numbers"
        fail(errors.DTypeError, op, must, f"got {log_p.type} and {targets.type}")
    if log_p.ndim < 1 or log_p.shape[:-1] != targets.shape:
        must = "log-probabilities (…, C) and targets (…) must agree but for the class axis"
        fail(
            errors.ShapeError,
            op,
            must,
            f"got {log_p.shape} and {targets.shape}",
            classes_hint(log_p, targets),
        )
    targets = within(op, "targets", targets, log_p.shape[-1], negative=False, ignore=ignore_index)
    safe = targets if ignore_index is None else where(not_equal(targets, ignore_index), targets, 0)
    log_p = counted_rows(log_p, targets, ignore_index)
    losses = -squeeze(take_along_axis(log_p, expand_dims(safe, -1), -1), -1)
    if weight is not None:
        weights = _weights_of(op, targets, _class_weight(op, weight, log_p), ignore_index)
        losses = losses * weights
        return _mean_by_weight(losses, weights) if reduction == "mean" else _reduced(losses, reduction)
    if ignore_index is not None:
        losses = where(not_equal(targets, ignore_index), losses, 0)
    return mean_of_rows(losses, targets, ignore_index) if reduction == "mean" else _reduced(losses, reduction)


@public(at(real(3, 4), positive(3, 4)))
def kl_div(log_probabilities, target, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Kullback-Leibler divergence Σ y (log y − log p) of log p from probabilities y: log_probabilities (…), target
    (…) of one shape → (), or (…).

    torch's ``kl_div``: the first argument is log p; with ``log_target`` the second is log y. ``reduction``: "mean"
    is over all elements; the divergence of distributions is "sum", or "batchmean": the sum over all / the first
    axis. "none" keeps the shape. Where y = 0 the loss is −0·log p. Integers and bools become float32. Raises
    ShapeError for what doesn't fit, TinyattnError for another reduction.
    """
    log_p, y = _operands("kl_div", log_probabilities, target, reduction, ("batchmean",))
    if log_target:
        losses = exp(y) * (y - log_p)
    else:
        losses = y * (log(where(equal(y, 0), 1, y)) - log_p)
    if reduction == "batchmean":
        return reduce.sum(losses) * (1 / losses.shape[0] if losses.ndim and losses.shape[0] else 1.0)
    return _reduced(losses, reduction)


@public(at(real(3, 4), positive(3, 4)))
def bce_with_logits(logits, targets, weight=None, pos_weight=None, reduction: str = "mean") -> Tensor:
    """Binary cross-entropy a y softplus(−x) + (1 − y) softplus(x) of logits x (…) and targets y (…) in [0, 1], of
    one shape → (), or (…).

    ``pos_weight`` a: how much more a positive counts, ``weight``: a factor of each loss; both broadcast to the
    logits' shape. ``reduction``: "mean" (over all elements, whatever their weights), "sum" or "none". torch's
    ``binary_cross_entropy_with_logits``. Integers and bools become float32. Raises ShapeError for what doesn't fit,
    TinyattnError for another reduction.
    """
    op = "bce_with_logits"
    x, y = _operands(op, logits, targets, reduction)
    scales = []
    for name, given in (("pos_weight", pos_weight), ("weight", weight)):
        scale = 1.0 if given is None else cast(as_tensor(given), x.dtype)
        if isinstance(scale, Tensor) and broadcast(op, scale.shape, x.shape) != x.shape:
            must = f"{name} must broadcast to {x.shape}"
            fail(errors.ShapeError, op, must, f"got shape {scale.shape}")
        scales.append(scale)
    losses = y * scales[0] * softplus(-x) + (1 - y) * softplus(x)
    return _reduced(losses * scales[1], reduction)


@public(at(real(3, 4), real(3, 4)))
def mse_loss(predictions, targets, reduction: str = "mean") -> Tensor:
    """(x − y)² of predictions (…) and targets (…) of one shape → (), or (…) with "none".

    ``reduction``: "mean", "sum" or "none". torch's mse_loss. Integers and bools become float32. Raises ShapeError
    for what doesn't fit, TinyattnError for another reduction.
    """
    x, y = _operands("mse_loss", predictions, targets, reduction)
    return _reduced((x - y) * (x - y), reduction)


@public(at(apart(3, 4), real(3, 4)))
def l1_loss(predictions, targets, reduction: str = "mean") -> Tensor:
    """|x − y| of predictions (…) and targets (…) of one shape → (), or (…) with "none".

    ``reduction``: "mean", "sum" or "none". torch's l1_loss. Integers and bools become float32. Raises ShapeError
    for what doesn't fit, TinyattnError for another reduction.
    """
    x, y = _operands("l1_loss", predictions, targets, reduction)
    return _reduced(abs(x - y), reduction)


@public(at(apart(3, 4), real(3, 4)))
def smooth_l1_loss(predictions, targets, reduction: str = "mean", beta: float = 1.0) -> Tensor:
    """e²/2β where |e| < β, else |e| − β/2, of e = x − y: predictions (…) and targets (…) of one shape → (), or (…)
    with "none".

    ``reduction``: "mean", "sum" or "none". ``beta``: β; 0 makes it :func:`l1_loss`. Integers and bools become
    float32. Raises ShapeError for what doesn't fit, TinyattnError for another reduction. Girshick 2015, eq. 3.
    """
    x, y = _operands("smooth_l1_loss", predictions, targets, reduction)
    _check_width("smooth_l1_loss", "beta", beta, beta >= 0, "≥ 0")
    if beta == 0:
        return l1_loss(x, y, reduction)
    e = x - y
    return _reduced(where(less(abs(e), beta), e * e * (0.5 / beta), abs(e) - 0.5 * beta), reduction)


@public(at(apart(3, 4), real(3, 4), delta=1.3))
def huber_loss(predictions, targets, reduction: str = "mean", delta: float = 1.0) -> Tensor:
    """e²/2 where |e| ≤ δ, else δ (|e| − δ/2), of e = x − y: predictions (…) and targets (…) of one shape → (), or
    (…) with "none".

    ``delta``: δ. ``reduction``: "mean", "sum" or "none". Integers and bools become float32. Raises ShapeError for
    what doesn't fit, TinyattnError for another reduction. Huber 1964.
    """
    x, y = _operands("huber_loss", predictions, targets, reduction)
    _check_width("huber_loss", "delta", delta, delta > 0, "> 0")
    e = x - y
    return _reduced(where(abs(e) <= delta, e * e * 0.5, (abs(e) - 0.5 * delta) * delta), reduction)


def _check_width(op: str, name: str, value: float, fits: bool, least: str) -> None:
    if not fits:
        fail(errors.ShapeError, op, f"{name} must be a number {least}", f"got {value}")
