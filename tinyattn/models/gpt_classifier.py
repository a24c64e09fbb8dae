"""GPT's second stage as a model to train: a label for each text, by a body that has learned to say texts before
(Radford et al. 2018, section 3.2; equations 3 to 5 are those of gpt_heads.py).

    tinyattn train gpt-classifier                                       the recipe: first gpt on topic-texts, then this
    tinyattn train gpt-classifier --set start=RUN                       begin from a trained gpt of yours
    tinyattn train gpt-classifier --set start=                          from initial values

What it begins from are all parameters of the body. The vectors of words go by the words: a word that the other run
knows, too, has its vector, wherever its number is there, and others begin with initial values.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.gpt import GPT, GPTConfig
from tinyattn.models.gpt_heads import GPTClassifier
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.beginning import by_words, copied, enclosed, labelled
from tinyattn.tasks.task import Answers

TUNING: dict[str, Any] = {
    "start": "gpt on topic-texts", "steps": 600, "batch_size": 32, "optimizer": "adamw", "learning_rate": 1e-3,
    "schedule": "linear", "warmup_steps": 30, "weight_decay": 0.01, "validate_every": 50,
}  # fmt: skip


@dataclass(frozen=True)
class GPTClassifierConfig(GPTConfig):
    """Sizes as GPT's, by default those of its recipe for `topic-texts`. auxiliary: λ, the share of the language
    model's loss in training.

    n_layer, n_head, n_embd, dropout, norm_first: as GPT's. vocabulary: how many words the texts have, classes: how
    many labels there are, longest: the most words of a text.
    """

    n_layer: int = 2
    n_head: int = 4
    n_embd: int = 64
    dropout: float = 0.1
    norm_first: bool = False
    vocabulary: int = from_task(50257)
    classes: int = from_task(2)
    longest: int = from_task(510)
    auxiliary: float = 0.5

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        super().__post_init__()
        if not self.auxiliary >= 0:
            fail(TinyattnError, "GPT", "auxiliary must be at least 0", f"got {self.auxiliary!r}")

    @property
    def body(self) -> GPTConfig:
        """The sizes of the model below, which has a place for each word, and for start and extract around them."""
        sizes = {entry.name: getattr(self, entry.name) for entry in fields(GPTConfig)}
        return GPTConfig(**sizes | {"vocab_size": self.vocabulary, "block_size": self.longest + 2})


class GPTForLabels(Model):
    """A label for each text: tokens (B, T) of which length (B,) count, and label (B,)."""

    Config = GPTClassifierConfig
    name = "gpt-classifier"
    paper = "Radford et al. 2018, Improving language understanding by generative pre-training"
    documents = "S3"
    families = ("classification",)
    begins_from = ("gpt",)
    recipes = (Recipe("topics", {}, TUNING),)
    config: GPTClassifierConfig

    def __init__(self, config: GPTClassifierConfig):
        self.config = config
        self.tuned = GPTClassifier(GPT(config.body), config.classes)
        self._answer = ta.function(lambda tokens, length: ta.log_softmax(self(tokens, length)))

    def start_from(self, other: Model, here: Sequence[str], there: Sequence[str]) -> None:
        """Take over a GPT's body. The last three vectors, of start, delimiter and extract, stay new."""
        given, own = other.state_dict(), self.tuned.gpt.state_dict()
        table = "transformer.wte.weight"
        vectors = by_words(own[table], given[table], here, there)
        positions = copied(own["transformer.wpe.weight"], given["transformer.wpe.weight"])
        new = dict.fromkeys((table, "lm_head.weight"), vectors) | {"transformer.wpe.weight": positions}
        self.tuned.gpt.load_state_dict(given | new)

    def rows(self, tokens: ta.Tensor, length: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """Texts (B, T) and their lengths → start x extract (B, T + 2), 0 behind the end, and the lengths of that."""
        return enclosed(tokens, length, self.tuned.start, self.tuned.extract)

    def forward(self, tokens: Any, length: Any) -> ta.Tensor:
        """Texts (B, T) and their lengths (B,) → logits (B, K)."""
        return self.tuned(*self.rows(as_tensor(tokens), as_tensor(length)))

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log P(label); in training, λ times the language model's loss of the same texts is added."""
        first, *more = self.means(batch)
        return sum(more, first)

    def means(self, batch: Any) -> Sequence[ta.Tensor]:
        """Both."""
        return self.tuned.means(*self.rows(batch.tokens, batch.length), batch.label, self._auxiliary)

    def counts(self, batch: Any) -> Sequence[int]:
        """How many labels, and how many words: all of a row but the first."""
        words = int(batch.length.sum()) + len(batch.length)  # (with extract)
        return (batch.weight, words) if self._auxiliary else (batch.weight,)

    @property
    def _auxiliary(self) -> float:
        return self.config.auxiliary if self.training else 0.0

    def answer(self, batch: Any) -> Answers:
        """The most probable label of each text."""
        with self.evaluating():
            log_p = self._answer(batch.tokens, batch.length)
        return labelled(log_p, batch.label)
