"""`tinyattn bench`: how long a training step takes and, with --profile, where the time goes."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import tinyattn as ta
from tinyattn.cli import workloads
from tinyattn.cli.settings import UsageError
from tinyattn.runtime.machine import measured


def bench(arguments: argparse.Namespace) -> None:
    """Time the training step of a model on random data; print the machine's peaks and the step's share."""
    if arguments.output and not arguments.profile:
        raise UsageError("[bench] -o says where to write the picture of --profile: add --profile.")
    entry = workloads.get(arguments.model)
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    size = arguments.batch_size or entry.batch_size
    started = time.perf_counter()
    work = entry.build(size)
    work()
    first = time.perf_counter() - started
    about = {"model": arguments.model, "batch_size": size, "parameters": work.model.num_parameters()}
    if arguments.profile:
        _profile(arguments, work, about, entry.about)
    else:
        _time(arguments, work, about | {"first_step_seconds": round(first, 4)})


def _time(arguments: argparse.Namespace, work: workloads.Workload, outcome: dict[str, Any]) -> None:
    times = []
    for _ in range(arguments.steps):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    median, machine = statistics.median(times), measured()
    program = work.step.program(*work.arguments)
    outcome |= {
        "median_step_seconds": round(median, 6), "fastest_step_seconds": round(min(times), 6),
        "tokens_per_second": round(work.tokens / median, 1), "peak_bytes": program.peak_bytes,
        "gflops": round(program.flops / median / 1e9, 2),
        "share_of_peak": round(program.flops / median / machine.flops["f32"], 4),
        "peak_gflops": round(machine.flops["f32"] / 1e9, 1),
        "peak_gflops_one_thread": round(machine.flops_of_one["f32"] / 1e9, 1),
        "peak_gflops_f64": round(machine.flops["f64"] / 1e9, 1),
        "memory_gbytes_per_second": round(machine.bandwidths[-1][1] / 1e9, 1),
    }  # fmt: skip
    print(json.dumps(outcome) if arguments.json else "\n".join(f"{k:<26} {v}" for k, v in outcome.items()))


def _profile(
    arguments: argparse.Namespace, work: workloads.Workload, about: dict[str, Any], text: str
) -> None:
    from tinyattn.viz.flame import flame
    from tinyattn.viz.output import kind_of, write

    path = Path(arguments.output or f"profile-{arguments.model}.svg")
    kind_of(path, ["svg"])
    found = work.step.profile(*work.arguments, steps=arguments.steps)
    title = f"{arguments.model}, batch {about['batch_size']}: one training step ({text})"
    write(path, flame(found, title))
    if arguments.json:
        print(json.dumps(about | found.to_json() | {"picture": str(path)}))
    else:
        print(title)
        print(found)
        print(f"picture: {path}", file=sys.stderr)
