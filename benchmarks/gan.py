"""Time one step of a convolutional GAN: tinyattn beside PyTorch and JAX.

python -m benchmarks.gan [--batch 64] [--threads 2] [--compile] [--json]
"""

from . import harness

GOALS = {64: {"torch": 1.3, "jax": 1.3}}


def our_step(batch: int) -> harness.Work:
    """Imported only now, like the peers: the number of threads has to be fixed before."""
    from . import ours_gan

    return ours_gan.step(batch)


def torch_step(batch: int, compiled: bool = False) -> harness.Work:
    from .peers import torch_gan

    return torch_gan.make_step(batch, compiled=compiled)


def jax_step(batch: int) -> harness.Work:
    from .peers import jax_gan

    return jax_gan.make_step(batch)


def main() -> None:
    options = harness.arguments("Step of a convolutional GAN: tinyattn beside PyTorch and JAX")
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
        title = f"DCGAN step, batch {batch}, 28x28 images, widths 64 and 128"
        results.append(
            harness.compare(works, options.rounds, options.seconds, title, GOALS.get(batch), options.json)
        )
    if options.json:
        harness.print_json(options, results)


if __name__ == "__main__":
    main()
