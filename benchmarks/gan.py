"""Time one step of a convolutional GAN: tinyattn beside PyTorch and JAX.

python -m benchmarks.gan [--threads 2] [--compile] [--json]
"""

from . import steps

GOALS = {64: {"torch": 1.3, "jax": 1.3}}
TITLE = "DCGAN step, batch {batch}, 28x28 images, widths 64 and 128"


def main() -> None:
    steps.main("gan", TITLE, GOALS)


if __name__ == "__main__":
    main()
