"""What models that play share: how a choice is drawn, and what is learned from the rewards that came of choices.

With rewards r_t, a value V_t that the model expects from step t on, V_{T+1} = 0, a discount γ and a trace λ, the
advantage of what was chosen at t is (generalised advantage estimation, Schulman et al. 2016, equations 11 and 16)

    δ_t = r_t + γ V_{t+1} − V_t,      Â_t = Σ_l (γλ)^l δ_{t+l}

It is r_t + γ V_{t+1} − V_t with λ = 0, and all later rewards less V_t with λ = 1.
"""

import numpy as np

import tinyattn as ta
from tinyattn.graph.leaf import as_tensor


def advantages(rewards: ta.Tensor, values: ta.Tensor, discount: float, trace: float) -> ta.Tensor:
    """Â (B, T) of rewards r and values V (B, T)."""
    steps = rewards.shape[1]
    later = ta.pad(values[:, 1:], ((0, 0), (0, 1)))
    surprise = rewards + discount * later - values  # δ
    ahead = np.arange(steps)[:, None] - np.arange(steps)  # l, of step t + l in a row and of t in a column
    shares = np.where(ahead >= 0, (discount * trace) ** np.maximum(ahead, 0), 0.0)
    return surprise @ ta.tensor(shares.astype(rewards.dtype))


def drawn(logits: ta.Tensor, luck: ta.Tensor) -> ta.Tensor:
    """A choice (B,) from softmax(logits) (B, K): the first whose share, with all before it, is more than a number
    (B,) that is uniform from 0 to 1."""
    below = ta.cumsum(ta.softmax(logits), axis=1) <= ta.expand_dims(as_tensor(luck), 1)
    return ta.minimum(
        ta.sum(ta.cast(below, np.int32), axis=1), logits.shape[1] - 1
    )  # (the sum may fall short of 1)
