"""How well a state s_i fits an annotation h_j, in each of the ways the papers have, and how scores become weights.

    dot          s · h                                                      Luong et al. 2015, eq. 8
    scaled-dot   s · h / √d                                                 Vaswani et al. 2017, eq. 1
    general      s W h                                                      Luong et al. 2015, eq. 8
    concat       v · tanh(W [s; h])                                         Luong et al. 2015, eq. 8
    additive     v · tanh(W s + U h + b)                                    Bahdanau et al. 2015, appendix A.1.2
    cosine       β s · h / (|s| |h|), β = softplus(w · s + b)               Graves et al. 2014, eqs. 5 and 6
    location     (W s)_j: where, whatever stands there                      Luong et al. 2015, eq. 9

Concat and additive differ in the bias alone: W [s; h] is W₁ s + W₂ h. Without the strength β the weights of
cosine scores could never be sharp: they lie within e² of each other.
"""

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.ops.attention.additive import additive_alignment

SCORES = ("dot", "general", "concat", "location", "scaled-dot", "cosine", "additive")
NORMALISERS = ("softmax", "relu-length", "relu-sum", "relu")
"""Softmax; relu, divided by the number of keys, or by its sum, or as it is (Wortsman et al. 2023)."""


class Score(nn.Module):
    """One of SCORES, between states and annotations of `width` numbers; longest: places that location knows."""

    def __init__(self, kind: str, width: int, longest: int):
        self.kind = kind
        if kind == "general":
            self.key = nn.Linear(width, width, bias=False)  # W
        elif kind in ("concat", "additive"):
            self.query = nn.Linear(width, width, bias=False)  # W, or its first half
            self.key = nn.Linear(width, width, bias=kind == "additive")  # U and b, or the second half of W
            bound = width**-0.5
            self.v = ta.parameter(nn.init.uniform(width, -bound, bound), np.float32)
        elif kind == "location":
            self.place = nn.Linear(width, longest, bias=False)  # W
        elif kind == "cosine":
            self.strength = nn.Linear(width, 1)  # w and b

    def keys(self, annotations: ta.Tensor) -> ta.Tensor:
        """What is compared with states, (B, S, width): computed once for all steps."""
        return self.key(annotations) if hasattr(self, "key") else annotations

    def forward(self, states: ta.Tensor, keys: ta.Tensor) -> ta.Tensor:
        """States (B, q, width), keys (B, S, width) → scores (B, q, S)."""
        if self.kind in ("concat", "additive"):
            return additive_alignment(self.query(states), keys, self.v)
        if self.kind == "location":
            return ta.location_score(states, keys, self.place.weight)
        if self.kind == "scaled-dot":
            return ta.scaled_dot_score(states, keys)
        if self.kind == "cosine":
            return ta.softplus(self.strength(states)) * ta.cosine_score(states, keys)
        return ta.dot_score(states, keys)  # of general, W is in the keys


def weights_of(scores: ta.Tensor, mask: ta.Tensor, normaliser: str = "softmax") -> ta.Tensor:
    """Scores (B, q, S) as weights, 0 where the mask is False."""
    if normaliser == "softmax":
        return ta.softmax(scores, mask=mask)
    return ta.relu_norm(scores, mask=mask, by=normaliser.removeprefix("relu").removeprefix("-") or "none")
