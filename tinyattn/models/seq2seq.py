"""The encoder-decoder without attention (Cho et al. 2014; Sutskever et al. 2014): one vector for a whole sentence.

    c = tanh(V [→h_S; ←h_1])          the summary: what both directions of the encoder hold when they have read it all
    s_0 = tanh(W_s c)
    s_i = GRU(s_{i-1}, E y_{i-1}, c)  p(y_i | y_<i, x) from s_{i-1}, E y_{i-1} and c

The summary has the same width for five words as for fifty, and the longer the sentence, the more of it is lost (Cho et
al. 2014, "On the properties of neural machine translation", figure 4). It is what attention was invented against, and
here the baseline: everything but the context is as in `Bahdanau`.
"""

from dataclasses import dataclass, replace

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.bahdanau import BahdanauConfig
from tinyattn.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig, Source, repeat


@dataclass(frozen=True)
class Seq2SeqConfig(EncoderDecoderConfig):
    """Sizes. context: the width of the summary c, twice the hidden width if None."""

    context: int | None = None


class Seq2Seq(EncoderDecoder):
    """An RNN encoder-decoder with the context c at every step and in the output (Cho et al. 2014, appendix A.1)."""

    Config = Seq2SeqConfig

    def __init__(self, config: Seq2SeqConfig):
        context = config.context or 2 * config.hidden
        super().__init__(config, context=context, summary=context)
        self.summary = nn.Linear(2 * config.hidden, context)  # V
        self.initialise()

    @classmethod
    def like(cls, config: BahdanauConfig) -> Seq2SeqConfig:
        """The sizes with which this model has as many parameters as a Bahdanau of `config`, to within 1 %.

        Wider states take the place of the attention; the rest is made up for by the width of the summary.
        """
        wanted = config.num_parameters()

        def sized(hidden: int, context: int) -> Seq2SeqConfig:
            common = (config.source_vocabulary, config.target_vocabulary, config.embedding, hidden, config.maxout)
            return Seq2SeqConfig(*common, config.dropout, config.init, context)

        hidden = config.hidden
        while count(sized(hidden + 1, 2 * hidden + 2)) <= wanted:
            hidden += 1
        context = 2 * hidden
        while count(sized(hidden, context + 1)) <= wanted:
            context += 1
        return sized(hidden, context)
