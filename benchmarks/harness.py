"""Time several implementations of one work beside each other, fairly.

A figure such as "105 ms" says as much about the machine, its load and its temperature as about the code. So
the implementations take turns in one process, A B C A B C ..., and what counts is the ratio of their medians:

    ratio = median(peer) / median(tinyattn)      ratio > 1: tinyattn is faster, ratio < 1: the peer is faster

A turn is: a pause, in which the previous library's worker threads stop spinning and go to sleep; calls that
are not timed, until the caches are full and one's own threads awake and spread over the processors; then
timed calls for at least `min_seconds`. Calls shorter than a millisecond are timed in groups, so that the
clock itself costs nothing.

A machine that is busy with something else ruins the figures, and not evenly: two threads that wait for each
other may lose whole time slices of the operating system (a product of 0.5 ms then takes 16 or 24 ms). So the
processor time that other processes take is watched; up to twice as many rounds are run as were asked for, and
the least disturbed are kept. Which those are depends on the other processes only, never on the times.

Every library gets the same number of threads. That has to be settled before the first of them is imported;
so this module imports nothing but the standard library, a script calls `arguments` before all else, and
implementations, tinyattn's own included, are imported by the functions that build the works.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

OURS = "tinyattn"
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # the size of XLA's thread pool
)
PAUSE_SECONDS = 0.03  # OpenBLAS' workers spin for 2^26 cycles, about 25 ms, before they sleep
WARM_SECONDS = 0.05  # after a pause, two OpenMP threads can share one processor for 30 ms before one is moved
GROUP_SECONDS = 0.001
DISTURBANCE = 0.05  # processors that others may take in a round that counts as quiet
TICKS_SECONDS = 0.02  # the operating system counts in ticks of 10 ms
REPEATS = 2
UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))

Work = Callable[[], Any]


@dataclass(frozen=True)
class Timing:
    """Seconds a call: quartiles and minimum over `samples` timed calls or groups of calls."""

    median: float
    lower_quartile: float
    upper_quartile: float
    minimum: float
    samples: int
    others: float  # processors that other processes took meanwhile

    @classmethod
    def of(cls, seconds: list[float], others: float = 0.0) -> "Timing":
        lower, median, upper = (
            statistics.quantiles(seconds, n=4, method="inclusive") if len(seconds) > 1 else seconds * 3
        )
        return cls(median, lower, upper, min(seconds), len(seconds), others)


# --- the same conditions for all ---


def set_threads(count: int) -> None:
    """Give every library `count` threads; call it before NumPy, PyTorch, JAX or Numba is imported.

    XLA has no switch of its own for the number of threads: it counts the processors on which the process may
    run. So the process is also bound to `count` of them (as `taskset` does), which holds for all alike.

    Raises ValueError when the machine offers fewer than `count` processors.
    """
    available = (
        sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    if not 1 <= count <= len(available):
        raise ValueError(f"--threads must be between 1 and {len(available)} on this machine, but was {count}")
    late = [name for name in ("numpy", "torch", "jax", "numba") if name in sys.modules]
    if late and any(os.environ.get(variable) != str(count) for variable in THREAD_VARIABLES):
        print(f"threads: {', '.join(late)} imported before; its thread count may differ", file=sys.stderr)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, available[:count])
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(count)
    if count == 1:
        os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_cpu_multi_thread_eigen=false"


def arguments(description: str, argv: list[str] | None = None, **defaults: float) -> argparse.Namespace:
    """Parse the options that all benchmark scripts share and fix the number of threads.

    `defaults` may override `rounds` and `seconds`.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--threads", type=int, default=min(2, os.cpu_count() or 1), help="for every library alike"
    )
    parser.add_argument("--rounds", type=int, default=defaults.get("rounds", 15), help="turns of each peer")
    parser.add_argument(
        "--seconds", type=float, default=defaults.get("seconds", 0.2), help="at least, in one turn"
    )
    parser.add_argument("--batch", type=int, action="append", help="only this batch size (may be repeated)")
    parser.add_argument("--only", action="append", metavar="NAME", help="only peers whose name contains NAME")
    parser.add_argument(
        "--compile", action="store_true", help="also torch.compile (needs a C++ compiler; minutes)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout instead of tables")
    options = parser.parse_args(argv)
    try:
        set_threads(options.threads)
    except ValueError as error:
        parser.error(str(error))
    return options


def environment(threads: int) -> dict[str, Any]:
    """What a reader must know to repeat the run: processor, versions, threads, load."""
    versions = {}
    for name in ("tinyattn", "numpy", "numba", "torch", "jax"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    processor = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    return {
        "processor": processor,
        "processors": os.cpu_count(),
        "threads": threads,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def print_environment(threads: int) -> None:
    """Print `environment` on two lines."""
    found = environment(threads)
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    load = "" if found["load"] is None else f", load {found['load']:.1f}"
    print(f"{found['processor']}, {found['processors']} processors, {threads} threads{load}")
    print(f"python {found['python']}, {versions}")


def gather(makers: Mapping[str, Callable[[], Work]], only: list[str] | None = None) -> dict[str, Work]:
    """Build each work by its maker; leave out, with one line, what is not installed or not written yet."""
    works = {}
    for name, make in makers.items():
        if only and name != OURS and not any(part in name for part in only):
            continue
        try:
            works[name] = make()
        except ImportError as error:
            print(f"{name}: not installed, skipped ({error})", file=sys.stderr)
        except NotImplementedError:
            print(f"{name}: not built yet", file=sys.stderr)
    return works


# --- measuring ---


def busy_seconds() -> float:
    """Time for which others have held the processors that this process may use (Linux; elsewhere 0)."""
    if not os.path.exists("/proc/stat"):
        return 0.0
    mine = {f"cpu{number}" for number in os.sched_getaffinity(0)}
    ticks = 0
    with open("/proc/stat", encoding="ascii") as lines:
        for name, *counts in map(str.split, lines):
            if name in mine:
                user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, counts)
                ticks += user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time()


def take_turn(work: Work, calls: int, min_seconds: float) -> list[float]:
    """Seconds a call, measured over groups of `calls`."""
    time.sleep(PAUSE_SECONDS)
    start = time.perf_counter()
    while time.perf_counter() - start < WARM_SECONDS:
        work()
    samples: list[float] = []
    begin = end = time.perf_counter()
    while not samples or end - begin < min_seconds:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        end = time.perf_counter()
        samples.append((end - start) / calls)
    return samples


def measure(works: Mapping[str, Work], rounds: int = 15, min_seconds: float = 0.2) -> dict[str, Timing]:
    """Let the works take turns, `rounds` times; the first calls (compilation, allocation) are not counted."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)))
    calls = {}
    for name, work in works.items():
        for _ in range(3):
            start = time.perf_counter()
            work()
            seconds = time.perf_counter() - start
        calls[name] = max(1, round(GROUP_SECONDS / max(seconds, 1e-9)))
    done: list[tuple[float, dict[str, list[float]]]] = []  # (processors that others took, seconds by name)
    quiet = 0
    while quiet < rounds and len(done) < REPEATS * rounds:
        start, others = time.perf_counter(), busy_seconds()
        samples = {name: take_turn(work, calls[name], min_seconds) for name, work in works.items()}
        elapsed, others = time.perf_counter() - start, max(0.0, busy_seconds() - others - TICKS_SECONDS)
        quiet += others <= DISTURBANCE * elapsed
        done.append((others / elapsed, samples))
    kept = sorted(done, key=lambda item: item[0])[:rounds]
    others = statistics.fmean(item[0] for item in kept)
    return {name: Timing.of([s for _, samples in kept for s in samples[name]], others) for name in works}


def ratios(timings: Mapping[str, Timing], figure: str = "median") -> dict[str, float]:
    """peer / tinyattn for each peer: above 1, tinyattn is faster. Empty without tinyattn.

    `figure` is "median", the one that counts, or "minimum", which a busy machine disturbs less.
    """
    if OURS not in timings:
        return {}
    ours = getattr(timings[OURS], figure)
    return {name: getattr(timing, figure) / ours for name, timing in timings.items() if name != OURS}


def format_seconds(*seconds: float) -> str:
    """Three digits and the unit that suits the first: 0.1052 is '105 ms'; several are joined by '..'."""
    scale, unit = next(((scale, unit) for scale, unit in UNITS if seconds[0] >= scale), UNITS[-1])
    values = [second / scale for second in seconds]
    return (
        "..".join(f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}" for value in values)
        + f" {unit}"
    )


def disturbance(timings: Iterable[Timing]) -> list[str]:
    """A line of warning when the machine was not quiet."""
    others = max((timing.others for timing in timings), default=0.0)
    if others <= DISTURBANCE:
        return []
    return [f"NOT QUIET (!): other processes took {others:.1f} processors; do not rely on these figures"]


def table(title: str, timings: Mapping[str, Timing], goals: Mapping[str, float]) -> str:
    """A table of at most 80 columns.

    `ratio` is that of the medians, `of min` that of the minima. `goal` is the smallest ratio that is wanted,
    `to reach` the time that it leaves tinyattn: median(peer) / goal.
    """
    ratio, ratio_of_minima = ratios(timings), ratios(timings, "minimum")
    row = "{:<16} {:>8} {:>16} {:>8} {:>6} {:>6} {:>4} {:>8}"
    lines = [title, row.format("", "median", "quartiles", "min", "ratio", "of min", "goal", "to reach")]
    for name, timing in sorted(timings.items(), key=lambda item: item[1].median):
        goal = goals.get(name)
        cells = [
            name,
            format_seconds(timing.median),
            format_seconds(timing.lower_quartile, timing.upper_quartile),
            format_seconds(timing.minimum),
            f"{ratio[name]:.2f}" if name in ratio else "",
            f"{ratio_of_minima[name]:.2f}" if name in ratio else "",
            goal or "",
            format_seconds(timing.median / goal) if goal else "",
        ]
        lines.append(row.format(*cells).rstrip())
    lines += disturbance(timings.values())
    for name, goal in goals.items():
        if name in ratio:
            verdict = "met" if ratio[name] >= goal else "NOT met"
            lines.append(f"against {name}: {ratio[name]:.2f}, wanted at least {goal}: {verdict}")
    return "\n".join(lines) + "\n"


def compare(
    works: Mapping[str, Work],
    rounds: int = 15,
    min_seconds: float = 0.2,
    title: str = "",
    goals: Mapping[str, float] | None = None,
    quiet: bool = False,
) -> dict[str, object]:
    """Measure the works in turns, print a table (unless `quiet`) and return everything as a JSON-ready dict.

    `works` maps a name to a function that does the work once and returns when it is done; the name `tinyattn`
    is what the others are compared with. `goals` maps a peer's name to the smallest ratio wanted against it.
    """
    timings = measure(works, rounds, min_seconds)
    if not quiet:
        print(table(title, timings, goals or {}), flush=True)
    return {
        "work": title,
        "seconds": {name: asdict(timing) for name, timing in timings.items()},
        "ratio": ratios(timings),
        "goal": dict(goals or {}),
    }


def print_json(options: argparse.Namespace, results: list[dict[str, object]]) -> None:
    """The document of `--json`."""
    print(json.dumps({"environment": environment(options.threads), "results": results}, indent=1))
