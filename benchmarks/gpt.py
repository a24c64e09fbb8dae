"""Time one training step of a small GPT: tinyattn beside PyTorch and JAX.

python -m benchmarks.gpt [--threads 2] [--compile] [--json]
"""

from . import steps

GOALS = {12: {"torch": 1.3, "torch.compile": 1.3, "jax": 2.0}}
TITLE = "GPT training step, batch {batch}, 4 layers, 4 heads, width 128, block 64, vocabulary 65"


def main() -> None:
    steps.main("gpt", TITLE, GOALS)


if __name__ == "__main__":
    main()
