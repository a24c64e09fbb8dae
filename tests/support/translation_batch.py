"""A batch of random sentences, as translation tasks have them."""

import numpy as np

from tinyattn.tasks.parts.vocabulary import BOS, EOS
from tinyattn.tasks.translation import Batch


def batch_of(source_lengths=(5, 3, 1), target_lengths=(4, 2, 3), width=5, height=5, seed=0):
    random = np.random.default_rng(seed)
    rows = len(source_lengths)
    source, target = np.zeros((rows, width), np.int32), np.zeros((rows, height), np.int32)
    target_in = np.zeros_like(target)
    for row, (s, t) in enumerate(zip(source_lengths, target_lengths, strict=True)):
        source[row, :s] = random.integers(4, 9, s)
        words = random.integers(4, 8, t - 1)
        target[row, :t] = [*words, EOS]
        target_in[row, :t] = [BOS, *words]
    return Batch(
        source, np.array(source_lengths, np.int32), target_in, target, np.array(target_lengths, np.int32),
        np.arange(rows), np.ones(rows, bool),
    )  # fmt: skip
