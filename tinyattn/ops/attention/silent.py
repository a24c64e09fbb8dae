"""The two products of attention, in which a 0 silences what it meets, be it NaN or infinite.

A mask makes weights, and cotangents of scores, exactly 0; but 0 times NaN is NaN, and so rubbish behind the mask would
show in an ordinary product. With S = τ Q Kᵀ and O = P V, and a bar over a name for its cotangent,

    Q̄_i = τ Σ_j S̄_ij K_j,    K̄_j = τ Σ_i S̄_ij Q_i,    V̄_j = Σ_i P_ij Ō_i,    P̄_ij = Ō_i·V_j,

where terms with S̄_ij = 0 or P_ij = 0 are left out, and P̄_ij is 0 if P_ij = 0 and it isn't finite. Each of these is
one of the two products again, so that the promise holds for derivatives of any order.
"""

import math

from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type, broadcast
from tinyattn.kernels.calls.silence import tiles_of_silence
from tinyattn.ops.arrays.elementwise import cast, equal, isfinite, logical_and, logical_not, not_equal, where
from tinyattn.ops.arrays.linalg import lower_product
from tinyattn.ops.arrays.shape import swap_last
from tinyattn.ops.attention.scores import infer_product, lower_scaled
from tinyattn.ops.definition import hand_derived
from tinyattn.runtime.copies import coalesce


def attention_score(query: Tensor, keys: Tensor, scale: float = 1.0) -> Tensor:
    """``τ Q Kᵀ``: query (…, Tq, d), keys (…, Tk, d) → (…, Tq, Tk)."""
    return make("attention_score", query, keys, scale=scale)


def weighted_sum(weights: Tensor, rows: Tensor) -> Tensor:
    """``Σ_j w_ij x_j``, where a weight of 0 silences x_j: weights (…, n, m), rows (…, m, k) → (…, n, k)."""
    return make("weighted_sum", weights, rows)


def _score_derivative(g, node):
    query, keys = node.inputs
    scale = node.attrs["scale"]
    return weighted_sum(g, keys) * scale, weighted_sum(swap_last(g), query) * scale


hand_derived(
    "attention_score",
    infer_product,
    lambda query, keys, *, scale: make("dot_score", query, keys, scale=scale),
    _score_derivative,
    lower=lower_scaled,
    formula="τ·{0}·{1}ᵀ",
    vjp_formula="τ·ḡ·{1}, τ·ḡᵀ·{0}",
)


def _sum_definition(weights, rows):
    finite = isfinite(rows)
    heard = make("matmul", cast(not_equal(weights, 0), rows.dtype), cast(logical_not(finite), rows.dtype))
    return where(heard > 0, math.nan, make("matmul", weights, where(finite, rows, 0)))


def _sum_derivative(g, node):
    weights, rows = node.inputs
    by_weights = attention_score(g, rows)
    unheard = logical_and(equal(weights, 0), logical_not(isfinite(by_weights)))
    return where(unheard, 0, by_weights), weighted_sum(swap_last(weights), g)


def _lower_sum(node, emit):
    """The product, and after it a look at what came out (kernels/silence.py)."""
    batch = node.shape[:-2]
    a, b = (emit.value(x).broadcast((*batch, *x.shape[-2:])) for x in node.inputs)
    sizes, strides = coalesce(batch, a.strides[:-2], b.strides[:-2])
    if len(sizes) > 2:
        a, b = emit.contiguous(a), emit.contiguous(b)
        sizes, strides = coalesce(batch, a.strides[:-2], b.strides[:-2])
    if len(sizes) == 1:
        sizes, strides = [1, *sizes], [[0, *s] for s in strides]
    c = emit.result(node)
    lower_product(emit, a, b, c)
    matrices = math.prod(sizes)
    emit.kernel(
        "silence.zeros",
        {"a": a, "b": b, "c": c, "matrices": matrices, "inner_matrices": sizes[1]}
        | {"rows": a.shape[-2], "inner": a.shape[-1], "columns": b.shape[-1]}
        | {"a_batch": strides[0], "a_row": a.strides[-2], "a_column": a.strides[-1]}
        | {"b_batch": strides[1], "b_row": b.strides[-2], "b_column": b.strides[-1]},
        tiles_of_silence(matrices * a.shape[-2]),
        reads=[a, b, c],
        writes=[c],
        cost=c.size * 0.1,
    )


hand_derived(
    "weighted_sum",
    lambda weights, rows: Type(
        (*broadcast("attention", weights.shape[:-2], rows.shape[:-2]), weights.shape[-2], rows.shape[-1]),
        rows.dtype,
    ),
    _sum_definition,
    _sum_derivative,
    lower=_lower_sum,
    formula="{0}·{1}",
    vjp_formula="ḡ·{1}ᵀ, {0}ᵀ·ḡ",
)
