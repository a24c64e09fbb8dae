"""Time matrix products in steady calls, one after the other without a pause, beside PyTorch with `out=`.

    python -m benchmarks.steady [--threads 2] [--only 1024x1024x1024] [--json]

`benchmarks.gemm` pauses between turns, so that every library finds the machine quiet; a training loop gives it no rest.
Here each library repeats one product for a while, and then the other does. `call` is the product as a user calls it,
`ta.function` with `out=`; `roof` is its share of the machine's measured peak. `--only` times the shapes, m×k×n, whose
text contains what is given.
"""

import math
import statistics
import time
from collections.abc import Callable

from . import harness

SHAPES = (
    (256, 256, 256), (512, 512, 512), (640, 640, 640), (768, 128, 512), (1024, 256, 2048), (1024, 1024, 1024),
    (1280, 96, 1000), (1280, 384, 1000), (2048, 2048, 2048),
)  # fmt: skip
"""(m, k, n): rows and columns of A, columns of B."""
MEAN, LEAST = 1.0, 0.85
"""Goals for the geometric mean of the ratios, and for the least."""


def steady(work: Callable[[], object], seconds: float) -> float:
    """Seconds of a call, the second best of seven groups."""
    work()
    began = time.perf_counter()
    work()
    calls = max(3, int(seconds / 7 / max(time.perf_counter() - began, 1e-6)))
    groups = []
    for _ in range(7):
        began = time.perf_counter()
        for _ in range(calls):
            work()
        groups.append((time.perf_counter() - began) / calls)
    return sorted(groups)[1]


def main() -> None:
    options = harness.arguments("matrix products in steady calls", rounds=3, seconds=0.2)
    import numpy as np
    import torch

    import tinyattn as ta
    from tinyattn.runtime.machine import measured

    machine = measured()
    if not options.json:
        harness.print_environment(options.threads)
        print(machine)
        print(f"{'m':>5} {'k':>5} {'n':>5}{'kernel':>10}{'call':>10}{'torch':>10}  GFLOP/s   ratio    roof")
    shapes = [s for s in SHAPES if any(name in "x".join(map(str, s)) for name in options.only or [""])]
    rng, results, ratios = np.random.default_rng(0), [], []
    for m, k, n in shapes:
        product = ta.function(lambda a, b: a @ b)  # (one for all sizes would warn that it is traced so often)
        a, b = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
        out, left, right, theirs = (
            np.empty((m, n), np.float32),
            *map(torch.from_numpy, (a, b)),
            torch.empty(m, n),
        )
        kernel = product.program(a, b).bind([a, b], [out])
        works = {
            "kernel": kernel,
            "call": lambda a=a, b=b, out=out, product=product: product(a, b, out=out),
            "torch": lambda x=left, y=right, z=theirs: torch.matmul(x, y, out=z),
        }
        rounds = [
            {name: steady(work, options.seconds) for name, work in works.items()}
            for _ in range(options.rounds)
        ]
        seconds = {name: statistics.median(r[name] for r in rounds) for name in works}
        flops = 2.0 * m * k * n
        ratios.append(seconds["torch"] / seconds["call"])
        speeds = "".join(f"{flops / seconds[name] / 1e9:>10.0f}" for name in works)
        if not options.json:
            roof = flops / seconds["kernel"] / machine.flops["f32"]
            print(f"{m:>5} {k:>5} {n:>5}{speeds}{ratios[-1]:>17.2f}{roof:>8.0%}", flush=True)
        results.append({"work": "steady product", "m": m, "k": k, "n": n, "seconds": seconds})
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    if options.json:
        harness.print_json(options, results)
    else:
        print(
            f"of torch's speed: geometric mean {mean:.2f} (wanted {MEAN}), least {min(ratios):.2f} (wanted {LEAST})"
        )


if __name__ == "__main__":
    main()
