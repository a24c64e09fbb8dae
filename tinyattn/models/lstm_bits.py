"""A long short-term memory (Hochreiter & Schmidhuber 1997) that says bits: the baseline of what has a memory beside its
state (NTM).

    h_t, c_t = LSTM(x_t, h_{t−1}, c_{t−1}),   p_t = σ(W h_t + b)

(Graves et al. 2014, section 4: there three layers of 256.) All that it remembers are h and c.
"""

from dataclasses import dataclass

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe
from tinyattn.models.parts.bits import BitsConfig, BitsModel

TRAINING = {
    "steps": 8000, "batch_size": 16, "learning_rate": 2e-3, "schedule": "cosine",
    "validate_every": 500, "checkpoint_every": 500,
}  # fmt: skip


@dataclass(frozen=True)
class LSTMBitsConfig(BitsConfig):
    """Sizes. layers: how many, one upon the other."""

    layers: int = 1

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        n = self.hidden
        widths = [self.inputs, *[n] * (self.layers - 1)]
        return sum(4 * n * (width + n + 2) for width in widths) + self.outputs * (n + 1)

    @classmethod
    def like(cls, other: BitsConfig) -> "LSTMBitsConfig":
        """One layer, of the width that is nearest in parameters to `other`, which can count its own."""
        wanted = other.num_parameters()  # type: ignore[attr-defined]
        found = (cls(other.inputs, other.outputs, hidden) for hidden in range(1, 10 * other.hidden))
        return min(found, key=lambda config: abs(config.num_parameters() - wanted))


class LSTMBits(BitsModel):
    """The baseline: inputs (B, T, F) and targets (B, T, G), bits, of which the steps asked (B, T) count."""

    Config = LSTMBitsConfig
    name = "lstm-bits"
    paper = "Hochreiter & Schmidhuber 1997, Long short-term memory"
    documents = "S0 S3"
    remark = "no memory"
    recipes = (Recipe("copy-bits", training=TRAINING),)

    def __init__(self, config: LSTMBitsConfig):
        super().__init__()
        self.config = config
        self.lstm = nn.LSTM(config.inputs, config.hidden, config.layers)
        self.output = nn.Linear(config.hidden, config.outputs)

    def logits(self, steps: ta.Tensor) -> ta.Tensor:
        return self.output(self.lstm(steps)[0])
