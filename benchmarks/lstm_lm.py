"""Time one training step of an LSTM language model: tinyattn beside PyTorch and JAX.

python -m benchmarks.lstm_lm [--threads 2] [--compile] [--json]
"""

from . import steps

GOALS = {32: {"torch": 1.3, "jax": 1.3}}
TITLE = "LSTM training step, batch {batch}, 64 steps, embedding and hidden 256, vocabulary 65"


def main() -> None:
    steps.main("lstm_lm", TITLE, GOALS)


if __name__ == "__main__":
    main()
