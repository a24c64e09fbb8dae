"""Losses as modules, with torch's arguments and state dicts; the mathematics is in :mod:`tinyattn.ops.losses.losses`.

As in torch, and other than in ``ta.cross_entropy``, classes are on the second axis: logits (N, C, …) and targets
(N, …), or (C,) and (). ``reduction`` is "mean", "sum" or "none". Weights are buffers: saved, but not trained.
"""

from typing import Any

from tinyattn.graph.leaf import as_tensor, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.rearrange import moveaxis
from tinyattn.ops.losses.losses import (
    bce_with_logits,
    cross_entropy,
    huber_loss,
    kl_div,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)


def _buffer(value: Any) -> Tensor | None:
    return value if value is None or isinstance(value, Tensor) else tensor(value)


def _classes_last(x: Tensor) -> Tensor:
    return moveaxis(x, 1, -1) if x.ndim > 1 else x


class _Loss(Module):
    def __init__(self, *, reduction: str = "mean"):
        self.reduction = reduction

    def extra_repr(self) -> str:
        shown = [f"{k}={v!r}" for k, v in vars(self).items() if k[0] != "_" and not isinstance(v, Tensor)]
        return ", ".join(s for s in shown if not s.endswith("None"))


class CrossEntropyLoss(_Loss):
    """As :func:`tinyattn.cross_entropy`, but for the axis of the classes: logits (N, C, …), classes (N, …) or
    probabilities (N, C, …) → (), or (N, …) with ``reduction="none"``. ``weight`` (C,): how much each class counts.
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):
        super().__init__(reduction=reduction)
        self.weight, self.ignore_index, self.label_smoothing = _buffer(weight), ignore_index, label_smoothing

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        logits, targets = as_tensor(logits), as_tensor(targets)
        soft = targets.shape == logits.shape
        ignored = None if soft and self.ignore_index == -100 else self.ignore_index
        targets = _classes_last(targets) if soft else targets
        options = self.label_smoothing, self.weight, self.reduction
        return cross_entropy(_classes_last(logits), targets, ignored, *options)


class NLLLoss(_Loss):
    """−log p of log-probabilities and classes, but for the axis of the classes as :func:`tinyattn.nll_loss`: (N, C,
    …), classes (N, …) → (), or (N, …) with ``reduction="none"``. ``weight`` (C,): how much each class counts.
    """

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.weight, self.ignore_index = _buffer(weight), ignore_index

    def forward(self, log_probabilities: Tensor, targets: Tensor) -> Tensor:
        log_p = _classes_last(as_tensor(log_probabilities))
        return nll_loss(log_p, targets, self.weight, self.ignore_index, self.reduction)


class BCEWithLogitsLoss(_Loss):
    """Binary cross-entropy of logits and targets of one shape, (…), (…) → (). As :func:`tinyattn.bce_with_logits`."""

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction=reduction)
        self.weight, self.pos_weight = _buffer(weight), _buffer(pos_weight)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return bce_with_logits(logits, targets, self.weight, self.pos_weight, self.reduction)


class KLDivLoss(_Loss):
    """Kullback-Leibler divergence of log-probabilities from probabilities, (…), (…) → (). As
    :func:`tinyattn.kl_div`.

    ``reduction`` may also be "batchmean", which is the mean of the divergences.
    """

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def forward(self, log_probabilities: Tensor, targets: Tensor) -> Tensor:
        return kl_div(log_probabilities, targets, self.reduction, self.log_target)


class MSELoss(_Loss):
    """(x − y)² of predictions and targets of one shape, (…), (…) → (). As :func:`tinyattn.mse_loss`."""

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return mse_loss(predictions, targets, self.reduction)


class L1Loss(_Loss):
    """|x − y| of predictions and targets of one shape, (…), (…) → (). As :func:`tinyattn.l1_loss`."""

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return l1_loss(predictions, targets, self.reduction)


class SmoothL1Loss(_Loss):
    """Quadratic near 0, then linear, of predictions and targets of one shape, (…), (…) → (). As
    :func:`tinyattn.smooth_l1_loss`.
    """

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction=reduction)
        self.beta = beta

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return smooth_l1_loss(predictions, targets, self.reduction, self.beta)


class HuberLoss(_Loss):
    """Quadratic near 0, then linear, of predictions and targets of one shape, (…), (…) → (). As
    :func:`tinyattn.huber_loss`.
    """

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, predictions: Tensor, targets: Tensor) -> Tensor:
        return huber_loss(predictions, targets, self.reduction, self.delta)
