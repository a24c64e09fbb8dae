"""Helper threads: they sleep in Python, wake when a program runs, and share its larger kernels (see
``tinyattn/kernels/executor.py``).

One program at a time may use them; another one, called from another thread at the same moment, simply runs
alone. A forked child starts with none and makes its own.
"""

import _thread
import atexit
import contextlib
import ctypes
import os
import queue
import threading
from collections.abc import Callable

import numpy as np

from tinyattn import errors
from tinyattn.environment import number
from tinyattn.graph.types import as_integer, fail
from tinyattn.kernels import MAX_TILES, SCRATCH_BYTES
from tinyattn.kernels.build import native
from tinyattn.ranks import threads as threads_here
from tinyattn.runtime.arena import aligned_bytes

CLAIM, ACTIVE, STOP, HELPERS, YIELD, STRETCH = (
    0,
    24,
    32,
    40,
    41,
    42,
)  # words of the meeting block, as in the executor


def _processors() -> set[int]:
    """The numbers of those that this process may use."""
    with contextlib.suppress(AttributeError):
        return os.sched_getaffinity(0) or {0}
    return set(range(os.cpu_count() or 1))


MOST = max(16, 4 * len(_processors()))
"""Most threads that can be asked for: each takes memory, and spins while it looks for work."""


def _default_threads() -> int:
    """``$TINYATTN_NUM_THREADS``, or else the first number in ``$OMP_NUM_THREADS`` if it is one, or else the number of
    processors, of which each rank on this machine gets as many.
    """
    asked = number("TINYATTN_NUM_THREADS", range(1, MOST + 1), f"a number of threads from 1 to {MOST}")
    others = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if asked is None and others.isascii() and others.isdigit() and len(others) < 19 and int(others) > 0:
        asked = min(int(others), MOST)
    return asked or threads_here(_processors())


class Pool:
    """The helpers of this process, and the memory they meet in."""

    def __init__(self):
        self.threads = _default_threads()
        self._reset()

    def _reset(self) -> None:
        self.lock = threading.RLock()  # (a signal handler may run a program inside another)
        self._meeting = aligned_bytes(64 * 8).view(np.int64)
        self._meeting[YIELD], self._meeting[STRETCH] = _yield_address(), MAX_TILES
        self.block = self._meeting.ctypes.data
        self._scratch = aligned_bytes(SCRATCH_BYTES + 64)
        self.scratch = self._scratch.ctypes.data
        self._helpers: list[_Helper] = []
        self._local = threading.local()

    def set_threads(self, count: int) -> None:
        if not 1 <= (as_integer(count) or 0) <= MOST:
            must = f"the number of threads must be a whole number from 1 to {MOST}"
            fail(errors.ShapeError, "set_num_threads", must, f"got {count!r}")
        with self.lock:
            self._stop()
            self.threads = int(count)

    def wake(self) -> int:
        """Make sure that the helpers are awake; the address of the meeting block. Call with the lock held."""
        while len(self._helpers) < self.threads - 1:
            self._helpers.append(_Helper(self._meeting))
            self._meeting[HELPERS] = len(self._helpers)
        self._meeting[ACTIVE] = 1  # before looking who sleeps: whoever is about to looks here once more
        for helper in self._helpers:
            if helper.asleep:
                helper.asleep = False
                helper.bell.put(None)
        return self.block

    def run(self, program: Callable[..., None], table: int, shared: bool, profile: bool = False) -> None:
        """Run the program at address ``table`` (``program`` is the executor): with the helpers if it has
        kernels to share and nobody else uses them, else alone; with ``profile``, cycles are added up in the
        table.
        """
        if shared and self.threads > 1 and self.lock.acquire(blocking=False):
            try:
                program(table, int(profile), self.wake(), self.scratch)
            finally:
                self.lock.release()
        else:
            program(table, int(profile), 0, self.own_scratch())

    def own_scratch(self) -> int:
        """Scratch memory for a program that runs while another thread has the pool."""
        local = self._local
        if not hasattr(local, "memory"):
            local.memory = aligned_bytes(SCRATCH_BYTES + 64)
            local.address = local.memory.ctypes.data
        return local.address

    def _stop(self) -> None:
        self._meeting[STOP] = 1
        for helper in self._helpers:
            helper.leaving = True
            helper.bell.put(None)
        for helper in self._helpers:
            with contextlib.suppress(queue.Empty):
                helper.left.get(timeout=1.0)
        self._helpers.clear()
        self._meeting[HELPERS] = self._meeting[STOP] = 0


class _Helper:
    """A thread that alternates between helping in native code and sleeping.

    A signal handler may run a program in the middle of any line of this file. Semaphores, events and Thread.start hold
    locks while they run, for which the handler would wait forever; a SimpleQueue doesn't, and neither does
    start_new_thread.
    """

    def __init__(self, meeting: np.ndarray):
        self.bell: queue.SimpleQueue = queue.SimpleQueue()
        self.left: queue.SimpleQueue = queue.SimpleQueue()
        self.asleep, self.leaving = False, False
        self.scratch = aligned_bytes(SCRATCH_BYTES + 64)
        help_out = native.function("executor.helper")

        def live():
            while not self.leaving:
                help_out(meeting.ctypes.data, 0, 0, self.scratch.ctypes.data)
                self.asleep = True
                if meeting[ACTIVE] and not self.leaving:
                    self.asleep = False  # a program began while this thread waited for its turn in Python
                else:
                    self.bell.get()
            self.left.put(None)

        _thread.start_new_thread(live, ())


def _yield_address() -> int:
    """The C function that offers the processor to other threads."""
    windows = os.name == "nt"
    library = getattr(ctypes, "windll").kernel32 if windows else ctypes.CDLL(None)  # noqa: B009
    function = library.SwitchToThread if windows else library.sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0


pool = Pool()
atexit.register(pool._stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=pool._reset)


def set_num_threads(count: int) -> None:
    """Use ``count`` threads for kernels from now on: from 1 to 16, or to 4 for each processor where that is more.
    Results are the same bits for any number. Raises ShapeError for any other ``count``.
    """
    pool.set_threads(count)


def get_num_threads() -> int:
    """The number of threads that kernels use."""
    return pool.threads
