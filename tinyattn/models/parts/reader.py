"""What models that read words share: vectors of words, which of them are no padding, and self-attention with a choice
of scores and normalisers.

Shapes in comments: B sentences, T words, m width of a word's vector, h heads, d = m / h width of a head.
"""

import math
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.types import fail
from tinyattn.ops.attention.additive import additive_alignment
from tinyattn.ops.attention.multihead import join_heads, split_heads
from tinyattn.ops.attention.normalisers import relu_norm

SCORES = ("dot", "additive")
NORMALISERS = ("softmax", "relu", "relu-sum", "rela")


def inside(length: ta.Tensor, steps: int) -> ta.Tensor:
    """Which of the steps are words: lengths (B,) → (B, steps) bool."""
    return ta.arange(steps, dtype=length.dtype).reshape(1, steps) < length.reshape(-1, 1)


class Words(nn.Module):
    """x = E w + Σ_f F s_f: a vector for each word, and for the parts s_f of its spelling where the task gives them.

    dropout: of single numbers in training; missing: of whole words (Iyyer et al. 2015, "Deep unordered composition
    rivals syntactic methods for text classification"), so that no text hangs on one of them. spread: the deviation of
    all vectors at first; the codes of positions that may be added have 0.7.
    """

    def __init__(
        self, vocabulary: int, spellings: int, width: int, dropout: float, missing: float, spread: float
    ):
        self.word = nn.Embedding(vocabulary, width)
        self.part = nn.Embedding(spellings, width) if spellings else None
        for table in filter(None, (self.word, self.part)):
            table.weight.assign(np.float32(spread) * table.weight.numpy())
        self.dropout, self.missing = nn.Dropout(dropout), nn.Dropout(missing)

    def forward(self, batch: Any) -> ta.Tensor:
        """A batch's tokens (B, T), and features (B, T, F) if words are spelled → (B, T, m), 0 at padding."""
        words = self.word(batch.tokens)
        if self.part is not None:
            words = words + ta.sum(self.part(batch.features), axis=2)
        column = (*batch.tokens.shape, 1)
        words = self.dropout(words)
        if self.missing.p:
            words = words * self.missing(ta.ones(column, words.dtype))
        return ta.where(inside(batch.length, column[1]).reshape(column), words, 0)


class SelfAttention(nn.Module):
    """Every word looks at all words of its sentence, itself too, in h ways at once.

        q_i = W_q x_i + b_q,  k_j = W_k x_j + b_k,  v_j = W_v x_j + b_v,   split into heads
        e_ij = q_i · k_j / √d    (dot)             or  e_ij = aᵀ tanh(q_i + k_j)    (additive)
        b_i = Σ_j α_ij v_j,   output W_o b_i,      α_ij from e_ij by the normaliser:

        softmax     exp(e_ij) / Σ_k exp(e_ik)
        relu        max(0, e_ij) / n,  n the words of the sentence   (Wortsman et al. 2023)
        relu-sum    max(0, e_ij) / (Σ_k max(0, e_ik) + ε)
        rela        max(0, e_ij), and b_i divided by its root mean square, times a gain   (Zhang et al. 2021)

    Raises TinyattnError for another score or normaliser.
    """

    def __init__(self, width: int, heads: int, score: str = "dot", normaliser: str = "softmax"):
        for name, given, known in (("score", score, SCORES), ("normaliser", normaliser, NORMALISERS)):
            if given not in known:
                fail(TinyattnError, "model", f"{name} must be one of {', '.join(known)}", f"got {given!r}")
        if width % heads:
            fail(TinyattnError, "model", f"the width must be divisible by heads = {heads}", f"got {width}")
        self.heads, self.score, self.normaliser = heads, score, normaliser
        self.project = nn.Linear(width, 3 * width)  # W_q, W_k, W_v
        self.output = nn.Linear(width, width)  # W_o
        bound = (width // heads) ** -0.5
        if score == "additive":
            self.a = ta.parameter(nn.init.uniform(width // heads, -bound, bound), np.float32)
        if normaliser == "rela":
            self.norm = nn.RMSNorm(width // heads)

    def forward(self, x: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """x (B, T, m), words (B, T) bool → (B, T, m) and the weights α (B, h, T, T)."""
        batch, steps, width = x.shape
        query, keys, values = (
            split_heads(part, self.heads) for part in ta.split(self.project(x), 3, axis=-1)
        )
        if self.score == "dot":
            scores = ta.scaled_dot_score(query, keys, 1 / math.sqrt(width // self.heads))
        else:
            scores = additive_alignment(query, keys, self.a)
        mask = words.reshape(batch, 1, 1, steps)
        if self.normaliser == "softmax":
            weights = ta.softmax(scores, mask=mask)
        else:
            by = {"relu": "length", "relu-sum": "sum", "rela": "none"}[self.normaliser]
            weights = relu_norm(scores, mask=mask, by=by)
        heads = weights @ values  # (B, h, T, d)
        if self.normaliser == "rela":
            heads = self.norm(heads)
        return self.output(join_heads(heads)), weights


class Block(nn.Module):
    """Self-attention and a fully connected network, each added to what comes in and normalised, as in the encoder of
    Vaswani et al. 2017 (section 3.1), so that several can stand on each other.

        z = LN(x + attention(x));   LN(z + W_2 relu(W_1 z))
    """

    def __init__(self, width: int, heads: int, score: str, normaliser: str, dropout: float = 0.0):
        self.attention = SelfAttention(width, heads, score, normaliser)
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.hidden, self.back = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """x (B, T, m), words (B, T) bool → (B, T, m) and the weights (B, h, T, T)."""
        found, weights = self.attention(x, words)
        z = self.norm_1(x + self.dropout(found))
        return self.norm_2(z + self.dropout(self.back(ta.relu(self.hidden(z))))), weights
