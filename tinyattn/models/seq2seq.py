"""The encoder-decoder without attention (Cho et al. 2014; Sutskever et al. 2014): one vector for a whole
sentence.

    c    = tanh(V [→h_S; ←h_1])         the summary: what both directions of the encoder hold when all is read
    s_0  = tanh(W_s c)
    s_i  = GRU(s_{i-1}, E y_{i-1}, c)   p(y_i | y_<i, x) from s_{i-1}, E y_{i-1} and c

(Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", appendix A.1.) The summary is
as wide for five words as for fifty, and the longer the sentence, the more of it gets lost: that is what
attention was invented against. Here it is the baseline; everything but the context is as in `Bahdanau`.
"""

from dataclasses import dataclass

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.bahdanau import BahdanauConfig
from tinyattn.models.model import Recipe
from tinyattn.models.parts.decoding import repeat
from tinyattn.models.parts.encoder_decoder import (
    MULTI30K,
    MULTI30K_SIZES,
    TINY_MT,
    EncoderDecoder,
    EncoderDecoderConfig,
    Source,
)  # fmt: skip


@dataclass(frozen=True)
class Seq2SeqConfig(EncoderDecoderConfig):
    """Sizes. context: the width of the summary c; 0 stands for twice the hidden width."""

    context: int = 0

    @property
    def context_width(self) -> int:
        return self.context or 2 * self.hidden

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        c = self.context_width
        return self._parameters(context=c, summary=c) + c * (2 * self.hidden + 1)

    @classmethod
    def like(cls, other: BahdanauConfig) -> "Seq2SeqConfig":
        """The sizes that have as many parameters as a Bahdanau of sizes `other`, to within 1 %.

        The states become wider in exchange for the attention, and the width of the summary makes up for the
        rest.
        """
        wanted = other.num_parameters()

        def sized(hidden: int, context: int) -> "Seq2SeqConfig":
            return cls(
                other.source_vocabulary, other.target_vocabulary, other.embedding, hidden, other.maxout,
                other.dropout, other.init, other.longest_target, context,
            )  # fmt: skip

        hidden = 1
        while sized(hidden + 1, 2 * hidden + 2).num_parameters() <= wanted:
            hidden += 1
        widths = range(2 * hidden, 4 * hidden + 4)
        return min(
            (sized(hidden, width) for width in widths), key=lambda size: abs(size.num_parameters() - wanted)
        )


class Seq2Seq(EncoderDecoder):
    """The encoder-decoder with one context c for all steps, in the recurrence and in the output."""

    Config = Seq2SeqConfig
    name = "seq2seq"
    paper = (
        "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; Sutskever et al. 2014"
    )
    documents = "S0 S1 S3"
    remark = "no attention"
    recipes = (Recipe("tiny-mt", training=TINY_MT), Recipe("multi30k", MULTI30K_SIZES, MULTI30K))
    config: Seq2SeqConfig

    def __init__(self, config: Seq2SeqConfig):
        super().__init__(config, context=config.context_width, summary=config.context_width)
        self.summary = nn.Linear(2 * config.hidden, config.context_width)  # V
        self.initialise()

    def memory(self, source: Source) -> tuple[ta.Tensor, ta.Tensor]:
        """The summary c (B, context), and s_0 = tanh(W_s c) (B, n)."""
        summary = ta.tanh(self.summary(ta.concat([source.last, source.first], axis=1)))
        return summary, ta.tanh(self.start(summary))

    def attend(self, memory: ta.Tensor, state: ta.Tensor) -> tuple[ta.Tensor, None]:
        """The same c for every state: (R, context), and no weights."""
        return repeat(memory, state.shape[0] // memory.shape[0]), None

    def decode(self, memory: ta.Tensor, state: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, None]:
        """Words E y_{i-1} (T, B, m) and s_0 (B, n) → logits (T, B, K)."""
        given = self.word(words) + self.context(memory)  # (T, B, 3n): all that does not depend on the state

        def step(state, part):
            return self.recur(state, part, 0.0), state

        _, states = ta.scan(step, state, given)
        return self.output(states, words, memory), None
