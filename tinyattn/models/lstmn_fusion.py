"""Translation by two LSTMNs, one that reads and one that writes (Cheng, Dong & Lapata 2016).

The encoder leaves two tapes behind, hidden states γ_j and memories α_j of the source's words. The decoder has
tapes of its own (intra-attention, see lstmn.py), and looks at those of the encoder as well (inter-attention):

    deep      b_j  = uᵀ tanh(W_γ γ_j + W_x x_t + W_γ̃ γ̃_{t−1})                             (eq. 11)
              p    = softmax(b);   [γ̃_t; α̃_t] = Σ_j p_j [γ_j; α_j]                        (eq. 12, 13)
              r    = σ(W_r [γ̃_t, x_t])                                                     (eq. 14)
              c_t  = r ⊙ α̃_t + f ⊙ c̃_t + i ⊙ ĉ_t;   h_t = o ⊙ tanh c_t                    (eq. 15, 16)
    shallow   b_j  = uᵀ tanh(W_γ γ_j + W_h h_t),  p and γ̃_t as above, and c_t as the LSTMN has it

with x_t the word said before. Either way p(y_t) = softmax(W tanh(U h_t + C γ̃_t + b)). In deep fusion what is read of
the source becomes part of the memory, and of the tape; in shallow fusion it is only said.

Shapes in comments: B sentences, R = B · beam rows, S and T source and target positions, m embedding, H hidden, A
attention, K target words.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.scope import scope
from tinyattn.models.lstmn import Given, LSTMNLayer, Tapes
from tinyattn.models.model import Recipe, from_task
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.decoding import State, Step
from tinyattn.models.parts.translation import TranslationModel
from tinyattn.ops.attention.additive import additive_alignment
from tinyattn.tasks.parts.vocabulary import PAD

FUSIONS = ("deep", "shallow")
TINY_MT: dict[str, Any] = {"steps": 900, "batch_size": 64, "learning_rate": 4e-3, "schedule": "linear"}
SHALLOW: dict[str, Any] = TINY_MT | {"steps": 2700}
"""Shallow fusion finds the alignment later: after 900 updates one seed of three is still at 25 %."""
TRANSLATES = {"exact_match": 0.99, "aer": 0.10}
"""What attention is asked for on tiny-mt; the papers have no figure of it."""


@dataclass(frozen=True)
class LSTMNFusionConfig:
    """Sizes, of encoder and decoder alike. fusion: "deep" or "shallow"; dropout: of embedded words and in front of
    the output layer; embedding, hidden: numbers of a word and of a state; attention: A, how many numbers they are
    compared in.

    source_vocabulary, target_vocabulary: how many words each language has; longest_target: the most words an answer
    can have, 0 for 2 S + 10.
    """

    source_vocabulary: int = from_task()
    target_vocabulary: int = from_task()
    embedding: int = 64  # m
    hidden: int = 64  # H
    attention: int = 64  # A
    dropout: float = 0.0
    fusion: str = "deep"
    longest_target: int = from_task(0)  # the most tokens an answer can have; 0: 2 S + 10

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, choices={"fusion": FUSIONS})


class Source(NamedTuple):
    """What the encoder leaves of B sentences."""

    hidden: ta.Tensor  # (B, S, H): γ_j
    memory: ta.Tensor  # (B, S, H): α_j
    keys: ta.Tensor  # (B, S, A): W_γ γ_j
    mask: ta.Tensor  # (B, 1, S) bool: which positions are words


class Word(NamedTuple):
    """A word that was said, as a step needs it."""

    given: Given  # for the decoder's own tapes
    query: ta.Tensor  # (R, A): W_x x_t
    gate: ta.Tensor  # (R, H): the part of x_t in W_r [γ̃, x_t]


class Writing(NamedTuple):
    """Where the decoder is."""

    tapes: Tapes
    seen: ta.Tensor  # (R, H): γ̃_{t−1}


class InterAttention(nn.Module):
    """How the decoder looks at the source, in both fusions."""

    def __init__(self, hidden: int, attention: int):
        self.key = nn.Linear(hidden, attention)  # W_γ, and a bias
        self.u = ta.parameter(nn.init.uniform(attention, -(attention**-0.5), attention**-0.5), np.float32)

    def forward(self, source: Source, query: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor, ta.Tensor]:
        """For queries (R, A), R a multiple of B: γ̃ and α̃ (R, H), and the weights p (R, S): eq. 11 to 13."""
        sentences, length, width = source.hidden.shape
        rows = query.shape[0]
        scores = additive_alignment(query.reshape(sentences, -1, query.shape[1]), source.keys, self.u)
        weights = ta.softmax(scores, mask=source.mask)  # (B, R / B, S)
        hidden, memory = ((weights @ tape).reshape(rows, width) for tape in source[:2])
        return hidden, memory, weights.reshape(rows, length)


class LSTMNFusion(TranslationModel):
    """The encoder-decoder of two LSTMNs.

    Its batch holds word numbers: source (B, S), source_length (B,), target_in (B, T) from <bos> on, and target_out
    (B, T) with <eos>, which the loss is of.
    """

    Config = LSTMNFusionConfig
    name = "lstmn-fusion"
    paper = "Cheng, Dong & Lapata 2016, Long short-term memory-networks for machine reading"
    documents = "S0"
    varies = ("fusion",)
    recipes = (
        Recipe("tiny-mt", training=TINY_MT, targets=TRANSLATES),
        Recipe("tiny-mt", {"fusion": "shallow"}, SHALLOW, targets=TRANSLATES, variant="shallow"),
    )
    config: LSTMNFusionConfig

    def __init__(self, config: LSTMNFusionConfig):
        super().__init__()
        self.config = config
        m, n, a = config.embedding, config.hidden, config.attention
        self.source_embedding = nn.Embedding(config.source_vocabulary, m)
        self.encoder = LSTMNLayer(m, n, a, tape=0)
        self.target_embedding = nn.Embedding(config.target_vocabulary, m)
        self.decoder = LSTMNLayer(m, n, a, tape=0)
        self.inter = InterAttention(n, a)
        self.query = nn.Linear(m if config.fusion == "deep" else n, a, bias=False)  # W_x or W_h
        if config.fusion == "deep":
            self.seen = nn.Linear(n, a, bias=False)  # W_γ̃
            self.gate_word, self.gate_seen = nn.Linear(m, n), nn.Linear(n, n, bias=False)  # W_r
        self.state, self.context = nn.Linear(n, n), nn.Linear(n, n, bias=False)  # U and b, C
        self.dropout = nn.Dropout(config.dropout)
        self.vocabulary = nn.Linear(n, config.target_vocabulary)  # W

    def encode(self, source: ta.Tensor, lengths: ta.Tensor) -> Source:
        """Ids (B, S), 0 where there is no word, and lengths (B,). Padding comes behind all words, so none of them
        sees it.
        """
        tapes, _ = self.encoder(self.dropout(self.source_embedding(source.T)))
        positions = ta.arange(source.shape[1], dtype=lengths.dtype)
        mask = positions.reshape(1, 1, -1) < lengths.reshape(-1, 1, 1)
        return Source(tapes.hidden, tapes.memory, self.inter.key(tapes.hidden), mask)

    def say(self, source: Source, writing: Writing, word: Word) -> tuple[Writing, Any]:
        """One step: where the decoder is then, h_t and γ̃_t (R, H), and the weights (R, S)."""
        if self.config.fusion == "deep":
            seen, memory, weights = self.inter(source, word.query + self.seen(writing.seen))
            gate = ta.sigmoid(word.gate + self.gate_seen(seen))  # r
            added = gate * memory
        else:
            added = None
        with scope("decoder"):
            hidden, cell, summary, _ = self.decoder.read(writing.tapes, word.given, added)
        if self.config.fusion == "shallow":
            seen, _, weights = self.inter(source, self.query(hidden))
        with scope("decoder"):
            tapes = self.decoder.write(writing.tapes, word.given, hidden, cell, summary)
        return Writing(tapes, seen), (hidden, seen, weights)

    def begin(self, rows: int, length: int, dtype: Any) -> Writing:
        """Nothing is written yet, of up to `length` words."""
        return Writing(self.decoder.empty(rows, length, dtype), ta.zeros((rows, self.config.hidden), dtype))

    def words(self, said: ta.Tensor) -> Word:
        """Ids (T, R) → what steps need of each."""
        x = self.dropout(self.target_embedding(said))  # (T, R, m)
        with scope("decoder"):
            given = self.decoder.given(x)
        if self.config.fusion == "deep":
            return Word(given, self.query(x), self.gate_word(x))
        return Word(given, given.query, given.query)  # (not needed)

    def output(self, hidden: ta.Tensor, seen: ta.Tensor) -> ta.Tensor:
        """h_t and γ̃_t (…, H) → logits (…, K)."""
        return self.vocabulary(self.dropout(ta.tanh(self.state(hidden) + self.context(seen))))

    def forward(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Logits (B, T, K) and weights (B, T, S), with <bos> y given."""
        with scope("source"):
            encoded = self.encode(as_tensor(source), as_tensor(lengths))
        with scope("target"):
            words = self.words(as_tensor(target_in).T)
            rows, length = target_in.shape
            begin = self.begin(rows, length, encoded.hidden.dtype)
            _, (hidden, seen, weights) = ta.scan(
                lambda state, word: self.say(encoded, state, word), begin, words
            )
            return self.output(hidden, seen).transpose(1, 0, 2), weights.transpose(1, 0, 2)

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean −log p(y_i | y_<i, x) over the target words of a batch, <eos> included: a scalar in nats."""
        logits, _ = self(batch.source, batch.source_length, batch.target_in)
        return ta.cross_entropy(logits, batch.target_out, ignore_index=PAD)

    def beginning(self, source: ta.Tensor, lengths: ta.Tensor, beam: int, length: int) -> tuple[Step, State]:
        """The tapes of each row have room for `length` words."""
        encoded = self.encode(source, lengths)
        rows = source.shape[0] * beam

        def step(state, tokens):
            place, writing = state
            word = self.words(tokens.reshape(1, -1))
            given = Given(place[0], word.given.query[0], word.given.gates[0])
            here = Word(given, word.query[0], word.gate[0])
            writing, (hidden, seen, weights) = self.say(encoded, writing, here)
            return (place + 1, writing), ta.log_softmax(self.output(hidden, seen)), weights

        state = ta.tensor(np.zeros(rows, np.int32)), self.begin(rows, length, encoded.hidden.dtype)
        return step, state
