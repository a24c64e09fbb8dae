"""The parts of the op table: what a row says, and the arrays that a sample stands for.

A *sample* is a list of inputs, each described by shape and kind of numbers, and attributes. From it come concrete arrays in
float32 or float64, the same ones at every run.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.graph.point import Numbers, fixed
from tinyattn.graph.public import CONSTANT

FLOATS = (np.float32, np.float64)


@dataclass(frozen=True)
class Sample:
    """Inputs of one call, and its attributes. ``smooth``: finite differences exist there; ``peer``: torch means the same by it;
    ``order``: how many derivatives are checked."""

    inputs: tuple[Numbers, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    smooth: bool = True
    peer: bool = True
    order: int = 2

    def arrays(self, dtype=np.float64) -> list[np.ndarray]:
        """The inputs as arrays; the same for the same sample."""
        text = repr([(spec.shape, spec.name) for spec in self.inputs]) + repr(
            sorted(self.attrs.items(), key=str)
        )
        generator = np.random.default_rng(zlib.crc32(text.encode()))
        return [spec.array(generator, dtype) for spec in self.inputs]

    @property
    def size(self) -> int:
        return sum(int(np.prod(spec.shape)) for spec in self.inputs)


def sample(*inputs: Numbers, **attrs) -> Sample:
    return Sample(inputs, attrs)


def rough(*inputs: Numbers, **attrs) -> Sample:
    """A sample of values only: infinities come in or go out."""
    return Sample(inputs, attrs, smooth=False, peer=False)


def ours(*inputs: Numbers, **attrs) -> Sample:
    """A sample that torch answers otherwise, such as a fully masked row."""
    return Sample(inputs, attrs, peer=False)


@dataclass(frozen=True)
class Row:
    """One operation.

    ``call(*tensors, **attrs)`` builds it, ``numpy(*arrays, **attrs)`` and ``torch(torch, *tensors, **attrs)`` are the same
    elsewhere. ``constant`` says why there is no derivative to check, if the function's own declaration doesn't. ``errors`` are (call, class, first line of the text).
    ``special``: inputs with NaN, infinities and zeros, for which the result must be NumPy's.
    """

    name: str
    call: Callable
    numpy: Callable
    samples: Sequence[Sample]
    torch: Callable | None = None
    errors: Sequence[tuple[Callable, type, str]] = ()
    special: Sequence[Sample] = ()
    constant: str = ""
    tolerance: float = 1.0

    def __post_init__(self):
        if not self.constant:
            object.__setattr__(self, "constant", CONSTANT.get(self.name, ""))

    def results(self, inputs, attrs) -> list[ta.Tensor]:
        """The outputs as a list."""
        value = self.call(*inputs, **attrs)
        return list(value) if isinstance(value, (tuple, list)) else [value]

    def expected(self, arrays, attrs) -> list[np.ndarray]:
        """NumPy's outputs, computed in float64 where the inputs are floating-point."""
        wide = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays]
        with np.errstate(all="ignore"):
            value = self.numpy(*wide, **attrs)
        return list(value) if isinstance(value, (tuple, list)) else [value]


_EDGES = [
    np.nan,
    np.inf,
    -np.inf,
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    -2.5,
    3.0,
    1e-20,
    -1e-20,
    87.0,
    -87.0,
    1e4,
    -1e4,
    1e20,
]


def edges(rank: int = 1, without: Sequence[str] = ()) -> Sample:
    """Numbersial numbers: all of them, or all pairs of them."""
    values = np.array([x for x in _EDGES if str(x) not in without])
    return sample(fixed(values)) if rank == 1 else sample(fixed(values[:, None]), fixed(values))


def close(found, expected, dtype, tolerance: float = 1.0, place: str = "") -> None:
    """Compare with NumPy's result: exact for integers and bools, to rounding relative to the largest number for floats."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, f"{place}: shape {found.shape}, not {expected.shape}"
    if found.dtype.kind != "f":
        assert np.array_equal(found, expected), f"{place}: {found} is not {expected}"
        return
    assert found.dtype == np.dtype(dtype), f"{place}: {found.dtype}"
    bound = (4e-6 if np.dtype(dtype) == np.float32 else 5e-14) * tolerance
    finite = np.isfinite(expected)
    assert np.array_equal(found[~finite], expected[~finite].astype(dtype), equal_nan=True), (
        f"{place}: {found} is not {expected}"
    )
    scale = max(1.0, float(np.abs(expected[finite]).max(initial=0)))
    error = float(np.abs(found[finite].astype(np.float64) - expected[finite]).max(initial=0))
    assert error <= bound * scale, f"{place}: error {error:.3g} of {scale:.3g}"


def leaves(sample, dtype=np.float64):
    return [ta.tensor(a) for a in sample.arrays(dtype)]


def gradients(row, sample, dtype=np.float64, seed=0):
    """Outputs of a row, and the cotangents of its floating-point inputs for random cotangents of the
    outputs.
    """
    inputs = leaves(sample, dtype)
    results = row.results(inputs, sample.attrs)
    rng = np.random.default_rng(seed)
    floats = [y for y in results if y.dtype.kind == "f"]
    cotangents = [ta.tensor(rng.standard_normal(y.shape).astype(y.dtype)) for y in floats]
    moving = [x for x in inputs if x.dtype.kind == "f"]
    if not floats or not moving or row.constant.startswith("it exists only"):
        return results, []
    return results, list(ta.vjp(lambda *_: floats, moving, cotangents)[1])
