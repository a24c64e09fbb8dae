"""Time one training step of every model of the registry: tinyattn beside PyTorch and JAX.

    python -m benchmarks.models [MODEL...] [--check] [--threads 2] [--json]

Each model has the sizes, the batch and the optimizer of its first recipe, that of `tinyattn train MODEL`; the peers
are those of `peers/torch_models.py` and `peers/jax_models.py`, which begin with its weights. `--check` says, instead of
timing, how far the losses of the first updates are apart.

`memory` are the most bytes of tensors alive at once, as in `benchmarks.memory`, and below 1 tinyattn needs less.
"""

import argparse
import json
import math
from typing import Any

from . import harness, memory

GOALS = {"torch": 2.5, "jax": 1.4}
"""Of the geometric means."""
UPDATES = 3


class Bench:
    """A model and its first batch, and each library's step of it."""

    def __init__(self, name: str, drawn: bool = True) -> None:
        """drawn: with what is drawn in training, noise and what dropout leaves out, else without."""
        import numpy as np

        import tinyattn as ta
        from tinyattn import models
        from tinyattn.experiments import settings, workload

        # torch and JAX have no other GRU than the one with the reset gate behind the product.
        self.name, options = name, {"reset_after": True} if name == "seq2seq" else {}
        sizes = settings.settings_of(models.get(name).Config)
        options |= {} if drawn else {key: 0.0 for key in ("dropout", "blur") if key in sizes}
        options |= (
            {"averaging": 0.0} if "averaging" in sizes else {}
        )  # (the mean of generators is no part of a step)
        experiment = ta.Experiment(name, schedule="constant", warmup_steps=0, **options)
        if name == "bahdanau":
            experiment.model.encoder.reset_after = True
        self.training = settings.training(experiment.config)
        self.work = workload.of(experiment)
        self.weights = {key: value.copy() for key, value in self.work.model.state_dict().items()}
        self.arrays = dict(vars(self.work.batch))
        if name in ("dcgan", "sagan") and not drawn:
            z = np.random.default_rng(0).uniform(-1, 1, (len(self.arrays["label"]), 100)).astype(np.float32)
            self.work.model.noise, self.arrays["noise"] = lambda batch: ta.tensor(z), z

    def programs(self) -> list[Any]:
        """Ours, one for each objective."""
        return [pursuit.step.program(*self.work.arguments) for pursuit in self.work.pursuits]

    def ours(self) -> harness.Work:
        """All objectives' steps in turn; the first one's loss."""
        self.programs()
        return lambda: [float(p.step(*self.work.arguments)[0]) for p in self.work.pursuits][0]

    def peer(self, library: str) -> Any:
        """The step of torch or JAX."""
        if library == "torch":
            from .peers import torch_models as peers
        else:
            from .peers import jax_models as peers
        if self.name not in peers.MODELS:
            raise NotImplementedError
        return peers.Step(self.name, self.work.model.config, self.weights, self.arrays, self.training)

    def makers(self) -> dict[str, Any]:
        return {harness.OURS: self.ours} | {name: lambda n=name: self.peer(n) for name in GOALS}


def check(names: list[str]) -> None:
    """Print how far the losses of the first updates are apart."""
    for name in names:
        bench = Bench(name, drawn=False)
        works = harness.gather(bench.makers())
        curves = {library: [float(work()) for _ in range(UPDATES)] for library, work in works.items()}
        ours = curves.pop(harness.OURS)
        for library, curve in curves.items():
            apart = max(abs(a - b) for a, b in zip(ours, curve, strict=True))
            print(f"{name:22} {library:6} {apart:.1e}   losses {' '.join(f'{loss:.6f}' for loss in ours)}")


def measured(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Medians, ratios and memory of one model."""
    bench = Bench(name)
    works = harness.gather(bench.makers(), options.only)
    found = harness.compare(works, options.rounds, options.seconds, name, quiet=True)
    tensors = {harness.OURS: memory.our_tensors(*bench.programs())}
    if "torch" in works:
        tensors["torch"] = memory.torch_tensors(works["torch"], *works["torch"].optimizers)
    if "jax" in works:
        tensors["jax"] = memory.jax_tensors(works["jax"])
    return found | {"tensors": tensors}


def row(found: dict[str, Any]) -> str:
    """A row of the table."""
    times, tensors = found["seconds"], found["tensors"]
    cells = [harness.format_seconds(times[harness.OURS]["median"])]
    for library in GOALS:
        here = library in times
        cells.append(harness.format_seconds(times[library]["median"]) if here else "")
        cells.append(f"{found['ratio'][library]:.2f}" if here else "")
    cells.append(f"{tensors[harness.OURS] / 1e6:.1f} MB")
    cells += [f"{tensors[harness.OURS] / tensors[x]:.2f}" if x in tensors else "" for x in GOALS]
    others = max(timing["others"] for timing in times.values())
    mark = " (!)" if others > harness.DISTURBANCE else ""
    return f"| {found['work']}{mark} | {' | '.join(cells)} |"


def geometric_means(results: list[dict[str, Any]]) -> dict[str, float]:
    """Of the ratios to each peer."""
    logs = {x: [math.log(r["ratio"][x]) for r in results if x in r["ratio"]] for x in GOALS}
    return {library: math.exp(sum(values) / len(values)) for library, values in logs.items() if values}


def main() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("names", nargs="*", metavar="MODEL")
    parser.add_argument("--check", action="store_true")
    own, rest = parser.parse_known_args()
    options = harness.arguments(__doc__.splitlines()[0], rest, rounds=7, seconds=0.1)
    from tinyattn import models

    names = own.names or list(models.MODELS)
    if own.check:
        return check(names)
    if not options.json:
        harness.print_environment(options.threads)
        print("\n| model | tinyattn | torch | ratio | JAX | ratio | memory | of torch's | of JAX's |")
        print("|---|---|---|---|---|---|---|---|---|")
    results = []
    for name in names:
        results.append(measured(name, options))
        if not options.json:
            print(row(results[-1]), flush=True)
    for library, mean in geometric_means(results).items():
        if not options.json:
            print(f"\ngeometric mean of the ratios to {library}: {mean:.2f}, wanted {GOALS[library]}")
    if options.json:
        print(json.dumps({"environment": harness.environment(options.threads), "results": results}, indent=1))
    return None


if __name__ == "__main__":
    main()
