"""`tinyattn gradcheck`, `doctor` and `warmup`: is it right, does it work here."""

import argparse
import contextlib
import json
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module

import numpy as np

import tinyattn as ta
from tinyattn import models
from tinyattn.cli.operations import check_operation
from tinyattn.errors import TinyattnError
from tinyattn.experiments import workload
from tinyattn.experiments.experiment import Experiment
from tinyattn.graph.public import POINTS
from tinyattn.train.checkpoint import versions


def gradcheck(arguments: argparse.Namespace) -> int:
    """Check derivatives to second order, of the functions named or of all, each at its point."""
    for name in arguments.ops:
        check_operation("gradcheck", name)
    started, outcomes = time.perf_counter(), {}
    for name in arguments.ops or POINTS:
        function, points = POINTS[name]
        try:
            agree = all(ta.gradcheck(point.call(function), point.arrays(), order=2) for point in points)
            outcomes[name] = "right" if agree else "wrong"
        except TinyattnError as error:
            outcomes[name] = str(error)
        if not arguments.json:
            print(f"{name:<22} {outcomes[name]}", flush=True)
    wrong = sum(text != "right" for text in outcomes.values())
    if arguments.json:
        print(json.dumps(outcomes))
    else:
        right = f"{len(outcomes) - wrong} of {len(outcomes)} derivatives agree with finite differences"
        print(f"{right}, to second order ({time.perf_counter() - started:.1f} s)")
    return 1 if wrong else 0


def doctor(arguments: argparse.Namespace) -> int:
    """One line for each thing that can be wrong; exit code 1 if one is."""
    findings = []
    for name, check in CHECKS.items():
        try:
            good, text = True, check()
        except Exception as error:  # whatever it is, it is what is wrong here
            good, text = False, f"{type(error).__name__}: {error}"
        findings.append({"check": name, "good": good, "text": text})
        if not arguments.json:
            print(f"{'ok  ' if good else 'FAIL'}  {name:<12} {text}", flush=True)
    if arguments.json:
        print(json.dumps(findings))
    return 0 if all(finding["good"] for finding in findings) else 1


def _check_numbers() -> str:
    """A small training step, compiled and interpreted, must give the same numbers."""
    from tinyattn.runtime import reference

    random = np.random.default_rng(0)
    x, w = ta.tensor(random.standard_normal((5, 7))), ta.parameter(random.standard_normal((7, 3)))
    h = ta.scan(lambda s, row: (ta.tanh(s + row @ w), s), ta.zeros((3,), ta.float64), x)[0]
    loss = ta.cross_entropy(ta.reshape(h, (1, 3)), ta.tensor(np.array([1])))
    wanted = [loss, *ta.grad(loss, [w])]
    for node, right in zip(wanted, reference.evaluate(wanted), strict=True):
        if not np.allclose(node.numpy(), right, rtol=1e-12, atol=1e-12):
            raise ValueError(f"{node!r} differs between the program and the interpreter")
    return "compiled program and interpreter agree"


def _check_cache() -> str:
    native = import_module("tinyattn.kernels.build.native")
    folder = native.cache_root()
    directory = native.cache_directory()
    if directory is not None:
        with contextlib.suppress(OSError), tempfile.TemporaryFile(dir=directory):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            return f"{folder} ({size / 1e6:.1f} MB)"
    return (  # no failure: kernels work all the same
        f"warning: {folder} cannot be used, so that kernels are compiled anew in each process; set "
        "TINYATTN_CACHE to a folder that only you can write to"
    )


def _check_dot() -> str:
    found = shutil.which("dot")
    return (
        found or "not found: pictures need it (Debian, Ubuntu: apt install graphviz); everything else works"
    )


CHECKS: dict[str, Callable[[], str]] = {
    "versions": lambda: ", ".join(f"{name} {version}" for name, version in versions().items()),
    "machine": lambda: f"{platform.machine()}, {platform.system()}, {ta.get_num_threads()} threads",
    "kernel cache": _check_cache,
    "numbers": _check_numbers,
    "dot": _check_dot,
}


def _warm() -> Iterator[tuple[str, float]]:
    """Run what a first training run would compile: (name, seconds) of each."""
    for name in models.MODELS:
        experiment = Experiment(name)
        probe = experiment.task.probe()
        started = time.perf_counter()
        work = workload.of(experiment, probe)
        work()
        model = work.model.eval()
        model.answer(probe)
        model.sample(probe)
        yield name, time.perf_counter() - started


def warmup(arguments: argparse.Namespace) -> None:
    """Compile the kernels of every model into the cache."""
    times = {}
    for name, seconds in _warm():
        times[name] = round(seconds, 3)
        print(f"{name}: {seconds:.1f} s", file=sys.stderr)
    print(json.dumps(times) if arguments.json else f"kernels of {len(times)} models are ready")
