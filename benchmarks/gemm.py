"""Time float32 matrix products: tinyattn beside NumPy (OpenBLAS) and PyTorch (MKL).

    python -m benchmarks.gemm [--batch 64] [--threads 2] [--json]

Squares, and every product of the Bahdanau model's training step. A linear map y = x W' with W stored
(out, in) makes three of them, each in a layout of its own (N as stored, T transposed):

    forward   y  = x W'       N T      (rows, in)(in, out)
    backward  dx = dy W       N N      (rows, out)(out, in)
    weights   dW = dy' x      T N      (out, rows)(rows, in), over all time steps at once
"""

import math
import sys
from collections.abc import Iterator
from dataclasses import asdict

from . import harness

GOAL = 0.9  # geometric mean of the ratio against the faster of the two
SQUARES = (64, 128, 256, 512, 1024, 2048)
STEPS = 20
MAPS = (  # (over all steps at once?, in, out)
    (True, 128, 384),  # encoder: input of one direction
    (False, 128, 384),  # encoder and decoder: recurrence
    (True, 256, 128),  # attention: keys
    (False, 128, 128),  # attention: query; initial state
    (False, 384, 384),  # decoder: input, [embedding; context]
    (False, 512, 384),  # decoder: input and recurrence in one product
    (True, 512, 256),  # maxout
    (True, 128, 60),  # logits
)

Shape = tuple[int, int, int, bool, bool]  # m, n, k, transpose_a, transpose_b


def model_shapes(batch: int) -> Iterator[Shape]:
    """The distinct products of one training step."""
    shapes: dict[Shape, None] = {}  # a set that keeps the order
    for at_once, inputs, outputs in MAPS:
        rows = batch * STEPS if at_once else batch
        shapes[rows, outputs, inputs, False, True] = None
        shapes[rows, inputs, outputs, False, False] = None
        shapes[outputs, inputs, batch * STEPS, True, False] = None
    return iter(shapes)


def our_product(shape: Shape) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours

    return ours.gemm(*shape)


def numpy_product(shape: Shape) -> harness.Work:
    from .peers import numpy_gemm

    return numpy_gemm.Product(*shape)


def torch_product(shape: Shape) -> harness.Work:
    from .peers import torch_gemm

    return torch_gemm.Product(*shape)


def geometric_mean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def report(title: str, measured: dict[Shape, dict[str, harness.Timing]]) -> tuple[str, list[float]]:
    """Gigaflops of each, and the ratio of tinyattn to the faster peer: above 1, tinyattn is faster."""
    names = list(dict.fromkeys(name for timings in measured.values() for name in timings))
    header = (
        f"{'m':>5} {'n':>5} {'k':>5}  layout" + "".join(f"{name:>12}" for name in names) + f"{'ratio':>9}"
    )
    lines = [f"{title}: Gflop/s (median)", header]
    found = []
    for (m, n, k, transpose_a, transpose_b), timings in measured.items():
        layout = f"{'NT'[transpose_a]} {'NT'[transpose_b]}"
        line = f"{m:>5} {n:>5} {k:>5}  {layout:<6}"
        line += "".join(f"{2e-9 * m * n * k / timings[name].median:>12.1f}" for name in names)
        ratio = harness.ratios(timings)
        if ratio:
            found.append(min(ratio.values()))
            line += f"{found[-1]:>9.2f}"
        line += "  !" if harness.disturbance(timings.values()) else ""
        lines.append(line)
    lines += harness.disturbance(timing for timings in measured.values() for timing in timings.values())
    if found:
        lines.append(f"geometric mean of the ratio: {geometric_mean(found):.3f}")
    return "\n".join(lines) + "\n", found


def main() -> None:
    options = harness.arguments(
        "float32 matrix products: tinyattn beside NumPy and PyTorch", rounds=5, seconds=0.02
    )
    if not options.json:
        harness.print_environment(options.threads)
    groups: dict[str, list[Shape]] = (
        {} if options.batch else {"squares": [(n, n, n, False, False) for n in SQUARES]}
    )
    for batch in options.batch or (64, 16):
        groups[f"Bahdanau, batch {batch}"] = list(model_shapes(batch))
    results, ratios, missing = [], [], set()
    for title, shapes in groups.items():
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
        ratios += found
        if not options.json:
            print(text, flush=True)
        for shape, timings in measured.items():
            names = ("m", "n", "k", "transpose_a", "transpose_b")
            seconds = {name: asdict(timing) for name, timing in timings.items()}
            results.append({"work": title, **dict(zip(names, shape, strict=True)), "seconds": seconds})
    if ratios:
        mean = geometric_mean(ratios)
        verdict = "met" if mean >= GOAL else "NOT met"
        line = f"all: {mean:.3f} of the faster peer (geometric mean), wanted at least {GOAL}: {verdict}"
        print(line, file=sys.stderr if options.json else sys.stdout)
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
