"""The additive alignment score: a network with one hidden layer says how well query i matches key j.

    additive     e = vᵀ tanh(W s + U h)          Γ_ij = E_ij v ⊙ (1 − t_ij²), t_ij the tanh:  v̄ = Σ_ij E_ij t_ij,
                                                 the cotangent of W s_i is Σ_j Γ_ij, that of U h_j is Σ_i Γ_ij
    concat       e = vᵀ tanh(W [s; h])           additive with W split in two

(Bahdanau, Cho & Bengio 2015; Luong, Pham & Manning 2015.) Shapes and letters are those of `scores.py`.
"""

import math

from tinyattn import errors
from tinyattn.graph.op import OPS
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import Type, broadcast, fail
from tinyattn.kernels.calls.score import tiles_of_additive_backward, tiles_of_additive_forward
from tinyattn.ops.arrays.elementwise import tanh
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.reduce import sum
from tinyattn.ops.arrays.shape import broadcast_to, expand_dims, reshape, transpose
from tinyattn.ops.attention.scores import check_scored
from tinyattn.ops.definition import call, hand_derived

# The part after the projections, q_i = W s_i and k_j = U h_j, all 3-D: (B, Tq, a), (B, Tk, a),
# (a,) → (B, Tq, Tk).


def _additive_definition(q, k, v):
    return sum(tanh(expand_dims(q, 2) + expand_dims(k, 1)) * v, -1)


def _additive_derivative(g, node):
    dq, dk, dv = call("additive_score_backward", *node.inputs, g, count=3)
    return dq, dk, dv


def _additive_backward_definition(q, k, v, g):
    t = tanh(expand_dims(q, 2) + expand_dims(k, 1))
    gamma = expand_dims(g, 3) * v * (1 - t * t)
    return sum(gamma, 2), sum(gamma, 1), sum(expand_dims(g, 3) * t, (1, 2))


def _infer_additive(q, k, v):
    return Type((q.shape[0], q.shape[1], k.shape[1]), q.dtype)


def _infer_additive_backward(q, k, v, g):
    return q.type, k.type, Type((q.shape[0], v.shape[0]), v.dtype)


_TANH_COST = 0.5
"""Rough nanoseconds a tanh in the additive score."""


def _operand_words(q, k, v):
    """Of both kernels; the rows of q and k, (B, T, a) references, are contiguous."""
    words = {"v": v, "batches": q.shape[0], "queries": q.shape[1], "keys": k.shape[1], "width": q.shape[2]}
    for name, ref in (("q", q), ("k", k)):
        words |= {name: ref, f"{name}_batch": ref.strides[0], f"{name}_row": ref.strides[1]}
    return words


def _unit_rows(emit, ref):
    return ref if ref.strides[2] == 1 or ref.shape[2] == 1 else emit.contiguous(ref)


def _lower_additive(node, emit):
    q, k, v = (emit.value(s) for s in node.inputs)
    q, k, v = _unit_rows(emit, q), _unit_rows(emit, k), emit.contiguous(v)
    e = emit.result(node)
    (batch, queries, width), keys = q.shape, k.shape[1]
    emit.kernel(
        "score.additive_forward",
        _operand_words(q, k, v) | {"scores": e},
        tiles_of_additive_forward(batch, queries, keys, width),
        reads=[q, k, v],
        writes=[e],
        cost=e.size * width * _TANH_COST,
        flops=float(e.size * width * (OPS["tanh"].flops + 3)),
    )


def _lower_additive_backward(node, emit):
    q, k, v, g = (emit.value(s) for s in node.inputs)
    q, k, v, g = _unit_rows(emit, q), _unit_rows(emit, k), emit.contiguous(v), emit.contiguous(g)
    dq, dk, dv = (emit.result(node, i) for i in range(3))
    (batch, _queries, width), _keys = q.shape, k.shape[1]
    emit.kernel(
        "score.additive_backward",
        _operand_words(q, k, v)
        | {"d_scores": g, "dq": dq, "dk": dk, "dk_adding": 0, "dv": dv, "dv_adding": 0},
        tiles_of_additive_backward(batch, width),
        reads=[q, k, v, g],
        writes=[dq, dk, dv],
        cost=1.5 * g.size * width * _TANH_COST,
        flops=float(g.size * width * (OPS["tanh"].flops + 9)),
    )


hand_derived(
    "additive_score",
    _infer_additive,
    _additive_definition,
    _additive_derivative,
    lower=_lower_additive,
    formula="{2}ᵀ tanh({0}_i + {1}_j)",
    vjp_formula="Σ_j Γ_ij, Σ_i Γ_ij, Σ_ij ḡ_ij t_ij with Γ = ḡ·{2} ⊙ (1 − t²)",
)
hand_derived(
    "additive_score_backward",
    _infer_additive_backward,
    _additive_backward_definition,
    lower=_lower_additive_backward,
    formula="the derivative of the additive score",
    results=("query", "keys", "v"),
)


@public(at(real(2, 3), real(4, 3), real(3)))
def additive_alignment(q, k, v) -> Tensor:
    """``e_ij = vᵀ tanh(q_i + k_j)`` of projected queries and keys: q (…, Tq, a), k (…, Tk, a), v (a,) → (…, Tq,
    Tk), the additive score with W and U already applied.

    In a decoder the keys' projection is computed once for all steps. Bahdanau et al. 2015, appendix A.1.2. Integers
    and bools become float32. Raises ShapeError for what doesn't fit.
    """
    q, k, v = real_operands(q, k, v)
    if q.ndim < 2 or k.ndim < 2 or not q.shape[-1] == k.shape[-1] or v.shape != k.shape[-1:]:
        fail(
            errors.ShapeError,
            "additive_score",
            "projected query (…, Tq, a), keys (…, Tk, a) and v (a,) must share the width a",
            f"got {q.shape}, {k.shape} and {v.shape}",
        )
    batch = broadcast("additive_score", q.shape[:-2], k.shape[:-2])
    flat_q = reshape(broadcast_to(q, (*batch, *q.shape[-2:])), (math.prod(batch), *q.shape[-2:]))
    flat_k = reshape(broadcast_to(k, (*batch, *k.shape[-2:])), (math.prod(batch), *k.shape[-2:]))
    return reshape(call("additive_score", flat_q, flat_k, v), (*batch, q.shape[-2], k.shape[-2]))


@public(at(real(2, 3), real(4, 5), real(2, 3), real(2, 5), real(2)))
def additive_score(query, keys, W, U, v) -> Tensor:
    """``e_ij = vᵀ tanh(W s_i + U h_j)``: query (…, Tq, ds), keys (…, Tk, dh), W (a, ds), U (a, dh), v (a,) → (…,
    Tq, Tk).

    Bahdanau et al. 2015, appendix A.1.2. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    query, keys, W, U, v = real_operands(query, keys, W, U, v)
    check_scored("additive_score", query, keys, False)
    if W.ndim != 2 or U.ndim != 2 or W.shape[1] != query.shape[-1] or U.shape[1] != keys.shape[-1]:
        fail(
            errors.ShapeError,
            "additive_score",
            f"W must be (a, {query.shape[-1]}) and U (a, {keys.shape[-1]})",
            f"got {W.shape} and {U.shape}",
            "Rows are attention units, columns the width of query or key.",
        )
    return additive_alignment(matmul(query, transpose(W)), matmul(keys, transpose(U)), v)


@public(at(real(2, 3), real(4, 5), real(2, 8), real(2)))
def concat_score(query, keys, W, v) -> Tensor:
    """``e_ij = vᵀ tanh(W [s_i; h_j])``: query (…, Tq, ds), keys (…, Tk, dh), W (a, ds + dh), v (a,) → (…, Tq, Tk);
    the additive score with W = [W | U].

    Luong et al. 2015, eq. 8 (concat). Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    query, keys, W, v = real_operands(query, keys, W, v)
    check_scored("concat_score", query, keys, False)
    width = query.shape[-1]
    if W.ndim != 2 or W.shape[1] != width + keys.shape[-1]:
        fail(
            errors.ShapeError,
            "concat_score",
            f"W must be (a, {width + keys.shape[-1]})",
            f"got {W.shape}",
        )
    return additive_score(query, keys, W[:, :width], W[:, width:], v)
