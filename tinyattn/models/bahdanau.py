"""RNNsearch: neural machine translation by jointly learning to align and translate (Bahdanau, Cho & Bengio
2015).

Before it says word i the decoder compares its state with every annotation h_j of the source, and reads their
average weighted by how well they match:

    s_0  = tanh(W_s ←h_1)
    e_ij = v_aᵀ tanh(W_a s_{i-1} + U_a h_j)     how well position j fits what comes next      (appendix A.1.2)
    α_ij = softmax_j e_ij                       over the words of the source, not its padding (eq. 6)
    c_i  = Σ_j α_ij h_j                         the context                                   (eq. 5)
    s_i  = GRU(s_{i-1}, E y_{i-1}, c_i)         what is said is said from these three         (A.1.1, A.2.2)

The matrix α is an alignment nobody has given: it can be drawn, and compared with a gold one. All U_a h_j are
computed once; a step of the loop costs one product with the state for the queries, one for the gates and one
for the context.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.models.model import Recipe
from tinyattn.models.parts.encoder_decoder import (
    MULTI30K,
    MULTI30K_SIZES,
    TINY_MT,
    EncoderDecoder,
    EncoderDecoderConfig,
    Source,
)  # fmt: skip
from tinyattn.ops.attention.additive import additive_alignment


@dataclass(frozen=True)
class BahdanauConfig(EncoderDecoderConfig):
    """Sizes. attention: n', how many numbers a state and an annotation are compared in (the paper: 1000)."""

    attention: int = 64

    def num_parameters(self) -> int:
        """How many numbers training can change."""
        n, a = self.hidden, self.attention
        return self._parameters(context=2 * n, summary=n) + a * n + a * (2 * n + 1) + a


class Memory(NamedTuple):
    """What is looked at."""

    annotations: ta.Tensor  # (B, S, 2n): h_j
    keys: ta.Tensor  # (B, S, n'): U_a h_j
    mask: ta.Tensor  # (B, 1, S) bool


class Alignment(nn.Module):
    """The alignment model: a network of one hidden layer that scores a state against an annotation (appendix
    A.1.2).
    """

    def __init__(self, state: int, annotation: int, width: int):
        self.query = nn.Linear(state, width, bias=False)  # W_a
        self.key = nn.Linear(annotation, width)  # U_a, and the bias
        bound = width**-0.5
        self.v = ta.parameter(nn.init.uniform(width, -bound, bound), np.float32)  # v_a

    def forward(self, states: ta.Tensor, keys: ta.Tensor, mask: ta.Tensor) -> ta.Tensor:
        """States s_{i-1} (B, q, n), keys U_a h_j (B, S, n'), mask (B, 1, S) → weights α (B, q, S)."""
        scores = additive_alignment(self.query(states), keys, self.v)
        return ta.softmax(scores, mask=mask)


class Bahdanau(EncoderDecoder):
    """The encoder-decoder with additive attention.

    Its batch holds word numbers: source (B, S), source_length (B,), target_in (B, T) from <bos> on, and target_out
    (B, T) with <eos>, which the loss is of.
    """

    Config = BahdanauConfig
    name = "bahdanau"
    paper = (
        "Bahdanau, Cho & Bengio 2015, Neural machine translation by jointly learning to align and translate"
    )
    documents = "S0 S1 S3"
    recipes = (
        Recipe(
            "tiny-mt", training=TINY_MT, baseline="seq2seq",
            targets={"exact_match": 0.99, "bleu": 99.0, "aer": 0.10},
        ),
        Recipe(
            "multi30k", MULTI30K_SIZES | {"attention": 256}, MULTI30K, baseline="seq2seq",
            reported={"bleu": "26.75 (WMT 14 en-fr)"},
        ),
        Recipe("copy", baseline="seq2seq"),
    )  # fmt: skip
    config: BahdanauConfig

    def __init__(self, config: BahdanauConfig):
        super().__init__(config, context=2 * config.hidden, summary=config.hidden)
        self.alignment = Alignment(config.hidden, 2 * config.hidden, config.attention)
        self.initialise()

    def memory(self, source: Source) -> tuple[Memory, ta.Tensor]:
        """Annotations with their keys, and s_0 = tanh(W_s ←h_1) (B, n)."""
        keys = self.alignment.key(source.annotations)
        return Memory(source.annotations, keys, source.mask), ta.tanh(self.start(source.first))

    def attend(self, memory: Memory, state: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """Contexts (R, 2n) and weights (R, S) for states (R, n). Several rows of one sentence look at the
        same memory.
        """
        sentences, length, width = memory.annotations.shape
        rows, n = state.shape
        weights = self.alignment(state.reshape(sentences, -1, n), memory.keys, memory.mask)  # (B, R / B, S)
        weights = weights.reshape(rows, length)
        contexts = weights.reshape(sentences, -1, length) @ memory.annotations  # (B, R / B, 2n)
        return contexts.reshape(rows, width), weights

    def decode(self, memory: Memory, state: ta.Tensor, words: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """Words E y_{i-1} (T, B, m) and s_0 (B, n) → logits (T, B, K) and weights (T, B, S)."""

        def step(state, word):
            context, weights = self.attend(memory, state)
            return self.recur(state, word, self.context(context)), (state, context, weights)

        _, (states, contexts, weights) = ta.scan(step, state, self.word(words))
        return self.output(states, words, contexts), weights
