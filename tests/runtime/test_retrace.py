"""Functions that are traced again and again: a warning that says why, and no more programs than can be of use."""

import warnings

import numpy as np
import pytest

import tinyattn as ta
from tinyattn.graph import trace
from tinyattn.runtime import function


def warned(step, calls) -> list[str]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for args, kwargs in calls:
            step(*args, **kwargs)
    return [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]


def _calls(make, count=12):
    return [make(k) for k in range(count)]


def step(x, batch=None, steps=1):
    return x.sum() * steps


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda k: ((np.ones((2, k + 1)),), {}),
         "because the shape of 'x' keeps changing ((2, 6), (2, 7), (2, 8), (2, 9)). Pad it to one of a few sizes"),
        (lambda k: ((np.ones(2), {"y": np.ones(k)}), {}), "because the shape of 'batch'['y'] keeps changing"),
        (lambda k: ((np.ones(2),), {"steps": k}),
         "because the value of 'steps' keeps changing (5, 6, 7, 8). Pass it as an array or a float"),
        (lambda k: ((np.ones(2), [np.ones(2)] * k), {}), "because the form of the arguments keeps changing"),
    ],
)  # fmt: skip
def test_the_argument_that_changes_is_named_once(make, says):
    (text,) = warned(ta.function(step), _calls(make))
    assert text.startswith("[function] 'step' was traced 9 times, ") and says in text
    assert "test_retrace.py" in text.splitlines()[1] and len(text.splitlines()) == 2


def test_an_attribute_that_changes_is_named():
    class Model:
        temperature = 0

    model = Model()

    def forward(x):
        trace.guard(model, "temperature", model.temperature)
        return x * model.temperature

    run = ta.function(forward)
    texts = []
    for k in range(10):
        model.temperature = k
        texts += warned(run, [((np.ones(1),), {})])
    (text,) = texts
    assert "because the attribute Model.temperature keeps changing (5, 6, 7, 8)" in text


def test_eight_shapes_are_no_reason():
    assert not warned(ta.function(step), _calls(lambda k: ((np.ones(k % 9),), {})[:2], 8))
    assert not warned(ta.function(step), [((np.ones(3),), {"steps": k % 8}) for k in range(40)])


def test_programs_used_least_recently_are_dropped(monkeypatch):
    monkeypatch.setattr(function, "PROGRAMS", 4)
    run = ta.function(step)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first = run.program(np.ones(1))
        for size in range(2, 12):
            run(np.ones(size))
            assert run.program(np.ones(1)) is first  # it is in use
    assert sum(map(len, run._compiled.values())) == 4
    assert run.program(np.ones(11)) in [e.program for group in run._compiled.values() for e in group]
