"""The second stage of GPT: fine-tuning on labels (Radford et al. 2018, sections 3.2 and 3.3).

    P(y | x_1 … x_m) = softmax(h_L^m W_y)                                    eq. 3: h_L^m, the last place of block L
    L_2 = Σ log P(y | x_1 … x_m)                                             eq. 4
    L_3 = L_2 + λ L_1,   L_1 the language model's own, of the same texts     eq. 5, λ = ½

A text becomes  start x extract,  a pair  start a delimiter b extract  (figure 1); for similarity, which has no order,
both orders are read and their h_L^m added. New are W_y and the embeddings of these three tokens, and nothing else:

    tuned = GPTClassifier(pretrained, classes=2)
    tokens, length = tuned.rows(texts)
    optimizer.minimize(tuned.loss(tokens, length, label))

The losses here are means, of texts and of tokens, as those of all models of this package are.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.gpt import GPT
from tinyattn.models.parts.checks import checked_count, checked_ids
from tinyattn.tasks.text import NOTHING

Texts = Sequence[Any]
"""B texts, each integers (n,)."""


class GPTClassifier(nn.Module):
    """A class for each text or pair. The body is a copy of the model's, with three more tokens.

    ``start``, ``delimiter``, ``extract``: their ids, behind those of the model. What is new is N(0, 0.02²).
    """

    def __init__(self, model: GPT, classes: int):
        count, width = model.config.vocab_size, model.config.n_embd
        self.start, self.delimiter, self.extract = range(count, count + 3)
        dtype = model.lm_head.weight.dtype
        self.gpt = GPT(replace(model.config, vocab_size=count + 3)).to(dtype)
        state = model.state_dict()
        table = np.concatenate([state["transformer.wte.weight"], nn.init.normal((3, width), std=0.02)])
        new = dict.fromkeys(("transformer.wte.weight", "lm_head.weight"), table)
        self.gpt.load_state_dict(state | new)
        self.dropout = nn.Dropout(model.config.dropout)
        self.classifier = nn.Linear(
            width, checked_count("GPTClassifier", "classes", classes), bias=False, dtype=dtype
        )
        self.classifier.weight.assign(nn.init.normal(self.classifier.weight.shape, std=0.02))

    def rows(self, *texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """B texts, or B texts and as many that belong to them → tokens (B, T) int32, 0 behind the end, and how many
        each row has (B,) int32. Raises ShapeError for a row of more than block_size.
        """
        most, rows = self.gpt.config.block_size, list[list[int]]()
        for parts in zip(*texts, strict=True):
            row = [self.start]
            for part in parts:
                row += [*checked_ids("rows", "a text", part, "n", 0, self.start - 1), self.delimiter]
            rows.append([*row[:-1], self.extract])
        length = np.array([len(row) for row in rows], np.int32)
        if not rows or length.max() > most:
            got = f"got {length.max()}" if rows else "got no text"
            fail(
                ShapeError,
                "rows",
                f"a row must have at most block_size = {most} tokens",
                got,
                "Cut texts off.",
            )
        tokens = np.zeros((len(rows), length.max()), np.int32)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
        return tokens, length

    def last(self, tokens: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Integers (B, T) and (B,) → h_L (B, T, E), and of each row that of its last token (B, E)."""
        hidden, _ = self.gpt.transformer(as_tensor(tokens), None, 0)
        places = ta.arange(hidden.shape[1]).reshape(1, -1) == as_tensor(length).reshape(-1, 1) - 1
        return hidden, ta.sum(ta.where(ta.expand_dims(places, 2), hidden, 0.0), axis=1)

    def forward(self, tokens: Any, length: Any) -> ta.Tensor:
        """Integers (B, T) and (B,) → logits (B, classes)."""
        return self.classifier(self.dropout(self.last(tokens, length)[1]))

    def similarity(self, one: tuple[Any, Any], other: tuple[Any, Any]) -> ta.Tensor:
        """The rows of pairs in one order, and in the other → logits (B, classes), whichever comes first."""
        return self.classifier(self.dropout(self.last(*one)[1] + self.last(*other)[1]))

    def loss(self, tokens: Any, length: Any, label: Any, auxiliary: float = 0.5) -> ta.Tensor:
        """Mean −log P(label) of labels (B,), −1: none; and λ = ``auxiliary`` times the mean −log P of each token of the
        rows from those before it.
        """
        first, *more = self.means(tokens, length, label, auxiliary)
        return sum(more, first)

    def means(self, tokens: Any, length: Any, label: Any, auxiliary: float = 0.5) -> list[ta.Tensor]:
        """The parts of the loss: each the mean of something else."""
        hidden, last = self.last(tokens, length)
        loss = ta.cross_entropy(self.classifier(self.dropout(last)), label, ignore_index=NOTHING)
        if not auxiliary:
            return [loss]
        tokens = as_tensor(tokens)
        inside = ta.arange(1, tokens.shape[1]).reshape(1, -1) < as_tensor(length).reshape(-1, 1)
        following = ta.where(inside, tokens[:, 1:], NOTHING)
        table = self.gpt.lm_head.weight
        words = ta.linear_cross_entropy(hidden[:, :-1], table, following, ignore_index=NOTHING)
        return [loss, auxiliary * words]
