"""What this machine can do at most: floating-point operations and bytes a second, measured.

A kernel that does f operations on b bytes takes at least

    max(f / peak, b / bandwidth)

seconds: the *roofline* (Williams, Waterman & Patterson 2009). The peak is that of fused multiply-adds that
never leave the registers. Bandwidth depends on where the bytes are, so it is measured for several sizes, by
y = 2 x over memory of that size again and again: what fits a core's own caches, the shared cache, or only
memory. It counts the bytes of x and y; that a line of y may be fetched before it is written is not counted.
"""

import functools
import time
from dataclasses import dataclass

import numpy as np

from tinyattn.kernels import microbenchmark
from tinyattn.kernels.build import native
from tinyattn.runtime.arena import aligned_bytes
from tinyattn.runtime.assemble import Assembly
from tinyattn.runtime.lower import Emitter, Lowered
from tinyattn.runtime.memory import Buffer, Region, full_ref
from tinyattn.runtime.threads import pool

_SIZES = {"f32": 4, "f64": 8}
_OWN = (1 << 15, 1 << 19)
"""Bytes that fit the first and the second cache of a core."""
_SHARED = (1 << 23, 3 << 25)
"""Bytes that fit the last cache of the machine, and bytes that don't."""
_SECONDS = 1e-3
"""Time that a measurement takes. It is short, and the best of ``_ROUNDS`` counts, because what else runs on the
machine can only make it longer."""
_ROUNDS = 6


@dataclass(frozen=True)
class Machine:
    """Peaks of the machine with ``threads`` threads.

    ``flops``: operations a second for ``"f32"`` and ``"f64"`` with all threads, ``flops_of_one`` with one.
    ``bandwidths``: (bytes in use, bytes a second with all threads), from small to large; the last is that of
    memory. ``frequency``: ticks a second of the clock that programs are profiled with.
    """

    threads: int
    flops: dict[str, float]
    flops_of_one: dict[str, float]
    bandwidths: tuple[tuple[int, float], ...]
    frequency: float

    def bandwidth(self, size: int) -> float:
        """Bytes a second when ``size`` bytes are in use."""
        return next((speed for limit, speed in self.bandwidths if size <= limit), self.bandwidths[-1][1])

    def least_seconds(self, flops: float, size: int, dtype: str = "f32") -> float:
        """The roofline: the least time that ``flops`` operations on ``size`` bytes can take."""
        return max(flops / self.flops[dtype], size / self.bandwidth(size))

    def __str__(self) -> str:
        flops, one = ([speeds[name] / 1e9 for name in _SIZES] for speeds in (self.flops, self.flops_of_one))
        near = [f"{speed / 1e9:.0f} ({_bytes(size)})" for size, speed in self.bandwidths[:-1]]
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return (
            f"peak, {threads}: f32 {flops[0]:.0f} GFLOP/s, f64 {flops[1]:.0f} "
            f"(one thread: {one[0]:.0f}, {one[1]:.0f})\n"
            f"bandwidth: memory {self.bandwidths[-1][1] / 1e9:.0f} GB/s, caches {', '.join(near)}"
        )


def _bytes(size: int) -> str:
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size >> 10} kB"


class _Microbenchmark:
    """A program of one kernel, ``times`` over."""

    def __init__(
        self, kernel: str, arrays: dict[str, np.ndarray], words: dict[str, int], tiles: int, times: int
    ):
        emit = Emitter()
        region = Region(emit.main, times)
        emit.main.items.append(region)
        buffers = {name: Buffer(a.nbytes, emit.main, array=a) for name, a in arrays.items()}
        refs = {name: full_ref(buffers[name], a.shape, a.dtype) for name, a in arrays.items()}
        emit.kernel(
            kernel,
            refs | words,
            tiles,
            reads=[*refs.values()],
            writes=[],
            dtype=next(iter(arrays.values())).dtype,
            cost=1e9,
            region=region,
        )
        self.assembly = Assembly(Lowered(emit.main, [], []))
        self.run = native.function("executor.program")

    def seconds(self, shared: bool, rounds: int = _ROUNDS) -> tuple[float, float]:
        """The best time of a few runs, and the ticks of the profile's clock in it."""
        table = self.assembly.table
        row = self.assembly.kernel_rows()[0]
        best = (float("inf"), 0.0)
        for _ in range(rounds):
            table[row, 5] = 0
            started = time.perf_counter()
            pool.run(self.run, table.ctypes.data, shared, profile=True)
            best = min(best, (time.perf_counter() - started, float(table[row, 5])))
        return best


def _flops(dtype: str, shared: bool) -> tuple[float, float]:
    """Operations a second, and ticks a second."""
    numbers = aligned_bytes(64).view(np.float32 if dtype == "f32" else np.float64)
    numbers[:2] = 0.5, 1.0
    tiles = 64
    operations = tiles * microbenchmark.operations(dtype)

    def run(times: int, rounds: int) -> tuple[float, float]:
        work = _Microbenchmark("microbenchmark.multiply_add", {"numbers": numbers}, {}, tiles, times)
        return work.seconds(shared, rounds)

    times = max(1, round(_SECONDS / run(1, 2)[0]))
    seconds, ticks = run(times, _ROUNDS)
    return times * operations / seconds, ticks / seconds


def _bandwidth(size: int, shared: bool) -> float:
    x, y = (aligned_bytes(size // 2).view(np.float32) for _ in range(2))
    times = max(1, round(_SECONDS * 5e10 / size))
    tiles = -(-x.size // microbenchmark.SCALED)
    work = _Microbenchmark("microbenchmark.scale", {"x": x, "y": y}, {"size": x.size}, tiles, times)
    return times * size / work.seconds(shared)[0]


@functools.cache
def _measured(threads: int) -> Machine:
    one = {dtype: _flops(dtype, False) for dtype in _SIZES}
    ours = (False, True)[: 1 + (threads > 1)]  # alone, and together: what is best is what can be had
    flops = {dtype: max(_flops(dtype, shared)[0] for shared in ours) for dtype in _SIZES}
    # Cores don't share their own caches, so what one of them can do all can do.
    speeds = [(size * threads, threads * _bandwidth(size, False)) for size in _OWN]
    speeds += [(size, max(_bandwidth(size, shared) for shared in ours)) for size in _SHARED]
    return Machine(
        threads, flops, {dtype: speed for dtype, (speed, _) in one.items()}, tuple(speeds), one["f32"][1]
    )


def measured() -> Machine:
    """The peaks with the number of threads that kernels use now; measured once a process, in some 0.1 s."""
    return _measured(pool.threads)
