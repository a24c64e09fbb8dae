"""The classic captioner: the image as one vector, from which a recurrent network tells the sentence (Vinyals et al.
2015, "Show and tell").

    x_{−1} = W_I CNN(I)                     all cells of the last layer's grid, side by side          (eq. 10)
    x_t = E y_t                             <bos> first                                               (eq. 11)
    h_t, c_t = LSTM(x_t, h_{t−1}, c_{t−1}),  p(y_{t+1}) = softmax(W_o h_t)                            (eq. 12)

The image is seen once, before the first word: all that will be said must be kept in the state until it is.
"""

from dataclasses import dataclass
from typing import Any

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe
from tinyattn.models.parts.captioning import TRAINING, CaptionConfig, CaptionModel, Said


@dataclass(frozen=True)
class CaptionerConfig(CaptionConfig):
    """Sizes."""

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        m, n, k = self.embedding, self.hidden, self.target_vocabulary
        image = m * (self.side**2 * self.features + 1)
        return self.network_parameters() + image + k * m + 4 * n * (m + n + 2) + k * (n + 1)

    @classmethod
    def like(cls, other: Any) -> "CaptionerConfig":
        """The sizes that have as many parameters as a ShowAttendTell of sizes `other`, to within 2 %: with the same
        network, a wider state, or a narrower one."""

        def sized(hidden: int) -> "CaptionerConfig":
            return cls(
                other.target_vocabulary, other.image_size, other.channels, other.longest_target, other.width,
                other.layers, other.embedding, hidden,
            )  # fmt: skip

        wanted = other.num_parameters()
        return min(map(sized, range(1, 3 * other.hidden)), key=lambda c: abs(c.num_parameters() - wanted))


class Captioner(CaptionModel):
    """The model."""

    Config = CaptionerConfig
    name = "captioner"
    paper = "Vinyals et al. 2015, Show and tell: a neural image caption generator"
    documents = "S3 S4"
    remark = "no attention"
    recipes = (
        Recipe("captioned-shapes", training=TRAINING, targets={"exact_match_known": 0.8}),
        Recipe("mnist-scenes", training=TRAINING),
    )
    config: CaptionerConfig

    def __init__(self, config: CaptionerConfig):
        super().__init__(config)
        self.image = nn.Linear(config.side**2 * config.features, config.embedding)  # W_I
        self.lstm = nn.LSTM(config.embedding, config.hidden)
        self.vocabulary = nn.Linear(config.hidden, config.target_vocabulary)  # W_o

    def see(self, images: Any) -> tuple[tuple[()], tuple[ta.Tensor, ta.Tensor]]:
        """Nothing but the state after x_{−1}, h and c (B, n)."""
        cells = self.network(images)
        first = self.image(cells.reshape(cells.shape[0], -1))
        _, (h, c) = self.lstm(ta.expand_dims(first, 0))
        return (), (h[0], c[0])

    def decode(self, memory: tuple[()], state: Any, words: ta.Tensor) -> Said:
        states, _ = self.lstm(words, tuple(ta.expand_dims(part, 0) for part in state))
        return Said(self.vocabulary(states), None)

    def advance(self, memory: tuple[()], state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, None]:
        first = tuple(ta.expand_dims(part, 0) for part in state)
        states, (h, c) = self.lstm(ta.expand_dims(word, 0), first)
        return (h[0], c[0]), self.vocabulary(states[0]), None
