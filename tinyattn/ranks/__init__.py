"""The processes that ``mpirun`` has started together, each a *rank* with a number: which one this is, and what they do
in turns.

    mpirun -n 4 tinyattn train gpt

Without ``mpirun`` there is one, rank 0 of 1, and MPI isn't even imported. Ranks must do the same things in the same
order; a rank that fails alone ends the whole job, for the others would wait for it forever.
"""

import contextlib
import functools
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from tinyattn.errors import TinyattnError

Value = TypeVar("Value")
Thing = TypeVar("Thing")

LAUNCHERS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK")
"""Variables of the environment that MPICH and its kin, Slurm and Open MPI give to the processes they start."""
NEIGHBOURS = ("MPI_LOCALRANKID", "OMPI_COMM_WORLD_LOCAL_RANK", "SLURM_LOCALID")
"""Their variables for the number of a process among those on its machine."""
PATIENCE = 1.0
"""Seconds that a rank that fails waits for the others to fail as well."""

_alone = False


def launched() -> bool:
    """Whether this process is one of a job of MPI's."""
    return not _alone and ("mpi4py.MPI" in sys.modules or any(name in os.environ for name in LAUNCHERS))


@functools.cache
def _world() -> tuple[Any, Any, Any]:
    """Groups of all ranks: for the work, for what goes on aside, and for the end."""
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError, OSError) as error:  # no package, or no library that it finds
        must = "mpirun has started this process, so mpi4py and an MPI library must be installed"
        raise TinyattnError(
            f"[distributed] {must}, but got: {error}.\n  pip install 'tinyattn[mpi]' brings both."
        ) from None
    found = MPI.COMM_WORLD.Dup(), MPI.COMM_WORLD.Dup(), MPI.COMM_WORLD.Dup()
    if MPI.COMM_WORLD.Get_size() > 1:
        sys.excepthook = _report
    return found


def group(aside: bool = False) -> Any:
    """The communicator of all ranks; None where there is one process. ``aside``: another, for what may begin sooner or
    later than what goes on in the first."""
    return _world()[aside] if launched() else None


def rank() -> int:
    """The number of this process, 0 to size() − 1."""
    return 0 if (ranks := group()) is None else ranks.Get_rank()


def size() -> int:
    """How many processes train together: 1 without mpirun."""
    return 1 if (ranks := group()) is None else ranks.Get_size()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """For a while, work as if no other ranks were there."""
    global _alone
    before, _alone = _alone, True
    try:
        yield
    finally:
        _alone = before


def say(text: str) -> None:
    """A line of progress on stderr, once for all ranks."""
    if rank() == 0:
        print(text, file=sys.stderr)


def on_first(work: Callable[[], Value]) -> Value:
    """What ``work`` returns on rank 0, on all ranks; or the error that it raises there."""
    ranks = group()
    if ranks is None:
        return work()
    outcome = ranks.bcast(_tried(work) if rank() == 0 else None)
    return _kept(outcome)


def shared(things: Iterable[Thing], work: Callable[[Thing], Value]) -> Iterator[Value]:
    """``work`` of each of the things in order, on all ranks; the work is done by one of them. If some fails, the error
    of the first is raised on all."""
    if size() == 1:
        yield from map(work, things)
        return
    mine, count = [], 0
    for count, thing in enumerate(things, 1):
        if (count - 1) % size() == rank():
            mine.append(_tried(functools.partial(work, thing)))
    theirs = group().allgather(mine)
    for number in range(count):
        yield _kept(theirs[number % size()][number // size()])


def spread(things: Sequence[Thing], work: Callable[[Thing], Value]) -> Iterator[Value]:
    """As ``shared``, for long works, each done by a rank as if it were alone: the first hands them out to the others,
    whoever is free. After an error, or Ctrl-C, no more are begun. ``work`` must stand in a module."""
    if size() == 1:
        yield from map(work, things)
        return
    from mpi4py.futures import MPICommExecutor

    outcome: Any = None
    workers: Any
    with MPICommExecutor(group(), root=0) as workers:
        if workers is not None:
            try:
                outcome = list(workers.map(functools.partial(_by_itself, work), things)), None
            except (Exception, KeyboardInterrupt) as error:
                workers.shutdown(cancel_futures=True)
                outcome = None, error
    yield from _kept(group().bcast(outcome))


def _by_itself(work: Callable[[Thing], Value], thing: Thing) -> Value:
    with alone():
        return work(thing)


def _tried(work: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return work(), None
    except Exception as error:
        return None, error


def _kept(outcome: tuple[Any, BaseException | None]) -> Any:
    value, error = outcome
    if error is not None:
        raise error
    return value


def fail(code: int, tell: Callable[[], None]) -> None:
    """This process fails: ``tell`` why, once if all ranks fail; if only some do, end the whole job with this code.
    Without MPI ranks know nothing of each other, and the first of each machine tells.
    """
    try:
        several = size() > 1
    except TinyattnError:  # there is no MPI, which is what is to be told
        several = False
        if any(os.environ.get(name, "0") != "0" for name in NEIGHBOURS):
            return
    if not several:
        tell()
        return
    if rank() == 0:
        tell()
    everyone, deadline = _world()[-1].Ibarrier(), time.monotonic() + PATIENCE
    while not (alike := everyone.Test()) and time.monotonic() < deadline:
        time.sleep(0.01)
    if not alike:
        if rank():
            tell()
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # the library's own words, after ours, would say less
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        group().Abort(code)


def _report(kind: Any, error: Any, trace: Any) -> None:
    """An error that nobody has caught."""
    fail(1, lambda: traceback.print_exception(kind, error, trace))


def threads(processors: set[int]) -> int:
    """How many of its processors each of the ranks on this machine should use, so that all have the same."""
    if not launched():
        return len(processors)
    from mpi4py import MPI

    here = group().Split_type(MPI.COMM_TYPE_SHARED)
    neighbours = sum(bool(processors & other) for other in here.allgather(processors))
    here.Free()
    return max(1, len(processors) // neighbours)
