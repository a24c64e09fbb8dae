"""The NaN microscope: the first value that is not finite is named, and what is meant to be infinite is let pass."""

import numpy as np
import pytest

import tinyattn as ta


@pytest.fixture
def microscope():
    ta.debug_nans(True)
    yield
    ta.debug_nans(False)


def test_infinities_that_are_meant_leave_the_update_done(microscope):
    w = ta.parameter(np.zeros(2), name="w")

    @ta.function
    def step(x):
        ta.assign(w, w + x)
        return ta.where(ta.tensor([True, False]), x, -np.inf)

    assert step(np.ones(2)).tolist() == [1, -np.inf] and w.numpy().tolist() == [1, 1]
    assert step(np.ones(2)).tolist() == [1, -np.inf] and w.numpy().tolist() == [2, 2]


def test_the_numbers_that_are_named_are_those_that_came_in(microscope):
    a = np.array([1.0, -1.0, 0.0])
    with pytest.raises(ta.NonFiniteError, match=r"1 of 3 elements[^$]*inputs: \(3,\) in -1 … 1"):
        ta.function(lambda x: ta.sqrt(x))(a, out=a)


def test_the_first_value_that_is_not_finite_is_named(microscope):
    w = ta.parameter(np.ones(3), name="w")

    @ta.function
    def step(x):
        with ta.scope("decoder"), ta.scope("attention"):
            y = ta.log(x)
        loss = (y * w).sum()
        ta.assign(w, w - ta.grad(loss, w))
        return loss

    step(np.array([1.0, 2.0, 3.0]))
    before = w.numpy().copy()
    with pytest.raises(ta.NonFiniteError) as error:
        step(np.array([1.0, -2.0, 3.0]))
    rows = str(error.value).splitlines()
    assert (
        rows[0]
        == "[log] values must be finite, but NaN came up in 1 of 3 elements (module decoder/attention)."
    )
    assert (
        rows[1].startswith("  at ")
        and rows[1].endswith(f":{step.fn.__code__.co_firstlineno + 3}")
        and "test_nans.py" in rows[1]
    )
    assert rows[2] == "  inputs: (3,) in -2 … 3"
    np.testing.assert_array_equal(w.numpy(), before)  # the step is undone
    assert isinstance(error.value, FloatingPointError)
    step(np.array([1.0, 2.0, 3.0]))


def test_infinities_in_derivatives_and_loops_are_found(microscope):
    x = ta.tensor(np.array([0.0, 1.0]))
    with pytest.raises(
        ta.NonFiniteError,
        match=r"\[div\] .* infinity came up in 1 of 2 elements \(module top level, derivative of 'sqrt'\)",
    ):
        ta.Program([ta.grad(ta.sqrt(x).sum(), x)]).run()
    final, _ = ta.scan(
        lambda c, a: (ta.exp(c * a), None), ta.ones((), np.float64), ta.tensor(np.full(20, 5.0))
    )
    with pytest.raises(
        ta.NonFiniteError, match=r"\[exp\] values must be finite, but infinity came up in 1 of 1 elements"
    ):
        ta.Program([final]).run()


def test_masks_are_no_culprits(microscope):
    scores, mask = (
        ta.tensor(np.random.default_rng(0).standard_normal((2, 3))),
        np.array([[True, False, True], [True, True, True]]),
    )
    ta.Program([ta.softmax(scores, mask=mask), ta.softmax(scores, mask=np.where(mask, 0.0, -np.inf))]).run()
