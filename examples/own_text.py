"""A character-level GPT on a text of your own.

    python examples/own_text.py novel.txt

Without a file it reads one of Python's own library. It writes a little, and prints its surprise in nats a character.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import tinyattn as ta

BLOCK = 32


def main(steps: int = 400, file: str = argparse.__file__, write: bool = False) -> dict[str, float]:
    """Nats a character of the last tenth of the text; beside it, those of how often each character comes."""
    text = Path(file).read_text("utf-8")
    letters = sorted(set(text))
    ids = np.array([letters.index(c) for c in text], np.int32)
    train, held = np.split(ids, [len(ids) * 9 // 10])
    ta.manual_seed(0)
    gpt = ta.models.GPT(ta.models.GPTConfig(len(letters), block_size=BLOCK, n_layer=2, n_head=2, n_embd=48))
    optimizer = gpt.configure_optimizer(lr=3e-3)
    step = ta.function(lambda x, y: optimizer.minimize(gpt.loss(x, y)))
    rng, places = np.random.default_rng(0), np.arange(BLOCK + 1)
    for _ in range(steps):
        windows = train[rng.integers(0, len(train) - BLOCK, (16, 1)) + places]
        step(windows[:, :-1], windows[:, 1:])
    rows = held[np.arange(0, len(held) - BLOCK, BLOCK)[:, None] + places]
    gpt.eval()
    if write:
        said = gpt.generate(ids[None, :BLOCK], 200, temperature=0.7)[0]
        print("".join(letters[i] for i in said))
    often = (np.bincount(train, minlength=len(letters)) + 1) / (len(train) + len(letters))
    return {
        "GPT": float(gpt.loss(rows[:, :-1], rows[:, 1:])),
        "how often each comes": float(-np.log(often[rows[:, 1:]]).mean()),
    }


if __name__ == "__main__":
    for name, value in main(file=sys.argv[1] if len(sys.argv) > 1 else argparse.__file__, write=True).items():
        print(f"{name:22} {value:.3f}")
