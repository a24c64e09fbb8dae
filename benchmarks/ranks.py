"""Training on several ranks: measured here, and predicted for more than there are here.

    python -m benchmarks.ranks [--only gpt] [--rounds 7] [--steps 12] [--json]

Measured: a training step in one process of two threads, the batch in one piece; on one rank of one thread and on two,
in shards; and the exchange of arrays between two ranks. All take turns for several rounds; what counts is the median of
the ratios of a round. The exchange is fitted by

    t(N, n) = 3 (N − 1) α + 2 (N − 1)/N n β        α seconds a message, β seconds a byte, n bytes

(an Alltoallv, an Allgatherv, and an Allgather of a few numbers; see tinyattn/ranks/exchange.py). Predicted from one
rank's step T₁, of which the update U isn't shared, and S shards with sums of A seconds each:

    T_N = (T₁ − U − (S − 1) A) / N + (S/N − 1) A + (N − 1)/N A + U + t(N, n)

Two ranks must come out as measured. For 8, 64 and 512 ranks on networks, each rank has as many rows as here and one
shard.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MODELS = {"gpt": "tinyshakespeare", "transformer": "tiny-mt"}
SHARDS = 2, 8
SIZES = tuple(1 << k for k in range(12, 25, 2))
"""Bytes of the arrays that are exchanged."""
NETWORKS = {"10 Gbit/s": (20e-6, 8 / 10e9), "100 Gbit/s": (3e-6, 8 / 100e9)}
"""α and β: of TCP on Ethernet, and of RDMA."""
LARGE = {"GPT-2, 124 M": 124e6, "Transformer base, 65 M": 65e6}
TOKENS = 8192
"""Of a rank and a step, of the large models."""
NEEDED, ERROR = 0.95, 0.1
"""Two ranks beside two threads, and how far a prediction may be off."""


# What the ranks do: for each line that the first is given, a number of steps, it answers with a line of JSON.


def steps_of(name: str, shards: int) -> Callable[[int], dict[str, float]]:
    """What takes so many training steps, and says how long each took, the update, and a sum of two gradients."""
    import tinyattn as ta
    from tinyattn.experiments import settings
    from tinyattn.train.loop import Pursuit

    experiment = ta.Experiment(name, MODELS[name], shards=shards)
    config, model = settings.training(experiment.config), experiment.model
    model.train()
    pursuit = Pursuit(model.objectives()[0], config)
    batches = experiment.task.batches("train", config.batch_size, seed=0)
    several = [next(batches) for _ in range(4)]
    for batch in several:
        pursuit.take(batch, lambda: False)

    def measured(count: int) -> dict[str, float]:
        took = _times(lambda: [pursuit.take(batch, lambda: False) for batch in several], count // 4)
        found = {"step": statistics.median(took) / 4, "parameters": model.num_parameters()}
        if pursuit.sharded:
            gradient, update = pursuit.sharded.example()
            other = gradient.copy()
            found["update"] = statistics.median(_times(lambda: update(gradient), 8))
            found["sum"] = statistics.median(_times(lambda: np.add(gradient, other, out=gradient), 8))
            found["bytes"] = gradient.nbytes
        else:
            found["flops"] = pursuit.step.program(type(several[0]), vars(several[0])).flops
        return found

    return measured


def exchange(count: int) -> dict[str, list[float]]:
    """Seconds of an exchange for each of the sizes."""
    from tinyattn import ranks
    from tinyattn.ranks.exchange import Slices, everywhere

    found = []
    for size in SIZES:
        slices = Slices(size // 1024, 256)
        array, few = np.zeros(size // 4, np.float32), np.zeros(4, np.float32)

        def once(slices=slices, array=array, few=few) -> None:
            everywhere(ranks.size(), [((ranks.rank(), 1), few)])
            array[slices.mine] = slices.total(ranks.size(), [((ranks.rank(), 1), array)])
            slices.gather(array)

        found.append(statistics.median(_times(once, count)))
    return {"exchange": found}


def _times(work: Any, count: int) -> list[float]:
    work()
    found = []
    for _ in range(count):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return found


def answer(words: list[str]) -> None:
    """Serve until there are no more lines. Ranks that wait sleep, so that others can be measured meanwhile."""
    from tinyattn import ranks

    work = exchange if words[0] == "exchange" else steps_of(words[1], int(words[2]))
    number = np.zeros(1, np.int64)
    while True:
        if ranks.rank() == 0:
            number[0] = int(sys.stdin.readline() or 0)
        if ranks.size() > 1:
            told = ranks.group().Ibcast(number)
            while not told.Test():
                time.sleep(0.002)
        if not number[0]:
            return
        found = work(int(number[0]))
        if ranks.rank() == 0:
            print(json.dumps(found), flush=True)


# What is asked of them.


class Ranks:
    """Processes that wait for work: so many ranks, or without MPI one process (0 ranks)."""

    def __init__(self, ranks: int, threads: int, *words: Any):
        start = ["mpirun", "-n", str(ranks)] if ranks else []
        command = [*start, sys.executable, "-m", "benchmarks.ranks", "--child", *map(str, words)]
        environment = os.environ | {"TINYATTN_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def ask(self, count: int) -> dict[str, Any]:
        """What the first of them answers to a number."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self) -> None:
        """Let them go."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def fitted(times: list[float]) -> tuple[float, float]:
    """α and β of two ranks, by least squares of relative errors."""
    rows = np.array([[3.0, size] for size in SIZES]) / np.array(times)[:, None]
    (alpha, beta), *_ = np.linalg.lstsq(rows, np.ones(len(SIZES)), rcond=None)
    return float(alpha), float(beta)


def cost(ranks: int, size: float, alpha: float, beta: float) -> float:
    """Seconds of an exchange: t(N, n) above."""
    return 3 * (ranks - 1) * alpha + 2 * (ranks - 1) / ranks * size * beta


def predicted(one: dict[str, float], ranks: int, shards: int, alpha: float, beta: float) -> float:
    """Seconds of a step on so many ranks: T_N above."""
    added = one["sum"]
    alike = one["step"] - one["update"] - (shards - 1) * added
    sums = (shards / ranks - 1) * added + (ranks - 1) / ranks * added
    return alike / ranks + sums + one["update"] + cost(ranks, one["bytes"], alpha, beta)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MODELS, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs="+")
    options = parser.parse_args()
    if options.child:
        answer(options.child)
        return
    found: dict[str, Any] = {"models": {}}
    for name in options.only or MODELS:
        between = Ranks(2, 1, "exchange")
        groups = {"threads": Ranks(0, 2, "step", name, 0)}
        groups |= {f"{n} ranks, {s} shards": Ranks(n, 1, "step", name, s) for s in SHARDS for n in (1, 2)}
        every: dict[str, list[Any]] = {kind: [] for kind in ("exchange", *groups)}
        for group in groups.values():
            group.ask(4)
        for _ in range(
            options.rounds
        ):  # in turns, as the machine's speed changes from one second to the next
            every["exchange"].append(between.ask(15)["exchange"])
            for kind, group in groups.items():
                every[kind].append(group.ask(options.steps))
        for group in (between, *groups.values()):
            group.end()
        found |= dict(
            zip(("alpha", "beta"), fitted(list(np.median(every.pop("exchange"), axis=0))), strict=True)
        )
        figures = {
            kind: {key: statistics.median(one[key] for one in each) for key in each[0]}
            for kind, each in every.items()
        }
        for shards in SHARDS:
            one, two = (every[f"{n} ranks, {shards} shards"] for n in (1, 2))
            guesses = [predicted(each, 2, shards, found["alpha"], found["beta"]) for each in one]
            figures[f"2 ranks, {shards} shards"] |= {
                "predicted": statistics.median(guesses),
                "off": statistics.median(g / each["step"] - 1 for g, each in zip(guesses, two, strict=True)),
                "beside threads": statistics.median(
                    whole["step"] / each["step"] for whole, each in zip(every["threads"], two, strict=True)
                ),
            }
        found["models"][name] = figures
    if options.json:
        print(json.dumps(found))
    print(table(found), file=sys.stderr if options.json else sys.stdout)


def table(found: dict[str, Any]) -> str:
    """For people."""
    alpha, beta = found["alpha"], found["beta"]
    lines = [f"between two ranks here: α = {alpha * 1e6:.1f} µs a message, 1/β = {1e-9 / beta:.1f} GB/s", ""]
    lines.append(f"{'':<34}{'step':>9}{'predicted':>11}{'off':>7}{'beside 2 threads':>18}")
    for name, figures in found["models"].items():
        for kind, one in figures.items():
            what = "1 process, 2 threads" if kind == "threads" else kind
            line = f"{f'{name}, {what}':<34}{one['step'] * 1e3:>6.2f} ms"
            if "predicted" in one:
                off = one["off"]
                line += f"{one['predicted'] * 1e3:>8.2f} ms{off:>+7.0%}{one['beside threads']:>18.2f}"
                line += "" if one["beside threads"] >= NEEDED else f"  (wanted: {NEEDED})"
                line += "" if abs(off) <= ERROR else f"  (wanted: ±{ERROR:.0%})"
            lines.append(line)
    for name, (alpha, beta) in NETWORKS.items():
        lines += ["", f"{name}, α = {alpha * 1e6:.0f} µs: share of the ideal speed on"]
        lines.append(f"{'':<34}{'8':>8}{'64':>8}{'512':>8} ranks")
        rates = []
        for model, figures in found["models"].items():
            one, whole = figures["1 ranks, 2 shards"], figures["threads"]
            rates.append(whole["flops"] / one["step"])
            lines.append(
                _scaling(
                    f"{model}, {one['parameters'] / 1e6:.1f} M, as here",
                    one["step"],
                    one["bytes"],
                    alpha,
                    beta,
                )
            )
        for model, parameters in LARGE.items():
            seconds = 6 * parameters * TOKENS / statistics.median(rates)
            lines.append(_scaling(f"{model}, {TOKENS:,} tokens a rank", seconds, 4 * parameters, alpha, beta))
    return "\n".join(lines)


def _scaling(name: str, seconds: float, size: float, alpha: float, beta: float) -> str:
    shares = [seconds / (seconds + cost(ranks, size, alpha, beta)) for ranks in (8, 64, 512)]
    return f"{name:<34}" + "".join(f"{share:>8.0%}" for share in shares)


if __name__ == "__main__":
    main()
