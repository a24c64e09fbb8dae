"""Time one training step of a Neural Turing Machine: tinyattn beside PyTorch and JAX.

python -m benchmarks.ntm [--batch 1] [--threads 2] [--compile] [--json]
"""

from . import harness

GOALS = {1: {"torch": 25.0, "jax": 1.5}, 16: {"torch": 6.0, "jax": 2.5}}


def our_step(batch: int) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours

    return ours.ntm_step(batch)


def torch_step(batch: int, compiled: bool = False) -> harness.Work:
    from .peers import torch_ntm

    return torch_ntm.make_step(batch, compiled=compiled)


def jax_step(batch: int) -> harness.Work:
    from .peers import jax_ntm

    return jax_ntm.make_step(batch)


def main() -> None:
    options = harness.arguments("NTM training step: tinyattn beside PyTorch and JAX")
    results = []
    if not options.json:
        harness.print_environment(options.threads)
    for batch in options.batch or GOALS:
        makers = {
            harness.OURS: lambda batch=batch: our_step(batch),
            "torch": lambda batch=batch: torch_step(batch),
            "jax": lambda batch=batch: jax_step(batch),
        }
        if options.compile:
            makers["torch.compile"] = lambda batch=batch: torch_step(batch, compiled=True)
        works = harness.gather(makers, options.only)
        title = f"NTM training step, batch {batch}, LSTM 100, memory 128x20, 41 steps"
        results.append(
            harness.compare(works, options.rounds, options.seconds, title, GOALS.get(batch), options.json)
        )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
