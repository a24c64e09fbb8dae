"""Sentiment: one label for a text, four ways to come from many words to one vector.

    lstm             c = [→h_T; ←h_1]                        what both directions of an LSTM hold when all is read
    lstm-attention   c = Σ_t α_t h_t,  α = softmax_t w_aᵀ tanh(W_a h_t + b_a)    over the states of both directions
    lstmn            the same weighted mean of the h_t of an LSTMN (lstmn.py), which reads from left to right
    self-attention   h = L blocks of self-attention over x + PE (parts/reader.py), and the same weighted mean of h

and y = W_2 relu(W_1 c + b_1) + b_2, softmax(y) the probability of each label. The weighted mean is that of Yang et al.
2016 ("Hierarchical attention networks for document classification", equations 5 to 7): what is asked of every word is
one learned vector, w_a. α can be drawn, and compared with the words that decide where they are known.

Shapes in comments: B texts, T words, m word vectors, n states, K labels.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.lstmn import LSTMNLayer
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.reader import Block, Words, inside
from tinyattn.nn.transformer import sinusoidal_positions
from tinyattn.sections import Heat, Map, Section
from tinyattn.tasks.labels import NOTHING
from tinyattn.tasks.task import Answers

VARIANTS = ("lstm", "lstm-attention", "lstmn", "self-attention")
SHOWN = 4  # texts in a report

TRAINING: dict[str, Any] = {"steps": 1200, "batch_size": 64, "learning_rate": 2e-3, "schedule": "linear"}
SST_SIZES: dict[str, Any] = {
    "embedding": 128,
    "hidden": 64,
    "dropout": 0.6,
    "layers": 1,
    "missing": 0.3,
    "spread": 0.1,
}
SST_TRAINING: dict[str, Any] = {
    "steps": 800, "batch_size": 64, "learning_rate": 1e-3, "schedule": "linear", "validate_every": 50,
}  # fmt: skip
SST_OF = {"lstmn": {"steps": 3000}}
"""An LSTMN learns these sentences later."""


@dataclass(frozen=True)
class SentimentClassifierConfig:
    """Sizes and choices. variant: one of VARIANTS. layers, heads: of self-attention. missing: the share of words
    left out in training. spread: the deviation of word vectors at first.

    vocabulary, classes: how many words and labels there are; embedding: numbers of a word; hidden: of a state in
    each direction, of an LSTMN its attention's width, too; dropout: of word vectors and of what the label is said
    from.
    """

    vocabulary: int = from_task()
    classes: int = from_task()
    variant: str = "lstm-attention"
    embedding: int = 64  # m
    hidden: int = 64  # n, of each direction; of an LSTMN its attention's width, too
    dropout: float = 0.0
    layers: int = 2
    heads: int = 4
    missing: float = 0.0
    spread: float = 1.0

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, shares=("dropout", "missing"), choices={"variant": VARIANTS})


class Pooling(nn.Module):
    """The mean of states, weighted by how well each answers one learned question."""

    def __init__(self, width: int, hidden: int):
        self.project = nn.Linear(width, hidden)  # W_a
        self.question = nn.Linear(hidden, 1, bias=False)  # w_a

    def forward(self, states: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """States (B, T, n), words (B, T) bool → their mean (B, n) and the weights α (B, 1, T)."""
        batch, steps, width = states.shape
        scores = self.question(ta.tanh(self.project(states))).reshape(batch, 1, steps)
        weights = ta.softmax(scores, mask=words.reshape(batch, 1, steps))
        return (weights @ states).reshape(batch, width), weights


class SentimentClassifier(Model):
    """A label for each text, by one of VARIANTS: tokens (B, T) of which length (B,) count, and label (B,)."""

    Config = SentimentClassifierConfig
    name = "sentiment"
    paper = "Yang et al. 2016, Hierarchical attention networks for document classification"
    documents = "S3"
    families = ("classification",)
    varies = ("variant",)
    recipes = tuple(
        Recipe(task, {"variant": variant} | sizes, training, targets=targets, variant=name)
        for variant, name in (("lstm-attention", ""), *((v, v) for v in ("lstm", "lstmn", "self-attention")))
        for task, sizes, training, targets in (
            (
                "reviews",
                {},
                TRAINING,
                {"accuracy": 0.98} | ({} if variant == "lstm" else {"attention_mass": 0.5}),
            ),
            ("sst", SST_SIZES, SST_TRAINING | SST_OF.get(variant, {}), {"accuracy": 0.8}),
        )
    )
    config: SentimentClassifierConfig

    def __init__(self, config: SentimentClassifierConfig):
        self.config = config
        m, n = config.embedding, config.hidden
        self.words = Words(config.vocabulary, 0, m, config.dropout, config.missing, config.spread)
        width = {"self-attention": m, "lstmn": n}.get(config.variant, 2 * n)
        if config.variant == "self-attention":
            self.blocks = nn.ModuleList(
                Block(m, config.heads, "dot", "softmax", config.dropout) for _ in range(config.layers)
            )
        elif config.variant == "lstmn":
            self.lstmn = LSTMNLayer(m, n, n, tape=0)
        else:
            self.lstm = nn.LSTM(m, n, bidirectional=True, batch_first=True)
        if config.variant != "lstm":
            self.pooling = Pooling(width, n)
        self.hidden, self.output = nn.Linear(width, n), nn.Linear(n, config.classes)
        self.dropout = nn.Dropout(config.dropout)
        self._answer = ta.function(self._judge)

    def forward(self, tokens: Any, length: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        """Texts (B, T) and their lengths (B,) → logits (B, K), and the weights α (B, 1, T) if there are any."""
        batch, steps = tokens.shape
        x, words = self.words(Texts(tokens, length)), inside(length, steps)
        weights = None
        if self.config.variant == "self-attention":
            states = x + ta.tensor(sinusoidal_positions(steps, x.shape[2], x.dtype))
            for block in self.blocks:
                states, _ = block(states, words)
        elif self.config.variant == "lstmn":  # no word sees those behind it, so none sees padding
            states = self.lstmn(x.transpose(1, 0, 2))[1][0].transpose(1, 0, 2)  # (B, T, n)
        else:
            states, (last, _) = self.lstm(x, lengths=length)  # (B, T, 2n), (2, B, n)
        if self.config.variant == "lstm":
            found = last.transpose(1, 0, 2).reshape(batch, -1)
        else:
            found, weights = self.pooling(self.dropout(states), words)
        return self.output(self.dropout(ta.relu(self.hidden(self.dropout(found))))), weights

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p(label) of the texts that have one."""
        return ta.cross_entropy(self(batch.tokens, batch.length)[0], batch.label, ignore_index=NOTHING)

    def _judge(self, tokens: ta.Tensor, length: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor | None]:
        logits, weights = self(tokens, length)
        return ta.log_softmax(logits), weights

    def answer(self, batch: Any) -> Answers:
        """The most probable label of each text; and where there are weights, the map "attention" (1, T)."""
        with self.evaluating():
            log_p, weights = self._answer(batch.tokens, batch.length)
        known = np.flatnonzero(batch.label >= 0)
        nats = -float(log_p[known, batch.label[known]].sum())
        maps = {} if weights is None else {"attention": list(weights)}
        return Answers([*log_p.argmax(1)], maps, [*log_p.max(1)], nats, len(known))

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """Where it looks in a few texts. The task has a `vocabulary` and `classes`, as tasks of labelled texts do."""
        answers = self.answer(batch)
        maps = []
        for row, weights in enumerate(answers.maps.get("attention", [])[:SHOWN]):
            words = task.vocabulary.decode(batch.tokens[row, : batch.length[row]])
            maps.append(
                Map(np.asarray(weights)[:, : len(words)], [task.classes[answers.outputs[row]]], words)
            )
        return [Heat("Which words it looks at", maps, "The row is what it says.")] if maps else []


@dataclass(frozen=True)
class Texts:
    """What Words reads."""

    tokens: Any
    length: Any
