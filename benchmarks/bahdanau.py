"""Time one training step of Bahdanau's encoder-decoder: tinyattn beside PyTorch and JAX.

python -m benchmarks.bahdanau [--batch 64] [--threads 2] [--compile] [--json]
"""

from typing import Any

from . import harness

GOALS = {64: {"torch": 2.2, "jax": 1.5}, 16: {"torch": 3.0, "jax": 1.6}}


def our_step(batch: int) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours

    return ours.bahdanau_step(batch)


def torch_step(batch: int, **options: Any) -> harness.Work:
    from .peers import torch_bahdanau

    return torch_bahdanau.make_step(batch, **options)


def jax_step(batch: int) -> harness.Work:
    from .peers import jax_bahdanau

    return jax_bahdanau.make_step(batch)


def main() -> None:
    options = harness.arguments("Bahdanau training step: tinyattn beside PyTorch and JAX")
    results = []
    if not options.json:
        harness.print_environment(options.threads)
    for batch in options.batch or GOALS:
        makers = {
            harness.OURS: lambda batch=batch: our_step(batch),
            "torch": lambda batch=batch: torch_step(batch),
            "torch, foreach": lambda batch=batch: torch_step(batch, implementation="foreach"),
            "torch, fused": lambda batch=batch: torch_step(batch, implementation="fused"),
            "jax": lambda batch=batch: jax_step(batch),
        }
        if options.compile:
            makers["torch.compile"] = lambda batch=batch: torch_step(batch, compiled=True)
        works = harness.gather(makers, options.only)
        title = f"Bahdanau training step, batch {batch}, source and target 20, hidden and embedding 128"
        results.append(
            harness.compare(works, options.rounds, options.seconds, title, GOALS.get(batch), options.json)
        )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
