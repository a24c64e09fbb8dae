"""Float32 against float64: every row of the op table, values and derivatives, from the same numbers.

Each result is within a few units of float32's last place of the largest number of that result (of 1, where everything
cancels and float64 has nothing but rounding left). Elementwise operations are within a few units of each number.
"""

import numpy as np
import pytest
from op_table import ELEMENTWISE_ROWS, ROWS

import tinyattn as ta

ULP = 2.0**-23
BOUND = 6.0
LARGER = {
    "attention": 12,  # where a query sees one or two keys, P̄ − D is a small difference
    "rms_norm": 40,  # one number a row: x̂ is ±1, and its derivative ε / (x² + ε)^1.5 is what cancellation leaves
    "sharpen": 64,  # w^γ multiplies the rounding of log w by γ
    "sharpen_backward": 8,
    "self_attention": 32,  # the derivative by the bias of the keys is 0 but for rounding
    "memory_address": 24,  # content addressing, a shift and a power, one after the other
    "content_addressing": 10,
    "additive_score": 10,
}
"""Units allowed to rows that lose more, and why."""
CANCELLED = {"layer_norm": 32, "cosine_score": 4}
"""What the result is measured against where it is 0 but for rounding, if not 1: a row of one number has variance 0,
and its derivative is a rounding error times 1/√ε; the cosine of two numbers is ±1, and its derivative one times 1/|q|."""
RANDOM = {"random_uniform", "random_normal", "bernoulli", "dropout", "hard_attention"}


def _values(row, sample, dtype):
    """Results and cotangents of inputs, at numbers that float32 has."""
    inputs = [ta.tensor(x.astype(dtype) if x.dtype.kind == "f" else x) for x in sample.arrays(np.float32)]
    results = row.results(inputs, sample.attrs)
    floats = [y for y in results if y.dtype.kind == "f"]
    moving = [x for x in inputs if x.dtype.kind == "f"]
    if not floats or not moving or not sample.smooth or row.constant:
        return ta.Program(results).run()
    rng = np.random.default_rng(0)
    cotangents = [ta.tensor(rng.standard_normal(y.shape).astype(np.float32).astype(y.dtype)) for y in floats]
    return ta.Program([*results, *ta.vjp(lambda *_: floats, moving, cotangents)[1]]).run()


@pytest.mark.parametrize("row", [row for row in ROWS if row.name not in RANDOM], ids=lambda row: row.name)
def test_float32_is_within_units_of_the_last_place_of_float64(row):
    for sample in row.samples:
        pairs = zip(_values(row, sample, np.float32), _values(row, sample, np.float64), strict=True)
        for k, (found, right) in enumerate(pairs):
            if found.dtype != np.float32:
                assert np.array_equal(found, right), f"{sample}, output {k}"
                continue
            finite = np.isfinite(right)
            assert np.array_equal(found[~finite], right[~finite].astype(np.float32), equal_nan=True)
            largest = np.abs(right[finite]).max(initial=0)
            error = np.abs(found[finite] - right[finite]).max(initial=0) / ULP
            bound = LARGER.get(row.name, BOUND)
            scale = largest if largest > 1e-5 else CANCELLED.get(row.name, 1)
            assert error <= bound * scale, f"{sample}, output {k}: {error / scale}"


@pytest.mark.parametrize(
    "row", [r for r in ELEMENTWISE_ROWS if r.name not in RANDOM], ids=lambda row: row.name
)
def test_elementwise_values_are_within_two_units_of_each_number(row):
    for sample in row.samples:
        inputs = sample.arrays(np.float32)
        found = ta.Program(row.results([ta.tensor(x) for x in inputs], sample.attrs)).run()
        right = ta.Program(
            row.results(
                [ta.tensor(x.astype(np.float64) if x.dtype.kind == "f" else x) for x in inputs], sample.attrs
            )
        ).run()
        for a, b in zip(found, right, strict=True):
            if a.dtype == np.float32:
                assert (np.abs(a - b) <= 2 * np.spacing(np.abs(b).astype(np.float32))).all(), f"{sample}"
