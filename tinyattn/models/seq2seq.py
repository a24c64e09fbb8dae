"""The encoder-decoder without attention (Cho et al. 2014; Sutskever et al. 2014): one vector for a whole
sentence.

    cho         c    = tanh(V [→h_S; ←h_1])     the summary: what the encoder holds when all is read
                s_0  = tanh(W_s c)
                s_i  = GRU(s_{i-1}, E y_{i-1}, c)           p(y_i | y_<i, x) from s_{i-1}, E y_{i-1} and c

    sutskever   s_0  = the encoder's last states, layer by layer; it has read the source from its end
                s_i  = LSTM(s_{i-1}, E y_{i-1})             p(y_i | y_<i, x) = softmax(W_o s_i)

(Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder", appendix A.1; Sutskever et al. 2014,
"Sequence to sequence learning with neural networks", sections 2 and 3.3.) Either form can have units of either
kind, and plain ones. The summary is as wide for five words as for fifty, and the longer the sentence, the more of
it gets lost: that is what attention was invented against. Here it is the baseline; everything but the context of
the first form is as in `Bahdanau`.
"""

from dataclasses import dataclass
from typing import Any

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.types import fail
from tinyattn.models.bahdanau import BahdanauConfig
from tinyattn.models.model import Recipe
from tinyattn.models.parts import recurrent
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.decoding import repeat
from tinyattn.models.parts.encoder_decoder import (
    INITS,
    MULTI30K,
    MULTI30K_SIZES,
    TINY_MT,
    EncoderDecoder,
    EncoderDecoderConfig,
    Source,
)  # fmt: skip
from tinyattn.models.parts.translation import TranslationModel

FORMS = ("cho", "sutskever")


@dataclass(frozen=True)
class Seq2SeqConfig(EncoderDecoderConfig):
    """Sizes and choices. context: the width of the summary c; 0 stands for the width of what it is made from. form:
    "cho" or "sutskever". unit: "gru", "lstm" or "rnn"; reset_after: of the two forms of a GRU that of torch.
    layers: of the form "sutskever", whose paper has 4; it reads in one direction, from the end, or with
    `bidirectional` in both, each with half of the hidden width.
    """

    context: int = 0
    form: str = "cho"
    unit: str = "gru"
    reset_after: bool = False
    bidirectional: bool = True
    layers: int = 1

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, choices={"init": INITS, "form": FORMS, "unit": recurrent.UNITS})
        if self.form == "cho" and self.layers != 1:
            must = "layers must be 1 unless the form is sutskever"
            fail(TinyattnError, "model", must, f"got {self.layers}")
        if self.form == "sutskever" and self.bidirectional and self.hidden % 2:
            must = "hidden must be even, half of it for each direction of the encoder"
            fail(TinyattnError, "model", must, f"got {self.hidden}")

    @property
    def read_width(self) -> int:
        """Of what the summary is made from."""
        return (2 if self.bidirectional else 1) * self.hidden

    @property
    def context_width(self) -> int:
        return self.context or self.read_width

    def num_parameters(self) -> int:
        """How many numbers the form "cho" with bidirectional GRUs of the papers' kind can change."""
        c = self.context_width
        return self._parameters(context=c, summary=c) + c * (self.read_width + 1)

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


VARIANTS: dict[str, dict[str, Any]] = {
    "lstm": {"unit": "lstm"},
    "rnn": {"unit": "rnn"},
    "reset-after": {"reset_after": True},
    "no-bidirectional": {"bidirectional": False},
    "sutskever": {"form": "sutskever"},
    "sutskever-lstm": {"form": "sutskever", "unit": "lstm"},
    "sutskever-rnn": {"form": "sutskever", "unit": "rnn"},
    "sutskever-lstm-no-bidirectional": {"form": "sutskever", "unit": "lstm", "bidirectional": False},
}
"""The variants: the last is the paper's."""


class Seq2Seq(EncoderDecoder):
    """The encoder-decoder with one context c for all steps, in the recurrence and in the output; or in the form of
    Sutskever et al., where all the decoder is given is the first state.

    Its batch holds word numbers: source (B, S), source_length (B,), target_in (B, T) from <bos> on, and target_out
    (B, T) with <eos>, which the loss is of.
    """

    Config = Seq2SeqConfig
    name = "seq2seq"
    paper = (
        "Cho et al. 2014, Learning phrase representations using RNN encoder-decoder; Sutskever et al. 2014"
    )
    documents = "S0 S1 S3"
    remark = "no attention"
    varies = ("form", "unit", "reset_after", "bidirectional")
    recipes = (
        Recipe("tiny-mt", training=TINY_MT),
        *(Recipe("tiny-mt", sizes, TINY_MT, variant=variant) for variant, sizes in VARIANTS.items()),
        Recipe(
            "multi30k", MULTI30K_SIZES, MULTI30K, reported={"bleu": "17.82 (WMT 14 en-fr, Bahdanau et al.)"}
        ),
    )
    config: Seq2SeqConfig

    def __init__(self, config: Seq2SeqConfig):
        unit, width, both, after = config.unit, config.context_width, config.bidirectional, config.reset_after
        self.reads_once = config.form == "sutskever"
        if self.reads_once:
            TranslationModel.__init__(self)
            self.config = config
            m, n, layers, dropout = config.embedding, config.hidden, config.layers, config.dropout
            self.source_embedding = nn.Embedding(config.source_vocabulary, m)
            half = n // 2 if both else n
            self.encoder = recurrent.encoder(unit, m, half, layers, both, dropout, after)
            self.target_embedding = nn.Embedding(config.target_vocabulary, m)  # E
            self.word = nn.Linear(m, recurrent.GATES[unit] * n)
            self.recurrent = recurrent.Cells(unit, n, layers, dropout, after)
            self.dropout = nn.Dropout(dropout)
            self.vocabulary = nn.Linear(n, config.target_vocabulary)  # W_o
        else:
            super().__init__(config, width, width, unit, both, after)
            self.summary = nn.Linear(config.read_width, width)  # V
        self.initialise()

    def encode(self, source: ta.Tensor, lengths: ta.Tensor) -> Source:
        """What the encoder says of ids (B, S) and lengths (B,)."""
        from_the_end = self.reads_once and not self.config.bidirectional
        return super().encode(recurrent.reverse(source, lengths) if from_the_end else source, lengths)

    def memory(self, source: Source) -> tuple[Any, Any]:
        """The summary c (B, context), and s_0 = tanh(W_s c) (B, n), with the cells of an LSTM at 0; or nothing, and
        the encoder's last states.
        """
        if self.reads_once:
            return (), recurrent.last_states(source.final, self.config.layers)
        read = ta.concat([source.last, source.first], axis=1) if self.config.bidirectional else source.last
        summary = ta.tanh(self.summary(read))
        state = ta.tanh(self.start(summary))
        return summary, (state, ta.zeros(state.shape, state.dtype)) if self.config.unit == "lstm" else state

    def decode(self, memory: Any, state: Any, words: ta.Tensor) -> tuple[ta.Tensor, None]:
        """Words E y_{i-1} (T, B, m) and s_0 (B, n) → logits (T, B, K)."""
        given = self.word(words)  # (T, B, gates · n): all that does not depend on the state
        if not self.reads_once:
            given = given + self.context(memory)

        def step(state, part):
            new = self.recur(state, part, 0.0)
            return new, recurrent.top(new) if self.reads_once else _said(state)

        _, states = ta.scan(step, state, given)
        if self.reads_once:
            return self.vocabulary(self.dropout(states)), None
        return self.output(states, words, memory), None

    def advance(self, memory: Any, state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, None]:
        """From s_{i-1} and E y_{i-1} (R, m) to s_i and logits (R, K)."""
        part = self.word(word)
        if self.reads_once:
            new = self.recur(state, part, 0.0)
            return new, self.vocabulary(recurrent.top(new)), None
        said = _said(state)
        context = repeat(memory, said.shape[0] // memory.shape[0])  # the same c for every state
        return self.recur(state, part, self.context(context)), self.output(said, word, context), None


def _said(state: Any) -> ta.Tensor:
    """What one layer says, (R, n): of an LSTM h without its cells."""
    return recurrent.top((state,))
