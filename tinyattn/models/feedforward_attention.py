"""Feed-forward attention (Raffel & Ellis 2016, section 1.2), which reads a row of any length without a recurrence.

    h_t = LReLU(W_xh x_t + b_xh)                what each step says, by itself
    e_t = tanh(W_hc h_t + b_hc)                 a number: how much it matters
    α_t = exp(e_t) / Σ_k exp(e_k)               over the steps of the row, not its padding
    c   = Σ_t α_t h_t
    s   = LReLU(W_cs c + b_cs);   y = LReLU(W_sy s + b_sy)

The attention is a mean whose weights are learned. That is all it is: a sum over steps has no order, so whatever
depends on which of two steps comes first can't be learned (task "subtraction"). Since tanh lies between −1 and
1, no step weighs more than e² ≈ 7.4 times another, and in a long row each weighs next to nothing: the answer is found
because steps that don't matter all say about the same.

Shapes in comments: B rows, T steps, D hidden.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.scope import scope
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.tasks.task import Answers

TRAINING: dict[str, Any] = {"steps": 12000, "batch_size": 10, "learning_rate": 1e-2, "schedule": "cosine"}
"""Adam is the paper's, and 1e-2 is one of the rates it tries. It has 100 rows at a time: there is next to no noise in
what is asked, so more updates of 10 rows lead further than fewer of 100, for a quarter of the rows."""
LENGTHS = {100: 1.0, 50: 1.0, 500: 0.999, 1000: 0.999, 5000: 0.99}
"""How long rows are, and how many answers must be right."""
LONGEST: dict[tuple[str, int], dict[str, Any]] = {("multiplication", 5000): {"steps": 20_000}}
"""Where that many updates don't do."""


@dataclass(frozen=True)
class FeedForwardAttentionConfig:
    """Sizes. features: numbers of a step; hidden: D, in the paper 100."""

    features: int = from_task()
    hidden: int = 100  # D

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("FeedForwardAttention", self, shares=())

    @classmethod
    def like(cls, other: "FeedForwardAttentionConfig") -> "FeedForwardAttentionConfig":
        """The same sizes: attention is one number for each hidden one, and one more."""
        return cls(**vars(other))


class Pooling(Model):
    """What both models here share: steps, a weighted mean of them, and an answer."""

    Config = FeedForwardAttentionConfig
    paper = (
        "Raffel & Ellis 2016, Feed-forward networks with attention can solve some long-term memory problems"
    )
    documents = "S4"
    families = ("regression",)
    config: FeedForwardAttentionConfig

    def __init__(self, config: FeedForwardAttentionConfig):
        self.config = config
        self.step = nn.Linear(config.features, config.hidden)  # W_xh
        self.hidden = nn.Linear(config.hidden, config.hidden)  # W_cs
        self.output = nn.Linear(config.hidden, 1)  # W_sy
        self._answer = ta.function(self.forward)
        for layer in (self.step, self.hidden, self.output):
            self.draw(layer)

    @staticmethod
    def draw(layer: nn.Linear) -> None:
        """Initial values (He et al. 2015): N(0, 2 / fan in), and no bias."""
        layer.weight.assign(nn.init.kaiming_normal(layer.weight.shape))
        if layer.bias is not None:
            layer.bias.assign(np.zeros(layer.bias.shape))

    def weights(self, states: ta.Tensor, inside: ta.Tensor) -> ta.Tensor:
        """α (B, 1, T) of states h (B, T, D); inside (B, 1, T) bool: which steps are no padding."""
        raise NotImplementedError

    def forward(self, steps: ta.Tensor, length: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """Steps (B, T, features) and how many of them are no padding (B,) → answers y (B,), weights α (B, T)."""
        batch, count, _ = steps.shape
        inside = ta.arange(count, dtype=length.dtype).reshape(1, count) < length.reshape(batch, 1)
        steps = ta.where(inside.reshape(batch, count, 1), steps, 0)  # be it NaN, padding reaches nothing
        states = ta.leaky_relu(self.step(steps))  # (B, T, D)
        weights = self.weights(states, inside.reshape(batch, 1, count))
        context = (weights @ states).reshape(batch, -1)  # (B, D)
        answer = ta.leaky_relu(self.output(ta.leaky_relu(self.hidden(context))))
        return answer.reshape(batch), weights.reshape(batch, count)

    def loss(self, batch: Any) -> ta.Tensor:
        """The mean of (y − target)² over the rows that count."""
        found, _ = self(batch.steps, batch.length)
        off = ta.where(batch.valid, found - batch.target, 0)
        return ta.sum(off * off) / ta.sum(ta.where(batch.valid, 1.0, 0.0).astype(off.dtype))

    def answer(self, batch: Any) -> Answers:
        """A number for each row, and the weights (1, T) of its steps."""
        with self.evaluating():
            found, weights = self._answer(batch.steps, batch.length)
        return Answers([*found], {"attention": [*weights[:, None]]})


class FeedForwardAttention(Pooling):
    """The mean whose weights are learned, of steps (B, T, features) of which length (B,) count; target (B,) is a
    number.
    """

    name = "feedforward-attention"
    recipes = (
        *(
            Recipe(
                task, training=TRAINING | LONGEST.get((task, length), {}), baseline="mean-pooling",
                targets={f"accuracy_{length}": right}, options={} if length == 100 else {"length": length},
            )
            for task in ("addition", "multiplication")
            for length, right in LENGTHS.items()
        ),
        Recipe("subtraction", training=TRAINING, baseline="mean-pooling"),
    )  # fmt: skip

    def __init__(self, config: FeedForwardAttentionConfig):
        super().__init__(config)
        self.score = nn.Linear(config.hidden, 1)  # W_hc
        self.draw(self.score)

    def weights(self, states: ta.Tensor, inside: ta.Tensor) -> ta.Tensor:
        """softmax_t tanh(W_hc h_t + b_hc), 0 at padding."""
        scores = ta.tanh(self.score(states))  # (B, T, 1)
        with scope("score"):
            return ta.softmax(scores.reshape(inside.shape), mask=inside)


class MeanPooling(Pooling):
    """The plain mean of all steps (B, T, features) of which length (B,) count: the baseline without attention."""

    name = "mean-pooling"
    remark = "no attention"
    recipes = tuple(Recipe(task, training=TRAINING) for task in ("addition", "multiplication", "subtraction"))

    def weights(self, states: ta.Tensor, inside: ta.Tensor) -> ta.Tensor:
        """1 / length, 0 at padding."""
        ones = inside.astype(states.dtype)
        return ones / ta.sum(ones, axis=2, keepdims=True)
