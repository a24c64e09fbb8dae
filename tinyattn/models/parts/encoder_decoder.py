"""What the recurrent translation models share: the encoder, the deep output, the loss and the step of the search.

An encoder-decoder (Cho et al. 2014, "Learning phrase representations using RNN encoder-decoder"; Sutskever
et al.
2014) reads the source into states h_1 … h_S and says the target word by word: state s_i, a context c_i of
the source, p(y_i | y_<i, x) = g(y_{i-1}, s_{i-1}, c_i). What the context is tells the models apart: Seq2Seq
has one for all words, Bahdanau looks anew before every word.

Shapes in comments: B sentences, S and T source and target positions, m embedding, n hidden, l maxout, K
target words, R = B · beam rows when searching. Sequences are time-major inside, (S, B, …) and (T, B, …): a
`scan` takes its steps from the first axis. What does not need the decoder's state is computed for all steps
at once, outside the loop.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.scope import scope
from tinyattn.models.model import from_task
from tinyattn.models.parts import recurrent
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.decoding import State, Step, repeat
from tinyattn.models.parts.translation import TranslationModel
from tinyattn.tasks.parts.vocabulary import PAD

INITS = ("standard", "paper")
TINY_MT: dict[str, Any] = {"steps": 2700, "batch_size": 64, "learning_rate": 2e-3, "schedule": "linear"}
MULTI30K: dict[str, Any] = {"steps": 3000, "batch_size": 64, "learning_rate": 1e-3, "schedule": "linear"}
MULTI30K_SIZES: dict[str, Any] = {"embedding": 256, "hidden": 256, "maxout": 256, "dropout": 0.3}
"""What the models here are trained with on the two tasks."""


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """Sizes; the paper's are embedding 620, hidden 1000, maxout 500 (Bahdanau et al. 2015, appendix A.2.3).

    init: "standard" draws as torch does, uniform in ±1/√fan-in, and learns in minutes with Adam. "paper" draws as
    the paper's appendix B.1 says; with weights that small the first epochs are slow (it meant Adadelta, and days).

    source_vocabulary, target_vocabulary: how many words each language has; longest_target: the most words an answer
    can have, 0 for 2 S + 10. dropout: of embedded words and of the maxout layer; the papers have none.
    """

    source_vocabulary: int = from_task()
    target_vocabulary: int = from_task()
    embedding: int = 64  # m
    hidden: int = 64  # n, of the decoder and of each direction of the encoder
    maxout: int = 64  # l
    dropout: float = 0.0  # of embedded words and of the maxout layer; the papers have none
    init: str = "standard"
    longest_target: int = from_task(0)  # the most tokens an answer can have; 0: 2 S + 10

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, choices={"init": INITS})

    def _parameters(self, context: int, summary: int) -> int:
        """How many numbers the common part has."""
        m, n, two_l, k = self.embedding, self.hidden, 2 * self.maxout, self.target_vocabulary
        encoder = 2 * 3 * n * (m + n + 2)
        decoder = n * (summary + 1) + 3 * n * (m + 1 + context + n)
        output = two_l * (n + 1 + m + context) + k * (self.maxout + 1)
        return (self.source_vocabulary + k) * m + encoder + decoder + output


class Source(NamedTuple):
    """What the encoder says of B sentences."""

    annotations: ta.Tensor  # (B, S, 2n): h_j = [→h_j; ←h_j], word j and what surrounds it
    mask: ta.Tensor  # (B, 1, S) bool: which positions are words
    last: ta.Tensor  # (B, n): →h_S, which has read the whole sentence
    first: ta.Tensor  # (B, n): ←h_1, which has read it from the end; of one direction →h_S, too
    final: Any  # all last states of the encoder


class DeepOutput(nn.Module):
    """From the previous state, the previous word and the context to the next word, with a maxout layer
    between.

    t̃_i = U_o s_{i-1} + V_o E y_{i-1} + C_o c_i;   t_i = [max(t̃_{i,2j-1}, t̃_{i,2j})] for j = 1 … l;
    logits W_o t_i (Bahdanau et al. 2015, appendix A.2.2).
    """

    def __init__(self, config: EncoderDecoderConfig, context: int):
        self.state = nn.Linear(config.hidden, 2 * config.maxout)  # U_o, and the bias
        self.word = nn.Linear(config.embedding, 2 * config.maxout, bias=False)  # V_o
        self.context = nn.Linear(context, 2 * config.maxout, bias=False)  # C_o
        self.dropout = nn.Dropout(config.dropout)
        self.vocabulary = nn.Linear(config.maxout, config.target_vocabulary)  # W_o

    def forward(self, state: ta.Tensor, word: ta.Tensor, context: ta.Tensor) -> ta.Tensor:
        """s_{i-1} (…, n), E y_{i-1} (…, m), c_i (…, context) → logits (…, K)."""
        hidden = self.state(state) + self.word(word) + self.context(context)  # (…, 2l)
        return self.vocabulary(self.dropout(ta.maxout(hidden)))


class EncoderDecoder(TranslationModel):
    """The common part. A model adds three methods: `memory`, `attend` and `decode`.

    config: sizes; context: the width of c_i; summary: that of what the first decoder state is made from; unit: the
    kind of the recurrent units, "gru" as in both papers, "lstm" or "rnn".
    """

    Config: ClassVar[type[EncoderDecoderConfig]]
    config: EncoderDecoderConfig

    def __init__(
        self, config: EncoderDecoderConfig, context: int, summary: int,
        unit: str = "gru", bidirectional: bool = True, reset_after: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.config = config
        m, n = config.embedding, config.hidden
        rows = recurrent.GATES[unit] * n
        self.source_embedding = nn.Embedding(config.source_vocabulary, m)
        self.encoder = recurrent.encoder(unit, m, n, bidirectional=bidirectional, reset_after=reset_after)
        self.start = nn.Linear(summary, n)  # W_s
        self.target_embedding = nn.Embedding(config.target_vocabulary, m)  # E
        self.word = nn.Linear(m, rows)  # W_r, W_z, W, and the biases
        self.context = nn.Linear(context, rows, bias=False)  # C_r, C_z, C
        self.recurrent: Any = recurrent.Cell(unit, n, reset_after)  # U_r, U_z, U
        self.output = DeepOutput(config, context)
        self.dropout = nn.Dropout(config.dropout)

    def initialise(self) -> None:
        """Draw the parameters as `config.init` says; models call it when all of them are there.

        "paper" (appendix B.1): recurrent matrices orthogonal, those of the alignment N(0, 0.001²), its v and
        all biases
        0, the rest N(0, 0.01²).
        """
        if self.config.init == "standard":
            return
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                value = nn.init.zeros(parameter.shape)
            elif name.startswith("recurrent") and ".input." not in name or ".weight_hh" in name:
                gates, width = len(parameter) // parameter.shape[1], parameter.shape[1]
                value = np.concatenate([nn.init.orthogonal((width, width)) for _ in range(gates)])
            else:
                value = nn.init.normal(parameter.shape, std=0.001 if name.startswith("alignment") else 0.01)
            parameter.assign(value)

    # The source.

    def encode(self, source: ta.Tensor, lengths: ta.Tensor) -> Source:
        """Annotations of the source words (Bahdanau et al. 2015, section 3.2; appendix A.2.1).

        source: (B, S) ids, 0 where there is no word; lengths: (B,) integers. In the papers each direction is a
        GRU with the reset gate in front of the product; padding leaves its state as it is.
        """
        words = self.dropout(self.source_embedding(source.T))  # (S, B, m)
        states, final = self.encoder(words, lengths=lengths)  # (S, B, 2n), (2, B, n)
        positions = ta.arange(source.shape[1], dtype=lengths.dtype)
        mask = positions.reshape(1, 1, -1) < lengths.reshape(-1, 1, 1)
        ends = final[0] if isinstance(final, tuple) else final  # without the cells of an LSTM
        return Source(states.transpose(1, 0, 2), mask, last=ends[0], first=ends[-1], final=final)

    # What makes a model.

    def memory(self, source: Source) -> tuple[Any, ta.Tensor]:
        """What `attend` needs of the source, computed once, and the first state s_0 (B, n)."""
        raise NotImplementedError

    def attend(self, memory: Any, state: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor | None]:
        """For states s_{i-1} (R, n), R a multiple of B: contexts c_i (R, context) and weights (R, S), if
        there are any.
        """
        raise NotImplementedError

    def decode(self, memory: Any, state: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor | None]:
        """The decoder with given words E y_{i-1} (T, B, m), from s_0 (B, n): logits (T, B, K), weights (T,
        B, S) or None.
        """
        raise NotImplementedError

    def recur(self, state: Any, word: ta.Tensor, context: ta.Tensor | float) -> Any:
        """The next state from s_{i-1} (R, n), the previous word's part (R, 3n) and the context's (R, 3n);
        appendix A.2.2.

        r, z = σ(W E y + U s + C c);   s̃ = tanh(W E y + U (r ⊙ s) + C c);   s_i = (1 − z) ⊙ s_{i-1} + z ⊙ s̃
        """
        return self.recurrent(word + context, state)

    def advance(self, memory: Any, state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, ta.Tensor | None]:
        """From s_{i-1} and E y_{i-1} (R, m) to s_i, logits (R, K) and weights (R, S), if there are any."""
        context, weights = self.attend(memory, state)
        logits = self.output(state, word, context)
        return self.recur(state, self.word(word), self.context(context)), logits, weights

    # Training.

    def _time_major(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        with scope("source"):
            memory, state = self.memory(self.encode(as_tensor(source), as_tensor(lengths)))
        target_in = as_tensor(target_in).T
        words = self.dropout(self.target_embedding(target_in))  # (T, B, m)
        words = ta.where(target_in.reshape(*target_in.shape, 1) != PAD, words, 0)
        with scope("decoder"):
            return self.decode(memory, state, words)

    def forward(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor | None]:
        """Logits (B, T, K) and weights (B, T, S) or None, with <bos> y given."""
        logits, weights = self._time_major(source, lengths, target_in)
        return logits.transpose(1, 0, 2), None if weights is None else weights.transpose(1, 0, 2)

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean of −log p(y_i | y_<i, x) over the target words of a batch, <eos> included: a scalar in nats.

        batch: source, source_length, target_in and target_out as a translation task has them.
        """
        logits, _ = self._time_major(batch.source, batch.source_length, batch.target_in)
        return ta.cross_entropy(logits, as_tensor(batch.target_out).T, ignore_index=PAD)

    # Searching.

    def beginning(self, source: ta.Tensor, lengths: ta.Tensor, beam: int, length: int) -> tuple[Step, State]:
        """s_0 of each row, and the step from s_{i-1} and y_{i-1} to s_i and p(y_i)."""
        memory, state = self.memory(self.encode(source, lengths))

        def step(state, tokens):
            new, logits, weights = self.advance(memory, state, self.target_embedding(tokens))
            return new, ta.log_softmax(logits), weights

        return step, repeat(state, beam)
