"""Times that are not a step: import, the first step with a cold and a warm kernel cache, a new batch shape, overheads.

python -m benchmarks.latency [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

GOALS = {
    "import and a first tensor, s": 0.5,
    "help of the command line, s": 0.2,
    "first step, cold kernel cache, s": 10.0,
    "first step, warm kernel cache, s": 0.7,
    "new batch shape, s": 0.1,
    "GPT: first step, cold kernel cache, s": 10.0,
    "GPT: first step, warm kernel cache, s": 0.7,
    "GPT: new batch shape, s": 0.1,
    "kernel in a program, ns": 50.0,
    "call of a program, us": 5.0,
    "building a node, us": 50.0,
    "differentiating, a node made, us": 50.0,
    "chain of 100,000 nodes with its gradient, us a node of it": 50.0,
}

STEP = """
import time; started = time.perf_counter()
import tinyattn as ta
from tinyattn.experiments import workload
workload.of(ta.Experiment("bahdanau", train_examples=2000))()
print(time.perf_counter() - started)
"""

GRAPH = """
import time
import numpy as np, tinyattn as ta
from tinyattn.graph.traverse import topological
x = ta.tensor(np.ones(3, np.float32)); y = x
float((x * 1).sum())
started = time.perf_counter()
for _ in range(20000):
    y = ta.tanh(y) * 0.999
built = time.perf_counter()
loss = y.sum()
middle = time.perf_counter()
gradient = ta.grad(loss, x)
done = time.perf_counter()
made = len(topological([gradient])) - 40000
print((built - started) / 40000 * 1e6, (done - middle) / made * 1e6)
"""

CHAIN = """
import time
import numpy as np, tinyattn as ta
from tinyattn.graph.traverse import topological
def values(steps):
    x = ta.tensor(np.linspace(-1, 1, 8).astype(np.float32)); w = ta.tensor(np.full(8, 0.9, np.float32)); y = x
    for _ in range(steps): y = ta.tanh(y) * w + x
    return [y.sum(), *ta.grad(y.sum(), [x, w])]
ta.Program(values(100)).run()
started = time.perf_counter()
asked = values(10000); ta.Program(asked).run()
print((time.perf_counter() - started) / len(topological(asked)) * 1e6)
"""

SHAPES = """
import time
from benchmarks import ours
ours.bahdanau_step(64)
times = []
for batch in (32, 48, 16, 24, 40):
    started = time.perf_counter(); step = ours.bahdanau_step(batch); step(); times.append(time.perf_counter() - started)
print(sorted(times)[2])
"""

GPT_STEP = """
import time; started = time.perf_counter()
from benchmarks import ours
step = ours.gpt_step()
step()
print(time.perf_counter() - started)
"""

GPT_SHAPES = """
import time
from benchmarks import ours
from benchmarks.peers import problem
step = ours.gpt_step(12).step
times = []
for batch in (9, 16, 8, 10, 11):
    given = problem.language_batch(batch, 64, 65, 0).values()
    started = time.perf_counter(); step(*given); times.append(time.perf_counter() - started)
print(sorted(times)[2])
"""

OVERHEADS = """
import time
import numpy as np, tinyattn as ta
x = np.ones(4, np.float32)
step = ta.function(lambda x: x * 2)
step(x); program = step.program(x)
def fastest(work, calls):
    times = []
    for _ in range(9):
        started = time.perf_counter()
        for _ in range(calls): work()
        times.append((time.perf_counter() - started) / calls)
    return sorted(times)[4]
call = fastest(lambda: program.run([x]), 20000)
carry = ta.tensor(np.ones(4, np.float32))
loop = ta.Program([ta.scan(lambda c, _: (-c, None), carry, None, length=100000)[0]])
kernel = fastest(loop.bind(), 3) / 100000
print(call * 1e6, kernel * 1e9)
"""


def run(code: str, cache: str, runs: int = 1) -> list[float]:
    """Medians of the numbers that a fresh process prints."""
    environment = os.environ | {"TINYATTN_CACHE": cache}
    rows = []
    for _ in range(runs):
        out = subprocess.run(
            [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
        )
        rows.append([float(word) for word in out.stdout.split()])
    return [statistics.median(column) for column in zip(*rows, strict=True)]


def whole(command: list[str], runs: int = 5) -> float:
    """Median seconds of a whole process."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description="Import, first step, new shapes, overheads")
    parser.add_argument("--json", action="store_true", help="for machines")
    options = parser.parse_args()
    found: dict[str, float] = {}
    empty = whole([sys.executable, "-c", "pass"])
    imports = "import tinyattn as ta; ta.tensor([1.0, 2.0])"
    found["import and a first tensor, s"] = whole([sys.executable, "-c", imports]) - empty
    found["help of the command line, s"] = whole([sys.executable, "-m", "tinyattn", "--help"])
    for name, step, shapes in (("", STEP, SHAPES), ("GPT: ", GPT_STEP, GPT_SHAPES)):
        with tempfile.TemporaryDirectory() as cache:
            (found[f"{name}first step, cold kernel cache, s"],) = run(step, cache)
            (found[f"{name}first step, warm kernel cache, s"],) = run(step, cache, 5)
            run(shapes, cache)
            (found[f"{name}new batch shape, s"],) = run(shapes, cache, 3)
    with tempfile.TemporaryDirectory() as cache:
        run(OVERHEADS, cache)
        call, kernel = run(OVERHEADS, cache, 3)
        found["kernel in a program, ns"], found["call of a program, us"] = kernel, call
        building, differentiating = run(GRAPH, cache, 3)
        (found["chain of 100,000 nodes with its gradient, us a node of it"],) = run(CHAIN, cache, 3)
        found["building a node, us"], found["differentiating, a node made, us"] = building, differentiating
    if options.json:
        print(json.dumps({name: {"value": value, "goal": GOALS[name]} for name, value in found.items()}))
        return
    print(f"{'':60}{'measured':>10}{'at most':>10}")
    for name, value in found.items():
        print(f"{name:60}{value:>10.3f}{GOALS[name]:>10.1f}{'' if value <= GOALS[name] else '  NOT met'}")


if __name__ == "__main__":
    main()
