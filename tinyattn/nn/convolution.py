"""Convolution and pooling layers, with torch's arguments, keys, shapes and initial values.

They take batches, and a single image or sequence, too. Weights are uniform in ±1/√fan in, where the fan in is that of
the second axis and the window (torch's Kaiming initialisation with a = √5); biases in the same range.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.nn import init
from tinyattn.nn.layers import check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.shape import expand_dims, squeeze
from tinyattn.ops.layers.convolution import Pair
from tinyattn.ops.layers.convolving import conv1d, conv2d, conv_transpose2d, pair
from tinyattn.ops.layers.pooling import adaptive_avg_pool2d, avg_pool2d, max_pool2d


class _Convolution(Module):
    """What convolution layers have in common: ``weight`` and ``bias``, and the settings that are printed."""

    def __init__(self, in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings):
        name = type(self).__name__
        check_sizes(name, in_channels=in_channels, out_channels=out_channels)
        if padding_mode != "zeros":
            fail(errors.ShapeError, name, "padding_mode must be 'zeros'", f"got {padding_mode!r}")
        check_sizes(name, groups=groups)
        if in_channels % groups or out_channels % groups:
            got = f"got {in_channels}, {out_channels} and groups={groups}"
            fail(errors.ShapeError, name, "in_channels and out_channels must be multiples of groups", got)
        self.in_channels, self.out_channels = in_channels, out_channels
        self.settings = {**settings, "groups": groups}
        shape = (shape[0], shape[1] // groups, *shape[2:])
        self.weight = parameter(init.kaiming_uniform(shape, gain=1 / math.sqrt(3)), dtype)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.bias = parameter(init.uniform(out_channels, -bound, bound), dtype) if bias else None

    def extra_repr(self) -> str:
        window = self.weight.shape[2:]
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={window}"
        text += "".join(f", {name}={value}" for name, value in self.settings.items() if _matters(name, value))
        return text if self.bias is not None else f"{text}, bias=False"


_USUAL = {"padding": 0, "dilation": 1, "output_padding": 0, "causal": False, "groups": 1}


def _matters(name: str, value: Any) -> bool:
    """Whether a setting is not the usual one; the stride is always shown, as in torch."""
    return name == "stride" or value not in (_USUAL[name], (_USUAL[name],) * 2)


class Conv1d(_Convolution):
    """Convolution of sequences: (N, C, L) → (N, O, L′), as :func:`tinyattn.conv1d`.

    ``in_channels``: C, ``out_channels``: O, ``kernel_size``: K; ``padding``: zeros on both sides, or "same" or
    "valid". Parameters: ``weight`` (O, C/groups, K), ``bias`` (O,). ``causal`` (not in torch) pads on the left
    only, so that no position sees a later one. ``padding_mode``: "zeros" alone. Raises ShapeError for sizes that
    don't fit each other.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        causal: bool = False,
        dtype: Any = np.float32,
    ):
        names, values = (
            ("kernel_size", "stride", "padding", "dilation"),
            (kernel_size, stride, padding, dilation),
        )
        settings: dict[str, Any] = {
            name: value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
            for name, value in zip(names, values, strict=True)
        }
        kernel = settings.pop("kernel_size")
        check_sizes("Conv1d", kernel_size=kernel)
        settings["causal"] = causal
        shape = (out_channels, in_channels, kernel)
        super().__init__(in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, L) → (N, O, L′)."""
        return _batched(conv1d, 3, x, self.weight, self.bias, **self.settings)


class Conv2d(_Convolution):
    """Convolution of images: (N, C, H, W) → (N, O, H′, W′), as :func:`tinyattn.conv2d`.

    ``in_channels``: C, ``out_channels``: O, ``kernel_size``: KH and KW. Parameters: ``weight`` (O, C/groups, KH,
    KW), ``bias`` (O,). ``padding_mode``: "zeros" alone. Raises ShapeError for sizes that don't fit each other.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair | str = 0,
        dilation: int | Pair = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        dtype: Any = np.float32,
    ):
        settings = _pairs("Conv2d", stride=(stride, 1), padding=(padding, 0), dilation=(dilation, 1))
        shape = (out_channels, in_channels, *pair("Conv2d", "kernel_size", kernel_size, 1))
        super().__init__(in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, O, H′, W′)."""
        return _batched(conv2d, 4, x, self.weight, self.bias, **self.settings)


class ConvTranspose2d(_Convolution):
    """Transposed convolution of images: (N, C, H, W) → (N, O, H′, W′), as :func:`tinyattn.conv_transpose2d`.

    ``in_channels``: C, ``out_channels``: O, ``kernel_size``: KH and KW. Parameters: ``weight`` (C, O/groups, KH,
    KW), ``bias`` (O,). ``padding_mode``: "zeros" alone. Raises ShapeError for sizes that don't fit each other.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        output_padding: int | Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Pair = 1,
        padding_mode: str = "zeros",
        dtype: Any = np.float32,
    ):
        name = "ConvTranspose2d"
        given = {"stride": (stride, 1), "padding": (padding, 0), "output_padding": (output_padding, 0)}
        given |= {"dilation": (dilation, 1)}
        shape = (in_channels, out_channels, *pair(name, "kernel_size", kernel_size, 1))
        settings = _pairs(name, **given)
        super().__init__(in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, O, H′, W′)."""
        return _batched(conv_transpose2d, 4, x, self.weight, self.bias, **self.settings)


def _batched(function: Callable, rank: int, x: Tensor, *rest: Any, **attrs: Any) -> Tensor:
    """``function`` of x; of a single image or sequence, which lacks the axis of the batch, as of a batch of one."""
    x = as_tensor(x)
    if x.ndim != rank - 1:
        return function(x, *rest, **attrs)
    return squeeze(function(expand_dims(x, 0), *rest, **attrs), 0)


def _pairs(name: str, **given: tuple[Any, int]) -> dict[str, Any]:
    """Settings, each with its least value, as pairs; a word ("same") stays one."""
    return {
        key: value if key == "padding" and isinstance(value, str) else pair(name, key, value, least)
        for key, (value, least) in given.items()
    }


class _Pool(Module):
    """Settings of a pooling layer, which are the arguments of the function."""

    def __init__(
        self, kernel_size: int | Pair, stride: int | Pair | None, padding: int | Pair, **others: Any
    ):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        if stride is None:
            self.stride = kernel_size
        self.others = others

    def extra_repr(self) -> str:
        text = f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + "".join(f", {k}={v}" for k, v in self.others.items() if v != _POOLS_USUAL[k])


_POOLS_USUAL = {"dilation": 1, "ceil_mode": False, "count_include_pad": True, "divisor_override": None}


class MaxPool2d(_Pool):
    """The maximum of each window: (N, C, H, W) → (N, C, H′, W′), as :func:`tinyattn.max_pool2d`."""

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        dilation: int | Pair = 1,
        *,
        ceil_mode: bool = False,
    ):
        super().__init__(kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H′, W′)."""
        return _batched(max_pool2d, 4, x, self.kernel_size, self.stride, self.padding, **self.others)


class AvgPool2d(_Pool):
    """The mean of each window: (N, C, H, W) → (N, C, H′, W′). ``kernel_size``, ``stride`` and ``padding`` as for
    MaxPool2d, the others as :func:`tinyattn.avg_pool2d`.
    """

    def __init__(
        self,
        kernel_size: int | Pair,
        stride: int | Pair | None = None,
        padding: int | Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):
        others = {"ceil_mode": ceil_mode, "count_include_pad": count_include_pad}
        super().__init__(kernel_size, stride, padding, **others, divisor_override=divisor_override)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H′, W′)."""
        return _batched(avg_pool2d, 4, x, self.kernel_size, self.stride, self.padding, **self.others)


class AdaptiveAvgPool2d(Module):
    """Means over windows that cover x: (N, C, H, W) → (N, C, R, S), as :func:`tinyattn.adaptive_avg_pool2d`."""

    def __init__(self, output_size: Any):
        self.output_size = output_size

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, *output_size)."""
        return _batched(adaptive_avg_pool2d, 4, x, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
