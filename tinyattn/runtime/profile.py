"""Where the time of a step goes, kernel by kernel, and how far each is from what the machine can do.

Operations and bytes are those of the plan (``Program.summary``), times are measured. The bytes are those of
operands and results, each counted once a call; most of them never leave the caches. So a kernel is compared
with the bandwidth for as many bytes as one call of it touches (``tinyattn/runtime/machine.py``): its share of
the roof is

    max(operations / peak, bytes / bandwidth) / time.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import as_integer, fail
from tinyattn.runtime.lower import Row
from tinyattn.runtime.machine import Machine, measured
from tinyattn.runtime.memory import Region
from tinyattn.runtime.summary import human, repeats

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"


@dataclass
class Cost:
    """What something costs in a step: calls, seconds, operations, bytes, and the least seconds possible."""

    calls: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    size: int = 0
    least: float = 0.0

    def add(self, other: "Cost") -> None:
        self.calls += other.calls
        self.seconds += other.seconds
        self.flops += other.flops
        self.size += other.size
        self.least += other.least

    @property
    def share_of_roof(self) -> float:
        return self.least / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        speed = f"{self.flops / self.seconds / 1e9:.1f} GFLOP/s, " if self.flops and self.seconds else ""
        rate = self.size / self.seconds / 1e9 if self.seconds else 0.0
        return (
            f"{seconds_text(self.seconds)} in {self.calls} call{'s' * (self.calls != 1)}, {speed}{rate:.1f} GB/s "
            f"({human(self.size)}), {self.share_of_roof:.0%} of the roof"
        )


@dataclass
class Timed:
    """One kernel of the program: its name, the part of the step and the module it belongs to, the operation
    it carries out, and its cost.
    """

    kernel: str
    phase: str
    scope: tuple[str, ...]
    op: str
    line: str
    cost: Cost


@dataclass
class Profile:
    """A measured step. ``seconds``: the time of the whole of it; ``rows``: its kernels, in program order."""

    seconds: float
    rows: list[Timed]
    machine: Machine
    peak_bytes: int

    def kernels(self) -> dict[str, Cost]:
        """The cost of all calls of each kernel, the most expensive first."""
        found: dict[str, Cost] = {}
        for row in self.rows:
            found.setdefault(row.kernel, Cost()).add(row.cost)
        return dict(sorted(found.items(), key=lambda item: (-item[1].seconds, item[0])))

    def phases(self) -> dict[str, Cost]:
        """The cost of the forward pass, the backward pass and the update."""
        found = {phase: Cost() for phase in (FORWARD, BACKWARD, UPDATE)}
        for row in self.rows:
            found[row.phase].add(row.cost)
        return {phase: cost for phase, cost in found.items() if cost.calls}

    @property
    def total(self) -> Cost:
        """The cost of all kernels; calling them, and Python, comes on top of it."""
        total = Cost()
        for row in self.rows:
            total.add(row.cost)
        return total

    def to_json(self) -> dict[str, Any]:
        """All figures, for machines: seconds, operations, bytes."""
        total = self.total
        return {
            "step_seconds": self.seconds,
            "kernel_seconds": total.seconds,
            "gflops": total.flops / self.seconds / 1e9,
            "share_of_peak": total.flops / self.seconds / self.machine.flops["f32"],
            "peak_bytes": self.peak_bytes,
            "machine": asdict(self.machine),
            "phases": {name: _json(cost) for name, cost in self.phases().items()},
            "kernels": [{"kernel": name} | _json(cost) for name, cost in self.kernels().items()],
        }

    def __str__(self) -> str:
        """A table of at most 80 columns."""
        head = (
            f"{'kernel':31}{'calls':>6}{'ms':>8}{'step':>6}{'GFLOP/s':>9}{'GB/s':>7}{'flop/B':>7}{'roof':>6}"
        )
        kernels = self.kernels()
        lines = [head, *(self._row(name, cost) for name, cost in kernels.items())]
        total, whole = self.total, Cost(seconds=self.seconds)
        lines.append(self._row("all kernels", total))
        for name, cost in self.phases().items():
            lines.append(self._row(f"  {name}", cost))
        whole.add(total)
        whole.seconds = self.seconds
        lines.append(self._row("step", whole))
        share = total.flops / self.seconds / self.machine.flops["f32"]
        lines.append(
            f"{total.flops / 1e6:.1f} Mflop a step at {total.flops / self.seconds / 1e9:.1f} GFLOP/s: {share:.0%} of "
            f"the peak; memory {human(self.peak_bytes)}"
        )
        lines.append(str(self.machine))
        lines.append("GB/s: operands and results, from caches too; roof: least possible time / time")
        return "\n".join(lines)

    def _row(self, name: str, cost: Cost) -> str:
        name = name if len(name) <= 30 else name[:29] + "…"
        speed = f"{cost.flops / cost.seconds / 1e9:.1f}" if cost.flops and cost.seconds else "-"
        rate = f"{cost.size / cost.seconds / 1e9:.1f}" if cost.seconds else "-"
        intensity = f"{cost.flops / cost.size:.2f}" if cost.flops and cost.size else "-"
        return (
            f"{name:31}{cost.calls:6}{cost.seconds * 1e3:8.3f}{cost.seconds / self.seconds:6.0%}{speed:>9}"
            f"{rate:>7}{intensity:>7}{cost.share_of_roof:6.0%}"
        )


def _json(cost: Cost) -> dict[str, Any]:
    return {
        "calls": cost.calls, "seconds": cost.seconds, "flops": cost.flops, "bytes": cost.size,
        "gflops": cost.flops / cost.seconds / 1e9 if cost.seconds else 0.0,
        "gbytes_per_second": cost.size / cost.seconds / 1e9 if cost.seconds else 0.0,
        "share_of_roof": cost.share_of_roof,
    }  # fmt: skip


def seconds_text(seconds: float) -> str:
    """A time in the unit that suits it."""
    for limit, factor, unit in ((1.0, 1, "s"), (1e-3, 1e3, "ms"), (0.0, 1e6, "µs")):
        if seconds >= limit:
            return f"{seconds * factor:.3g} {unit}"
    raise AssertionError


def profile(program: Any, arrays: Sequence[np.ndarray], steps: int = 10) -> Profile:
    """Run a program ``steps`` times as it is and as often with a look at the clock before and after each
    kernel. The fastest step counts, because what else runs on the machine can only make it longer. Leaves get
    their values back.
    """
    if (as_integer(steps) or 0) < 1:
        fail(errors.TinyattnError, "profile", "steps must be an integer ≥ 1", f"got {steps!r}")
    machine = measured()
    before = [leaf.storage.array.copy() for leaf in program.updates]
    call = program.bind(arrays)
    whole, ticks = [], []
    places = call.assembly.kernel_rows()
    table = call.assembly.table
    try:
        call()  # wakes threads, fills caches
        for _ in range(steps):
            started = time.perf_counter()
            call()
            whole.append(time.perf_counter() - started)
            table[places, 5] = 0
            call(profile=True)
            ticks.append(table[places, 5].copy())
    finally:
        for leaf, value in zip(program.updates, before, strict=True):
            leaf.storage.assign(value)
        call.end()
    seconds = min(ticks, key=np.sum) / machine.frequency
    phase = _phases(program)
    rows = [
        _timed(row, float(s), machine, phase) for row, s in zip(program.assembly.rows, seconds, strict=True)
    ]
    return Profile(min(whole), rows, machine, program.peak_bytes)


def _timed(row: Row, seconds: float, machine: Machine, phase) -> Timed:
    calls, size = repeats(row), sum(ref.nbytes for ref in (*row.reads, *row.writes))
    least = machine.least_seconds(row.flops, size, row.dtype) * calls
    cost = Cost(calls, seconds, row.flops * calls, size * calls, least)
    node, region = row.node, row.region
    while region.parent is not None and region.parent.node is not None:
        region = region.parent
    outermost = region.node if isinstance(region, Region) and region.node is not None else node
    name = row.kernel + (" f64" if row.dtype == "f64" else "")
    line = str(node.line) if node is not None and node.line is not None else ""
    return Timed(name, phase(outermost), node.scope if node is not None else (), _op_text(node), line, cost)


def _op_text(node: Tensor | None) -> str:
    """The operation, or those that were fused, in order."""
    if node is None:
        return "copy"
    if node.op.name != "fused":
        return node.op.name
    names = dict.fromkeys(n.op.name for n in node.attrs["body"].nodes() if n.inputs)
    return " ".join(names)


def _phases(program: Any):
    """The part of the step that a node of the program's graph belongs to. Nodes made by a derivative have an
    origin; what depends on these, and what only updates need, is the update.
    """
    count = len(program.outputs)
    order = topological(program.graph)
    late: set[Tensor] = set()  # derivatives, and what depends on them
    for node in order:
        if node.inputs and (node.origin is not None or any(source in late for source in node.inputs)):
            late.add(node)
    needed = set(topological([*program.graph[:count], *(n for n in late if n.origin is not None)]))

    def phase(node: Tensor | None) -> str:
        if node is None:
            return FORWARD
        if node.origin is not None:
            return BACKWARD
        return UPDATE if node in late or node not in needed else FORWARD

    return phase
