"""Alignment scores: how well query i matches key j.

With queries s_i, keys h_j, scores e_ij and E = ē the cotangent of the scores:

    dot          e = s·h                         s̄_i = Σ_j E_ij h_j            h̄_j = Σ_i E_ij s_i
    scaled dot   e = s·h / √d                    the same, divided by √d
    general      e = sᵀ W h                      W̄ = Sᵀ E H,  S̄ = E H Wᵀ,  H̄ = Eᵀ S W
    cosine       e = s·h / q, q = |s| |h| + ε    s̄_i = Σ_j E_ij (h_j / q − e_ij |h_j| / q · s_i / |s_i|), and so h̄_j
    location     e = W s                         W̄ = Eᵀ S,  S̄ = E W

(Graves, Wayne & Danihelka 2014; Luong, Pham & Manning 2015; Vaswani et al. 2017.) Queries are (…, Tq, d), keys
(…, Tk, d'), scores (…, Tq, Tk). The additive score is in `additive.py`.
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import Type, broadcast, fail
from tinyattn.ops.arrays.creation import full
from tinyattn.ops.arrays.elementwise import equal, sqrt, where
from tinyattn.ops.arrays.linalg import lower_product, matmul
from tinyattn.ops.arrays.reduce import sum
from tinyattn.ops.arrays.shape import broadcast_to, concat, reshape, swap_last, transpose
from tinyattn.ops.definition import call, hand_derived

# Dot products, scaled.


def _dot_definition(query, keys, *, scale):
    return make("matmul", query, swap_last(keys)) * scale


def _dot_derivative(g, node):
    query, keys = node.inputs
    scale = node.attrs["scale"]
    g = g if scale == 1 else g * scale
    return make("matmul", g, keys), make("matmul", swap_last(g), query)


def infer_product(query, keys, **options) -> Type:
    """The type of scores that are a product of queries and keys."""
    batch = broadcast("score", query.shape[:-2], keys.shape[:-2])
    return Type((*batch, query.shape[-2], keys.shape[-2]), query.dtype)


def lower_scaled(node, emit) -> None:
    """Emit ``τ Q Kᵀ`` for a node with these inputs and an attribute ``scale``."""
    query, keys = (emit.value(source) for source in node.inputs)
    lower_product(emit, query, keys.swapped(), emit.result(node), scale=node.attrs["scale"])


hand_derived(
    "dot_score",
    infer_product,
    _dot_definition,
    _dot_derivative,
    lower=lower_scaled,
    formula="{0}·{1}ᵀ·τ",
    vjp_formula="τ·ḡ·{1}, τ·ḡᵀ·{0}",
)


def check_scored(op: str, query: Tensor, keys: Tensor, same_width: bool) -> None:
    """Raise ShapeError unless query and keys are rows, and if they must be, of the same width."""
    got = f"got {query.shape} and {keys.shape}"
    if query.ndim < 2 or keys.ndim < 2:
        must = "query (…, Tq, d) and keys (…, Tk, d) must have two axes or more"
        fail(errors.ShapeError, op, must, got, "Insert an axis of size 1 with x[None].")
    if same_width and query.shape[-1] != keys.shape[-1]:
        must = "query (…, Tq, d) and keys (…, Tk, d) must share the width d"
        fail(errors.ShapeError, op, must, got, "Use ta.general_score when the widths differ.")


@public(at(real(2, 3), real(4, 3)))
def dot_score(query, keys) -> Tensor:
    """``e_ij = s_i · h_j``: query (…, Tq, d), keys (…, Tk, d) → (…, Tq, Tk). Luong et al. 2015, eq. 8 (dot).
    Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    query, keys = real_operands(query, keys)
    check_scored("dot_score", query, keys, True)
    return call("dot_score", query, keys, scale=1.0)


@public(at(real(2, 3), real(4, 3)))
def scaled_dot_score(query, keys, scale: float | None = None) -> Tensor:
    """``e_ij = s_i · h_j / √d`` (or times ``scale``): query (…, Tq, d), keys (…, Tk, d) → (…, Tq, Tk). Vaswani et
    al. 2017, eq. 1. Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    query, keys = real_operands(query, keys)
    check_scored("scaled_dot_score", query, keys, True)
    return call(
        "dot_score", query, keys, scale=1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    )


# General (bilinear).


def _general_definition(query, keys, weight):
    return make("matmul", matmul(query, weight), swap_last(keys))


def _general_derivative(g, node):
    query, keys, weight = node.inputs
    g_keys = make("matmul", g, keys)  # (…, Tq, dk)
    rows = reshape(broadcast_to(query, (*g_keys.shape[:-2], *query.shape[-2:])), (-1, query.shape[-1]))
    return (
        matmul(g_keys, transpose(weight)),
        make("matmul", swap_last(g), matmul(query, weight)),
        matmul(transpose(rows), reshape(g_keys, (-1, keys.shape[-1]))),
    )


def _infer_general(query, keys, weight):
    if weight.shape != (query.shape[-1], keys.shape[-1]):
        fail(
            errors.ShapeError,
            "general_score",
            f"W must be ({query.shape[-1]}, {keys.shape[-1]}), query width by key width",
            f"got {weight.shape}",
        )
    batch = broadcast("general_score", query.shape[:-2], keys.shape[:-2])
    return Type((*batch, query.shape[-2], keys.shape[-2]), query.dtype)


hand_derived(
    "general_score",
    _infer_general,
    _general_definition,
    _general_derivative,
    formula="{0}·{2}·{1}ᵀ",
    vjp_formula="ḡ·{1}·{2}ᵀ, ḡᵀ·{0}·{2}, {0}ᵀ·ḡ·{1}",
)


@public(at(real(2, 3), real(4, 5), real(3, 5)))
def general_score(query, keys, W) -> Tensor:
    """``e_ij = s_iᵀ W h_j``: query (…, Tq, ds), keys (…, Tk, dh), W (ds, dh) → (…, Tq, Tk). Luong et al. 2015, eq.
    8 (general). Integers and bools become float32. Raises ShapeError for what doesn't fit.
    """
    query, keys, W = real_operands(query, keys, W)
    check_scored("general_score", query, keys, False)
    return call("general_score", query, keys, W)


# Cosine.


def _norm(x):
    """Lengths of the rows, (…, T, 1); the derivative at a row of zeros is 0."""
    squares = sum(x * x, -1, keepdims=True)
    zero = equal(squares, 0)
    return where(zero, 0, sqrt(where(zero, 1, squares)))


def _cosine_definition(query, keys, *, eps):
    return make("matmul", query, swap_last(keys)) / (_norm(query) * swap_last(_norm(keys)) + eps)


def _cosine_derivative(g, node):
    return call("cosine_score_backward", *node.inputs, node, g, count=2, **node.attrs)


def _cosine_backward_definition(query, keys, cosine, g, *, eps):
    lengths, key_lengths = _norm(query), swap_last(_norm(keys))
    along = g / (lengths * key_lengths + eps)
    across = along * cosine

    def unit(x, length):
        return x / where(equal(length, 0), 1, length)

    by_query = sum(across * key_lengths, -1, keepdims=True) * unit(query, lengths)
    by_key = sum(swap_last(across * lengths), -1, keepdims=True) * unit(keys, swap_last(key_lengths))
    return make("matmul", along, keys) - by_query, make("matmul", swap_last(along), query) - by_key


def _infer_cosine_backward(query, keys, cosine, g, *, eps):
    batch = g.shape[:-2]
    return (Type((*batch, *query.shape[-2:]), g.dtype), Type((*batch, *keys.shape[-2:]), g.dtype))


hand_derived(
    "cosine_score",
    infer_product,
    _cosine_definition,
    _cosine_derivative,
    formula="{0}·{1}ᵀ / (|{0}| |{1}| + ε)",
    vjp_formula="Σ_j ḡ_ij ({1}_j/q − e_ij |{1}_j|/q · {0}_i/|{0}_i|), q = |{0}_i| |{1}_j| + ε, and so for {1}",
)
hand_derived(
    "cosine_score_backward",
    _infer_cosine_backward,
    _cosine_backward_definition,
    formula="the derivative of the cosine score",
    results=("query", "keys"),
)


@public(at(real(2, 3), real(4, 3)))
def cosine_score(query, keys, eps: float = 1e-8) -> Tensor:
    """``e_ij = s_i · h_j / (|s_i| |h_j| + ε)``, between −1 and 1: query (…, Tq, d), keys (…, Tk, d) → (…, Tq, Tk).

    ``eps``: ε, more than 0. A row of zeros scores 0 with everything. Graves et al. 2014, eq. 6 (with a key
    strength: :func:`content_addressing`). Integers and bools become float32. Raises ShapeError for what doesn't
    fit.
    """
    query, keys = real_operands(query, keys)
    check_scored("cosine_score", query, keys, True)
    return call("cosine_score", query, keys, eps=float(eps))


# Location.


def _location_definition(query, weight, *, length):
    known = min(length, weight.shape[0])
    scores = matmul(query, transpose(weight[:known]))
    if known == length:
        return scores
    return concat([scores, full((*scores.shape[:-1], length - known), -math.inf, scores.dtype)], -1)


def _location_derivative(g, node):
    query, weight = node.inputs
    known = min(node.attrs["length"], weight.shape[0])
    rows = reshape(g[..., :known], (math.prod(g.shape[:-1]), known))
    by_place = matmul(transpose(rows), reshape(query, (rows.shape[0], query.shape[-1])))
    if known < weight.shape[0]:
        rest = full((weight.shape[0] - known, weight.shape[1]), 0, by_place.dtype)
        by_place = concat([by_place, rest], 0)
    return matmul(g[..., :known], weight[:known]), by_place


hand_derived(
    "location_score",
    lambda query, weight, *, length: Type((*query.shape[:-1], length), query.dtype),
    _location_definition,
    _location_derivative,
    formula="{0}·{1}ᵀ",
    vjp_formula="ḡ·{1}, ḡᵀ·{0}",
)


@public(at(real(2, 3), 4, real(5, 3)))
def location_score(query, keys, W) -> Tensor:
    """``e_i = W s_i``, a score for each place that depends on the query alone: query (…, Tq, ds), W (S, ds) for at
    most S places → (…, Tq, Tk). Luong et al. 2015, eq. 9.

    Of ``keys`` (…, Tk, d), or of the integer Tk, only the number counts. A shorter sentence uses the first rows of
    W (give its mask to ``ta.softmax``); places past the S-th score −∞, so they are ignored. Integers and bools
    become float32. Raises ShapeError for what doesn't fit.
    """
    query, W = real_operands(query, W)
    shape = (int(keys), 0) if isinstance(keys, (int, np.integer)) else as_tensor(keys).shape
    if len(shape) < 2 or shape[-2] < 0:
        must = "keys must be (…, Tk, d), or the number Tk"
        fail(errors.ShapeError, "location_score", must, f"got {keys if isinstance(keys, int) else shape}")
    if query.ndim < 2 or W.ndim != 2 or W.shape[1] != query.shape[-1]:
        fail(
            errors.ShapeError,
            "location_score",
            "query (…, Tq, d) and W (S, d) must share the width d",
            f"got {query.shape} and {W.shape}",
            "W has a row for each place in the longest sentence.",
        )
    return call("location_score", query, W, length=shape[-2])
