"""`tinyattn bench`: how long a training step takes and, with --profile, where the time goes."""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import tinyattn as ta
from tinyattn.cli import compiling
from tinyattn.errors import UsageError
from tinyattn.experiments import workload
from tinyattn.experiments.experiment import Experiment
from tinyattn.runtime.machine import measured


def bench(arguments: argparse.Namespace) -> None:
    """Time the training step of a model on its task; print the machine's peaks and the step's share."""
    if arguments.output and not arguments.profile:
        raise UsageError("[bench] -o says where to write the picture of --profile: add --profile.")
    if arguments.threads:
        ta.set_num_threads(arguments.threads)
    compiling.begin()
    size = {} if arguments.batch_size is None else {"batch_size": arguments.batch_size}
    experiment = Experiment(arguments.model, arguments.task, data=arguments.data, **size)
    work = workload.of(experiment)
    started = time.perf_counter()
    work()
    first = time.perf_counter() - started
    about = {
        "model": experiment.name, "task": experiment.task.name, "batch_size": len(work.batch.valid),
        "parameters": work.model.num_parameters(),
    }  # fmt: skip
    if arguments.profile:
        _profile(arguments, work, about)
    else:
        _time(arguments, work, about | {"first_step_seconds": round(first, 4)})


def _time(arguments: argparse.Namespace, work: workload.Workload, outcome: dict[str, Any]) -> None:
    times = []
    for _ in range(arguments.steps):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    median, machine = statistics.median(times), measured()
    programs = [pursuit.step.program(*work.arguments) for pursuit in work.pursuits]
    flops = sum(program.flops for program in programs)
    outcome |= {
        "median_step_seconds": round(median, 6), "fastest_step_seconds": round(min(times), 6),
        "predictions_per_second": round(work.batch.weight / median, 1),
        "peak_bytes": max(program.peak_bytes for program in programs),
        "gflops": round(flops / median / 1e9, 2),
        "share_of_peak": round(flops / median / machine.flops["f32"], 4),
        "peak_gflops": round(machine.flops["f32"] / 1e9, 1),
        "peak_gflops_one_thread": round(machine.flops_of_one["f32"] / 1e9, 1),
        "peak_gflops_f64": round(machine.flops["f64"] / 1e9, 1),
        "memory_gbytes_per_second": round(machine.bandwidths[-1][1] / 1e9, 1),
    }  # fmt: skip
    print(json.dumps(outcome) if arguments.json else "\n".join(f"{k:<26} {v}" for k, v in outcome.items()))


def _profile(arguments: argparse.Namespace, work: workload.Workload, about: dict[str, Any]) -> None:
    from tinyattn.viz.flame import flame
    from tinyattn.viz.output import kind_of, write
    from tinyattn.viz.page import clean_svg, zoom_page

    single = len(work.pursuits) == 1
    outcomes = []
    for pursuit in work.pursuits:
        name = about["model"] if single else f"{about['model']}-{pursuit.name}"
        path = Path(arguments.output or f"profile-{name}.svg")
        if arguments.output and not single:
            path = path.with_stem(f"{path.stem}-{pursuit.name}")
        kind = kind_of(path, ["svg", "html"])
        found = pursuit.step.profile(*work.arguments, steps=arguments.steps)
        title = f"{name} on {about['task']}, batch {about['batch_size']}: one training step"
        picture = flame(found, title)
        write(path, zoom_page(title, clean_svg(picture, title)) if kind == "html" else picture)
        outcomes.append(found.to_json() | {"objective": pursuit.name, "picture": str(path)})
        if not arguments.json:
            print(title)
            print(found)
            print(f"picture: {path}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(about | (outcomes[0] if single else {"objectives": outcomes})))
