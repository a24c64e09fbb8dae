"""Rows of the op table: losses. Cross-entropy with plain classes is in op_rows_attention.py, beside the softmax."""

import warnings

import numpy as np
from op_sample import Row, sample
from scipy.special import log_softmax, xlogy

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError, TinyattnError
from tinyattn.graph.point import apart, fixed, flags, integers, positive, real

_FOUR = (0.5, 2.0, 0.0, 1.5)
_MEAN = "reduction must be 'mean', 'sum' or 'none'"


def _float(*shape):
    return ta.zeros(shape)


def _reduced(losses, reduction, weights=None):
    if reduction == "none":
        return losses
    total = losses.sum()
    return total / (losses.size if weights is None else weights.sum()) if reduction == "mean" else total


def _classes(log_p, targets, weight=None, ignore_index=None, reduction="mean", spread=None):
    """Losses of class numbers, given log-probabilities; ``spread``: what label smoothing does to them."""
    weight = np.ones(log_p.shape[-1]) if weight is None else np.asarray(weight)
    counted = np.ones(targets.shape) if ignore_index is None else targets != ignore_index
    safe = np.where(counted, targets, 0)
    weights = weight[safe] * counted
    losses = -weights * np.take_along_axis(log_p, safe[..., None], -1)[..., 0]
    return _reduced(losses if spread is None else spread(losses) * counted, reduction, weights)


def _weighted(logits, targets, weight, ignore_index=None, label_smoothing=0.0, reduction="mean"):
    log_p = log_softmax(logits, -1)
    uniform = -(log_p * np.asarray(weight)).mean(-1)
    return _classes(log_p, targets, weight, ignore_index, reduction, lambda x: x * (1 - label_smoothing) + uniform * label_smoothing)  # fmt: skip


def _soft(logits, targets, weight=None, label_smoothing=0.0, reduction="mean"):
    q = targets * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
    return _reduced(
        -(q * log_softmax(logits, -1) * (1 if weight is None else np.asarray(weight))).sum(-1), reduction
    )


def _kl(log_p, y, reduction="mean", log_target=False):
    losses = np.exp(y) * (y - log_p) if log_target else xlogy(y, y) - y * log_p
    return losses.sum() / len(losses) if reduction == "batchmean" else _reduced(losses, reduction)


def _bce(x, y, weight=1.0, pos_weight=1.0, reduction="mean"):
    losses = np.asarray(pos_weight) * y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x)
    return _reduced(np.asarray(weight) * losses, reduction)


def _smooth_l1(x, y, reduction="mean", beta=1.0):
    e = np.abs(x - y)
    return _reduced(np.where(e < beta, e * e / (2 * beta or 1), e - beta / 2), reduction)


def _huber(x, y, reduction="mean", delta=1.0):
    e = np.abs(x - y)
    return _reduced(np.where(e <= delta, e * e / 2, delta * (e - delta / 2)), reduction)


def _torch(name):
    def call(t, x, y, **attrs):
        attrs = {k: t.tensor(v, dtype=x.dtype) if isinstance(v, tuple) else v for k, v in attrs.items()}
        with warnings.catch_warnings():  # torch intends to change what the mean of kl_div is
            warnings.simplefilter("ignore")
            return getattr(t.nn.functional, name)(x, y.to(x.dtype) if y.dtype == t.bool else y, **attrs)

    return call


def _torch_rows(name):
    """torch has the classes on axis 1."""

    def call(t, x, y, ignore_index=None, **attrs):
        flat = y.reshape(-1) if not y.is_floating_point() else y.reshape(-1, y.shape[-1])
        if ignore_index is not None:
            attrs["ignore_index"] = ignore_index
        found = _torch(name)(t, x.reshape(-1, x.shape[-1]), flat, **attrs)
        return found.reshape(x.shape[:-1]) if attrs.get("reduction") == "none" else found

    return call


_IDS = integers(4, 2, 3)
_WEIGHTED = (
    sample(real(3, 4), fixed([1, 0, 3]), weight=_FOUR), sample(real(2, 3, 4), _IDS, weight=_FOUR, ignore_index=1),
    sample(real(2, 3, 4), _IDS, weight=_FOUR, reduction="none", ignore_index=-100), sample(real(2, 3, 4), _IDS, weight=_FOUR, reduction="sum"),
    sample(real(4), fixed(1), weight=_FOUR), sample(real(3, 4), fixed([1, -100, 3]), weight=_FOUR, ignore_index=-100),
)  # fmt: skip
_SMOOTH = tuple(
    sample(*s.inputs, **s.attrs, label_smoothing=0.2) for s in (_WEIGHTED[1], _WEIGHTED[2], _WEIGHTED[3])
)
_CLASS_LOSSES = [
    Row("cross_entropy_weighted", ta.cross_entropy, _weighted, [*_WEIGHTED, *_SMOOTH], torch=_torch_rows("cross_entropy"),
        errors=[
            (lambda: ta.cross_entropy(_float(2, 3), [0, 0], weight=[1.0, 2.0]), ShapeError,
             "[cross_entropy] weight must have one number for each of the 3 classes, but got shape (2,)."),
            (lambda: ta.cross_entropy(_float(2, 3), [0, 0], reduction="avg"), TinyattnError, f"[cross_entropy] {_MEAN}, but got 'avg'."),
        ]),
    Row("cross_entropy_soft", ta.cross_entropy, _soft,
        [sample(real(3, 4), positive(3, 4)), sample(real(2, 3, 4), real(2, 3, 4), weight=_FOUR, label_smoothing=0.1),
         sample(real(3, 4), positive(3, 4), reduction="none"), sample(real(4), positive(4), reduction="sum", weight=_FOUR),
         sample(real(3, 4), fixed(np.eye(4)[[1, 0, 3]]))],
        torch=_torch_rows("cross_entropy"),
        errors=[
            (lambda: ta.cross_entropy(_float(2, 3), _float(2, 3), ignore_index=0), DTypeError,
             "[cross_entropy] ignore_index needs targets that are class numbers, but got probabilities f32[2, 3]."),
            (lambda: ta.cross_entropy(_float(2, 3), _float(2, 2)), DTypeError,
             "[cross_entropy] logits must be floating-point and targets integer class numbers, but got f32[2, 3] and f32[2, 2]."),
        ]),
    Row("nll_loss", ta.nll_loss, _classes,
        [*_WEIGHTED, sample(real(3, 4), fixed([1, 0, 3])), sample(real(2, 3, 4), _IDS, ignore_index=2), sample(real(3, 4), fixed([1, 0, 3]), reduction="sum")],
        torch=_torch_rows("nll_loss"),
        errors=[
            (lambda: ta.nll_loss(_float(2, 3), _float(2)), DTypeError,
             "[nll_loss] log-probabilities must be floating-point and targets integer class numbers, but got f32[2, 3] and f32[2]."),
            (lambda: ta.nll_loss(_float(2, 3), [0]), ShapeError,
             "[nll_loss] log-probabilities (…, C) and targets (…) must agree but for the class axis, but got (2, 3) and (1,)."),
        ]),
]  # fmt: skip


def _paired(name, numpy, *samples, torch=None, also="'mean', 'sum' or 'none'", errors=(), right=apart) -> Row:
    call = getattr(ta, name)
    return Row(
        name, call, numpy, [sample(apart(3, 4), right(3, 4)), *samples], torch=_torch(torch or name),
        errors=[
            (lambda: call(_float(3, 1), _float(3)), ShapeError, f"[{name}] predictions and targets must have the same shape, but got (3, 1) and (3,)."),
            (lambda: call(_float(3), _float(3), reduction="average"), TinyattnError, f"[{name}] reduction must be {also}, but got 'average'."),
            *errors,
        ],
    )  # fmt: skip


def _each(left, right, **attrs):
    return [sample(left, right, reduction=r, **attrs) for r in ("mean", "sum", "none")]


LOSS_ROWS = [
    *_CLASS_LOSSES,
    _paired("mse_loss", lambda x, y, reduction="mean": _reduced((x - y) ** 2, reduction), *_each(real(2, 3), real(2, 3)), sample(real(), real())),
    _paired("l1_loss", lambda x, y, reduction="mean": _reduced(np.abs(x - y), reduction), *_each(apart(2, 5), real(2, 5))),
    _paired("smooth_l1_loss", _smooth_l1, *_each(apart(2, 5), real(2, 5), beta=0.7), sample(apart(2, 5), real(2, 5), beta=0.0),
        errors=[(lambda: ta.smooth_l1_loss(_float(1), _float(1), beta=-1.0), ShapeError, "[smooth_l1_loss] beta must be a number ≥ 0, but got -1.0.")]),
    _paired("huber_loss", _huber, *_each(apart(2, 5), real(2, 5), delta=1.3),
        errors=[(lambda: ta.huber_loss(_float(1), _float(1), delta=0.0), ShapeError, "[huber_loss] delta must be a number > 0, but got 0.0.")]),
    _paired("bce_with_logits", _bce, sample(real(2, 3), flags(2, 3)), *_each(real(2, 3), positive(2, 3), weight=(0.5, 1.0, 3.0), pos_weight=(2.0, 1.0, 0.0)),
        sample(fixed([-80.0, 80.0, 20.0, -20.0]), fixed([0.0, 1.0, 1.0, 0.0]), reduction="none"),
        torch="binary_cross_entropy_with_logits",
        errors=[(lambda: ta.bce_with_logits(_float(3), _float(3), pos_weight=_float(2, 3)), ShapeError, "[bce_with_logits] pos_weight must broadcast to (3,), but got shape (2, 3).")]),
    _paired("kl_div", _kl, *_each(real(2, 3), positive(2, 3)), *_each(real(2, 3), real(2, 3), log_target=True), sample(real(4, 3), positive(4, 3), reduction="batchmean"),
        also="'mean', 'sum', 'none' or 'batchmean'", right=positive),
]  # fmt: skip
