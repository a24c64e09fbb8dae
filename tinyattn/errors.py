"""The errors a user of tinyattn can meet.

Every message has the same shape, so that it can be read at a glance and searched for: the name of the
operation in brackets, what must hold, and what it got, then one suggestion:

    [take] indices must lie in 0..9, but got 12.
    Check the vocabulary that made the ids.

Each class is also the built-in error a Python reader would expect, so `except ValueError` keeps working.
"""

import difflib
from collections.abc import Iterable


class TinyattnError(Exception):
    """Base class: catches every error that tinyattn raises for a user's mistake."""


class ShapeError(TinyattnError, ValueError):
    """Shapes do not fit the operation, or each other."""


class DTypeError(TinyattnError, TypeError):
    """An element type is not supported by the operation, or two of them do not mix."""


class DataError(TinyattnError, ValueError):
    """A data file, a task or one of its options is missing, damaged, or not what it should be."""


class CheckpointError(TinyattnError, ValueError):
    """A checkpoint is missing, damaged, or belongs to another run."""


class UsageError(TinyattnError, ValueError):
    """A model, task, setting or option was asked for that does not exist or make sense."""


class GradcheckError(TinyattnError, ValueError):
    """A derivative differs from its finite difference."""


class Interrupted(Exception):
    """The run was asked to stop, and has saved `step`."""

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}")
        self.step = step


def near(name: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that may have been meant by ``name``; None if none is near."""
    close = difflib.get_close_matches(name, list(known), 1, 0.75)
    return close[0] if close else None


def brief(value: object) -> str:
    """``value`` as an error shows it: in one line of at most 60 letters."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # Python prints no whole number of more than 4,300 digits
        text = "a very long number"
    return text if len(text) <= 60 else f"{text[:57]}…"
