"""Hard attention: look at one place, drawn at random, and learn by the score function (REINFORCE).

A place s̃ (one-hot) is drawn from α = softmax(e), and the context is the value there. Sampling has no
derivative, but the expectation of what follows has. With the reward R = log p(y | s̃, a) of the sample and any
baseline b that doesn't depend on it,

    ∂ E[R] / ∂e = E[∂R/∂e + (R − b) ∂ log p(s̃) / ∂e],       ∂ log p(s̃) / ∂e = s̃ − α

so a term added to the loss, of which R − b and s̃ count as constants, gives the scores the cotangent

    ē = −λ_r (R − b)(s̃ − α) − λ_e ∂H/∂e,     ∂H/∂e = −α ⊙ (log α + H),     H = −Σ α log α

with the entropy H in it to keep α from closing too early. (Xu et al. 2015, section 4.1; Williams 1992.)
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import Type, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.creation import full
from tinyattn.ops.arrays.elementwise import (
    cast,
    equal,
    exp,
    less,
    less_equal,
    logical_and,
    stop_gradient,
    where,
)
from tinyattn.ops.arrays.random import random_uniform
from tinyattn.ops.arrays.reduce import cumsum
from tinyattn.ops.arrays.shape import concat, expand_dims, reshape
from tinyattn.ops.attention.softmax import check_mask, log_softmax, softmax
from tinyattn.ops.definition import call, hand_derived
from tinyattn.ops.memory.addressing import one_for_each


@public(constant="a choice")
def hard_attention(scores, mask=None) -> Tensor:
    """One place for each query, drawn from softmax(scores): scores (…, Tq, Tk) → one-hot (…, Tq, Tk), which has no
    gradient.

    ``sample @ values`` is the context; the values get the gradient of where they were looked at, and
    :func:`score_function` gives one to the scores. ``mask``: bool (True = may be looked at) or additive; a fully
    masked row gives zeros. Drawn by inverting the cumulative distribution at one uniform number a query. Xu et al.
    2015, eq. 8. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    (scores,) = real_operands(scores)
    if not scores.ndim or not scores.shape[-1]:
        must = "scores (…, Tk) must have a key at least"
        fail(errors.ShapeError, "hard_attention", must, f"got {scores.shape}")
    weights = softmax(stop_gradient(scores), mask=mask)
    after = cumsum(weights, -1)
    drawn = expand_dims(random_uniform(scores.shape[:-1], dtype=scores.dtype), -1) * after[..., -1:]
    before = concat([full((*after.shape[:-1], 1), 0, after.dtype), after[..., :-1]], -1)
    return cast(logical_and(less_equal(before, drawn), less(drawn, after)), scores.dtype)


# The term of the loss: scores (…, Tk), sample (…, Tk), advantage R − b (…), and perhaps a mask → (…).


def _entropy(log_weights):
    """Of each row, with an axis of size 1 for it; and its terms' weights, 0 where masked."""
    weights = exp(log_weights)
    surprise = where(equal(weights, 0), 0, log_weights)
    return weights, surprise, -reduce.sum(weights * surprise, -1, keepdims=True)


def _definition(scores, sample, advantage, mask=None, *, reward_weight, entropy_weight):
    log_weights = log_softmax(scores, mask=mask)
    sample, advantage = stop_gradient(sample), stop_gradient(advantage)
    likelihood = reduce.sum(where(equal(sample, 0), 0, sample * log_weights), -1)
    entropy = _entropy(log_weights)[2]
    return -reward_weight * advantage * likelihood - entropy_weight * reshape(entropy, likelihood.shape)


def _derivative(g, node):
    scores, sample, advantage, *mask = node.inputs
    return call("score_function_backward", scores, sample, advantage, g, *mask, **node.attrs), None, None


def _backward_definition(scores, sample, advantage, g, mask=None, *, reward_weight, entropy_weight):
    weights, surprise, entropy = _entropy(log_softmax(scores, mask=mask))
    sample, advantage = stop_gradient(sample), stop_gradient(advantage)
    rewarded = reward_weight * expand_dims(advantage, -1) * (sample - weights)
    return expand_dims(g, -1) * (entropy_weight * weights * (surprise + entropy) - rewarded)


def _with_mask(found, node):
    """The mask is added to the scores: its cotangent is theirs, if it is of real numbers."""
    return *found, *(found[0] if is_float(mask.dtype) else None for mask in node.inputs[3:])


hand_derived(
    "score_function",
    lambda scores, sample, advantage, *mask, reward_weight, entropy_weight: Type(
        scores.shape[:-1], scores.dtype
    ),
    _definition,
    lambda g, node: _with_mask(_derivative(g, node), node),
    formula="−λ_r·{2}·log α({1}) − λ_e·H(α), α = softmax({0})",
    vjp_formula="ḡ·(−λ_r {2} ({1} − α) + λ_e α ⊙ (log α + H))",
)
hand_derived(
    "score_function_backward",
    lambda scores, *rest, **attrs: scores.type,
    _backward_definition,
    formula="the cotangent of the scores by REINFORCE",
)


@public(at(real(2, 4), np.eye(4)[:2], np.array([0.7, 1.6]), entropy_weight=0.1))
def score_function(
    scores,
    sample,
    reward,
    baseline=0.0,
    mask=None,
    reward_weight: float = 1.0,
    entropy_weight: float = 0.0,
) -> Tensor:
    """``−λ_r (R − b) log p(s̃) − λ_e H(α)`` for each query, to be added to the loss: scores and sample (…, Tq, Tk),
    reward R and baseline b (…, Tq), or smaller → (…, Tq).

    Its derivative is REINFORCE's estimate of that of −λ_r E[R] − λ_e H through the choice: sample, reward and
    baseline count as constants. ``reward`` is what came of the sample, log p(y | s̃, a) of the words that follow;
    ``reward_weight``: λ_r, ``entropy_weight``: λ_e, ``mask`` as in :func:`hard_attention`. Xu et al. 2015, eqs. 11
    to 13 (there λ_r = 0.1, λ_e = 0.002, b a running mean of R). Integers and bools become float32. Raises
    ShapeError for what doesn't fit.
    """
    scores, sample, reward, baseline = real_operands(scores, sample, reward, baseline)
    if not scores.ndim or sample.shape != scores.shape:
        must = "scores and sample must have one shape (…, Tk)"
        fail(errors.ShapeError, "score_function", must, f"got {scores.shape} and {sample.shape}")
    lead = scores.shape[:-1]
    advantage = one_for_each(
        "score_function", "reward − baseline", reward - baseline, lead, "one number a query"
    )
    masks = () if mask is None else (check_mask("score_function", mask, scores.shape, scores.dtype),)
    return call(
        "score_function",
        *(scores, sample, advantage, *masks),
        reward_weight=float(reward_weight),
        entropy_weight=float(entropy_weight),
    )
