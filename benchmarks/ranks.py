"""Training on several ranks: measured here, and predicted for more than there are here.

    python -m benchmarks.ranks [--only gpt] [--shards 2 8] [--beside late split] [--rounds 7] [--steps 12] [--json]

Measured: a training step in one process of two threads, the batch in one piece; on one rank of one thread and on two,
in shards, the latter also in other ways: "late", nothing is sent before a shard is done, or "split", each rank updates
its part of the parameters; and the exchange of arrays between two ranks. All take turns for several rounds; what counts
is the median of the ratios of a round. One rank is measured by itself, and while another one is at work beside it that
it has nothing to do with: two busy processors may be slower than one, and then no way of sharing the work can make up
for it. The exchange of n bytes is fitted by

    c(N, n) = 2 (N − 1) α + 2 (N − 1)/N n β        α seconds a message, β seconds a byte

(an Alltoallv and an Allgatherv; see tinyattn/ranks/exchange.py). Predicted from one rank's step T₁, of which the update
U isn't shared, and S shards with sums of A seconds each:

    T_N = (T₁ − U − (S − 1) A) / N + (S/N − 1) A + (N − 1)/N A + U + (N − 1) α + E

(N − 1) α is the exchange of a few numbers, and E what the exchange of the gradients takes longer than the rest of the
backward pass. Bucket k of nₖ bytes can go when the last shard of a rank has wₖ seconds left, so

    E = maxₖ ( Σ_{j ≥ k} c(N, n_j) − wₖ )        where the network moves the bytes by itself,
    E = Σ_k c(N, nₖ)                             where the processors do, as between the ranks of one machine.

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

from tinyattn.train.layout import MOST

MODELS = {"gpt": "tinyshakespeare", "transformer": "tiny-mt"}
SHARDS = 2, 8
SIZES = tuple(1 << k for k in range(12, 25, 2))
"""Bytes of the arrays that are exchanged."""
NETWORKS = {"10 Gbit/s": (20e-6, 8 / 10e9), "100 Gbit/s": (3e-6, 8 / 100e9)}
"""α and β: of TCP on Ethernet, and of RDMA."""
LARGE = {"GPT-2, 124 M": 124e6, "Transformer base, 65 M": 65e6}
TOKENS = 8192
"""Of a rank and a step, of the large models."""
BACKWARD = 2 / 3
"""The share of their steps that the backward pass is."""
BESIDE = {"late": "nothing sent before the end", "split": "the optimizer shared"}
NEEDED, ERROR = 0.95, 0.1
"""Two ranks beside two threads, and how far a prediction may be off."""


# What the ranks do: for each line that the first is given, a number of steps, it answers with a line of JSON.


def steps_of(name: str, shards: int, how: str) -> Callable[[int], dict[str, Any]]:
    """What takes so many training steps, and says how long each took, the update, a sum of two gradients, and how long
    before the end of a shard each bucket is there. how: "soon", "late" if nothing is to be sent before, or "split" if
    each rank is to have its part of the optimizer.
    """
    import tinyattn as ta
    from tinyattn.experiments import settings
    from tinyattn.train.loop import Pursuit

    experiment = ta.Experiment(name, MODELS[name], shards=shards, share_optimizer=how == "split")
    config, model = settings.training(experiment.config), experiment.model
    model.train()
    pursuit = Pursuit(model.objectives()[0], config)
    there: list[float] = []
    if pursuit.sharded:
        buckets = pursuit.sharded._buckets
        told, close = buckets.told, buckets.close

        def stamped(k: int) -> None:
            there.append(time.perf_counter())
            if how != "late":
                told(k)

        def closed() -> None:
            there[:] = [time.perf_counter() - moment for moment in there[-len(buckets.spans) :]]
            buckets.told = told  # type: ignore[method-assign]  # (close tells what nobody has been told)
            close()
            buckets.told = stamped  # type: ignore[method-assign]

        buckets.told, buckets.close = stamped, closed  # type: ignore[method-assign]
    batches = experiment.task.batches("train", config.batch_size, seed=0)
    several = [next(batches) for _ in range(4)]
    for batch in several:
        pursuit.take(batch, lambda: False)

    def measured(count: int) -> dict[str, Any]:
        took = _times(lambda: [pursuit.take(batch, lambda: False) for batch in several], count // 4)
        found = {"step": statistics.median(took) / 4, "parameters": model.num_parameters()}
        if pursuit.sharded:
            gradient, update = pursuit.sharded.example()
            other = gradient.copy()
            found["update"] = statistics.median(_times(lambda: update(gradient), 8))
            found["sum"] = statistics.median(_times(lambda: np.add(gradient, other, out=gradient), 8))
            found["bytes"] = [(span.stop - span.start) * gradient.itemsize for span in buckets.spans]
            found["left"] = sorted(there, reverse=True)
        else:
            found["flops"] = pursuit.step.program(type(several[0]), vars(several[0])).flops
        return found

    return measured


def exchange(count: int) -> dict[str, list[float]]:
    """Seconds of an exchange for each of the sizes."""
    from tinyattn import ranks
    from tinyattn.ranks.exchange import Slices, Sum

    found = []
    for size in SIZES:
        slices, array = Slices(size // 1024, 256), np.zeros(size // 4, np.float32)
        total = Sum(slices, ranks.size(), array.dtype)

        def once(slices=slices, array=array, total=total) -> None:
            total.begin([((ranks.rank(), 1), array)])
            array[slices.mine] = total.end()
            slices.gather(array).Wait()

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

    work: Any = exchange
    if words[0] != "exchange":
        work = steps_of(words[1], int(words[2]), words[0])
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

    def tell(self, count: int) -> None:
        """Let them work."""
        assert self.process.stdin
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """What the first of them found."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, count: int) -> dict[str, Any]:
        """Both."""
        self.tell(count)
        return self.answer()

    def end(self) -> None:
        """Let them go."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def beside_another(shards: int) -> str:
    """The name of what one rank does beside another."""
    return f"1 ranks, {shards} shards, beside another"


def fitted(times: list[float]) -> tuple[float, float]:
    """α and β of two ranks, by least squares of relative errors."""
    rows = np.array([[2.0, size] for size in SIZES]) / np.array(times)[:, None]
    (alpha, beta), *_ = np.linalg.lstsq(rows, np.ones(len(SIZES)), rcond=None)
    return float(alpha), float(beta)


def cost(ranks: int, size: float, alpha: float, beta: float) -> float:
    """Seconds of an exchange: c(N, n) above."""
    return 2 * (ranks - 1) * alpha + 2 * (ranks - 1) / ranks * size * beta


def exposed(ranks: int, sizes: list[float], left: list[float], alpha: float, beta: float) -> float:
    """Seconds of the exchange of buckets that the rest of a backward pass doesn't hide: E above. left: how long it
    takes after each."""
    taken = [cost(ranks, size, alpha, beta) for size in sizes]
    return max(sum(taken[k:]) - rest for k, rest in enumerate(left))


def predicted(one: dict[str, Any], ranks: int, shards: int, alpha: float, beta: float) -> float:
    """Seconds of a step on so many ranks of one machine: T_N above."""
    added = one["sum"]
    alike = one["step"] - one["update"] - (shards - 1) * added
    sums = (shards / ranks - 1) * added + (ranks - 1) / ranks * added
    exchanged = exposed(ranks, one["bytes"], [0.0] * len(one["bytes"]), alpha, beta)
    return alike / ranks + sums + one["update"] + (ranks - 1) * alpha + exchanged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=MODELS, action="append")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--shards", type=int, nargs="+", default=SHARDS)
    parser.add_argument("--beside", choices=BESIDE, nargs="*", default=["late"])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs="+")
    options = parser.parse_args()
    if options.child:
        answer(options.child)
        return
    found: dict[str, Any] = {"models": {}, "shards": options.shards}
    for name in options.only or MODELS:
        between = Ranks(2, 1, "exchange")
        groups = {"threads": Ranks(0, 2, "soon", name, 0)}
        shards = options.shards
        groups |= {f"{n} ranks, {s} shards": Ranks(n, 1, "soon", name, s) for s in shards for n in (1, 2)}
        for how in options.beside:
            groups |= {f"2 ranks, {s} shards, {BESIDE[how]}": Ranks(2, 1, how, name, s) for s in shards}
        others = {s: Ranks(1, 1, "soon", name, s) for s in shards}
        every: dict[str, list[Any]] = {kind: [] for kind in ("exchange", *groups)}
        every |= {beside_another(s): [] for s in shards}
        for group in (*groups.values(), *others.values()):
            group.ask(4)
        for _ in range(
            options.rounds
        ):  # in turns, as the machine's speed changes from one second to the next
            every["exchange"].append(between.ask(15)["exchange"])
            for kind, group in groups.items():
                every[kind].append(group.ask(options.steps))
            for s, other in others.items():
                pair = groups[f"1 ranks, {s} shards"], other
                for one in pair:
                    one.tell(options.steps)
                every[beside_another(s)].append(
                    max((one.answer() for one in pair), key=lambda found: found["step"])
                )
        for group in (between, *groups.values(), *others.values()):
            group.end()
        found |= dict(
            zip(("alpha", "beta"), fitted(list(np.median(every.pop("exchange"), axis=0))), strict=True)
        )
        figures = {
            kind: {key: np.median([one[key] for one in each], axis=0).tolist() for key in each[0]}
            for kind, each in every.items()
        }
        for shards in options.shards:
            one, two = every[beside_another(shards)], every[f"2 ranks, {shards} shards"]
            guesses = [predicted(each, 2, shards, found["alpha"], found["beta"]) for each in one]
            figures[f"2 ranks, {shards} shards"] |= {
                "predicted": statistics.median(guesses),
                "off": statistics.median(g / each["step"] - 1 for g, each in zip(guesses, two, strict=True)),
            }
            for kind in [kind for kind in figures if kind.startswith(f"2 ranks, {shards} shards")]:
                pairs = zip(every["threads"], every[kind], strict=True)
                figures[kind]["beside threads"] = statistics.median(
                    whole["step"] / each["step"] for whole, each in pairs
                )
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
            if "beside threads" in one:
                off = one.get("off", 0.0)
                said = f"{one['predicted'] * 1e3:>8.2f} ms{off:>+7.0%}" if "off" in one else ""
                line += f"{said:<18}{one['beside threads']:>18.2f}"
                line += "" if one["beside threads"] >= NEEDED else f"  (wanted: {NEEDED})"
                line += "" if abs(off) <= ERROR else f"  (wanted: ±{ERROR:.0%})"
            lines.append(line)
    for name, (alpha, beta) in NETWORKS.items():
        lines += ["", f"{name}, α = {alpha * 1e6:.0f} µs: share of the ideal speed on"]
        lines.append(f"{'':<34}{'8':>8}{'64':>8}{'512':>8} ranks")
        rates = []
        for model, figures in found["models"].items():
            one, whole = figures[f"1 ranks, {min(found['shards'])} shards"], figures["threads"]
            rates.append(whole["flops"] / one["step"])
            what = f"{model}, {one['parameters'] / 1e6:.1f} M, as here"
            lines.append(_scaling(what, one["step"], one["bytes"], one["left"], alpha, beta))
        for model, parameters in LARGE.items():
            seconds = 6 * parameters * TOKENS / statistics.median(rates)
            sizes = [4 * parameters / MOST] * MOST
            left = [seconds * BACKWARD * (1 - (k + 1) / MOST) for k in range(MOST)]
            lines.append(_scaling(f"{model}, {TOKENS:,} tokens a rank", seconds, sizes, left, alpha, beta))
    return "\n".join(lines)


def _scaling(name: str, seconds: float, sizes: Any, left: Any, alpha: float, beta: float) -> str:
    shares = []
    for ranks in (8, 64, 512):
        beside = (ranks - 1) * alpha + exposed(ranks, sizes, left, alpha, beta)
        shares.append(seconds / (seconds + beside))
    return f"{name:<34}" + "".join(f"{share:>8.0%}" for share in shares)


if __name__ == "__main__":
    main()
