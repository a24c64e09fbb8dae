"""Local attention: a window of 2D + 1 keys around a place p (Luong, Pham & Manning 2015, section 3.2).

Monotonic, *local-m*: target word t looks around source word p_t = t; scores outside [p − D, p + D] are masked.
Predictive, *local-p*: p_t = S σ(v·tanh(W h_t)) is computed, and what softmax gives inside the window is
multiplied by a Gaussian around it, through which p_t learns:

    G_s = exp(−(s − p)² / 2σ²) for |s − p| ≤ D, else 0,   σ = D / 2;       p̄ = Σ_s Ḡ_s G_s (s − p) / σ²

The window's bounds have no gradient. The weights are not normalised again after the Gaussian.
"""

import math

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, positive
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import FLOAT32, Type, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import abs, cast, exp, less_equal, where
from tinyattn.ops.arrays.shape import expand_dims
from tinyattn.ops.definition import call, hand_derived


def _distances(position, length):
    return cast(arange(length), position.dtype) - expand_dims(position, -1)


def _definition(position, *, length, half_width):
    distance = _distances(position, length)
    inside = less_equal(abs(distance), half_width)
    scaled = where(inside, distance, 0) * (2 / half_width)
    return where(inside, exp(-0.5 * scaled * scaled), 0)


def _derivative(g, node):
    (position,), length, half_width = node.inputs, node.attrs["length"], node.attrs["half_width"]
    slope = node * _distances(position, length) * (2 / half_width) ** 2
    return (reduce.sum(g * slope, -1),)


hand_derived(
    "gaussian_window",
    lambda position, *, length, half_width: Type((*position.shape, length), position.dtype),
    _definition,
    _derivative,
    formula="exp(−(s − {0})² / 2σ²)",
    vjp_formula="Σ_s ḡ_s y_s (s − {0}) / σ²",
    kinks=lambda position, *, length, half_width: abs(
        abs(position[..., None] - arange(length).numpy()) - half_width
    ),
)


@public(at(positive(2, 3), 6, half_width=8, predictive=True))
def local_window(position, length: int, half_width: float = 10, predictive: bool = False) -> Tensor:
    """The window of ``half_width`` D around each query's ``position`` p (…, Tq) over ``length`` keys → (…, Tq,
    length).

    Monotonic (local-m): bool, True where |s − p| ≤ D; a mask for ``ta.softmax`` or ``ta.attention``, with p =
    ``ta.arange(Tq)`` in Luong's model. ``predictive`` (local-p): the Gaussian exp(−(s − p)² / 2σ²), σ = D/2, 0
    outside the window, in the type of p; differentiable in p. The alignment is then

        ta.softmax(scores, mask=ta.local_window(p, S, D)) * ta.local_window(p, S, D, predictive=True)

    and p = S σ(v·tanh(W h)). Positions and D are in words, the first being 0. Luong et al. 2015, eqs. 9 and 10.
    Raises ShapeError for a negative length or width, or D = 0 if predictive. Integers and bools become float32.
    """
    position = as_tensor(position)
    if length < 0 or not (half_width > 0 or half_width == 0 and not predictive) or math.isinf(half_width):
        fail(
            errors.ShapeError,
            "local_window",
            "length must not be negative and half_width must be positive (0 will do without predictive)",
            f"got length {length} and half_width {half_width}",
        )
    position = position if is_float(position.dtype) else cast(position, FLOAT32)
    if predictive:
        return call("gaussian_window", position, length=int(length), half_width=float(half_width))
    return less_equal(abs(_distances(position, int(length))), float(half_width))
