"""Time matrix products: tinyattn beside NumPy (OpenBLAS) and PyTorch (MKL).

    python -m benchmarks.gemm [--batch 64] [--threads 2] [--json]

Which products, and in what layouts, says :mod:`benchmarks.products`.
"""

import math
import sys
from dataclasses import asdict

from . import harness
from .products import Shape, groups

MEAN, LEAST, IN_PROGRAM = 1.0, 0.8, 3.0
"""Goals: the geometric mean of the ratios against the faster of the two, the least ratio, and the least for
products of 16 and 32 inside a program."""


def our_product(shape: Shape) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours

    return ours.gemm(shape)


def numpy_product(shape: Shape) -> harness.Work:
    from .peers import numpy_gemm

    return numpy_gemm.Product(shape)


def torch_product(shape: Shape) -> harness.Work:
    from .peers import torch_gemm

    return torch_gemm.Product(shape)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def report(title: str, measured: dict[Shape, dict[str, harness.Timing]]) -> tuple[str, dict[Shape, float]]:
    """Gigaflops of each, and the ratio of tinyattn to the faster peer: above 1, tinyattn is faster."""
    names = list(dict.fromkeys(name for timings in measured.values() for name in timings))
    header = f"{'':<8}{'m':>5} {'n':>5} {'k':>5}  layout"
    lines = [
        f"{title}: Gflop/s (median)",
        header + "".join(f"{name:>12}" for name in names) + f"{'ratio':>9}",
    ]
    found = {}
    for shape, timings in measured.items():
        batch = "×".join(map(str, shape.batch))
        layout = " ".join(
            "NT"[transposed] + "h" * (name in shape.heads)
            for name, transposed in (("a", shape.transpose_a), ("b", shape.transpose_b))
        )
        line = f"{batch:<8}{shape.m:>5} {shape.n:>5} {shape.k:>5}  {layout:<6}"
        line += "".join(f"{1e-9 * shape.flops / timings[name].median:>12.1f}" for name in names)
        ratio = harness.ratios(timings)
        if ratio:
            found[shape] = min(ratio.values())
            line += f"{found[shape]:>9.2f}"
        line += "  !" if harness.disturbance(timings.values()) else ""
        lines.append(line)
    lines += harness.disturbance(timing for timings in measured.values() for timing in timings.values())
    if found:
        lines.append(f"geometric mean of the ratio: {geometric_mean(list(found.values())):.3f}")
    return "\n".join(lines) + "\n", found


def verdict(ratios: dict[Shape, float]) -> str:
    """The goals, and whether they are met."""
    mean, least = geometric_mean(list(ratios.values())), min(ratios, key=lambda shape: ratios[shape])
    found = [
        ("geometric mean of all", mean, MEAN),
        (f"least ({least.m} × {least.n} × {least.k})", ratios[least], LEAST),
    ]
    for shape, ratio in ratios.items():
        if shape.steps and shape.n == shape.k <= 32:
            found.append((f"{shape.m} × {shape.n} × {shape.k} inside a program", ratio, IN_PROGRAM))
    return "\n".join(
        f"{what}: {ratio:.2f} of the faster peer, wanted at least {goal}: {'met' if ratio >= goal else 'NOT met'}"
        for what, ratio, goal in found
    )


def main() -> None:
    options = harness.arguments("matrix products: tinyattn beside NumPy and PyTorch", rounds=5, seconds=0.02)
    if not options.json:
        harness.print_environment(options.threads)
    results, ratios, missing = [], {}, set()
    for title, shapes in groups(options.batch or (64, 16), squares=not options.batch).items():
        measured = {}
        for shape in shapes:
            makers = {
                harness.OURS: lambda shape=shape: our_product(shape),
                "numpy": lambda shape=shape: numpy_product(shape),
                "torch": lambda shape=shape: torch_product(shape),
            }
            makers = {name: make for name, make in makers.items() if name not in missing}
            works = harness.gather(makers, options.only)
            missing |= {harness.OURS} - works.keys()  # said once, not at each shape
            measured[shape] = harness.measure(works, options.rounds, options.seconds)
        text, found = report(title, measured)
        ratios |= found
        if not options.json:
            print(text, flush=True)
        for shape, timings in measured.items():
            seconds = {name: asdict(timing) for name, timing in timings.items()}
            results.append({"work": title, **shape._asdict(), "seconds": seconds})
    if ratios:
        print(verdict(ratios), file=sys.stderr if options.json else sys.stdout)
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
