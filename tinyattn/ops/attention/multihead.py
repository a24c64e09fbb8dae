"""Multi-head attention as a function: projections, attention in each head, and a projection of the heads
side by side,

    head_h = attention(Q W_qhᵀ, K W_khᵀ, V W_vhᵀ),      O = [head_1 … head_H] W_oᵀ.

(Vaswani et al. 2017, section 3.2.2.)
"""

from typing import Any

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import reshape, transpose
from tinyattn.ops.attention.attention import attention

_NAMES = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(…, T, heads·d) → (…, heads, T, d): head h has columns h·d to (h + 1)·d."""
    parts = reshape(x, (*x.shape[:-1], heads, x.shape[-1] // heads))
    axes = tuple(range(x.ndim + 1))
    return transpose(parts, (*axes[:-3], axes[-2], axes[-3], axes[-1]))


def join_heads(x: Tensor) -> Tensor:
    """(…, heads, T, d) → (…, T, heads·d)."""
    axes = tuple(range(x.ndim))
    parts = transpose(x, (*axes[:-3], axes[-2], axes[-3], axes[-1]))
    return reshape(parts, (*parts.shape[:-2], parts.shape[-2] * parts.shape[-1]))


def _projections(params: dict, widths: tuple[int, ...]) -> list[Tensor]:
    """W_q, W_k and W_v, each (E, width)."""
    if params.get("in_proj_weight") is not None:
        whole = as_tensor(params["in_proj_weight"])
        rows = whole.shape[0] // 3 if whole.ndim == 2 else 0
        found = [whole[k * rows : (k + 1) * rows] for k in range(3)] if rows else [whole] * 3
    else:
        missing = [name for name in _NAMES if params.get(name) is None]
        if missing:
            must = "params must hold in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight"
            fail(errors.ShapeError, "self_attention", must, f"{missing[0]} is missing")
        found = [as_tensor(params[name]) for name in _NAMES]
    for which, weight, width in zip("qkv", found, widths, strict=True):
        if weight.shape != (found[0].shape[0], width):
            must = f"the rows of W_{which} must be as wide as its operand, {width}"
            fail(errors.ShapeError, "self_attention", must, f"got {weight.shape}")
    return found


@public(
    at(
        real(2, 3, 4), real(2, 3, 4), real(2, 3, 4), 2,
        {"in_proj_weight": real(12, 4), "out_proj.weight": real(4, 4)}, is_causal=True,
    )
)  # fmt: skip
def self_attention(
    query,
    keys,
    values,
    num_heads: int = 8,
    params: dict | None = None,
    *,
    mask=None,
    is_causal: bool = False,
    return_weights: bool = False,
) -> Any:
    """Multi-head attention, batch first: query (…, Tq, E), keys (…, Tk, E), values (…, Tk, E) → (…, Tq, E).

    The projections are cut into ``num_heads`` heads of E / heads columns. ``params`` has them under the names of
    PyTorch's ``MultiheadAttention``: ``in_proj_weight`` (3E, E), or ``q_proj_weight``, ``k_proj_weight`` and
    ``v_proj_weight`` (E, width) where keys or values have widths of their own; ``in_proj_bias`` (3E),
    ``out_proj.weight`` (E, E) and ``out_proj.bias`` (E). A bias or W_o that is absent is left out. Without
    ``params`` there are no projections: weights drawn anew at each call could never be trained.

    ``mask`` broadcasts to (…, heads, Tq, Tk); True = may attend (in PyTorch's module True forbids). ``is_causal``
    as in :func:`attention`. ``return_weights``: also the weights of each head (…, heads, Tq, Tk). Integers and
    bools become float32. Raises ShapeError or DTypeError. Vaswani et al. 2017, section 3.2.2.
    """
    given = real_operands(query, keys, values)
    for name, x in zip(("query", "keys", "values"), given, strict=True):
        if x.ndim < 2:
            must = f"{name} must have two axes or more, (…, T, width)"
            fail(errors.ShapeError, "self_attention", must, f"got {x.shape}")
    params = params or {}
    if params:
        weights = _projections(params, tuple(x.shape[-1] for x in given))
        given = [matmul(x, transpose(w)) for x, w in zip(given, weights, strict=True)]
    if params.get("in_proj_bias") is not None:
        bias, rows = as_tensor(params["in_proj_bias"]), given[0].shape[-1]
        given = [x + bias[k * rows : (k + 1) * rows] for k, x in enumerate(given)]
    if num_heads < 1 or any(x.shape[-1] % num_heads for x in given):
        widths = " and ".join(str(w) for w in dict.fromkeys(x.shape[-1] for x in given))
        must = f"the widths must be multiples of num_heads = {num_heads}"
        fail(errors.ShapeError, "self_attention", must, f"got {widths}", "Set num_heads=.")
    heads = [split_heads(x, num_heads) for x in given]
    found = attention(heads[0], heads[1], heads[2], mask, is_causal, return_weights=return_weights)
    out, per_head = found if return_weights else (found, None)
    joined = join_heads(out)
    if params.get("out_proj.weight") is not None:
        joined = matmul(joined, transpose(as_tensor(params["out_proj.weight"])))
    if params.get("out_proj.bias") is not None:
        joined = joined + as_tensor(params["out_proj.bias"])
    return (joined, per_head) if return_weights else joined
