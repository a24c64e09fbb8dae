"""Spectral normalisation: a weight divided by its largest singular value, which power iteration follows.

    u ← W v / |W v|,   v ← Wᵀ u / |Wᵀ u|   (as often as asked for),      σ = uᵀ W v,      Ŵ = W / σ

u and v count as constants, so that ∂σ/∂W = u vᵀ and, with G the cotangent of Ŵ,

    W̄ = (G − ⟨G, Ŵ⟩ u vᵀ) / σ.

(Miyato et al. 2018, "Spectral normalization for generative adversarial networks", section 2.1 and equation 12.)
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import cast, maximum, sqrt, stop_gradient
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import expand_dims, reshape, transpose
from tinyattn.ops.definition import call, hand_derived, like_first


def _sigma(matrix, u, v):
    return reduce.sum(u * matmul(matrix, v))


def _definition(matrix, u, v):
    return matrix / _sigma(matrix, stop_gradient(u), stop_gradient(v))


def _derivative(g, node):
    matrix, u, v = node.inputs
    along = expand_dims(stop_gradient(u), 1) * stop_gradient(v)
    sigma = _sigma(matrix, stop_gradient(u), stop_gradient(v))
    return (g - reduce.sum(g * node) * along) / sigma, None, None


hand_derived(
    "spectral_norm",
    like_first,
    _definition,
    _derivative,
    formula="{0} / ({1}ᵀ·{0}·{2})",
    vjp_formula="(ḡ − ⟨ḡ, y⟩ {1}·{2}ᵀ) / σ",
)


def _normalized(x: Tensor, eps: float) -> Tensor:
    return x / maximum(sqrt(reduce.sum(x * x)), eps)


@public(at(real(3, 4), np.array([0.6, 0.0, 0.8]), np.full(4, 0.5), 0))
def spectral_norm(
    weight, u, v, n_power_iterations: int = 1, eps: float = 1e-12, dim: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """``weight / σ`` with its largest singular value σ as estimated from ``u`` and ``v``, and the new u and v.

    The weight (…), floating-point, of two axes or more → (…), counts as a matrix (h, w) whose rows lie along axis
    ``dim`` (0; 1 for a transposed convolution); ``dim``; u (h,) and v (w,) estimate its first singular vectors.
    Each of ``n_power_iterations`` steps (1 in training, 0 in evaluation) improves them; no gradient passes through
    u and v. ``eps`` keeps norms from 0. Raises ShapeError for what doesn't fit. (Miyato et al. 2018.)
    """
    weight, u, v = as_tensor(weight), as_tensor(u), as_tensor(v)
    if weight.ndim < 2 or not -weight.ndim <= dim < weight.ndim or not is_float(weight.dtype):
        fail(
            errors.ShapeError,
            "spectral_norm",
            f"the weight must be floating-point and have two axes or more, dim={dim} among them",
            f"got {weight.type}",
        )
    order = (dim % weight.ndim, *(a for a in range(weight.ndim) if a != dim % weight.ndim))
    rows = transpose(weight, order)
    height = rows.shape[0]
    width = weight.size // max(height, 1)
    if u.shape != (height,) or v.shape != (width,):
        fail(
            errors.ShapeError,
            "spectral_norm",
            f"u must be ({height},) and v ({width},)",
            f"got {u.shape} and {v.shape}",
        )
    matrix = reshape(rows, (height, width))
    u, v = stop_gradient(cast(u, weight.dtype)), stop_gradient(cast(v, weight.dtype))
    fixed = stop_gradient(matrix)
    for _ in range(n_power_iterations):
        u = _normalized(matmul(fixed, v), eps)
        v = _normalized(matmul(transpose(fixed), u), eps)
    found = reshape(call("spectral_norm", matrix, u, v), rows.shape)
    return transpose(found, tuple(order.index(a) for a in range(weight.ndim))), u, v
