"""BERT fine-tuned, as a model to train: the part of a passage that answers a question (Devlin et al. 2019, section
4.2).

    tinyattn train bert-reader                                          the recipe: first bert on documents, then this

A row is  [CLS] question [SEP] passage [SEP],  as the task gives it. P(i is the start) = softmax_i(S · T_i), the end
likewise, and the answer is the part i ≤ j with the highest S · T_i + E · T_j (bert_heads.py). All else is as in
bert_classifier.py.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.models.bert import BERT, BERTConfig
from tinyattn.models.bert_classifier import TUNING, FineTuned
from tinyattn.models.bert_heads import BERTSpan, best_span
from tinyattn.models.model import Recipe
from tinyattn.tasks.passages import NOTHING
from tinyattn.tasks.task import Answers


@dataclass(frozen=True)
class BERTReaderConfig(BERTConfig):
    """Sizes as BERT's, by default those of its recipe for `documents`.

    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: as BERT's.
    """

    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 256


class BERTForSpans(FineTuned):
    """The part of a passage that answers a question: tokens (B, T) and segments (B, T), of which length (B,) count;
    the answer goes from start (B,) to end (B,), both included.
    """

    Config = BERTReaderConfig
    name = "bert-reader"
    families = ("reading",)
    added = ()
    recipes = (Recipe("passages", {"dropout": 0.3}, TUNING),)
    config: BERTReaderConfig

    def __init__(self, config: BERTReaderConfig):
        self.config = config
        self.tuned = BERTSpan(BERT(config))
        self._answer = ta.function(self._judge)

    def forward(self, tokens: Any, segments: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Integers (B, T) twice and (B,) → scores of each place as start and as end, (B, T) twice."""
        return self.tuned(tokens, segments, length)

    def loss(self, batch: Any) -> ta.Tensor:
        """The mean of −log P(start) and −log P(end)."""
        return self._judge(batch.tokens, batch.segments, batch.length, batch.start, batch.end)[2]

    def _judge(self, tokens: Any, segments: Any, length: Any, start: Any, end: Any) -> tuple[ta.Tensor, ...]:
        first, last = self(tokens, segments, length)
        nats = [
            ta.cross_entropy(scores, place, ignore_index=NOTHING)
            for scores, place in ((first, start), (last, end))
        ]
        return first, last, (nats[0] + nats[1]) / 2

    def answer(self, batch: Any) -> Answers:
        """The part with the highest score of each row, first and last place, and the surprise at the right ones."""
        with self.evaluating():
            first, last, loss = self._answer(
                batch.tokens, batch.segments, batch.length, batch.start, batch.end
            )
        nats = float(np.asarray(loss)) * batch.weight if batch.weight else None
        return Answers(
            [*best_span(np.asarray(first), np.asarray(last))], {}, nats=nats, predictions=batch.weight
        )
