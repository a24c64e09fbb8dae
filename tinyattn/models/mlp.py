"""The multilayer perceptron (Rumelhart, Hinton & Williams 1986, equations 1 and 2), which answers one vector with one
class.

    h_0 = x,   h_l = tanh(W_l h_{l−1} + b_l)   for each hidden layer,   p(class | x) = softmax(W h_L + b)

Rumelhart et al. have logistic units; tanh(z) = 2 σ(2z) − 1 is the same unit with its values around 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.tasks.task import Answers


@dataclass(frozen=True)
class MLPConfig:
    """Sizes. features: numbers of a row; classes: how many there are; hidden: units of a hidden layer; layers: how
    many of these; dropout: of their values.
    """

    features: int = from_task()
    classes: int = from_task()
    hidden: int = 128
    layers: int = 2
    dropout: float = 0.2

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self)


class MLP(Model):
    """Numbers to a class: points (B, features), or images (B, C, H, W) as rows of pixels; label (B,)."""

    Config = MLPConfig
    name = "mlp"
    paper = "Rumelhart, Hinton & Williams 1986, Learning representations by back-propagating errors"
    documents = "S3"
    families = ("classification",)
    recipes = (
        Recipe(
            "digits",
            training={"steps": 3000, "batch_size": 64, "learning_rate": 2e-3},
            targets={"accuracy": 0.97},
        ),
        Recipe(
            "spirals",
            sizes={"dropout": 0.0},
            training={"steps": 3000, "batch_size": 64, "learning_rate": 5e-3},
            targets={"accuracy": 0.99},
        ),
        Recipe(
            "mnist",
            sizes={"hidden": 512},
            training={"steps": 3000, "batch_size": 64, "learning_rate": 1e-3},
            targets={"accuracy": 0.96},
        ),
    )

    def __init__(self, config: MLPConfig):
        self.config = config
        widths = [config.features, *[config.hidden] * config.layers, config.classes]
        self.layers = nn.ModuleList(nn.Linear(widths[k], widths[k + 1]) for k in range(config.layers + 1))
        self.dropout = nn.Dropout(config.dropout)
        self._answer = ta.function(lambda x: ta.log_softmax(self(x)))

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """(B, …) with `features` numbers a row → logits (B, classes)."""
        h = ta.reshape(x, (x.shape[0], -1))
        for number, layer in enumerate(self.layers):
            h = layer(self.dropout(ta.tanh(h)) if number else h)
        return h

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p(label) of the rows that have one."""
        return ta.cross_entropy(self(batch.inputs), batch.label, ignore_index=-1)

    def answer(self, batch: Any) -> Answers:
        """The most probable class of each row."""
        with self.evaluating():
            log_p = self._answer(batch.inputs)
        known = np.flatnonzero(batch.label >= 0)
        nats = -float(log_p[known, batch.label[known]].sum())
        return Answers([*log_p.argmax(1)], scores=[*log_p.max(1)], nats=nats, predictions=len(known))
