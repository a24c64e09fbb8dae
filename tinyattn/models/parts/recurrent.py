"""Recurrent units of any kind for encoder-decoders: layers that read a source, and layers that go on a step at a time.

    rnn     s' = tanh(part + U s)
    lstm    i, f, g, o = σ, σ, tanh, σ (part + U h);   c' = f ⊙ c + i ⊙ g;   h' = o ⊙ tanh c'
    gru     the reset before the product as Cho et al. 2014, or with `reset_after` behind it as torch has it

`part`, (R, gates · n), is what does not depend on the state: W E y_{i-1} and the biases, and whatever a model adds.
A state is a tuple with an element a layer: s (R, n), or (h, c) of an LSTM.
"""

import math
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.ops.layers.cells import gru_gates, gru_gates_before, lstm_gates

UNITS = ("gru", "lstm", "rnn")
GATES = {"gru": 3, "lstm": 4, "rnn": 1}

State = tuple[Any, ...]


def encoder(
    kind: str, width: int, hidden: int, layers: int = 1, bidirectional: bool = True, dropout: float = 0.0,
    reset_after: bool = False,
) -> Any:  # fmt: skip
    """Layers that read (S, B, width), of `hidden` units in each direction."""
    given: dict[str, Any] = {"num_layers": layers, "dropout": dropout, "bidirectional": bidirectional}
    if kind == "gru":
        return nn.GRU(width, hidden, reset_after=reset_after, **given)
    return (nn.LSTM if kind == "lstm" else nn.RNN)(width, hidden, **given)


def last_states(final: Any, layers: int) -> State:
    """The final state of an encoder, (layers · directions, B, H), as a state: that of each layer, its directions side
    by side.
    """
    if isinstance(final, tuple):
        parts = [last_states(part, layers) for part in final]
        return tuple(zip(*parts, strict=True))
    directions = final.shape[0] // layers
    rows = [[final[layer * directions + way] for way in range(directions)] for layer in range(layers)]
    return tuple(ta.concat(row, axis=1) if directions > 1 else row[0] for row in rows)


def reverse(ids: ta.Tensor, lengths: ta.Tensor) -> ta.Tensor:
    """Each row (B, S) from its last word to its first; padding stays where it is."""
    places, lengths = ta.arange(ids.shape[1], dtype=lengths.dtype).reshape(1, -1), lengths.reshape(-1, 1)
    return ta.take_along_axis(ids, ta.where(places < lengths, lengths - 1 - places, places), 1)


class Cell(nn.Module):
    """One layer. input: the width of what the layer below says; 0 where `part` is given as a whole."""

    def __init__(self, kind: str, width: int, reset_after: bool = False, input: int = 0):
        rows, bound = GATES[kind] * width, 1 / math.sqrt(width)
        self.kind, self.reset_after = kind, reset_after
        if input:
            self.input = nn.Linear(input, rows)  # W, and the biases
        self.weight = ta.parameter(nn.init.uniform((rows, width), -bound, bound), np.float32)  # U
        if kind == "gru" and reset_after:
            self.bias = ta.parameter(nn.init.uniform(rows, -bound, bound), np.float32)  # inside the reset

    def forward(self, part: ta.Tensor, state: Any) -> Any:
        """Part (R, gates · n) and the state → the new state."""
        if self.kind == "gru":
            if self.reset_after:
                return gru_gates(part, state @ self.weight.T + self.bias, state)
            return gru_gates_before(part, state, self.weight)
        if self.kind == "lstm":
            h, c = state
            return lstm_gates(part + h @ self.weight.T, h, c)
        return ta.tanh(part + state @ self.weight.T)


class Cells(nn.Module):
    """Layers of `width` units each; those above the first read the one below."""

    def __init__(
        self, kind: str, width: int, layers: int = 1, dropout: float = 0.0, reset_after: bool = False
    ):
        above = [width] * (layers - 1)
        self.layers = nn.ModuleList(Cell(kind, width, reset_after, below) for below in (0, *above))
        self.dropout = nn.Dropout(dropout)

    def forward(self, part: ta.Tensor, state: State) -> State:
        """Part (R, gates · n) of the first layer and the states → the new states."""
        new: list[Any] = []
        for cell, old in zip(self.layers, state, strict=True):
            if new:
                part = cell.input(self.dropout(top(new)))
            new.append(cell(part, old))
        return tuple(new)


def top(state: Any) -> ta.Tensor:
    """What the last layer says, (R, n)."""
    last = state[-1]
    return last[0] if isinstance(last, tuple) else last
