"""BERT fine-tuned, as a model to train: a tag for each word (Devlin et al. 2019, section 5.3).

    tinyattn train bert-tagger                                          the recipe: first bert on documents, then this

A sentence is read as  [CLS] x [SEP],  and the tag of word i is softmax(W T_i) (bert_heads.py). All else is as in
bert_classifier.py.
"""

from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.models.bert import BERT
from tinyattn.models.bert_classifier import TUNING, BERTClassifierConfig, FineTuned
from tinyattn.models.bert_heads import BERTTokens
from tinyattn.models.model import Recipe
from tinyattn.tasks.tagging import NOTHING
from tinyattn.tasks.task import Answers

FEWER = {"steps": 600, "learning_rate": 3e-4, "validate_every": 50}
"""A label for each word says more than one for the sentence, and fewer and smaller steps do."""


class BERTForTags(FineTuned):
    """A tag for each word: tokens (B, T) of which length (B,) count, and tags (B, T)."""

    name = "bert-tagger"
    families = ("tagging",)
    recipes = (Recipe("slip-words", {}, TUNING | FEWER),)

    def __init__(self, config: BERTClassifierConfig):
        self.config = config
        self.tuned = BERTTokens(BERT(config.body), config.classes)
        self._answer = ta.function(self._judge)

    def forward(self, tokens: Any, length: Any) -> ta.Tensor:
        """Sentences (B, T) and their lengths (B,) → logits (B, T, K)."""
        return self.tuned(*self.rows(tokens, length))[:, 1:-1]

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log P(tag) of the words that have one."""
        return ta.cross_entropy(self(batch.tokens, batch.length), batch.tags, ignore_index=NOTHING)

    def _judge(self, tokens: ta.Tensor, length: ta.Tensor, tags: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        logits = self(tokens, length)
        return ta.argmax(logits, 2), ta.cross_entropy(logits, tags, ignore_index=NOTHING)

    def answer(self, batch: Any) -> Answers:
        """The most probable tags, (T,) a row, and the surprise at the right ones."""
        with self.evaluating():
            found, loss = self._answer(batch.tokens, batch.length, batch.tags)
        nats = float(np.asarray(loss)) * batch.weight if batch.weight else None
        return Answers([*found], {}, nats=nats, predictions=batch.weight)
