"""Nodes stay once they are made. Where a great many are made at once, Python's collector of garbage would look through
all of them again and again and find nothing, so it rests meanwhile.
"""

import contextlib
import gc
import os
import threading
from collections.abc import Iterator

_waking: set[int] = set()
"""The threads that will wake it."""


@contextlib.contextmanager
def resting() -> Iterator[None]:
    """No garbage is collected inside. (Several threads may rest at once: the first that is done wakes it for all.)"""
    thread = threading.get_ident()
    was_enabled = gc.isenabled()
    try:
        try:
            if was_enabled:
                _waking.add(thread)
                gc.disable()
            yield
        finally:
            if was_enabled:
                gc.enable()
    finally:  # (Ctrl-C may have come just before)
        if was_enabled:
            gc.enable()
            _waking.discard(thread)


def _after_fork() -> None:
    """A child has only the thread that forked: who else was to wake the collector isn't there."""
    mine = _waking & {threading.get_ident()}
    if _waking and not mine:
        gc.enable()
    _waking.intersection_update(mine)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
