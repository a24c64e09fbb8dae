"""A program: one graph, compiled. Rewritten, lowered, planned, assembled; then one native call a step."""

import gc
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.graph.verify import verify
from tinyattn.kernels import build
from tinyattn.rewrite.absorb import absorb
from tinyattn.rewrite.again import make_again
from tinyattn.rewrite.fuse import fuse
from tinyattn.rewrite.rule import Log, Rewriter
from tinyattn.runtime import nans
from tinyattn.runtime.assemble import Assembly
from tinyattn.runtime.lower import lower_graph
from tinyattn.runtime.plan import plan_memory
from tinyattn.runtime.threads import pool

if TYPE_CHECKING:
    from tinyattn.runtime.profile import Profile


class Program:
    """The native program of a graph: ``outputs`` as functions of ``inputs`` (and of the leaves), with
    ``updates`` of leaves.

    Compiled when it is made; ``run`` then costs one native call. ``rewriting=False`` leaves out all rules
    but the ones needed to find kernels.
    """

    def __init__(
        self,
        outputs: Sequence[Tensor],
        inputs: Sequence[Tensor] = (),
        updates: dict[Tensor, Tensor] | None = None,
        rewriting: bool = True,
    ):
        self.outputs, self.inputs, self.updates = list(outputs), list(inputs), dict(updates or {})
        collecting = gc.isenabled()
        gc.disable()  # the many objects made here stay: looking through them again and again would cost a third
        try:
            self._compile(rewriting)
        finally:
            if collecting:
                gc.enable()

    def _compile(self, rewriting: bool) -> None:
        self.log = Log()
        roots = [*self.outputs, *self.updates.values()]
        self.graph = optimize(roots, self.log, rewriting)
        count = len(self.outputs)
        new_updates = dict(zip(self.updates, self.graph[count:], strict=True))
        self.lowered = lower_graph(self.graph[:count], self.inputs, new_updates)
        self.plan = plan_memory(self.lowered)
        self.assembly = Assembly(self.lowered, self.plan.peak)
        self._run = build.function("executor.program")
        self._table = self.assembly.table.ctypes.data
        self._shared = bool((self.assembly.table[:, 4][self.assembly.kernel_rows()] == 1).any())
        self._input_arrays: list[Any] = [buffer.array for buffer in self.lowered.inputs]
        self._output_views = [self.assembly.view(ref) for ref in self.lowered.outputs]
        self._stored = [leaf.storage for leaf in self.updates]
        self._lock = threading.Lock()

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena: all intermediate values of a step."""
        return self.plan.peak

    @property
    def flops(self) -> float:
        """Floating-point operations of a step."""
        from tinyattn.runtime.summary import repeats

        return sum(row.flops * repeats(row) for row in self.assembly.rows)

    def run(self, arrays: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        """One step: new arrays for the outputs; leaves are updated."""
        if nans.enabled:
            return nans.run(self, arrays)
        return self.run_native(arrays)

    def run_native(self, arrays: Sequence[np.ndarray], profile: bool = False) -> list[np.ndarray]:
        """``run`` without looking for NaNs; with ``profile``, cycles are added up in the table."""
        if len(arrays) != len(self._input_arrays) or any(
            a.shape != m.shape for m, a in zip(self._input_arrays, arrays, strict=True)
        ):
            wanted, got = ([x.shape for x in group] for group in (self._input_arrays, arrays))
            fail(errors.ShapeError, "program", f"the inputs must have the shapes {wanted}", f"{got} were got")
        with self._lock:  # its memory belongs to one call at a time
            for memory, array in zip(self._input_arrays, arrays, strict=True):
                np.copyto(memory, array)
            self.execute(profile)
            return [view.copy() for view in self._output_views]

    def execute(self, profile: bool = False) -> None:
        """The native call alone, on the inputs of the last run; outputs stay where they are."""
        pool.run(self._run, self._table, self._shared, profile)
        for storage in self._stored:
            storage.version += 1

    # What a user can ask.
    def explain(self, limit: int | None = None) -> str:
        """Each rewriting step: the rule that fired, before and after."""
        return self.log.explain(limit)

    def profile(self, arrays: Sequence[np.ndarray] = (), steps: int = 10) -> "Profile":
        """Run ``steps`` steps and say where the time goes: ``print`` it. Leaves keep the values they had."""
        from tinyattn.runtime.profile import profile

        return profile(self, arrays, steps)

    def summary(self) -> str:
        """Kernels, bytes, peak memory, floating-point operations and rewrites of the program, as text."""
        from tinyattn.runtime.summary import summary

        return summary(self)


def optimize(roots: Sequence[Tensor], log: Log, rewriting: bool = True) -> list[Tensor]:
    """The rewriting phases, the verifier after each. Without ``rewriting`` only definitions are opened and
    chains made into (single) kernels.
    """
    from tinyattn.rewrite import rules

    if rewriting:
        rewriter = Rewriter(log=log)
        result = absorb(rewriter(roots, "simplify"), log)
        verify(result, "phase absorb")
        result = make_again(result, log)
        verify(result, "phase recompute")
    else:
        result = Rewriter([r for r in rules.RULES if r.name == "expand"], log=log)(roots, "expand")
    result = fuse(result, log, alone=not rewriting)
    verify(result, "phase fuse")
    return result
