"""Recurrent cells, compiled: what is masked or saturated, and how many kernels a step takes. (Their values and
derivatives are in the table of ops.)"""

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.ops.layers.cells import gru_gates, lstm_gates
from tinyattn.runtime.plan import rows_of

CELLS = {"lstm": (lstm_gates, (4, 1, 1)), "gru": (gru_gates, (3, 3, 1))}
"""Each with the widths of its operands, in units of H."""


def compiled(cell):
    """The new states and their derivatives, in one program."""

    @ta.function
    def step(cotangent, inputs, *mask):
        inputs = list(inputs)
        states = cell(*inputs, *mask)
        states = states if isinstance(states, tuple) else (states,)
        return states, ta.grad(sum((s * cotangent).sum() for s in states), inputs)

    return step


def operands(name, batch, hidden, dtype):
    random = np.random.default_rng([batch, hidden])
    return [2 * random.normal(size=(batch, w * hidden)).astype(dtype) for w in (*CELLS[name][1], 1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("hidden", [7, 64, 1100])
@pytest.mark.parametrize("name", CELLS)
def test_steps_that_are_masked_pass_states_whatever_is_in_their_gates(name, hidden, dtype):
    *inputs, cotangent = operands(name, 5, hidden, dtype)
    step, runs = compiled(CELLS[name][0]), np.array([[True], [False], [True], [True], [False]])
    states, gradients = step(cotangent, inputs)
    ended = ~runs[:, 0]
    for gates in inputs[: -len(states)]:
        gates[ended] = np.nan
    masked, by_masked = step(cotangent, inputs, runs)
    for new, free, old in zip(masked, states, inputs[-len(states) :], strict=True):
        np.testing.assert_array_equal(new[ended], old[ended])
        np.testing.assert_array_equal(new[runs[:, 0]], free[runs[:, 0]])
    for got, free, x in zip(by_masked, gradients, inputs, strict=True):
        np.testing.assert_array_equal(got[ended], 0 if np.isnan(x).any() else cotangent[ended])
        np.testing.assert_array_equal(got[runs[:, 0]], free[runs[:, 0]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CELLS)
def test_saturated_gates_stay_finite(name, dtype):
    big = np.array([[-1e30, 1e30, -100.0, 100.0, 0.0]], dtype)
    inputs = [np.tile(big, (1, width)) for width in CELLS[name][1]]
    inputs[-1] = np.ones_like(big)
    for results in compiled(CELLS[name][0])(np.ones_like(big), inputs):
        for result in results:
            assert np.isfinite(result).all()


@pytest.mark.parametrize("name", CELLS)
def test_a_step_and_its_derivative_are_one_loop(name):
    """What is copied: two gates of a GRU, the same for the parts of x and h; zeros, which an LSTM's h gets."""
    *inputs, cotangent = operands(name, 3, 8, np.float32)
    program = compiled(CELLS[name][0]).program(cotangent, inputs)
    assert [row.kernel for row in rows_of(program.lowered.main)] == ["elementwise.chain", "copy.strided"]
