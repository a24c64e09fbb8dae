"""The source of randomness: two words in a leaf, which programs read and move on."""

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.leaf import constant, tensor
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import as_integer, fail

RANDOM_STATE = "random state"
_STEP = np.array([0, 1 << 32], np.int64)
"""Added to (seed, counter) after each step: 2³² counters belong to one step."""


class Generator:
    """A source of randomness: the words (seed, counter) in a leaf that programs read and advance."""

    def __init__(self, seed: int):
        self.state = tensor(np.array([seed, 0], np.int64), name=RANDOM_STATE)

    def snapshot(self) -> Tensor:
        """The state now, as a leaf of its own; the generator moves on. (Nodes of a compiled function have other ways to
        draw; initial numbers of a parameter there would be drawn once.)
        """
        now = self.state.storage.array.copy()
        if trace.current() is not None:
            trace.check_change(self.state.storage, "init", "a draw of initial numbers")
        self.state.storage.write(now + _STEP)
        return tensor(now, name=RANDOM_STATE)

    def advanced(self) -> Tensor:
        """The state after a step, as an expression. It belongs to the step, not to the module that drew first."""
        with scope.on_behalf_of(self.state):
            return make("add", self.state, constant(_STEP, np.int64))

    def set(self, words: np.ndarray, op: str) -> None:
        """Go on from (seed, counter)."""
        self.state.storage.assign(words, op, "a new random state")


default_generator = Generator(0)


def random_state() -> np.ndarray:
    """The state of the global source of randomness, (seed, counter): an int64 array of shape (2,), for
    ``set_random_state``.
    """
    return default_generator.state.numpy()


def set_random_state(state: np.ndarray) -> None:
    """Go on with the random numbers that were to come when ``random_state`` returned ``state``. ShapeError or
    DTypeError for anything else, TinyattnError inside a compiled function.
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
    default_generator.set(words, "set_random_state")


def manual_seed(seed: int) -> None:
    """Seed the global source of randomness (dropout, random tensors, initialisers): same seed, same bits.
    TinyattnError inside a compiled function, and unless the seed is an integer that int64 holds.
    """
    found = as_integer(seed)
    if found is None or not -1 << 63 <= found < 1 << 63:
        must = "the seed must be an integer from -2**63 to 2**63 - 1"
        fail(errors.TinyattnError, "manual_seed", must, f"got {errors.brief(seed)}")
    default_generator.set(np.array([found, 0], np.int64), "manual_seed")
