"""A language model with a long short-term memory (Hochreiter & Schmidhuber 1997; Zaremba, Sutskever & Vinyals 2014,
section 3).

    h_t, c_t = LSTM(E x_t, h_{t−1}, c_{t−1}),   p(x_{t+1} | x_1 … x_t) = softmax(W h_t + b)

All that it knows of the words so far are h and c: the baseline of what has a memory for each of them (LSTMN).
"""

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe
from tinyattn.models.parts.language import RecurrentConfig, RecurrentLanguageModel

AGREEMENT = {"steps": 8000, "batch_size": 64, "learning_rate": 1e-2, "schedule": "cosine"}


class LSTMConfig(RecurrentConfig):
    """Sizes: those of all recurrent language models."""

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        m, n = self.embedding, self.hidden
        layers = sum(4 * n * ((k and n or m) + n + 2) for k in range(self.layers))
        return self.vocab_size * m + layers + self.vocab_size * (n + 1)

    @classmethod
    def like(cls, other: RecurrentConfig) -> "LSTMConfig":
        """The sizes nearest in parameters to those of `other`, which can count its own: only the states get wider."""
        wanted = other.num_parameters()  # type: ignore[attr-defined]

        def sized(hidden: int) -> "LSTMConfig":
            return cls(
                other.vocab_size, other.embedding, hidden, other.layers, other.dropout, other.block_size
            )

        return min(map(sized, range(1, 4 * other.hidden)), key=lambda c: abs(c.num_parameters() - wanted))


class LSTMLanguageModel(RecurrentLanguageModel):
    """The language model: tokens (B, T) and the targets (B, T), each the token after."""

    Config = LSTMConfig
    name = "lstm-lm"
    paper = "Hochreiter & Schmidhuber 1997, Long short-term memory; Zaremba, Sutskever & Vinyals 2014"
    documents = "S0 S3"
    remark = "no attention"
    recipes = (Recipe("agreement", training=AGREEMENT),)

    def __init__(self, config: LSTMConfig):
        super().__init__(config)
        self.lstm = nn.LSTM(config.embedding, config.hidden, config.layers, dropout=config.dropout)

    def states(self, words: ta.Tensor) -> tuple[ta.Tensor, None]:
        return self.lstm(words)[0], None
