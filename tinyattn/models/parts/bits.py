"""What models that say bits share: the loss, answers, and sizes."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.graph.leaf import as_tensor
from tinyattn.models.model import Model, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.tasks.task import Answers


@dataclass(frozen=True)
class BitsConfig:
    """Sizes. inputs, outputs: channels of the task; hidden: of the controller, or of each layer."""

    inputs: int = from_task()
    outputs: int = from_task()
    hidden: int = 100

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, shares=())


class BitsModel(Model):
    """Steps in, at each step the logits of some bits out; a model adds `logits`."""

    families = ("bits",)
    config: Any

    def __init__(self) -> None:
        self._chances = ta.function(self._answers)

    def logits(self, steps: ta.Tensor) -> ta.Tensor:
        """Steps (T, B, F) → logits (T, B, O)."""
        raise NotImplementedError

    def forward(self, inputs: Any) -> ta.Tensor:
        """Inputs (B, T, F) → logits (B, T, O); no step sees a later one."""
        steps = as_tensor(inputs).astype(self.parameters()[0].dtype)
        return self.logits(steps.transpose(1, 0, 2)).transpose(1, 0, 2)

    def _of(self, logits: ta.Tensor, batch: Any) -> ta.Tensor:
        """Mean −log p of the bits that are asked for."""
        targets = as_tensor(batch.targets).astype(logits.dtype)
        asked = ta.expand_dims(as_tensor(batch.asked), 2)
        nats = ta.where(asked, ta.softplus(logits) - targets * logits, 0)
        return ta.sum(nats) / (ta.sum(asked.astype(logits.dtype)) * logits.shape[2])

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p of the bits that are asked for, in nats: a scalar."""
        return self._of(self(batch.inputs), batch)

    def _answers(self, kind: type, arrays: dict) -> tuple[ta.Tensor, ta.Tensor]:
        batch = kind(**arrays)
        logits = self(batch.inputs)
        return ta.sigmoid(logits), self._of(logits, batch)

    def answer(self, batch: Any) -> Answers:
        """The probabilities that bits are 1, of the steps where they are asked for (n, O)."""
        with self.evaluating():
            chances, loss = self._chances(type(batch), vars(batch))
        outputs = [row[asked] for row, asked in zip(chances, np.asarray(batch.asked), strict=True)]
        return Answers(outputs, nats=float(loss) * batch.weight, predictions=batch.weight)
