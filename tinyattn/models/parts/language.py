"""What recurrent language models share: words in, the next word out, the loss, answers and texts of their own.

A model adds `states`: what it makes of the words so far. Sequences are time-major inside, (T, B, …).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.leaf import as_tensor
from tinyattn.models.model import Model, from_task
from tinyattn.models.parts.checks import check_sizes, checked_count, checked_ids
from tinyattn.models.parts.generation import choose
from tinyattn.tasks.task import Answers
from tinyattn.tasks.text import NOTHING


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes. vocab_size: how many words there are; embedding, hidden: numbers of a word and of a state; layers: how
    many, one upon the other. dropout: of embedded words and of the states in front of the output layer. block_size:
    the longest text that the task has; longer ones can be written.
    """

    vocab_size: int = from_task()
    embedding: int = 64
    hidden: int = 64
    layers: int = 1
    dropout: float = 0.0
    block_size: int = from_task(64)
    """The longest text that the task has; longer ones can be written."""

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self)


class RecurrentLanguageModel(Model):
    """E x_t → states → W h_t + b: logits of the word behind each."""

    Config: ClassVar[type[RecurrentConfig]]
    families = ("language",)
    config: Any

    def __init__(self, config: RecurrentConfig):
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden, config.vocab_size)
        self._predict, self._next = ta.function(self._predictions), ta.function(self._after)

    def states(self, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor | None]:
        """Words (T, B, m) → h_t (T, B, H) of the last layer, and its attention weights (T, B, T) if it has some."""
        raise NotImplementedError

    def forward(self, tokens: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        """Integers (B, T) → logits (B, T, V) of the word after each, and weights (B, T, T) or None."""
        words = self.dropout(self.embedding(as_tensor(tokens).T))
        states, weights = self.states(words)
        logits = self.output(self.dropout(states))
        return logits.transpose(1, 0, 2), None if weights is None else weights.transpose(1, 0, 2)

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p(word) in nats, a scalar, over the words that a language task's batch asks for."""
        return ta.cross_entropy(self(batch.tokens)[0], batch.targets, ignore_index=NOTHING)

    def _predictions(self, tokens: ta.Tensor, targets: ta.Tensor) -> tuple[Any, ...]:
        logits, weights = self(tokens)
        return ta.argmax(logits, -1), ta.cross_entropy(logits, targets, ignore_index=NOTHING), weights

    def answer(self, batch: Any) -> Answers:
        """The most probable next word of each place (T,), the surprise at those that follow, and the weights (T, T)
        with which each place looks at those before it.
        """
        with self.evaluating():
            found, loss, weights = self._predict(batch.tokens, batch.targets)
        maps = {} if weights is None else {"attention": [*weights]}
        return Answers([*found], maps, nats=float(loss) * batch.weight, predictions=batch.weight)

    def _after(self, tokens: ta.Tensor, last: ta.Tensor) -> ta.Tensor:
        """Logits (B, V) of what follows place `last`."""
        return ta.take(self(tokens)[0], last, axis=1)

    def sample(self, batch: Any, *, tokens: int = 30, temperature: float = 1.0, top_k: int = 0) -> Answers:
        """How the model goes on, `tokens` further words a row, each drawn from softmax(logits / temperature), from the
        top_k most probable ones if that isn't 0; a temperature of 0 takes the most probable one. Raises ShapeError.
        """
        given = checked_ids("sample", "tokens", batch.tokens, "B, T", 0, self.config.vocab_size - 1)
        count, begin = checked_count("sample", "tokens", tokens), given.shape[1]
        text = np.zeros((len(given), begin + count), given.dtype)
        text[:, :begin] = given
        with self.evaluating():
            for place in range(begin, begin + count):  # what stands behind is not seen
                logits = self._next(text, np.array(place - 1))
                text[:, place] = choose(logits, temperature, top_k or None)
        return Answers([*text[:, begin:]])
