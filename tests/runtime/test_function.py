"""Compiled functions: signatures, trees, modes, randomness, and what bad arguments are told."""

import threading
from typing import NamedTuple

import numpy as np
import pytest
from engine import first_line

import tinyattn as ta
from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.runtime import threads

# Signatures.


def counted(function):
    """A compiled function, and the list that grows by one at each trace."""
    traces = []

    def traced(*args, **kwargs):
        traces.append(1)
        return function(*args, **kwargs)

    return ta.function(traced), traces


def test_one_trace_for_each_signature():
    double, traces = counted(lambda x, n=2: x * n)
    assert double(np.ones(3)).tolist() == [2, 2, 2]
    assert double(np.zeros(3)).tolist() == [0, 0, 0]
    assert len(traces) == 1
    for arguments in ((np.ones(4),), (np.ones(3, np.float32),), (np.ones((3, 1)),), (np.ones(3), 3)):
        double(*arguments)
        double(*arguments)
    assert len(traces) == 5
    double(np.ones(3), n=3)
    assert len(traces) == 6
    assert double(ta.tensor(np.ones(3))).tolist() == [2, 2, 2] and len(traces) == 6


def test_floats_are_inputs_and_whole_numbers_are_not():
    scale, traces = counted(lambda x, rate, steps: x * rate + steps)
    assert scale(np.ones(2, np.float32), 0.5, 1).tolist() == [1.5, 1.5]
    assert scale(np.ones(2, np.float32), 0.25, 1).tolist() == [1.25, 1.25]
    assert len(traces) == 1
    assert scale(np.ones(2, np.float32), 0.25, 2).tolist() == [2.25, 2.25]
    assert len(traces) == 2
    flag, traces = counted(lambda x, train: x if train else -x)
    assert (
        flag(np.ones(1), True)[0] == 1 and flag(np.ones(1), False)[0] == -1 and flag(np.ones(1), True)[0] == 1
    )
    assert len(traces) == 2


def test_an_integer_is_not_its_bool_or_float():
    kinds, traces = counted(lambda n: ta.tensor(np.zeros(1)) + {bool: 1, int: 2}.get(type(n), 3))
    assert [float(kinds(v)[0]) for v in (True, 1, 1.0)] == [1, 2, 3]
    assert len(traces) == 3


class Pair(NamedTuple):
    left: object
    right: object


def test_trees_go_in_and_come_out():
    @ta.function
    def step(batch, state):
        h, (c,) = state
        new = ta.tanh(h + batch["x"])
        return {"loss": new.sum(), "state": Pair(new, [c * 2, None]), "none": None}

    found = step({"x": np.ones(2)}, Pair(np.zeros(2), (np.ones(3),)))
    assert (
        set(found) == {"loss", "state", "none"} and isinstance(found["state"], Pair) and found["none"] is None
    )
    assert found["state"].right[0].tolist() == [2, 2, 2] and found["state"].right[1] is None
    np.testing.assert_allclose(found["state"].left, np.tanh(1))
    assert isinstance(found["loss"], np.float64) and isinstance(found["state"].left, np.ndarray)
    assert step.program({"x": np.ones(2)}, Pair(np.zeros(2), (np.ones(3),))) is step.program(
        {"x": np.zeros(2)}, Pair(np.ones(2), (np.zeros(3),))
    )


def test_guards_trace_again_when_a_mode_changes():
    class Mode:
        training = True

    mode = Mode()

    def forward(x):
        trace.guard(mode, "training", mode.training)
        return x * 2 if mode.training else x

    run, traces = counted(forward)
    assert run(np.ones(1))[0] == 2
    mode.training = False
    assert run(np.ones(1))[0] == 1
    mode.training = True
    assert run(np.ones(1))[0] == 2
    assert len(traces) == 2


def test_functions_call_each_other_and_are_methods():
    class Model:
        scale = 3.0

        @ta.function
        def forward(self, x):
            return x * self.scale

    model = Model()
    outer = ta.function(lambda x: model.forward(x) + 1)
    assert outer(np.ones(2)).tolist() == [4, 4]
    assert model.forward(np.ones(2)).tolist() == [3, 3]


def test_randomness_is_new_at_each_call_and_repeats_with_the_seed():
    draw = ta.function(lambda: (ta.random_uniform((5,)), ta.random_uniform((5,)), ta.random_normal((5,))))
    ta.manual_seed(3)
    first, second = draw(), draw()
    assert not np.array_equal(first[0], first[1]) and not np.array_equal(first[0], second[0])
    state = ta.random_state()
    third = draw()
    ta.manual_seed(3)
    assert all(np.array_equal(a, b) for a, b in zip(draw(), first, strict=True))
    ta.set_random_state(state)
    assert all(np.array_equal(a, b) for a, b in zip(draw(), third, strict=True))
    steps = ta.function(lambda: ta.scan(lambda c, _: (c, ta.random_uniform((3,))), ta.zeros(()), length=4)[1])
    values = steps()
    assert len({row.tobytes() for row in values}) == 4


# What bad arguments are told.


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        (
            np.zeros(2, np.complex64),
            "[function] arguments must be float32, float64, int32, int64 or bool arrays, but got an array of complex64.",
        ),
        (
            np.array(["a"]),
            "[function] arguments must be float32, float64, int32, int64 or bool arrays, but got an array of <U1.",
        ),
        (
            {1, 2},
            "[function] arguments must be arrays, Tensors, numbers, strings, None, or trees of them, but got set.",
        ),
    ],
)
def test_functions_say_what_they_take(argument, text):
    with pytest.raises(errors.DTypeError) as error:
        ta.function(lambda x: ta.zeros((1,)))(argument)
    assert first_line(error) == text


def test_conditions_on_traced_values_are_refused_with_the_replacement():
    with pytest.raises(errors.TinyattnError) as error:
        ta.function(lambda x: x if x.sum() > 0 else -x)(np.ones(2))
    rows = str(error.value).splitlines()
    assert (
        rows[0]
        == "[bool] a condition inside a compiled function must not depend on its inputs, but got a traced tensor."
    )
    assert rows[2] == "  Use ta.where(condition, a, b), which chooses element by element."


def test_a_failed_trace_leaves_nothing_behind():
    step = ta.function(lambda x, y: x @ y)
    with pytest.raises(errors.ShapeError):
        step(np.ones((2, 3)), np.ones((2, 3)))
    assert trace.current() is None
    assert step(np.ones((2, 3)), np.ones((3, 2))).shape == (2, 2)


def test_a_helper_that_is_about_to_sleep_sees_a_program_begin(monkeypatch):
    """Between leaving native code and falling asleep a helper waits for Python's lock; a program that begins then finds it awake and
    doesn't ring.
    """
    calls, again = [], threading.Event()

    def help_out(block, first, last, scratch):
        calls.append(block)
        if len(calls) == 1:
            meeting[threads.ACTIVE] = 1  # the program began while this returned
        else:
            meeting[threads.ACTIVE], helper.leaving = 0, True
            again.set()

    monkeypatch.setattr(
        threads.native, "function", lambda name: lambda *words: ready.wait(5) and help_out(*words)
    )
    meeting, ready = np.zeros(64, np.int64), threading.Event()
    helper = threads._Helper(meeting)
    ready.set()
    assert again.wait(5), "it fell asleep, and nobody would have woken it"
    helper.bell.put(None)
    helper.left.get(timeout=5)
