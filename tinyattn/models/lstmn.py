"""LSTMN: long short-term memory-networks for machine reading (Cheng, Dong & Lapata 2016).

An LSTM squeezes all that it has read into one h and one c. This one keeps those of every word, on two tapes, and
at each word looks back at all of them (intra-attention):

    a_i      = vᵀ tanh(W_h h_i + W_x x_t + W_h̃ h̃_{t−1})       for each i < t              (eq. 4)
    s        = softmax(a)                                                                   (eq. 5)
    [h̃; c̃]  = Σ_{i<t} s_i [h_i; c_i]                           an adaptive summary        (eq. 6)
    i, f, o  = σ(W [h̃, x_t] + b);   ĉ = tanh(W [h̃, x_t] + b)                              (eq. 7)
    c_t      = f ⊙ c̃ + i ⊙ ĉ;       h_t = o ⊙ tanh c_t                                     (eq. 8, 9)

At the first word the tapes are empty, and h̃ = c̃ = 0. In layer k + 1, h_t of layer k stands in the place of x_t
(eq. 10). An LSTM is this with a tape of the last word alone (tape=1): h̃ = h_{t−1}, c̃ = c_{t−1}. Gates are in torch's
order i, f, ĉ, o, and the parameters of the LSTM have torch's names.

Each tape is an array (B, T, H) with a place for each word, and a mask says which are written. W_h h_i is computed
once, when h_i is written.

Shapes in comments: B texts, T words, m embedding, H hidden, A attention, I what a layer is given (m or H).
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.graph.scope import scope
from tinyattn.models.lstm_lm import AGREEMENT
from tinyattn.models.model import Recipe
from tinyattn.models.parts.language import RecurrentConfig, RecurrentLanguageModel
from tinyattn.ops.attention.additive import additive_alignment
from tinyattn.ops.layers.cells import lstm_gates
from tinyattn.sections import Arcs, Section

SHOWN = 4
"""Texts on maps of the report."""
BEGINNING = "(start)"


@dataclass(frozen=True)
class LSTMNConfig(RecurrentConfig):
    """Sizes; the paper's are embedding 150 and hidden 300. attention: A. tape: how many of the last words are kept,
    0 for all.
    """

    attention: int = 64
    tape: int = 0

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        n, a = self.hidden, self.attention
        widths = [self.embedding, *[n] * (self.layers - 1)]
        layers = sum(4 * n * (width + n + 2) + a * (2 * n + width + 1) for width in widths)
        return self.vocab_size * (self.embedding + n + 1) + layers


class Tapes(NamedTuple):
    """What a layer has read so far, and h̃ of the last word."""

    hidden: ta.Tensor  # (B, T, H): h_i, 0 where nothing is written yet
    memory: ta.Tensor  # (B, T, H): c_i
    keys: ta.Tensor  # (B, T, A): W_h h_i
    summary: ta.Tensor  # (B, H): h̃_{t−1}


class Given(NamedTuple):
    """A word, as a step needs it."""

    place: ta.Tensor  # () integer: t
    query: ta.Tensor  # (B, A): W_x x_t
    gates: ta.Tensor  # (B, 4H): W x_t + b


class LSTMNLayer(nn.Module):
    """One layer: what it has read of each word, and how it looks back."""

    def __init__(self, inputs: int, hidden: int, attention: int, tape: int):
        self.hidden, self.tape = hidden, tape
        bound = 1 / math.sqrt(hidden)

        def drawn(*shape: int) -> ta.Tensor:
            return ta.parameter(nn.init.uniform(shape, -bound, bound), np.float32)

        self.weight_ih, self.weight_hh = drawn(4 * hidden, inputs), drawn(4 * hidden, hidden)  # W
        self.bias_ih, self.bias_hh = drawn(4 * hidden), drawn(4 * hidden)
        self.key = nn.Linear(hidden, attention, bias=False)  # W_h
        self.query = nn.Linear(inputs, attention, bias=False)  # W_x, in higher layers W_l
        self.before = nn.Linear(hidden, attention, bias=False)  # W_h̃
        self.v = drawn(attention)

    def empty(self, batch: int, length: int, dtype: Any) -> Tapes:
        """Tapes for `length` words."""
        tape, keys = (batch, length, self.hidden), (batch, length, len(self.v))
        empty = (ta.zeros(shape, dtype) for shape in (tape, tape, keys, (batch, self.hidden)))
        return Tapes._make(empty)

    def given(self, inputs: ta.Tensor) -> Given:
        """What steps need of inputs (T, B, I), for all of them at once."""
        gates = inputs @ self.weight_ih.T + (self.bias_ih + self.bias_hh)
        return Given(ta.arange(inputs.shape[0], dtype=np.int32), self.query(inputs), gates)

    def look(self, tapes: Tapes, word: Given) -> ta.Tensor:
        """The weights s (B, 1, T): eq. 4 and 5. Nothing is written at the first word, and all of them are 0."""
        with scope("look"):
            query = word.query + self.before(tapes.summary)
            scores = additive_alignment(query.reshape(query.shape[0], 1, -1), tapes.keys, self.v)
            slots = ta.arange(tapes.keys.shape[1], dtype=np.int32)
            written = slots < word.place
            if self.tape:
                written = ta.logical_and(written, slots >= word.place - self.tape)
            return ta.softmax(scores, mask=written)

    def read(
        self, tapes: Tapes, word: Given, added: ta.Tensor | None = None
    ) -> tuple[ta.Tensor, ta.Tensor, ta.Tensor, ta.Tensor]:
        """h_t, c_t and h̃_t (B, H), and the weights (B, T): eq. 6 to 9. added: what else c_t is the sum of (B, H)."""
        weights = self.look(tapes, word)
        rows, width = tapes.summary.shape
        summary = (weights @ tapes.hidden).reshape(rows, width)
        cell = (weights @ tapes.memory).reshape(rows, width)
        gates = word.gates + summary @ self.weight_hh.T
        hidden, memory = lstm_gates(gates, summary, cell)
        if added is not None:
            memory = memory + added
            hidden = ta.sigmoid(gates[:, 3 * width :]) * ta.tanh(memory)
        return hidden, memory, summary, weights.reshape(rows, -1)

    def write(
        self, tapes: Tapes, word: Given, hidden: ta.Tensor, memory: ta.Tensor, summary: ta.Tensor
    ) -> Tapes:
        """The tapes with h_t and c_t at place t, and h̃_t."""
        with scope("write"):
            here = (ta.arange(tapes.keys.shape[1], dtype=np.int32) == word.place).reshape(1, -1, 1)
            pairs = (tapes.hidden, hidden), (tapes.memory, memory), (tapes.keys, self.key(hidden))
            new = [ta.where(here, value.reshape(value.shape[0], 1, -1), tape) for tape, value in pairs]
        return Tapes._make([*new, summary])

    def step(self, tapes: Tapes, word: Given) -> tuple[Tapes, tuple[ta.Tensor, ta.Tensor]]:
        """Read a word and write it down: the new tapes, h_t (B, H) and the weights (B, T)."""
        hidden, memory, summary, weights = self.read(tapes, word)
        return self.write(tapes, word, hidden, memory, summary), (hidden, weights)

    def forward(self, inputs: ta.Tensor) -> tuple[Tapes, tuple[ta.Tensor, ta.Tensor]]:
        """Inputs (T, B, I) → the tapes when all is read, h_t (T, B, H) and the weights (T, B, T)."""
        length, batch, _ = inputs.shape
        return ta.scan(self.step, self.empty(batch, length, inputs.dtype), self.given(inputs))


class LSTMN(RecurrentLanguageModel):
    """The language model: tokens (B, T) and the targets (B, T), each the token after."""

    Config = LSTMNConfig
    name = "lstmn"
    paper = "Cheng, Dong & Lapata 2016, Long short-term memory-networks for machine reading"
    documents = "S0"
    recipes = (
        Recipe(
            "agreement",
            training=AGREEMENT,
            baseline="lstm-lm",
            targets={"accuracy": 0.99, "accuracy_8": 0.99},
        ),
    )
    config: LSTMNConfig

    def __init__(self, config: LSTMNConfig):
        super().__init__(config)
        widths = [config.embedding, *[config.hidden] * (config.layers - 1)]
        self.layers = nn.ModuleList(
            LSTMNLayer(width, config.hidden, config.attention, config.tape) for width in widths
        )

    def states(self, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        for number, layer in enumerate(self.layers):
            _, (words, weights) = layer(self.dropout(words) if number else words)
        return words, weights

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """How each word of a few held-out texts looks back. The task has decode(ids) → text, as language tasks do."""
        with self.evaluating():
            weights = self(batch.tokens)[1].numpy()  # (B, T, T)
        texts = []
        for row in range(min(SHOWN, len(weights))):
            count = max(2, int((batch.targets[row] >= 0).sum()))
            words = [task.decode([token]) or BEGINNING for token in batch.tokens[row, :count]]
            texts.append((words, weights[row][:count, :count]))
        caption = "An arc leads from a word to a slot of the tape that is read when it comes: to the word that left it."
        return [Arcs("How it looks back", texts, caption)]
