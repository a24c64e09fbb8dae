"""A program: one graph, compiled. Rewritten, lowered, planned, assembled; then one native call a step."""

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinyattn.errors import TinyattnError
from tinyattn.graph import scope, trace
from tinyattn.graph.collecting import resting
from tinyattn.graph.leaf import conversions
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import fail
from tinyattn.graph.verify import verify
from tinyattn.kernels.build import native
from tinyattn.rewrite.affine import fuse_affine
from tinyattn.rewrite.fuse import fuse
from tinyattn.rewrite.recompute import recompute
from tinyattn.rewrite.rule import Log, Rewriter
from tinyattn.runtime import nans
from tinyattn.runtime.announce import Listener
from tinyattn.runtime.arena import address_of, arenas
from tinyattn.runtime.assemble import Assembly
from tinyattn.runtime.border import Border, Out
from tinyattn.runtime.faults import raise_fault
from tinyattn.runtime.lower import lower_graph
from tinyattn.runtime.plan import plan_memory
from tinyattn.runtime.threads import pool

if TYPE_CHECKING:
    from tinyattn.runtime.profile import Profile


_compiling = threading.RLock()
_living: "weakref.WeakValueDictionary[int, Program]" = weakref.WeakValueDictionary()


def living() -> "list[Program]":
    """All programs that somebody has."""
    return [program for reference in _living.valuerefs() if (program := reference()) is not None]


class Program:
    """The native program of a graph: ``outputs`` as functions of ``inputs`` (and of the leaves), with
    ``updates`` of leaves.

    Compiled when it is made; ``run`` then costs one native call. ``rewriting=False`` leaves out all rules
    but the ones needed to find kernels. ``told``: who is told of each output, by its number, as soon as it is written,
    while the program goes on.
    """

    def __init__(
        self,
        outputs: Sequence[Tensor],
        inputs: Sequence[Tensor] = (),
        updates: dict[Tensor, Tensor] | None = None,
        rewriting: bool = True,
        told: Callable[[int], None] | None = None,
    ):
        self.outputs, self.inputs, self.updates = list(outputs), list(inputs), dict(updates or {})
        self.listener = None if told is None else Listener(told)
        self.conversions = len(conversions)
        with _compiling, resting():
            self._compile(rewriting)
        _living[id(self)] = self
        arenas.trim(max(program.plan.peak for program in living()))

    @scope.isolated
    def _compile(self, rewriting: bool) -> None:
        self.log = Log()
        roots = [*self.outputs, *self.updates.values()]
        self.graph = optimize(roots, self.log, rewriting)
        count = len(self.outputs)
        new_updates = dict(zip(self.updates, self.graph[count:], strict=True))
        self.lowered = lower_graph(self.graph[:count], self.inputs, new_updates, self.listener)
        self.plan = plan_memory(self.lowered)
        self.assembly = Assembly(self.lowered)
        self.native = native.function("executor.program")
        self.shares = bool((self.assembly.table[:, 4][self.assembly.kernel_rows()] == 1).any())
        self.border = Border(self.lowered, self.assembly.keep, [leaf.storage.array for leaf in self.updates])
        self.stored = [leaf.storage for leaf in self.updates]
        self.idle = [self.assembly]
        """Assemblies that no run is using."""
        self.turn = threading.RLock() if self.updates else None
        """Runs that update leaves come one after another (but a signal handler's inside the one it interrupted)."""

    def check_leaves(self) -> None:
        """Refuse to run when a leaf has got another element type: its numbers are elsewhere now."""
        for storage, array in self.lowered.leaves:
            if storage.array is not array:
                must = "a program must be made again when leaves that it reads have got another element type"
                hint = "Make it, and what it computes, after model.to(...). A ta.function does so itself."
                fail(TinyattnError, "to", must, "got one from before", hint)
        self.conversions = len(conversions)

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena: all intermediate values of a step."""
        return self.plan.peak

    @property
    def flops(self) -> float:
        """Floating-point operations of a step."""
        from tinyattn.runtime.summary import repeats

        return sum(row.flops * repeats(row) for row in self.assembly.rows)

    def run(self, arrays: Sequence[np.ndarray] = (), out: Out = None) -> list[np.ndarray]:
        """One step: arrays for the outputs; leaves are updated.

        Contiguous ``arrays`` of the inputs' types are read where they are, others copied. The results are new arrays,
        or those of ``out`` (one for each output, or None for a new one): C-contiguous arrays of the outputs' shapes
        and element types.
        """
        if nans.enabled:
            return nans.run(self, arrays, out)
        return self.run_native(arrays, out)

    def run_native(self, arrays: Sequence[np.ndarray], out: Out = None) -> list[np.ndarray]:
        """``run``, of ``arrays``, without looking for NaNs."""
        call = self.bind(arrays, out)
        try:
            call()
        finally:
            call.end()
        return call.results

    def bind(self, arrays: Sequence[np.ndarray] = (), out: Out = None) -> "Call":
        """A call to be repeated: ``call()`` runs the program on ``arrays``, ``call.results`` are its outputs (those of
        ``out``, if given).
        """
        return Call(self, arrays, out)

    # What a user can ask.
    def explain(self, limit: int | None = None) -> str:
        """Each rewriting step, or the first ``limit``: the rule that fired, before and after."""
        return self.log.explain(limit)

    def profile(self, arrays: Sequence[np.ndarray] = (), steps: int = 10) -> "Profile":
        """Run ``steps`` steps on ``arrays`` and say where the time goes: ``print`` it. Leaves keep the values they
        had.
        """
        from tinyattn.runtime.profile import profile

        return profile(self, arrays, steps)

    def summary(self) -> str:
        """Kernels, bytes, peak memory, floating-point operations and rewrites of the program, as text."""
        from tinyattn.runtime.summary import summary

        return summary(self)


class Call:
    """A program with all its memory: where it reads inputs, writes results, and has its arena."""

    __slots__ = ("program", "assembly", "arena", "arrays", "results", "fresh")

    def __init__(self, program: Program, arrays: Sequence[np.ndarray], out: Out):
        self.program = program
        self.arrays = program.border.readable(arrays)
        self.results, self.fresh = program.border.writable(out, self.arrays)
        try:
            self.assembly = program.idle.pop()
        except IndexError:  # another thread runs it, or the function that a signal handler interrupted
            self.assembly = Assembly(program.lowered)
        self.arena = arenas.take(program.plan.peak)
        bases = self.assembly.bases
        bases[0], slot = self.arena.address, 1
        for group in (self.arrays, self.fresh):
            for array in group:
                bases[slot] = address_of(array)
                slot += 1

    def __call__(self, profile: bool = False) -> None:
        """Run; with ``profile``, cycles are added up in the assembly's table."""
        program = self.program
        if program.conversions != len(conversions):
            program.check_leaves()
        if program.turn is None:
            pool.run(program.native, self.assembly.table_address, program.shares, profile)
        else:
            self._update(program.turn, profile)
        if self.assembly.checks and self.assembly.fault[0]:
            raise_fault(self.assembly)
        if self.results is not self.fresh:
            for result, fresh in zip(self.results, self.fresh, strict=True):
                if result is not fresh:
                    result[...] = fresh

    def _update(self, turn: threading.RLock, profile: bool) -> None:
        """Run a program that updates leaves."""
        program = self.program
        if scope.state.built is not None:
            for storage in program.stored:
                trace.check_change(storage, "run", "an update of a leaf")
        for storage in program.stored:
            if storage.promises:
                storage.keep_promises()
        with turn:
            for storage in program.stored:  # before and after: neither Ctrl-C on the way nor whoever computes
                storage.version += 1  # meanwhile may leave a remembered value of numbers that are no more
            try:
                pool.run(program.native, self.assembly.table_address, program.shares, profile)
            finally:
                for storage in program.stored:
                    storage.version += 1

    def end(self) -> None:
        """Give the memory back; once."""
        arenas.give(self.arena)
        self.program.idle.append(self.assembly)


def optimize(roots: Sequence[Tensor], log: Log, rewriting: bool = True) -> list[Tensor]:
    """The rewriting phases, the verifier after each. Without ``rewriting`` only definitions are opened and
    chains made into (single) kernels.
    """
    from tinyattn.rewrite import rules

    if not rewriting:
        result = Rewriter([r for r in rules.RULES if r.name == "expand"], log=log)(roots, "expand")
        result = fuse(result, log, alone=True)
        verify(result, "phase fuse")
        return result
    result = Rewriter(log=log)(roots, "simplify")
    order = topological(result)
    for phase, change in (("affine", fuse_affine), ("recompute", recompute), ("fuse", fuse)):
        before, result = result, change(result, log, order=order)
        if any(new is not old for new, old in zip(result, before, strict=True)):
            verify(result, f"phase {phase}")
            order = topological(result)
    return result


class _Fork:
    """A child has the memory of its parent but only the thread that forked. So before a fork nobody else compiles
    (which takes locks) or is in the middle of an update: the child finds all locks
    free, and leaves as they are between two steps.
    """

    def __init__(self) -> None:
        self.held: list = []

    def before(self) -> None:
        turns = [program.turn for program in living() if program.turn is not None]
        for lock in (_compiling, native.lock, *turns):
            lock.acquire()
            self.held.append(lock)

    def after(self) -> None:
        while self.held:
            self.held.pop().release()


if hasattr(os, "register_at_fork"):
    _fork = _Fork()
    os.register_at_fork(before=_fork.before, after_in_parent=_fork.after, after_in_child=_fork.after)
