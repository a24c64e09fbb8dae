"""BERT fine-tuned, as a model to train: a label for each text (Devlin et al. 2019, section 4.1).

    tinyattn train bert-classifier                                      the recipe: first bert on documents, then this
    tinyattn train bert-classifier --set start=RUN                      begin from a trained bert of yours
    tinyattn train bert-classifier --set start=                         from initial values

A text is read as  [CLS] x [SEP],  and the label is softmax(W C), C = tanh(W_p T_[CLS]) (bert_heads.py). What it begins
from is the body with W_p. Vectors of words go by the words: see gpt_classifier.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import tinyattn as ta
from tinyattn.graph.leaf import as_tensor
from tinyattn.models.bert import BERT, BERTConfig
from tinyattn.models.bert_heads import BERTSentence
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.beginning import by_words, copied, enclosed, labelled
from tinyattn.tasks.labels import NOTHING
from tinyattn.tasks.task import Answers

TUNING: dict[str, Any] = {
    "start": "bert on documents", "steps": 1500, "batch_size": 32, "optimizer": "adamw", "learning_rate": 1e-3,
    "schedule": "linear", "warmup_steps": 60, "weight_decay": 0.01, "validate_every": 100,
}  # fmt: skip


@dataclass(frozen=True)
class BERTClassifierConfig(BERTConfig):
    """Sizes as BERT's, by default those of its recipe for `documents`.

    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size: as BERT's. vocabulary: how many words
    the texts have, classes: how many labels there are, longest: the most words of a text.
    """

    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 256
    vocabulary: int = from_task(30522)
    classes: int = from_task(2)
    longest: int = from_task(510)

    @property
    def body(self) -> BERTConfig:
        """The sizes of the model below, with [CLS] and [SEP] behind the words."""
        sizes = {entry.name: getattr(self, entry.name) for entry in fields(BERTConfig)}
        own = {"vocab_size": self.vocabulary + 2, "max_position_embeddings": self.longest + 2}
        return BERTConfig(**sizes | own)


class FineTuned(Model):
    """What models share that begin from a BERT: `tuned`, its body with one new layer."""

    Config: ClassVar[type] = BERTClassifierConfig
    paper = BERT.paper
    documents = "S3"
    begins_from = ("bert",)
    added: ClassVar[Sequence[str]] = ("[CLS]", "[SEP]")
    """Words behind those of the task."""
    config: Any
    tuned: Any

    def start_from(self, other: Model, here: Sequence[str], there: Sequence[str]) -> None:
        """Take over a BERT's body."""
        own, given = self.tuned.bert.state_dict(), other.state_dict()
        new = {name: given[f"bert.{name}"] for name in own if f"bert.{name}" in given}
        words, places = (f"embeddings.{name}_embeddings.weight" for name in ("word", "position"))
        new[words] = by_words(own[words], new[words], [*here, *self.added], there)
        new[places] = copied(own[places], new[places])
        self.tuned.bert.load_state_dict(new)

    def rows(self, tokens: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor, ta.Tensor]:
        """Texts (B, T) and their lengths (B,) → [CLS] x [SEP] (B, T + 2), one segment, and the lengths of that."""
        begin, end = self.config.vocabulary, self.config.vocabulary + 1
        rows, lengths = enclosed(as_tensor(tokens), as_tensor(length), begin, end)
        return rows, ta.zeros(rows.shape, rows.dtype), lengths


class BERTForLabels(FineTuned):
    """A label for each text: tokens (B, T) of which length (B,) count, and label (B,)."""

    name = "bert-classifier"
    families = ("classification",)
    recipes = (Recipe("slips", {}, TUNING),)
    config: BERTClassifierConfig

    def __init__(self, config: BERTClassifierConfig):
        self.config = config
        self.tuned = BERTSentence(BERT(config.body), config.classes)
        self._answer = ta.function(lambda tokens, length: ta.log_softmax(self(tokens, length)))

    def forward(self, tokens: Any, length: Any) -> ta.Tensor:
        """Texts (B, T) and their lengths (B,) → logits (B, K)."""
        return self.tuned(*self.rows(tokens, length))

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log P(label)."""
        return ta.cross_entropy(self(batch.tokens, batch.length), batch.label, ignore_index=NOTHING)

    def answer(self, batch: Any) -> Answers:
        """The most probable label of each text."""
        with self.evaluating():
            log_p = self._answer(batch.tokens, batch.length)
        return labelled(log_p, batch.label)
