"""A bag of words: what can be said of a text without the order of its words.

Naive Bayes with multinomial counts (McCallum & Nigam 1998), which learns by counting and is therefore always the same:

    log p(class | text) = log p(class) + Σ_w log p(w | class) + const,    p(w | class) ∝ 1 + how often it occurs there
"""

import numpy as np

from tinyattn.tasks.parts.ragged import Ragged


class BagOfWords:
    """Learned from texts of word numbers below `words`, with labels below `classes`."""

    def __init__(self, tokens: Ragged, labels: np.ndarray, words: int, classes: int):
        pairs = np.repeat(labels, tokens.lengths).astype(np.int64) * words + tokens.flat
        counts = 1.0 + np.bincount(pairs, minlength=classes * words).reshape(classes, words)
        self.log_p = np.log(counts / counts.sum(1, keepdims=True))
        self.prior = np.log(np.bincount(labels, minlength=classes) / len(labels))

    def classify(self, tokens: Ragged) -> np.ndarray:
        """The most probable class of each text, (n,)."""
        found = np.add.reduceat(self.log_p[:, tokens.flat], tokens.offsets[:-1], axis=1)  # (classes, n)
        return (found + self.prior[:, None]).argmax(0)
