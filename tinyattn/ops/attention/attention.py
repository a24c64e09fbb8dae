"""Scaled dot-product attention: every query looks at all keys and takes a weighted mean of the values.

With queries Q (Tq, d), keys K (Tk, d), values V (Tk, dv), scale τ = 1/√d and mask M (0 = may attend, −∞ = may
not, or any bias),

    S = τ Q Kᵀ + M,    m_i = max_j S_ij,    l_i = log Σ_j e^{S_ij − m_i},    P_ij = e^{(S_ij − m_i) − l_i},
    O = (P ⊙ Z) V,

where Z is 1, or 0 and 1/(1 − p) with dropout of the weights. The product Q Kᵀ of unit-variance vectors has
variance d; τ makes it 1, so that the softmax neither starts flat nor saturated.

The derivative needs none of the Tq × Tk matrices kept: m and l make P anew from Q and K. (Their sum, the row
log-sum-exp, wouldn't do: it is rounded at the size of the scores, and P with it.) With G = Ō, and l̄ where
somebody differentiates l itself,

    V̄ = (P ⊙ Z)ᵀ G,      P̄ = (G Vᵀ) ⊙ Z,      S̄ = P ⊙ (P̄ − D),      M̄ = S̄,      Q̄ = τ S̄ K,      K̄ = τ S̄ᵀ Q.

D is what the softmax subtracts, Σ_j P_ij P̄_ij. It is G_i·O_i, since both are Σ_j P_ij Z_ij (G_i·V_j): a dot
product of rows that exist already. And as ∂l_i/∂S_ij = P_ij with m a constant, D_i = G_i·O_i − l̄_i takes in l̄,
too.

Whoever asks for the weights wants to see them, and perhaps to differentiate by them: then the output is made of them,
step by step as the first line says, and they are kept. (Vaswani et al. 2017, eq. 1; the derivative by row
log-sum-exps: Dao et al. 2022, appendix B; D: Dao et al. 2022, eq. 4.)
"""

import math
from typing import Any

from tinyattn import errors
from tinyattn.graph.grad import zeros_like
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.types import Type, broadcast, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import equal, exp, log, not_equal, where
from tinyattn.ops.arrays.random import draw
from tinyattn.ops.arrays.shape import broadcast_to, expand_dims, reshape, swap_last
from tinyattn.ops.attention.attention_lowering import lower_attention, lower_attention_backward
from tinyattn.ops.attention.silent import attention_score, weighted_sum
from tinyattn.ops.attention.softmax import check_mask, largest_score, masked_scores, row_statistics
from tinyattn.ops.definition import call, hand_derived

# Inputs of the op: query, keys, values, then a mask if there is one, then the state of the random numbers if
# weights are dropped.


def _optional(rest, p: float) -> tuple[Tensor | None, Tensor | None]:
    """The mask and the random state among the inputs after the values."""
    state = rest[-1] if p > 0 else None
    return (rest[0] if len(rest) > (p > 0) else None), state


def _batch(query, keys, values) -> tuple[int, ...]:
    return broadcast("attention", query.shape[:-2], keys.shape[:-2], values.shape[:-2])


def _scores(query, keys, mask, batch, scale: float, causal: bool) -> Tensor:
    """S = τ Q Kᵀ + M (…, Tq, Tk), −∞ where attention is forbidden."""
    scores = masked_scores(attention_score(query, keys, scale), mask)
    queries, count = scores.shape[-2:]
    if causal:
        scores = where(expand_dims(arange(queries), 1) >= arange(count), scores, -math.inf)
    return broadcast_to(scores, (*batch, queries, count))


def _dropped(weights: Tensor, state, p: float, stream: int) -> Tensor:
    """P ⊙ Z: which weights are kept is a function of the random state and of the place in (…, Tq, Tk)."""
    return weights if state is None else make("dropout", weights, state, p=p, stream=stream)


def _definition(query, keys, values, *rest, scale, causal, p, stream):
    """O, m and l."""
    mask, state = _optional(rest, p)
    weights, top, total = _weights(_scores(query, keys, mask, _batch(query, keys, values), scale, causal))
    out = weighted_sum(_dropped(weights, state, p, stream), values)
    rows = weights.shape[:-1]
    return out, broadcast_to(reshape(top, rows), rows), reshape(log(total), rows)


def _weights(scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """P, m and Σ_j e^{S_ij − m_i}, these two with an axis of length 1; a row that may attend to nothing has the weights
    and m 0, and the sum 1.
    """
    top = largest_score(scores, True)
    weights = exp(scores - top)
    total = reduce.sum(weights, -1, keepdims=True)
    total = where(equal(total, 0), 1, total)
    return weights / total, top, total


def weights_of(node: Tensor) -> Tensor:
    """P (…, Tq, Tk) of a node of the operation ``attention``, before any dropout."""
    query, keys, values, *rest = node.inputs
    mask, _ = _optional(rest, node.attrs["p"])
    batch = _batch(query, keys, values)
    return _weights(_scores(query, keys, mask, batch, node.attrs["scale"], node.attrs["causal"]))[0]


def _backward_definition(query, keys, values, *rest, scale, causal, p, stream):
    """Q̄, K̄, V̄ and S̄, which is the mask's, from m, l, D and G."""
    *rest, top, log_sum, mean, g = rest
    mask, state = _optional(rest, p)
    scores = _scores(query, keys, mask, g.shape[:-2], scale, causal)
    weights = exp(scores - expand_dims(top, -1) - expand_dims(log_sum, -1))
    g_weights = _dropped(attention_score(g, values), state, p, stream)
    # Where the weight is 0 nothing comes back, not even a NaN.
    g_scores = weights * where(equal(weights, 0), 0, g_weights - expand_dims(mean, -1))
    return (
        weighted_sum(g_scores, keys) * scale,
        weighted_sum(swap_last(g_scores), query) * scale,
        weighted_sum(swap_last(_dropped(weights, state, p, stream)), g),
        g_scores,
    )


def _derivative(cotangents, node):
    out = output(node, 0)
    g = cotangents.get(0, zeros_like(out))
    mean = reduce.sum(g * out, -1)
    if 2 in cotangents:
        mean = mean - cotangents[2]
    operands = (*node.inputs, *row_statistics(node), mean, g)
    *found, g_scores = call("attention_backward", *operands, count=4, **node.attrs)
    return *found, *(g_scores if is_float(source.dtype) else None for source in node.inputs[3:])


def _infer(query, keys, values, *rest, scale, causal, p, stream):
    rows = (*_batch(query, keys, values), query.shape[-2])
    return Type((*rows, values.shape[-1]), query.dtype), Type(rows, query.dtype), Type(rows, query.dtype)


def _infer_backward(query, keys, values, *rest, scale, causal, p, stream):
    batch = _batch(query, keys, values)
    sizes = (*(x.shape[-2:] for x in (query, keys, values)), (query.shape[-2], keys.shape[-2]))
    return tuple(Type((*batch, *size), query.dtype) for size in sizes)


hand_derived(
    "attention",
    _infer,
    _definition,
    _derivative,
    lower=lower_attention,
    formula="softmax(τ·{0}·{1}ᵀ)·{2}",
    vjp_formula="τ·S̄·{1}, τ·S̄ᵀ·{0}, Pᵀ·ḡ with S̄ = P ⊙ (ḡ·{2}ᵀ − ⟨ḡ, y⟩)",
    results=("", "maximum", "log-sum"),
)
hand_derived(
    "attention_backward",
    _infer_backward,
    _backward_definition,
    lower=lower_attention_backward,
    formula="the derivative of attention",
    results=("query", "keys", "values", "mask"),
)


def _operands(op: str, query, keys, values) -> list[Tensor]:
    query, keys, values = real_operands(query, keys, values)
    got = f"got {query.shape}, {keys.shape} and {values.shape}"
    if min(query.ndim, keys.ndim, values.ndim) < 2:
        must = "query (…, Tq, d), keys (…, Tk, d) and values (…, Tk, dv) must have two axes or more"
        fail(errors.ShapeError, op, must, got, "Insert an axis of size 1 with x[None].")
    if query.shape[-1] != keys.shape[-1]:
        must = "query (…, Tq, d) and keys (…, Tk, d) must share the width d"
        fail(errors.ShapeError, op, must, got, "Project one of them to the other's width first.")
    if keys.shape[-2] != values.shape[-2]:
        must = "keys (…, Tk, d) and values (…, Tk, dv) must share the length Tk"
        fail(errors.ShapeError, op, must, got, "Every key has one value.")
    return [query, keys, values]


def _grouped(query: Tensor, keys: Tensor, values: Tensor, mask) -> tuple:
    """Queries with the axes (…, heads of keys, queries' heads for each, Tq, d), and all else to fit."""
    got = f"got {query.shape}, {keys.shape} and {values.shape}"
    if (
        min(query.ndim, keys.ndim, values.ndim) < 3
        or keys.shape[-3] != values.shape[-3]
        or not keys.shape[-3]
    ):
        must = "with enable_gqa query (…, H, Tq, d), keys and values (…, G, Tk, d) must have heads, as many of both"
        fail(errors.ShapeError, "attention", must, got)
    (heads, groups), lead = (query.shape[-3], keys.shape[-3]), query.shape[:-3]
    if heads % groups:
        must = "with enable_gqa the heads of the query must be a multiple of those of the keys"
        fail(errors.ShapeError, "attention", must, got)
    apart = (groups, heads // groups)
    if mask is not None:
        batch = broadcast("attention", lead, keys.shape[:-3], values.shape[:-3])
        mask = check_mask("attention", mask, (*batch, heads, query.shape[-2], keys.shape[-2]), query.dtype)
        if mask.ndim > 2:
            sizes = (1, 1) if mask.shape[-3] == 1 else apart
            mask = reshape(mask, (*mask.shape[:-3], *sizes, *mask.shape[-2:]))
    query = reshape(query, (*lead, *apart, *query.shape[-2:]))
    return query, expand_dims(keys, -3), expand_dims(values, -3), mask


def _joined(x: Tensor) -> Tensor:
    """The two axes of heads as one again."""
    return reshape(x, (*x.shape[:-4], x.shape[-4] * x.shape[-3], *x.shape[-2:]))


@public(
    at(
        real(2, 2, 3),
        real(2, 4, 3),
        real(2, 4, 5),
        mask=fixed([[True, True, False, True], [True, False, True, True]]),
    ),
    at(real(2, 3), real(4, 3), real(4, 5), is_causal=True, return_weights=True),
)
def attention(
    query,
    keys,
    values,
    mask=None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    return_weights: bool = False,
    enable_gqa: bool = False,
) -> Any:
    """``softmax(τ Q Kᵀ + M) V``: query (…, Tq, d), keys (…, Tk, d), values (…, Tk, dv) → (…, Tq, dv).

    Leading axes broadcast: keys and values of one head may serve many query heads. ``mask`` broadcasts to (…, Tq,
    Tk): bool, True = may attend, or floating-point, added to the scores (−∞ forbids; a learned bias gets its
    gradient). ``is_causal``: query i sees keys j ≤ i, counted from the first query and key also where Tq ≠ Tk; with
    a mask, both must allow. ``scale``: τ, by default 1/√d. ``dropout_p``: each weight is set to 0 with this
    probability, the others divided by 1 − p. ``return_weights``: also the weights P (…, Tq, Tk), as they are before
    dropout, of which the output is made then: both have their derivatives by Q and K, and the output has one by P.
    They cost memory for Tq × Tk numbers; without them no scores are stored. ``enable_gqa``: on the third axis from
    the end, keys and values have fewer heads than the queries, each for a group of neighbouring query heads
    (Ainslie et al. 2023); they are not repeated in memory.

    A query that may attend to nothing gets 0, and gradient 0; what nobody may attend to, be it NaN or infinite, has
    no influence. Integers and bools become float32. Raises ShapeError or DTypeError. Vaswani et al. 2017, eq. 1.
    """
    query, keys, values = _operands("attention", query, keys, values)
    if not 0 <= dropout_p < 1:
        fail(errors.ShapeError, "attention", "dropout_p must lie in [0, 1)", f"got {dropout_p}")
    if enable_gqa:
        query, keys, values, mask = _grouped(query, keys, values, mask)
    batch = _batch(query, keys, values)
    shape = (*batch, query.shape[-2], keys.shape[-2])
    mask = None if mask is None else check_mask("attention", mask, shape, query.dtype)
    scale = 1 / math.sqrt(max(1, query.shape[-1])) if scale is None else float(scale)
    causal, random = bool(is_causal), {"p": float(dropout_p)}
    if return_weights:
        scores = _scores(query, keys, mask, batch, scale, causal)
        weights = call("softmax", scores, not_equal(scores, -math.inf))
        # What is returned is what the output is made of, so that the output has a derivative by it.
        weights = _joined(weights) if enable_gqa else weights
        kept = reshape(weights, shape)
        out = weighted_sum(draw("dropout", kept, **random) if dropout_p else kept, values)
        return (_joined(out) if enable_gqa else out), weights
    operands = (query, keys, values, *(() if mask is None else (mask,)))
    attrs = {"scale": scale, "causal": causal, **random}
    node = (
        draw("attention", *operands, **attrs)
        if dropout_p
        else make("attention", *operands, **attrs, stream=0)
    )
    return _joined(output(node, 0)) if enable_gqa else output(node, 0)
