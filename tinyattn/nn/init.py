"""Initial values of parameters.

Every function returns a float64 array of the given shape; ``ta.parameter`` rounds it, so that a model in
float32 starts from the rounded numbers of the same model in float64. The numbers depend on ``ta.manual_seed``
and on how many random arrays were asked for before, and on nothing else: Philox (Salmon et al. 2011) under
the key (seed, counter), where each array takes the counter a step further.

To keep the variance of signals from layer to layer, weights have a variance of gain²/fan, where the fan is
the number of inputs of a unit (fan in), of its outputs (fan out) or their mean. A weight is (out, in), with
the axes of a convolution's window behind.
"""

import math
from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.randomness import default_generator
from tinyattn.graph.types import as_shape, fail

Shape = int | Sequence[int]


def _numbers(shape: Shape) -> np.ndarray:
    """Uniform numbers in [0, 1) with 53 bits, from Philox's raw bits, which NumPy promises to keep."""
    sizes = _sizes(shape)
    seed, counter = default_generator.snapshot().numpy().view(np.uint64)
    bits = np.random.Philox(key=np.array([seed, counter], np.uint64)).random_raw(math.prod(sizes))
    return ((bits >> np.uint64(11)) * 2.0**-53).reshape(sizes)


def _sizes(shape: Shape) -> tuple[int, ...]:
    sizes = as_shape("init", shape)
    if math.prod(sizes) > 1 << 59:  # NumPy would say that sizes overflow
        raise MemoryError(f"an array of shape {sizes}")
    return sizes


def zeros(shape: Shape) -> np.ndarray:
    """Zeros, float32, of ``shape``."""
    return np.zeros(_sizes(shape))


def uniform(shape: Shape, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    """Numbers uniform in [``low``, ``high``), float32, of ``shape``."""
    return low + (high - low) * _numbers(shape)


def normal(shape: Shape, mean: float = 0.0, std: float = 1.0) -> np.ndarray:
    """Normal numbers of ``mean`` and standard deviation ``std``, float32, of ``shape``; by Box and Muller's
    transformation √(−2 log u) cos 2πv.
    """
    u, v = _numbers((2, *_sizes(shape)))
    return mean + std * np.sqrt(-2 * np.log(1 - u)) * np.cos(2 * np.pi * v)


def fans(shape: Shape) -> tuple[int, int]:
    """(fan in, fan out) of a weight (out, in, *window). Raises ShapeError for fewer than two axes."""
    sizes = _sizes(shape)
    if len(sizes) < 2:
        fail(errors.ShapeError, "init", "a weight must have the axes (out, in, …)", f"got shape {sizes}")
    window = math.prod(sizes[2:])
    return sizes[1] * window, sizes[0] * window


def xavier_uniform(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Uniform in ±gain √(6 / (fan in + fan out)), float32, of ``shape`` (out, in, …) (Glorot & Bengio 2010). Raises
    ShapeError for fewer axes.
    """
    bound = gain * math.sqrt(6 / sum(fans(shape)))
    return uniform(shape, -bound, bound)


def xavier_normal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """Normal with standard deviation gain √(2 / (fan in + fan out)), float32, of ``shape`` (out, in, …) (Glorot &
    Bengio 2010). Raises ShapeError for fewer axes.
    """
    return normal(shape, 0.0, gain * math.sqrt(2 / sum(fans(shape))))


def kaiming_uniform(shape: Shape, gain: float = math.sqrt(2), mode: str = "fan_in") -> np.ndarray:
    """Uniform in ±gain √(3 / fan), gain √2 for relu, float32, of ``shape`` (out, in, …); ``mode`` is "fan_in" or
    "fan_out" (He et al. 2015). Raises ShapeError for fewer axes, TinyattnError for another mode.
    """
    bound = gain * math.sqrt(3 / _fan(shape, mode))
    return uniform(shape, -bound, bound)


def kaiming_normal(shape: Shape, gain: float = math.sqrt(2), mode: str = "fan_in") -> np.ndarray:
    """Normal with standard deviation gain / √fan, gain √2 for relu, float32, of ``shape`` (out, in, …); ``mode`` is
    "fan_in" or "fan_out" (He et al. 2015). Raises ShapeError for fewer axes, TinyattnError for another mode.
    """
    return normal(shape, 0.0, gain / math.sqrt(_fan(shape, mode)))


def _fan(shape: Shape, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        fail(errors.TinyattnError, "init", "mode must be 'fan_in' or 'fan_out'", f"got {mode!r}")
    return fans(shape)[mode == "fan_out"]


def orthogonal(shape: Shape, gain: float = 1.0) -> np.ndarray:
    """A random matrix of orthonormal rows or columns, whichever are fewer, times ``gain``, float32, of ``shape``
    (out, in, …), whose axes after the second join it (Saxe et al. 2014). Raises ShapeError for fewer axes.
    """
    sizes = _sizes(shape)
    fans(sizes)
    rows, columns = sizes[0], math.prod(sizes[1:])
    q, r = np.linalg.qr(normal((max(rows, columns), min(rows, columns))))
    q = q * np.sign(np.diag(r))  # without it the signs would not be uniform
    return gain * (q if rows >= columns else q.T).reshape(sizes)
