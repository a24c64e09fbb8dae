"""From a causal language model to a text: one program that takes the text's next token, step by step.

The caches of keys and values are leaves, and the step writes into them, so that between two tokens nothing
moves but the token and its logits. The position is an input of the program: it is compiled once for a batch
size, and once more for each length of the beginning, which is taken in at once.
"""

from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.nn.cache import KVCache


class Generation:
    """The programs that continue ``batch`` texts at once with a model, and the memory they share.

    The model has ``step``, ``empty_caches``, ``config.block_size`` and is called for logits: see GPT.
    """

    def __init__(self, model: Any, batch: int):
        self.weight, self.batch, self.block = model.lm_head.weight, batch, model.config.block_size
        self.dtype = self.weight.dtype
        empty = model.empty_caches(batch)
        caches = tuple(KVCache(*(ta.tensor(part.numpy()) for part in cache)) for cache in empty)

        @ta.function
        def advance(tokens, position):
            """(B, n) tokens from ``position`` on → logits (B, V) of the next."""
            logits, new = model.step(tokens, caches, position)
            for old_pair, new_pair in zip(caches, new, strict=True):
                for old, value in zip(old_pair, new_pair, strict=True):
                    ta.assign(old, value)
            return logits[:, -1]

        @ta.function
        def whole(tokens, last):
            """Logits (B, V) after token ``last`` of (B, block) tokens, computed from nothing."""
            return ta.take(model(tokens), last, axis=1)

        self.advance, self.whole = advance, whole

    def fits(self, model: Any, batch: int) -> bool:
        """Whether the programs are those of this model, with the parameters it has now, and this batch."""
        weight = model.lm_head.weight
        return self.weight is weight and self.dtype == weight.dtype and self.batch == batch

    def logits(self, tokens: np.ndarray, seen: int | None) -> np.ndarray:
        """Logits (B, V) of what follows tokens (B, T). ``seen``: how many of them the caches hold, T − 1 or 0;
        None: compute everything anew from the last ``block`` tokens.
        """
        if seen is not None:
            return self.advance(tokens[:, seen:], np.array(seen) if seen else 0)
        length = min(tokens.shape[1], self.block)
        window = np.zeros((self.batch, self.block), tokens.dtype)
        window[:, :length] = tokens[:, -length:]  # what stands behind is not seen
        return self.whole(window, np.array(length - 1))


def choose(logits: np.ndarray, temperature: float = 1.0, top_k: int | None = None) -> np.ndarray:
    """A token for each row of logits (B, V): see ``GPT.generate``."""
    if temperature == 0:
        return logits.argmax(1)
    scores = logits.astype(np.float64) / temperature
    if top_k is not None and top_k < scores.shape[1]:
        least = np.partition(scores, -top_k, axis=1)[:, -top_k, None]
        scores = np.where(scores < least, -np.inf, scores)
    mass = np.exp(scores - scores.max(1, keepdims=True)).cumsum(1)
    drawn = nn.init.uniform(len(scores))[:, None] * mass[:, -1:]
    return (mass <= drawn).sum(1)
