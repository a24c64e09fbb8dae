"""A GPT-2 from a folder of Hugging Face's: config.json and model.safetensors.

    python examples/hugging_face.py [FOLDER]

Without a folder one with random weights is made first. What is read is the same function, to the last bit.
"""

import sys
import tempfile

import numpy as np

import tinyattn as ta
from tinyattn.models import GPT, GPTConfig


def main(folder: str = "") -> dict[str, float]:
    """How many numbers the model holds, and the largest weight by which a copy of its folder differs."""
    with tempfile.TemporaryDirectory() as made:
        if not folder:
            ta.manual_seed(0)
            GPT(GPTConfig(50, block_size=16, n_layer=2, n_head=2, n_embd=16)).save_pretrained(made)
        gpt = GPT.from_pretrained(folder or made)
        gpt.save_pretrained(made)
        copy = GPT.from_pretrained(made).state_dict()
    print("it goes on:", gpt.generate(np.array([[1, 2, 3]]), 8, temperature=0)[0])
    apart = [np.abs(np.asarray(w) - np.asarray(copy[name])).max() for name, w in gpt.state_dict().items()]
    return {"numbers": float(sum(p.size for p in gpt.parameters())), "apart": float(max(apart))}


if __name__ == "__main__":
    print(main(*sys.argv[1:]))
