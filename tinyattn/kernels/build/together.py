"""Many missing kernels are compiled at once, by this process and by helpers of its own.

Numba holds the interpreter lock while it compiles, so that the helpers are processes: Python programs that are told
on standard input what is wanted, put object code into the cache on disk, and answer. What is wanted stands in one
line, the longest work first. Helpers take from its front, this process takes from its end, and what one took nobody
else does. When a helper fails or is ended, what it took is in the line again.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable

from tinyattn.kernels.build import native
from tinyattn.kernels.language.chains import Chain
from tinyattn.kernels.language.row_chains import RowChain

Wanted = tuple[str, str] | Chain | RowChain
"""A kernel's name and number type, or a chain."""

FEW = 4
"""Fewer kernels than that are compiled sooner than a helper is there."""
PATIENCE = 20.0
"""Seconds for which a helper without work stays."""
TOO_LONG = 60.0
"""Seconds after which a helper's kernel is compiled here after all."""
USUAL: list[Wanted] = [
    (name, "f32")
    for name in (
        "gemm.multiply", "copy.strided", "executor.program", "reduce.columns", "reduce.rows", "gemm.pack",
        "reduce.argmax", "gather.take", "gather.scatter_add", "gather.check", "executor.helper", "copy.fill",
    )
]  # fmt: skip
"""What nearly every training needs."""

listeners: list[Callable[[int, int], None]] = []
"""Called in the thread that waits for kernels, with how many are ready and how many there are."""

_PROGRAM = "import sys; sys.path[:] = {path!r}; from tinyattn.kernels.build.together import serve; serve()"


class _Crew:
    """The line of what is wanted, and who works at it."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.line: deque[Wanted] = deque()
        self.taken: set[Wanted] = set()
        self.helpers = 0

    def add(self, wanted: Iterable[Wanted], helpers: int) -> None:
        """Put into the line what is not in it or taken, and see to it that there are so many helpers."""
        with self.changed:
            self.line.extend(one for one in wanted if one not in self.taken and one not in self.line)
            self.changed.notify_all()
            for _ in range(min(helpers, len(self.line)) - self.helpers):
                self.helpers += 1
                threading.Thread(target=self._lead, name="tinyattn kernels", daemon=True).start()

    def busy(self) -> bool:
        """Whether anything is in the line, or taken."""
        return bool(self.line or self.taken)

    def last(self, wanted: set[Wanted]) -> Wanted | None:
        """Take the last one of the line that is among ``wanted``."""
        with self.changed:
            for one in reversed(self.line):
                if one in wanted:
                    self.line.remove(one)
                    return one
        return None

    def wait(self, wanted: set[Wanted]) -> bool:
        """Wait until fewer of what is wanted are taken; False when none is, or when it takes too long."""
        with self.changed:
            before = len(wanted & self.taken)
            return before > 0 and self.changed.wait_for(lambda: len(wanted & self.taken) < before, TOO_LONG)

    def _lead(self) -> None:
        """One helper's thread in this process: hand it work, until there has been none for a while."""
        job: Wanted | None = None
        try:
            with _start() as process:
                while (job := self._first()) is not None:
                    pickle.dump(job, process.stdin)  # type: ignore[arg-type]
                    process.stdin.flush()  # type: ignore[union-attr]
                    if not process.stdout.read(1):  # type: ignore[union-attr]
                        break
                    self._done(job)
        except (OSError, ValueError):  # (it can't be started, or is gone)
            pass
        finally:
            with self.changed:
                self.helpers -= 1
                if job in self.taken:
                    self.taken.remove(job)
                    self.line.appendleft(job)
                self.changed.notify_all()

    def _first(self) -> Wanted | None:
        with self.changed:
            if self.changed.wait_for(lambda: self.line, PATIENCE):
                job = self.line.popleft()
                self.taken.add(job)
                return job
        return None

    def _done(self, job: Wanted) -> None:
        with self.changed:
            self.taken.discard(job)
            self.changed.notify_all()


_crew = _Crew()


def begin(wanted: Iterable[Wanted], helpers: int) -> None:
    """Let helpers begin with what is missing of ``wanted``, if that is much. Nobody waits for it here."""
    missing = [one for one in dict.fromkeys(wanted) if native.missing(one)]
    if len([one for one in missing if type(one) is tuple]) >= FEW and helpers > 0 and sys.executable:
        _crew.add(missing, helpers)


def ensure(wanted: Iterable[Wanted], helpers: int) -> None:
    """Have all of ``wanted`` compiled, by this process and up to so many helpers, if much of it is missing."""
    unknown = [one for one in dict.fromkeys(wanted) if not native.known(one)]
    if len([one for one in unknown if type(one) is tuple]) < FEW and not _crew.busy():
        return  # (as nearly always: without a look at the disk)
    missing = [one for one in unknown if native.missing(one)]
    kernels = [one for one in missing if type(one) is tuple]
    if helpers < 1 or native.cache_directory() is None:
        return
    begin([*kernels, *(one for one in missing if type(one) is not tuple)], helpers)
    open_ = set(missing)
    while open_:
        job = _crew.last(open_)
        if job is not None:
            native.make(job)
        elif not _crew.wait(open_):
            break
        open_ = {one for one in open_ if native.missing(one)}
        for listener in listeners if len(kernels) >= FEW else ():
            listener(len(missing) - len(open_), len(missing))


def _start() -> subprocess.Popen:
    """A helper. Ctrl-C isn't for it: it ends when its input does, and so with this process."""
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(path=sys.path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def serve() -> None:
    """What a helper does: compile what comes in, and answer with a byte each time."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # (whatever else is printed)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            native.store(pickle.load(sys.stdin.buffer))
            answers.write(b".")


def _forget_helpers() -> None:
    """A child has no threads that lead helpers."""
    global _crew
    _crew = _Crew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_helpers)
