"""Normalisation layers: LayerNorm, RMSNorm and GroupNorm.

    LayerNorm   y = (x − mean x) / √(var x + ε) ⊙ g + b        (Ba, Kiros & Hinton 2016)
    RMSNorm     y = x / √(mean x² + ε) ⊙ g                     (Zhang & Sennrich 2019)

over the last axes of x, so that every position is normalised by itself; GroupNorm over groups of channels and all
places (Wu & He 2018).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.nn.layers import check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.layers.norm import group_norm, layer_norm, rms_norm


class _Norm(Module):
    """The shape that is normalised, and the learned scale."""

    def __init__(self, shape: int | Sequence[int], eps: Any, elementwise_affine: bool, dtype: Any):
        sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
        for size in sizes:
            check_sizes(type(self).__name__, normalized_shape=size)
        self.normalized_shape, self.eps = tuple(map(int, sizes)), eps
        self.weight = parameter(np.ones(self.normalized_shape), dtype) if elementwise_affine else None

    def _checked(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        if x.shape[-len(self.normalized_shape) :] != self.normalized_shape:
            must = f"the last axes of x must be {self.normalized_shape}"
            fail(errors.ShapeError, type(self).__name__, must, f"got shape {x.shape}")
        return x

    def extra_repr(self) -> str:
        affine = "" if self.weight is not None else ", elementwise_affine=False"
        return f"{self.normalized_shape}, eps={self.eps}{affine}"


class LayerNorm(_Norm):
    """Mean 0 and variance 1 over the last axes, then a learned scale and shift: (…, n) → (…, n). As
    :func:`tinyattn.layer_norm`.

    ``normalized_shape``: the last axes, an integer for one. Parameters, unless ``elementwise_affine`` is False:
    ``weight`` (n,) and, if ``bias``, ``bias`` (n,), 1 and 0 at first. Raises ShapeError where the last axes are
    others.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        dtype: Any = np.float32,
    ):
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)
        self.bias = parameter(np.zeros(self.normalized_shape), dtype) if elementwise_affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(…, *normalized_shape) → the same. Raises ShapeError when the last axes of x are others."""
        x = self._checked(x)
        return layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        missing = self.weight is not None and self.bias is None
        return super().extra_repr() + (", bias=False" if missing else "")


class RMSNorm(_Norm):
    """Mean square 1 over the last axes, then a learned scale: (…, n) → (…, n). As :func:`tinyattn.rms_norm`.

    ``normalized_shape`` and ``elementwise_affine`` as for LayerNorm; ``eps`` None is the smallest step from 1 of
    x's element type. Parameter: ``weight`` (n,). Raises ShapeError where the last axes are others.
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        dtype: Any = np.float32,
    ):
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """(…, *normalized_shape) → the same. Raises ShapeError when the last axes of x are others."""
        return rms_norm(self._checked(x), self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Mean 0 and variance 1 over each of ``num_groups`` groups of the ``num_channels`` channels, then an affine
    map: (N, C, …) → (N, C, …). As :func:`tinyattn.group_norm`.

    Parameters, if ``affine``: ``weight`` (C,) and, if ``bias``, ``bias`` (C,): a scale and a shift a channel, 1 and
    0 at first. Raises ShapeError for other channels, or where the groups don't divide them.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        dtype: Any = np.float32,
        *,
        bias: bool = True,
    ):
        check_sizes("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:
            got = f"got {num_channels} and {num_groups}"
            fail(errors.ShapeError, "GroupNorm", "num_channels must be a multiple of num_groups", got)
        self.num_groups, self.num_channels, self.eps = num_groups, num_channels, eps
        self.weight = parameter(np.ones(num_channels), dtype) if affine else None
        self.bias = parameter(np.zeros(num_channels), dtype) if affine and bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, …) → the same. Raises ShapeError when the second axis isn't ``num_channels`` long."""
        x = as_tensor(x)
        if x.ndim < 2 or x.shape[1] != self.num_channels:
            must = f"x must have num_channels = {self.num_channels} channels on the second axis"
            fail(errors.ShapeError, "GroupNorm", must, f"got shape {x.shape}")
        return group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        affine = self.weight is not None
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={affine}"
