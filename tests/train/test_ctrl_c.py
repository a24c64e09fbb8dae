"""Ctrl-C anywhere in a training step: what was interrupted is as before the step or as after it, and what comes next is
what would have come.
"""

import gc
import random
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph import scope

_PACKAGE = str(Path(ta.__file__).parent)
_X = np.random.default_rng(0).standard_normal((2, 3)).astype(np.float32)
_PLACES = 30
"""Lines that a step is interrupted at, of some 1,500 different ones."""
_KEEPERS = ("call", "scope", "__exit__", "record", "resting")
"""Functions in which what was changed for a while is put back."""


class _Training:
    """A model, its optimizer and a step; compiled, with dropout (which outside of functions draws at once)."""

    def __init__(self, compiled):
        ta.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(3, 2), *[nn.Dropout(0.5)] * compiled, ta.tanh)
        self.optimizer = ta.optim.Adam(self.net.parameters(), 0.1)
        self.step = ta.function(self._step) if compiled else lambda x: self._step(x).numpy()

    def _step(self, x):
        return self.optimizer.minimize((self.net(x) ** 2).sum())

    def state(self):
        held = {**self.net.state_dict(), **self.optimizer.state_dict(), "random": ta.random_state()}
        return {name: array.tobytes() for name, array in held.items()}


def _lines(action, stop=None):
    """Run ``action`` and count how often it passes each line of the package: {place: times}. With ``stop``, Ctrl-C comes
    at a place, at the given time.
    """
    passed = Counter()

    def watch(frame, event, argument):
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        if event == "line":
            code, caller = frame.f_code, frame.f_back
            keeps = code.co_name in _KEEPERS  # for others it doesn't matter who called
            by = (caller.f_code.co_filename, caller.f_lineno) if keeps else ()
            place = code.co_name, code.co_filename, frame.f_lineno, *by
            passed[place] += 1
            if (place, passed[place]) == stop:
                raise KeyboardInterrupt
        return watch

    before = sys.gettrace()
    sys.settrace(watch)
    try:
        action()
    except KeyboardInterrupt:
        assert stop
    finally:
        sys.settrace(before)
    return passed


def _thread():
    return dict(vars(scope.state)), gc.isenabled()


def _undisturbed(compiled):
    """(norm, state) after 0, 1, 2, 3 steps."""
    training = _Training(compiled)
    found = [(b"", training.state())]
    for _ in range(3):
        found.append((training.step(_X).tobytes(), training.state()))
    return found


def _chosen(passed):
    """Places and times of Ctrl-C: where things are put back, each line for each caller, when it is passed last (by the
    outermost one); of other lines some, at any time.
    """
    draw = random.Random(0)
    last = [(place, times) for place, times in passed.items() if place[0] in _KEEPERS]
    rest = [(place, draw.randint(1, times)) for place, times in passed.items() if place[0] not in _KEEPERS]
    return last + draw.sample(rest, min(_PLACES, len(rest)))


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # (in callbacks Python hears none)
@pytest.mark.parametrize(
    ("compiled", "done"), [(True, 0), (True, 1), (False, 1)], ids=["first", "next", "eager"]
)
def test_a_step_is_done_or_not_begun_wherever_it_is_interrupted(compiled, done):
    right, outside = _undisturbed(compiled), _thread()

    def begun():
        training = _Training(compiled)
        for _ in range(done):
            training.step(_X)
        return training

    training = begun()
    for stop in _chosen(_lines(lambda: training.step(_X))):
        training = begun()
        _lines(lambda: training.step(_X), stop)
        assert _thread() == outside, stop
        found = [number for number, (_, state) in enumerate(right) if state == training.state()]
        assert found and found[0] in (done, done + 1), stop
        assert (training.step(_X).tobytes(), training.state()) == right[found[0] + 1], stop
