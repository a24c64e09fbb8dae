"""What a trace collects besides its result: updates of leaves, and the state of randomness.

While a function is traced, ``assign`` records "after the step this leaf holds that expression" instead of
doing it. Every read in the step sees the value from before the step.
"""

import contextlib
import threading
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.leaf import Storage, constant, tensor
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import fail

RANDOM_STATE = "random state"
_STEP = np.array([0, 1 << 32], np.int64)
"""Added to (seed, counter) after each step: 2³² counters belong to one step."""


@dataclass
class Trace:
    """Updates (leaf → new value) of one traced function, and how many random nodes it has."""

    updates: dict[Tensor, Tensor] = field(default_factory=dict)
    draws: int = 0
    guards: list[tuple[object, str, object]] = field(default_factory=list)
    """(object, attribute, value): Python state that the trace read; another value means another trace."""
    reads: dict[Storage, str] = field(default_factory=dict)
    """Leaves whose values Python saw while tracing (float, item, if), and the line that did."""
    printed: list[tuple[str, Tensor]] = field(default_factory=list)
    """(label, value): what is to be printed when the program has run."""


class _State(threading.local):
    trace: Trace | None = None
    drawn: list[Tensor] | None = None
    """Random nodes made while the body of a loop is traced."""
    printed: list[tuple[str, Tensor]] | None = None
    """(label, value) to be printed, while the body of a loop is traced."""


state = _State()


def current() -> Trace | None:
    """The trace being recorded, if any."""
    return state.trace


@contextlib.contextmanager
def recording():
    """Collect what is traced inside."""
    before, state.trace = state.trace, Trace()
    try:
        yield state.trace
    finally:
        state.trace = before


def assign(leaf: Tensor, value: Tensor) -> None:
    """``leaf`` holds ``value`` after this step: recorded while tracing, done at once otherwise."""
    if leaf.storage is None or value.type != leaf.type:
        fail(
            errors.ShapeError,
            "assign",
            f"a leaf of type {leaf.type} takes a value of its own type",
            f"got {value.type}",
        )
    if state.trace is None:
        leaf.assign(value.numpy())
    else:
        state.trace.updates[leaf] = value


def latest(leaf: Tensor) -> Tensor:
    """State as a step finds it that may move it several times: what ``leaf`` holds after the assignments
    recorded so far. Without a trace, a copy, as ``leaf`` itself may have moved on when the value is asked
    for.
    """
    return (
        tensor(leaf.numpy(), name=leaf.name) if state.trace is None else state.trace.updates.get(leaf, leaf)
    )


def guard(thing: object, attribute: str, value: object) -> None:
    """Note that the trace being recorded, if any, read a Python attribute."""
    if state.trace is not None:
        state.trace.guards.append((thing, attribute, value))


def read(leaf: Tensor) -> None:
    """Note that Python sees the value of a leaf: the trace being recorded holds only for this value."""
    if state.trace is not None and leaf.storage not in state.trace.reads:
        state.trace.reads[leaf.storage] = f"{leaf.name or 'a leaf'} at {scope.user_line()}"
        guard(leaf.storage, "version", leaf.storage.version)


def check_reads(record: Trace) -> None:
    """Refuse a function that updates a leaf whose value it saw while it was traced: the value would be frozen."""
    for leaf in record.updates:
        if leaf.storage in record.reads:
            must = "a compiled function must not read the value of a leaf that it updates"
            got = f"it reads {record.reads[leaf.storage]}"
            hint = "Choose with ta.where(condition, a, b), or return the value and look at it outside."
            fail(errors.TinyattnError, "function", must, got, hint)


class Generator:
    """A source of randomness: the words (seed, counter) in a leaf that programs read and advance."""

    def __init__(self, seed: int):
        self.state = tensor(np.array([seed, 0], np.int64), name=RANDOM_STATE)

    def snapshot(self) -> Tensor:
        """The state now, as a leaf of its own; the generator moves on."""
        now = self.state.storage.array.copy()
        self.state.storage.assign(now + _STEP)
        return tensor(now, name=RANDOM_STATE)

    def advanced(self) -> Tensor:
        """The state after a step, as an expression. It belongs to the step, not to the module that drew first."""
        with scope.on_behalf_of(self.state):
            return make("add", self.state, constant(_STEP, np.int64))

    def seed(self, seed: int) -> None:
        """Start again from a seed."""
        self.state.storage.assign(np.array([seed, 0], np.int64))


default_generator = Generator(0)


def random_state() -> np.ndarray:
    """The state of the global source of randomness, (seed, counter): an int64 array of shape (2,), for
    ``set_random_state``.
    """
    return default_generator.state.numpy()


def set_random_state(state: np.ndarray) -> None:
    """Go on with the random numbers that were to come when ``random_state`` returned this. ShapeError or
    DTypeError for anything else.
    """
    words = np.asarray(state)
    if words.shape != (2,):
        must, got = (
            "the state must be an array of shape (2,), as ta.random_state returns",
            f"got {words.shape}",
        )
        fail(errors.ShapeError, "set_random_state", must, got)
    if words.dtype != np.int64:
        must, got = "the state must be int64, as ta.random_state returns", f"got {words.dtype}"
        fail(errors.DTypeError, "set_random_state", must, got)
    default_generator.state.storage.assign(words)


def manual_seed(seed: int) -> None:
    """Seed the global source of randomness (dropout, random tensors, initialisers): same seed, same bits."""
    default_generator.seed(int(seed))


def refuse_traced(op: str, node: Tensor) -> NoReturn:
    """Say that ``node``, which belongs to a traced function or loop, is asked for its value, or used elsewhere."""
    fail(
        errors.TinyattnError,
        op,
        "a value can be had only outside of the function or loop that is being traced, and a Tensor of one must not be "
        "used in another",
        f"got {node!r}",
        "Return it from the function, or go on computing with it as a Tensor.",
    )
