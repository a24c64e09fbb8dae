"""Time one training step of a small Transformer that translates: tinyattn beside PyTorch and JAX.

python -m benchmarks.transformer [--threads 2] [--compile] [--json]
"""

from . import steps

GOALS = {32: {"torch": 1.3, "jax": 1.3}}
TITLE = "Transformer training step, batch {batch}, 32 + 32 tokens, width 128, 2 + 2 layers, vocabulary 1000"


def main() -> None:
    steps.main("transformer", TITLE, GOALS)


if __name__ == "__main__":
    main()
