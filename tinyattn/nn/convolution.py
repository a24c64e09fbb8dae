"""Convolution and pooling layers, with torch's arguments, keys, shapes and initial values.

Weights are uniform in ±1/√fan in, where the fan in is that of the second axis and the window (torch's Kaiming
initialisation with a = √5); biases in the same range.
"""

import math
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor, parameter
from tinyattn.graph.types import fail
from tinyattn.nn import init
from tinyattn.nn.layers import check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.convolution import Pair, conv1d, conv2d, conv_transpose2d, pair
from tinyattn.ops.pooling import avg_pool2d, max_pool2d


class _Convolution(Module):
    """What convolution layers have in common: ``weight`` and ``bias``, and the settings that are printed."""

    def __init__(self, in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings):
        name = type(self).__name__
        check_sizes(name, in_channels=in_channels, out_channels=out_channels)
        if groups != 1 or padding_mode != "zeros":
            got = f"groups={groups!r} and padding_mode={padding_mode!r} were got"
            fail(errors.ShapeError, name, "groups must be 1 and padding_mode 'zeros'", got)
        self.in_channels, self.out_channels, self.settings = in_channels, out_channels, settings
        self.weight = parameter(init.kaiming_uniform(shape, gain=1 / math.sqrt(3)), dtype)
        bound = 1 / math.sqrt(init.fans(shape)[0])
        self.bias = parameter(init.uniform(out_channels, -bound, bound), dtype) if bias else None

    def extra_repr(self) -> str:
        window = self.weight.shape[2:]
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={window}"
        text += "".join(f", {name}={value}" for name, value in self.settings.items() if _matters(name, value))
        return text if self.bias is not None else f"{text}, bias=False"


_USUAL = {"padding": 0, "dilation": 1, "output_padding": 0, "causal": False}


def _matters(name: str, value: Any) -> bool:
    """Whether a setting is not the usual one; the stride is always shown, as in torch."""
    return name == "stride" or value not in (_USUAL[name], (_USUAL[name],) * 2)


class Conv1d(_Convolution):
    """Convolution of sequences: (N, in, L) → (N, out, L′), as :func:`tinyattn.conv1d`.

    Parameters: ``weight`` (out, in, kernel_size), ``bias`` (out,). ``causal`` (not in torch) pads on the left
    only, so that no position sees a later one.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        causal: bool = False,
        dtype: Any = np.float32,
    ):
        kernel, stride, padding, dilation = (
            value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
            for value in (kernel_size, stride, padding, dilation)
        )
        check_sizes("Conv1d", kernel_size=kernel)
        settings = {"stride": stride, "padding": padding, "dilation": dilation, "causal": causal}
        shape = (out_channels, in_channels, kernel)
        super().__init__(in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, L) → (N, out, L′)."""
        return conv1d(x, self.weight, self.bias, **self.settings)


class Conv2d(_Convolution):
    """Convolution of images: (N, in, H, W) → (N, out, H′, W′), as :func:`tinyattn.conv2d`.

    Parameters: ``weight`` (out, in, KH, KW), ``bias`` (out,).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Pair,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
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
        """(N, in, H, W) → (N, out, H′, W′)."""
        return conv2d(x, self.weight, self.bias, **self.settings)


class ConvTranspose2d(_Convolution):
    """Transposed convolution of images: (N, in, H, W) → (N, out, H′, W′), as
    :func:`tinyattn.conv_transpose2d`.

    Parameters: ``weight`` (in, out, KH, KW), ``bias`` (out,).
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
        if pair(name, "dilation", dilation, 1) != (1, 1):
            fail(errors.ShapeError, name, "dilation must be 1", f"{dilation!r} was got")
        given = {"stride": (stride, 1), "padding": (padding, 0), "output_padding": (output_padding, 0)}
        shape = (in_channels, out_channels, *pair(name, "kernel_size", kernel_size, 1))
        settings = _pairs(name, **given)
        super().__init__(in_channels, out_channels, shape, groups, bias, padding_mode, dtype, **settings)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) → (N, out, H′, W′)."""
        return conv_transpose2d(x, self.weight, self.bias, **self.settings)


def _pairs(name: str, **given: tuple[Any, int]) -> dict[str, Pair]:
    """Settings, each with its least value, as pairs."""
    return {key: pair(name, key, value, least) for key, (value, least) in given.items()}


class _Pool(Module):
    def __init__(self, kernel_size: int | Pair, stride: int | Pair | None = None, padding: int | Pair = 0):
        self.kernel_size, self.stride, self.padding = kernel_size, stride, padding
        if stride is None:
            self.stride = kernel_size

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool):
    """The maximum of each window: (N, C, H, W) → (N, C, H′, W′), as :func:`tinyattn.max_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H′, W′)."""
        return max_pool2d(x, self.kernel_size, self.stride, self.padding)


class AvgPool2d(_Pool):
    """The mean of each window: (N, C, H, W) → (N, C, H′, W′), as :func:`tinyattn.avg_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, H′, W′)."""
        return avg_pool2d(x, self.kernel_size, self.stride, self.padding)
