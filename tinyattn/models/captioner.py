"""The classic captioner: the image as one vector, from which a recurrent network tells the sentence (Vinyals et al.
2015, "Show and tell").

    c_0 = W_I CNN(I),  h_0 = tanh c_0       the cells of the last layer's grid, pooled once more, side by side
    h_t, c_t = LSTM(E y_{t−1}, h_{t−1}, c_{t−1})                                                  (eqs. 4 to 9, 11)
    p(y_t) = softmax(W_o h_t)                                                                     (eq. 12)

The image is seen once, before the first word: all that will be said must be kept in the state until it is. The paper
gives W_I CNN(I) to the LSTM as its first input, in the place of a word (eq. 10); with words as short as here that would
let too little through.
"""

from dataclasses import dataclass
from typing import Any

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe
from tinyattn.models.parts.captioning import (
    MNIST_SIZES,
    MNIST_TRAINING,
    TRAINING,
    CaptionConfig,
    CaptionModel,
    Said,
)  # fmt: skip


@dataclass(frozen=True)
class CaptionerConfig(CaptionConfig):
    """Sizes: those of all captioners."""

    @property
    def pool(self) -> int:
        """By how much the last layer's grid is pooled: the smallest number that divides its side."""
        return next((k for k in range(2, self.side) if self.side % k == 0), 1)

    @property
    def seen(self) -> int:
        """How many numbers the image is."""
        return (self.side // self.pool) ** 2 * self.features

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        m, n, k = self.embedding, self.hidden, self.target_vocabulary
        return self.network_parameters() + n * (self.seen + 1) + k * m + 4 * n * (m + n + 2) + k * (n + 1)

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
    """The model: images (B, C, H, W), and captions as word numbers: target_in (B, T) from <bos> on, target_out (B,
    T) with <eos>.
    """

    Config = CaptionerConfig
    name = "captioner"
    paper = "Vinyals et al. 2015, Show and tell: a neural image caption generator"
    documents = "S3 S4"
    remark = "no attention"
    recipes = (
        Recipe("captioned-shapes", training=TRAINING, targets={"exact_match_known": 0.8}),
        Recipe("mnist-scenes", MNIST_SIZES, MNIST_TRAINING),
    )
    config: CaptionerConfig

    def __init__(self, config: CaptionerConfig):
        super().__init__(config)
        self.image = nn.Linear(config.seen, config.hidden)  # W_I
        self.lstm = nn.LSTM(config.embedding, config.hidden)
        self.vocabulary = nn.Linear(config.hidden, config.target_vocabulary)  # W_o

    def see(self, images: Any) -> tuple[tuple[()], tuple[ta.Tensor, ta.Tensor]]:
        """Nothing but h_0 and c_0 (B, n)."""
        side, cells = self.config.side, self.network(images)  # (B, L, D)
        grid = cells.transpose(0, 2, 1).reshape(cells.shape[0], -1, side, side)
        c = self.image(ta.max_pool2d(grid, self.config.pool).reshape(cells.shape[0], -1))
        return (), (ta.tanh(c), c)

    def decode(self, memory: tuple[()], state: Any, words: ta.Tensor) -> Said:
        return Said(self.vocabulary(self._run(state, words)[0]), None)

    def advance(self, memory: tuple[()], state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, None]:
        states, state = self._run(state, ta.expand_dims(word, 0))
        return state, self.vocabulary(states[0]), None

    def _run(self, state: Any, words: ta.Tensor) -> tuple[ta.Tensor, Any]:
        """Words E y_{t−1} (T, B, m) from a state, h and c (B, n) → all h_t (T, B, n), and the last state."""
        states, last = self.lstm(words, tuple(ta.expand_dims(part, 0) for part in state))
        return states, tuple(part[0] for part in last)
