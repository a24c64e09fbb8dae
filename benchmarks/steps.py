"""What the benchmarks of training steps share: for a work named `gpt`, the functions `ours.gpt_step`,
`peers.torch_gpt.make_step` and `peers.jax_gpt.make_step`, each given a batch size.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from . import harness


def build(work: str, library: str, batch: int, **options: Any) -> harness.Work:
    """One library's step. Imported only now: the number of threads has to be fixed before."""
    if library == harness.OURS:
        make = getattr(importlib.import_module(".ours", __package__), f"{work}_step")
    else:
        make = importlib.import_module(f".peers.{library}_{work}", __package__).make_step
    return make(batch, **options)


def makers(work: str, batch: int, compiled: bool = False) -> dict[str, Callable[[], harness.Work]]:
    """How to build each library's step; torch with each implementation of its optimizer."""
    found: dict[str, Callable[[], harness.Work]] = {
        library: functools.partial(build, work, library, batch) for library in (harness.OURS, "torch", "jax")
    }
    for name in ("default", "foreach"):
        found[f"torch, {name}"] = functools.partial(build, work, "torch", batch, implementation=name)
    if compiled:
        found["torch.compile"] = functools.partial(build, work, "torch", batch, compiled=True)
    return found


def main(work: str, title: str, goals: Mapping[int, Mapping[str, float]]) -> None:
    """Time a work at each batch size of `goals`. In `title`, {batch} is the batch size."""
    options = harness.arguments(f"{title.partition(',')[0]}: tinyattn beside PyTorch and JAX")
    if not options.json:
        harness.print_environment(options.threads)
    results = []
    for batch in options.batch or goals:
        works = harness.gather(makers(work, batch, options.compile), options.only)
        name = title.format(batch=batch)
        results.append(
            harness.compare(works, options.rounds, options.seconds, name, goals.get(batch), options.json)
        )
    if options.json:
        harness.print_json(options, results)
