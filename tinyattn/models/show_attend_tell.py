"""Show, attend and tell: a caption written by a decoder that looks at one part of the image after the other (Xu et al.
2015).

A convolutional network makes of the image a grid of annotations a_1 … a_L. Before it says word t, the decoder looks at
them from its last state:

    e_ti = vᵀ tanh(W h_{t−1} + U a_i)                  α_t = softmax_i e_ti                       (eqs. 4, 5)
    soft   ẑ_t = β_t Σ_i α_ti a_i                      β_t = σ(f_β(h_{t−1})), a number            (eq. 13; 4.2.1)
    hard   ẑ_t = β_t Σ_i s_ti a_i                      s_t one of the L places, drawn from α_t    (eqs. 8, 9)
    h_t, c_t = LSTM(h_{t−1}, c_{t−1}, [E y_{t−1}; ẑ_t])                                           (eqs. 1 to 3)
    c_0 = tanh(f_c(mean a)),  h_0 = tanh(f_h(mean a))
    p(y_t) ∝ exp(L_o (E y_{t−1} + L_h h_t + L_z ẑ_t))                                             (eq. 7)

Soft attention minimises −log p(y) + λ Σ_i (1 − Σ_t α_ti)², so that all parts are looked at (eq. 14, "doubly
stochastic"). Hard attention has no derivative through the choice; it learns it by REINFORCE (eqs. 11, 12): the loss is

    −log p(y | s̃) − Σ_t [λ_r (R_t − b_t) log α_t(s̃_t) + λ_e H(α_t)]            R_t, b_t, s̃ constants

and in a share of the batches, half in the paper, the places are not drawn: s̃_t is α_t, its expectation (4.1). R_t is
the log-likelihood of the words from t on, the only ones that s̃_t can change, and b_t its moving average,
b ← 0.9 b + 0.1 R. Without training, hard attention looks at the most probable place.

A place of its own for every cell is added to the annotations (they are learned): the paper's network sees so much
around each cell, with 14 × 14 of them, that it can tell where it is; this one is small, and captions say where things
are.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import TinyattnError
from tinyattn.graph import trace
from tinyattn.graph.leaf import as_tensor, latest
from tinyattn.graph.types import fail
from tinyattn.models.model import Recipe
from tinyattn.models.parts.captioning import (
    MNIST_SIZES,
    MNIST_TRAINING,
    TRAINING,
    CaptionConfig,
    CaptionModel,
    Said,
)  # fmt: skip
from tinyattn.models.parts.checks import check_sizes
from tinyattn.ops.attention.additive import additive_alignment
from tinyattn.ops.layers.cells import lstm_gates
from tinyattn.tasks.parts.vocabulary import PAD

ATTENTIONS = ("soft", "hard")
KEPT = 0.9
"""The share of the old moving average in the new one."""


@dataclass(frozen=True)
class ShowAttendTellConfig(CaptionConfig):
    """Sizes, and how it learns. attention: "soft" or "hard". compared: how many numbers a state and an annotation
    are compared in. stochastic: λ; expected: the share of batches in which hard attention takes the expectation;
    reward, entropy: λ_r and λ_e. dropout: of h_t on its way to the words, so that it is safer to look than to
    remember.
    """

    compared: int = 64
    attention: str = "soft"
    stochastic: float = 0.001
    expected: float = 0.5
    reward: float = 0.1
    entropy: float = 0.002
    dropout: float = 0.0

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        super().__post_init__()
        check_sizes(self.of, self, shares=("expected", "dropout"), choices={"attention": ATTENTIONS})
        for name in ("stochastic", "reward", "entropy"):
            if not getattr(self, name) >= 0:
                fail(TinyattnError, self.of, f"{name} must be at least 0", f"got {getattr(self, name)!r}")

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        cells, d, m, n, a = self.side**2, self.features, self.embedding, self.hidden, self.compared
        attention = cells * d + a * (n + d + 1) + a + n + 1
        decoder = 2 * n * (d + 1) + 4 * n * (m + d + n + 1)
        output = m * (n + 1 + d) + self.target_vocabulary * (2 * m + 1)
        return self.network_parameters() + attention + decoder + output


class Memory(NamedTuple):
    """What is looked at."""

    annotations: ta.Tensor  # (B, L, D): a_i
    keys: ta.Tensor  # (B, L, a): U a_i


class Look(NamedTuple):
    """One step's look, for R rows."""

    context: ta.Tensor  # (R, D): ẑ_t
    weights: ta.Tensor  # (R, L): α_t
    scores: ta.Tensor  # (R, L): e_t
    places: ta.Tensor  # (R, L): s̃_t, or α_t


class ShowAttendTell(CaptionModel):
    """The model: images (B, C, H, W), and captions as word numbers: target_in (B, T) from <bos> on, target_out (B,
    T) with <eos>.
    """

    Config = ShowAttendTellConfig
    name = "show-attend-tell"
    paper = "Xu et al. 2015, Show, attend and tell: neural image caption generation with visual attention"
    documents = "S0 S3 S4"
    varies = ("attention",)
    recipes = (
        Recipe(
            "captioned-shapes", {"dropout": 0.5}, TRAINING, baseline="captioner",
            targets={"exact_match": 0.95, "attention_hit": 0.8},
        ),
        Recipe(
            "mnist-scenes", MNIST_SIZES | {"dropout": 0.5}, MNIST_TRAINING,
            targets={"exact_match": 0.9, "attention_hit": 0.8},
        ),
        Recipe(
            "captioned-shapes", {"attention": "hard"}, TRAINING,
            targets={"exact_match": 0.9, "attention_hit": 0.8}, variant="hard",
        ),
    )  # fmt: skip
    config: ShowAttendTellConfig

    def __init__(self, config: ShowAttendTellConfig):
        super().__init__(config)
        d, m, n, a = config.features, config.embedding, config.hidden, config.compared
        bound = a**-0.5
        self.place = ta.parameter(nn.init.normal((config.side**2, d), std=0.1), np.float32)
        self.query = nn.Linear(n, a, bias=False)  # W
        self.key = nn.Linear(d, a)  # U, and the bias
        self.v = ta.parameter(nn.init.uniform(a, -bound, bound), np.float32)
        self.gate = nn.Linear(n, 1)  # f_β
        self.first_h, self.first_c = nn.Linear(d, n), nn.Linear(d, n)  # f_h, f_c
        self.word = nn.Linear(m, 4 * n)  # of the LSTM, and its biases
        self.context = nn.Linear(d, 4 * n, bias=False)
        bound = n**-0.5
        self.recurrent = ta.parameter(nn.init.uniform((4 * n, n), -bound, bound), np.float32)
        self.state = nn.Linear(n, m)  # L_h
        self.dropout = nn.Dropout(config.dropout)
        self.seen = nn.Linear(d, m, bias=False)  # L_z
        self.vocabulary = nn.Linear(m, config.target_vocabulary)  # L_o
        self.baseline = ta.tensor(np.zeros(config.longest_target, np.float32))  # b

    def see(self, images: Any) -> tuple[Memory, tuple[ta.Tensor, ta.Tensor]]:
        annotations = self.network(images) + self.place
        mean = ta.mean(annotations, 1)
        first = ta.tanh(self.first_h(mean)), ta.tanh(self.first_c(mean))
        return Memory(annotations, self.key(annotations)), first

    def look(self, memory: Memory, h: ta.Tensor, drawn: Any = None) -> Look:
        """From h_{t−1} (R, n) at annotations (B, L, D). drawn: whether places are drawn, of hard attention in
        training."""
        images, cells, d = memory.annotations.shape
        rows, n = h.shape
        scores = additive_alignment(
            self.query(h.reshape(images, -1, n)), memory.keys, self.v
        )  # (B, R / B, L)
        weights = places = ta.softmax(scores)
        if drawn is not None:
            places = ta.where(drawn, ta.hard_attention(scores), weights)
        elif self.config.attention == "hard":
            best = ta.expand_dims(ta.argmax(weights, 2), 2)
            places = (ta.arange(cells, dtype=best.dtype) == best).astype(weights.dtype)
        context = ta.sigmoid(self.gate(h)) * (places @ memory.annotations).reshape(rows, d)
        return Look(context, *(x.reshape(rows, cells) for x in (weights, scores, places)))

    def recur(self, state: tuple[ta.Tensor, ta.Tensor], word: ta.Tensor, context: ta.Tensor) -> Any:
        """h_t and c_t (R, n) from the word's part of the gates (R, 4n) and ẑ_t (R, D)."""
        h, c = state
        return lstm_gates(word + self.context(context) + h @ self.recurrent.T, h, c)

    def output(self, word: ta.Tensor, h: ta.Tensor, context: ta.Tensor) -> ta.Tensor:
        """E y_{t−1} (…, m), h_t (…, n), ẑ_t (…, D) → logits (…, K)."""
        return self.vocabulary(word + self.state(self.dropout(h)) + self.seen(context))

    def decode(self, memory: Memory, state: Any, words: ta.Tensor) -> Said:
        """choice: of hard attention in training, the scores, the places (T, B, L), and whether these were drawn."""
        drawn = None
        if self.training and self.config.attention == "hard":
            drawn = ta.random_uniform((), dtype=words.dtype) >= self.config.expected

        def step(state, word):
            look = self.look(memory, state[0], drawn)
            state = self.recur(state, word, look.context)
            return state, (state[0], *look)

        _, (h, contexts, weights, scores, places) = ta.scan(step, state, self.word(words))
        logits = self.output(words, h, contexts)
        return Said(logits, weights, None if drawn is None else (scores, places, drawn))

    def advance(self, memory: Memory, state: Any, word: ta.Tensor) -> tuple[Any, ta.Tensor, ta.Tensor]:
        look = self.look(memory, state[0])
        state = self.recur(state, self.word(word), look.context)
        return state, self.output(word, state[0], look.context), look.weights

    def loss(self, batch: Any) -> ta.Tensor:
        """Of eq. 14, or of hard attention the surrogate whose derivative is that of eq. 12, divided by the words of the
        batch. Its value is that without the terms of the choice."""
        said = self.say(batch.images, batch.target_in)
        targets = as_tensor(batch.target_out).T  # (T, B)
        words = targets != PAD
        nats = ta.cross_entropy(said.logits, targets, ignore_index=PAD, reduction="none")
        total = ta.sum(nats)
        if self.config.attention == "soft":
            times = ta.sum(ta.where(ta.expand_dims(words, 2), said.weights, 0), 0)  # (B, L): Σ_t α_ti
            all_parts = ta.sum(ta.square(1 - times), 1)
            total = total + self.config.stochastic * ta.sum(ta.where(as_tensor(batch.valid), all_parts, 0))
        elif said.choice is not None:
            choice = self.chosen(nats, words, *said.choice)
            total = total + choice - ta.stop_gradient(choice)
        return total / ta.sum(words.astype(nats.dtype))

    def chosen(
        self, nats: ta.Tensor, words: ta.Tensor, scores: ta.Tensor, places: ta.Tensor, drawn: ta.Tensor
    ) -> ta.Tensor:
        """The terms of the choice, from −log p(y_t) and which words there are (T, B), e_t and s̃_t (T, B, L): a number.
        Moves the baseline on."""
        rewards = -ta.flip(ta.cumsum(ta.flip(nats, 0), 0), 0)  # R_t
        baseline = latest(self.baseline)
        counts = ta.sum(words.astype(nats.dtype), 1)
        means = ta.sum(rewards, 1) / ta.maximum(counts, 1)
        steps = nats.shape[0]
        old = baseline[:steps].astype(nats.dtype)
        moved = ta.where(counts > 0, KEPT * old + (1 - KEPT) * ta.stop_gradient(means), old)
        moved = ta.concat([moved.astype(baseline.dtype), baseline[steps:]])
        trace.assign(self.baseline, moved)
        reward = ta.where(drawn, rewards - old.reshape(-1, 1), 0)
        terms = ta.score_function(
            scores, places, reward, reward_weight=self.config.reward, entropy_weight=self.config.entropy
        )
        return ta.sum(ta.where(words, terms, 0))
