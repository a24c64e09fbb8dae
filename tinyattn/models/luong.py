"""Effective approaches to attention-based neural machine translation (Luong, Pham & Manning 2015).

The decoder moves first, then looks at the source with its *current* state h_t, at all of it or at a window:

    h_t  = LSTM(h_{t-1}, [E y_{t-1}; h̃_{t-1}])       h̃_{t-1} with input feeding only                (section 3.3)
    a_t(s) = softmax_s score(h_t, h̄_s)                over the words of the source                   (eq. 7)
    c_t  = Σ_s a_t(s) h̄_s                             the context
    h̃_t  = tanh(W_c [c_t; h_t])                                                                      (eq. 5)
    p(y_t | y_<t, x) = softmax(W_s h̃_t)                                                              (eq. 6)

    global     all words of the source                                                       (section 3.1)
    local-m    those at most D words from p_t = t; the softmax is taken inside this window   (section 3.2)
    local-p    those at most D words from p_t = S σ(v_pᵀ tanh(W_p h_t)), with weights        (eqs. 9 and 10)
               a_t(s) exp(−(s − p_t)² / 2σ²), σ = D / 2, which are not normalised again

The scores are those of `parts/scores`. The words of the paper are 1 … S, so p_t may lie anywhere from one word in
front of the sentence to its last word; in the program the first word is 0. The bounds of the window have no
gradient: p_t learns through the Gaussian.

Beyond the paper, the encoder may read in both directions, each of n / 2 units, so that a state and an annotation
are of one width.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.scope import scope
from tinyattn.graph.types import fail
from tinyattn.models.model import Recipe, from_task
from tinyattn.models.parts import recurrent, scores
from tinyattn.models.parts.checks import check_sizes
from tinyattn.models.parts.decoding import Step, repeat
from tinyattn.models.parts.encoder_decoder import MULTI30K, TINY_MT
from tinyattn.models.parts.translation import TranslationModel
from tinyattn.tasks.parts.vocabulary import PAD

CHOICES = {
    "attention": ("global", "local-m", "local-p"),
    "score": scores.SCORES,
    "normaliser": scores.NORMALISERS,
}

TRANSLATES = {"exact_match": 0.97}
TRAINING: dict[str, Any] = TINY_MT | {"learning_rate": 4e-3}
COPY: dict[str, Any] = TINY_MT | {"steps": 1500, "learning_rate": 5e-3}
REVERSE: dict[str, Any] = TINY_MT | {
    "steps": 2500, "batch_size": 32, "learning_rate": 3e-3, "beta2": 0.98, "clip_norm": 0.3,
}  # fmt: skip
LOCAL_M: dict[str, Any] = {"attention": "local-m", "window": 2}
"""What the model is trained with: to translate, and for the two tasks of places. With 512 units the score is dot: one
step of Adam moves all n² numbers of W, and within ten of them general scores s W h differ by up to 19, so that softmax
is 1 at one word, mostly the last, and stays there (the paper trains by plain gradient descent).
"""


@dataclass(frozen=True)
class LuongConfig:
    """Sizes and choices; the paper's are embedding and hidden 1000, layers 4, window 10, in one direction.

    attention: "global", "local-m" or "local-p"; score: "dot", "general", "concat", "location", "scaled-dot",
    "cosine" or "additive"; normaliser: how scores become weights, "softmax", "relu-length", "relu-sum" or "relu";
    window: D, of local attention. input_feeding: the last h̃ is given to the next step. bidirectional: the encoder
    reads in both directions. dropout: of embedded words, between layers and of h̃.

    source_vocabulary, target_vocabulary: how many words each language has; longest_target: the most words an answer
    can have, 0 for 2 S + 10. longest_source: places that location-based scores know.
    """

    source_vocabulary: int = from_task()
    target_vocabulary: int = from_task()
    embedding: int = 64  # m
    hidden: int = 64  # n
    layers: int = 1
    attention: str = "global"
    score: str = "general"
    window: int = 10
    normaliser: str = "softmax"
    input_feeding: bool = True
    bidirectional: bool = True
    dropout: float = 0.0  # of embedded words, between layers and of h̃
    longest_source: int = from_task(50)  # places that location-based scores know
    longest_target: int = from_task(0)  # the most tokens an answer can have; 0: 2 S + 10

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("model", self, choices=CHOICES)
        if self.bidirectional and self.hidden % 2:
            must = "hidden must be even, half of it for each direction of the encoder"
            fail(TinyattnError, "model", must, f"got {self.hidden}")


class Memory(NamedTuple):
    """What is looked at."""

    annotations: ta.Tensor  # (B, S, n): h̄_s
    keys: ta.Tensor  # (B, S, n): what scores need of them
    mask: ta.Tensor  # (B, 1, S) bool: which positions are words
    lengths: ta.Tensor  # (B, 1): S of each sentence


class Look(NamedTuple):
    """What a look at the source gives."""

    attentional: ta.Tensor  # (B, q, n): h̃_t
    weights: ta.Tensor  # (B, q, S): a_t
    place: ta.Tensor  # (B, q): p_t, the first word being 0; of global attention t, which it does not use


class Luong(TranslationModel):
    """The stacked LSTM with global or local attention.

    Its batch holds word numbers: source (B, S), source_length (B,), target_in (B, T) from <bos> on, and target_out
    (B, T) with <eos>, which the loss is of.
    """

    Config = LuongConfig
    name = "luong"
    paper = "Luong, Pham & Manning 2015, Effective approaches to attention-based neural machine translation"
    documents = "S0 S3"
    varies = ("attention", "score", "normaliser", "input_feeding", "bidirectional")
    recipes = (
        Recipe("tiny-mt", {}, TRAINING, targets=TRANSLATES),
        Recipe("tiny-mt", {"score": "dot"}, TRAINING, targets=TRANSLATES, variant="dot"),
        Recipe("tiny-mt", {"score": "concat"}, TRAINING, targets=TRANSLATES, variant="concat"),
        Recipe(
            "multi30k", {"embedding": 256, "hidden": 512, "dropout": 0.3, "score": "dot"}, MULTI30K,
            reported={"bleu": "18.6 (WMT 14 en-de)"},
        ),
        Recipe("monotone-copy", {}, COPY),
        Recipe("monotone-copy", LOCAL_M, COPY, targets={"exact_match": 0.98}, variant="local-m"),
        Recipe("lexicon-reverse", {}, REVERSE),
        Recipe("lexicon-reverse", LOCAL_M, REVERSE, variant="local-m"),
        Recipe(
            "lexicon-reverse", {"attention": "local-p", "window": 3}, REVERSE,
            targets={"exact_match": 0.95, "position_error": 1.0}, variant="local-p",
        ),
        Recipe("lexicon-cover", {}, COPY),
        Recipe("lexicon-cover", {"input_feeding": False}, COPY, variant="no-input-feeding"),
    )  # fmt: skip
    config: LuongConfig

    def __init__(self, config: LuongConfig):
        super().__init__()
        self.config = config
        m, n, layers, dropout = config.embedding, config.hidden, config.layers, config.dropout
        directions = 2 if config.bidirectional else 1
        self.source_embedding = nn.Embedding(config.source_vocabulary, m)
        self.encoder = recurrent.encoder("lstm", m, n // directions, layers, config.bidirectional, dropout)
        self.target_embedding = nn.Embedding(config.target_vocabulary, m)  # E
        self.word = nn.Linear(m, 4 * n)  # the first layer's part of E y_{t-1}, and the biases
        if config.input_feeding:
            self.feed = nn.Linear(n, 4 * n, bias=False)  # its part of h̃_{t-1}
        self.cells = recurrent.Cells("lstm", n, layers, dropout)
        self.score = scores.Score(config.score, n, config.longest_source)
        if config.attention == "local-p":
            self.place = nn.Linear(n, n, bias=False)  # W_p
            self.v = nn.Linear(n, 1, bias=False)  # v_p
        self.attentional = nn.Linear(2 * n, n, bias=False)  # W_c
        self.dropout = nn.Dropout(dropout)
        self.vocabulary = nn.Linear(n, config.target_vocabulary)  # W_s

    def read(self, source: ta.Tensor, lengths: ta.Tensor) -> tuple[Memory, recurrent.State]:
        """What is looked at, of ids (B, S) and lengths (B,), and the first state, the encoder's last."""
        words = self.dropout(self.source_embedding(source.T))  # (S, B, m)
        states, final = self.encoder(words, lengths=lengths)  # (S, B, n)
        annotations = states.transpose(1, 0, 2)
        places = ta.arange(source.shape[1], dtype=lengths.dtype)
        mask = places.reshape(1, 1, -1) < lengths.reshape(-1, 1, 1)
        memory = Memory(
            annotations, self.score.keys(annotations), mask, lengths.reshape(-1, 1).astype(words.dtype)
        )
        return memory, recurrent.last_states(final, self.config.layers)

    def look(self, memory: Memory, h: ta.Tensor, t: ta.Tensor) -> Look:
        """From states h_t (B, q, n) and their places t in the target, (B, q) or (1, q), to h̃_t."""
        config, length = self.config, memory.annotations.shape[1]
        place, mask = ta.broadcast_to(t, h.shape[:2]), memory.mask
        if config.attention == "local-p":
            place = memory.lengths * ta.sigmoid(self.v(ta.tanh(self.place(h)))).reshape(h.shape[:2]) - 1
        if config.attention != "global":
            mask = ta.logical_and(mask, ta.local_window(place, length, config.window))
        weights = scores.weights_of(self.score(h, memory.keys), mask, config.normaliser)
        if config.attention == "local-p":
            weights = weights * ta.local_window(place, length, config.window, predictive=True)
        context = weights @ memory.annotations  # (B, q, n): c_t
        return Look(ta.tanh(self.attentional(ta.concat([context, h], axis=2))), weights, place)

    def step(self, memory: Memory, state: tuple, part: ta.Tensor) -> tuple[tuple, Look]:
        """From the states of R rows, h̃_{t-1} (R, n) and t (R, 1), and the word's part (R, 4n): the next. Several
        rows of one sentence look at the same memory.
        """
        cells, fed, t = state
        if self.config.input_feeding:
            part = part + self.feed(fed)
        cells = self.cells(part, cells)
        sentences, rows = memory.lengths.shape[0], t.shape[0]
        look = self.look(
            memory, recurrent.top(cells).reshape(sentences, -1, self.config.hidden), t.reshape(sentences, -1)
        )
        look = Look(*(found.reshape(rows, -1) for found in look))
        return (cells, look.attentional, t + 1), look

    def start(self, memory: Memory, cells: recurrent.State) -> tuple:
        """The states, h̃_0 = 0 and t = 0."""
        rows, dtype = memory.lengths.shape[0], memory.annotations.dtype
        return cells, ta.zeros((rows, self.config.hidden), dtype), ta.zeros((rows, 1), dtype)

    def decode(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, Look]:
        """With <bos> y given as ids (B, T): logits (B, T, K), and the looks at the source."""
        with scope("source"):
            memory, cells = self.read(as_tensor(source), as_tensor(lengths))
        part = self.word(self.dropout(self.target_embedding(as_tensor(target_in).T)))  # (T, B, 4n)
        with scope("decoder"):
            if self.config.input_feeding:
                begin = self.start(memory, cells)
                found = ta.scan(lambda state, given: self.step(memory, state, given), begin, part)[1]
                look = Look(*(one.transpose(1, 0, 2) for one in found))
                look = look._replace(place=look.place[:, :, 0])
            else:  # no step needs the look of another: all are taken at once

                def recur(state, given):
                    new = self.cells(given, state)
                    return new, recurrent.top(new)

                h = ta.scan(recur, cells, part)[1].transpose(1, 0, 2)  # (B, T, n)
                look = self.look(memory, h, ta.arange(h.shape[1], dtype=h.dtype).reshape(1, -1))
            return self.vocabulary(self.dropout(look.attentional)), look

    def forward(self, source: Any, lengths: Any, target_in: Any) -> tuple[ta.Tensor, ta.Tensor]:
        """Logits (B, T, K) and weights (B, T, S), with <bos> y given."""
        logits, look = self.decode(source, lengths, target_in)
        return logits, look.weights

    def loss(self, batch: Any) -> ta.Tensor:
        """Mean of −log p(y_t | y_<t, x) over the target words of a batch, <eos> included: a scalar in nats."""
        logits, _ = self.decode(batch.source, batch.source_length, batch.target_in)
        return ta.cross_entropy(
            logits.reshape(-1, logits.shape[2]), as_tensor(batch.target_out).reshape(-1), ignore_index=PAD
        )

    def maps(self, batch: Any) -> dict[str, ta.Tensor]:
        """The weights (B, T, S), and of local-p the predicted places (B, T, 1)."""
        look = self.decode(batch.source, batch.source_length, batch.target_in)[1]
        maps = {"alignment": look.weights}
        return maps | {"position": look.place[:, :, None]} if self.config.attention == "local-p" else maps

    def beginning(self, source: ta.Tensor, lengths: ta.Tensor, beam: int, length: int) -> tuple[Step, tuple]:
        """The states of each row, and the step from them and y_{t-1} to p(y_t)."""
        memory, cells = self.read(source, lengths)

        def step(state, tokens):
            new, look = self.step(memory, state, self.word(self.target_embedding(tokens)))
            return new, ta.log_softmax(self.vocabulary(look.attentional)), look.weights

        return step, repeat(self.start(memory, cells), beam)
