"""Batch normalisation layers, with torch's arguments and keys (Ioffe & Szegedy 2015).

In training, a channel is normalised by its own batch, and running statistics follow at the rate ``momentum``;
in evaluation they take the batch's place. A compiled step updates them as it updates parameters; a layer that
is called twice in one step moves them twice, in the order of the calls.
"""

from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.graph.leaf import as_tensor, latest, parameter, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_dtype, fail
from tinyattn.nn.layers import check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.elementwise import cast
from tinyattn.ops.layers.batch_norm import batch_norm


class _BatchNorm(Module):
    """Parameters: ``weight`` and ``bias`` (C,), if ``affine``, 1 and 0 at first. Buffers: ``running_mean`` and
    ``running_var`` (C,), 0 and 1 at first, and ``num_batches_tracked``, if ``track_running_stats``.

    ``momentum`` None takes the average of all batches so far.
    """

    _ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = np.float32,
    ):
        check_sizes(type(self).__name__, num_features=num_features)
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        self.weight = parameter(np.ones(num_features), dtype) if affine else None
        self.bias = parameter(np.zeros(num_features), dtype) if affine else None
        kind = as_dtype(dtype, type(self).__name__)
        self.running_mean = tensor(np.zeros(num_features, kind)) if track_running_stats else None
        self.running_var = tensor(np.ones(num_features, kind)) if track_running_stats else None
        self.num_batches_tracked = tensor(np.zeros((), np.int64)) if track_running_stats else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) → (N, C, …). Raises ShapeError when the axes or the number of channels don't fit."""
        x = as_tensor(x)
        if x.ndim not in self._ranks or x.shape[1] != self.num_features:
            ranks = " or ".join(map(str, self._ranks))
            must = f"x must have {ranks} axes and num_features = {self.num_features} channels on the second"
            fail(errors.ShapeError, type(self).__name__, must, f"got shape {x.shape}")
        mean, variance, count = self.running_mean, self.running_var, self.num_batches_tracked
        if not self.training or mean is None or variance is None or count is None:
            use_batch = mean is None
            return batch_norm(x, mean, variance, self.weight, self.bias, use_batch, eps=self.eps)[0]
        batches = latest(count) + 1
        rate = 1 / cast(batches, mean.dtype) if self.momentum is None else self.momentum
        statistics = latest(mean), latest(variance)
        y, *new = batch_norm(x, *statistics, self.weight, self.bias, True, rate, self.eps)
        for leaf, value in zip((count, mean, variance), (batches, *new), strict=True):
            assert value is not None
            trace.assign(leaf, cast(value, leaf.dtype))
        return y

    def extra_repr(self) -> str:
        text = f"{self.num_features}, eps={self.eps}, momentum={self.momentum}"
        return f"{text}, affine={self.affine}, track_running_stats={self.track_running_stats}"


class BatchNorm1d(_BatchNorm):
    """Over the batch, and the places if there are any: (N, C, L) → (N, C, L), or (N, C) → (N, C). As
    :func:`tinyattn.batch_norm`; (Ioffe & Szegedy 2015).

    ``num_features``: C, ``eps``: ε. Parameters, if ``affine``: ``weight`` (C,), ``bias`` (C,), 1 and 0 at first.
    Buffers, if ``track_running_stats``: ``running_mean`` (C,), ``running_var`` (C,), 0 and 1 at first, and
    ``num_batches_tracked`` (). ``momentum`` None takes the average of all batches so far. Raises ShapeError for
    other axes or channels.
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Over the batch and the pixels: (N, C, H, W) → (N, C, H, W). As :func:`tinyattn.batch_norm`; (Ioffe & Szegedy
    2015).

    ``num_features``: C, ``eps``: ε. Parameters, if ``affine``: ``weight`` (C,), ``bias`` (C,), 1 and 0 at first.
    Buffers, if ``track_running_stats``: ``running_mean`` (C,), ``running_var`` (C,), 0 and 1 at first, and
    ``num_batches_tracked`` (). ``momentum`` None takes the average of all batches so far. Raises ShapeError for
    other axes or channels.
    """

    _ranks = (4,)
