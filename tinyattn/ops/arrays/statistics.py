"""Reductions made of others: standard deviation, norms, counts and differences.

A root of 0 has no derivative; that of a standard deviation or a norm is taken as 0 there, the least of its
subgradients, so that a constant row or an empty embedding stops no training.
"""

import math

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, FLOAT32, INT64, fail, is_float, normalize_axes, normalize_axis
from tinyattn.ops.arrays.elementwise import abs, cast, equal, not_equal, power, sqrt, square, where
from tinyattn.ops.arrays.rearrange import between
from tinyattn.ops.arrays.reduce import max, min, sum, var


def _root(x: Tensor, degree: float = 2) -> Tensor:
    """x^(1/degree) for x ≥ 0, whose derivative at 0 is taken as 0."""
    is_zero = equal(x, 0)
    safe = where(is_zero, 1, x)
    return where(is_zero, 0, sqrt(safe) if degree == 2 else power(safe, 1 / degree))


@public(at(real(3, 4), 1))
def std(x, axis=None, keepdims: bool = False, ddof: float = 0) -> Tensor:
    """The standard deviation over ``axis``: √(Σ (x − mean)² / (count − ddof)); its gradient is 0 where it is 0.
    Integers and bools become float32. Raises ShapeError for an axis that isn't there, or that is empty.
    """
    return _root(var(x, axis, keepdims, ddof))


@public(at(real(3, 4), 2, 1))
def norm(x, ord: float | str | None = None, axis=None, keepdims: bool = False) -> Tensor:
    """The norm of ``x``, vectors (one axis) or matrices (two), as ``np.linalg.norm``; without ``ord`` and ``axis``,
    √Σx² of everything. Its gradient at the zero vector is 0.

    ``ord`` of vectors: 2 (the default), 1, any number p for (Σ|x|^p)^(1/p), 0 for how many aren't 0, ±inf for the
    largest or least |x|. Of matrices: ``"fro"`` (the default), 1 or −1 for the largest or least column sum of |x|,
    ±inf for row sums.

    x (…, n) → (…) for one axis, which with ``keepdims`` stays. Integers and bools become float32. Raises ShapeError
    for another ``ord`` or other axes.
    """
    x = as_tensor(x)
    x = x if is_float(x.dtype) else cast(x, FLOAT32)
    normalize_axes("norm", axis, x.ndim)  # (each once)
    axes = tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
    axes = tuple(normalize_axis("norm", a, x.ndim) for a in axes)
    if ord is None and (axis is None or len(axes) in (1, 2)):
        return _root(sum(square(x), axes, keepdims))
    if len(axes) == 1 and not isinstance(ord, str):
        return _vector_norm(x, ord, axes, keepdims)
    if len(axes) == 2 and ord == "fro":
        return _root(sum(square(x), axes, keepdims))
    if len(axes) == 2 and ord in (1, -1, math.inf, -math.inf):
        first, second = axes if ord in (1, -1) else axes[::-1]
        sums = sum(abs(x), first, keepdims=True)
        extreme = (max if ord > 0 else min)(sums, second, keepdims=True)
        return extreme if keepdims else sum(extreme, axes)
    must = "ord must be a number for one axis, and 'fro', ±1 or ±inf for two"
    fail(errors.ShapeError, "norm", must, f"got ord={ord!r} and {len(axes)} axes")


def _vector_norm(x: Tensor, ord, axes: tuple[int, ...], keepdims: bool) -> Tensor:
    size = abs(x)
    if ord in (math.inf, -math.inf):
        return (max if ord > 0 else min)(size, axes, keepdims)
    if ord == 0:
        return cast(count_nonzero(x, axes, keepdims), x.dtype)
    if ord == 1:
        return sum(size, axes, keepdims)
    if ord == 2:
        return _root(sum(square(x), axes, keepdims))
    if ord < 0:  # 0 where any x is
        return power(sum(power(size, ord), axes, keepdims), 1 / ord)
    is_zero = equal(size, 0)
    powers = where(is_zero, 0, power(where(is_zero, 1, size), ord))
    return _root(sum(powers, axes, keepdims), ord)


@public(constant="integers come out")
def count_nonzero(x, axis=None, keepdims: bool = False) -> Tensor:
    """How many elements of ``x`` over ``axis`` aren't 0 (or are True): int64. Raises ShapeError for an axis that
    isn't there.
    """
    x = as_tensor(x)
    return sum(cast(x if x.dtype == BOOL else not_equal(x, 0), INT64), axis, keepdims)


@public(at(real(3, 4)))
def diff(x, n: int = 1, axis: int = -1) -> Tensor:
    """Differences x[i + 1] − x[i] of neighbours along ``axis``, taken ``n`` times: x (…, T, …) → (…, T − n, …). Of
    any element type, which the result has; of bools, whether they differ. Raises ShapeError for an axis that isn't
    there, DTypeError for another ``n``.
    """
    x = as_tensor(x)
    axis = normalize_axis("diff", axis, x.ndim)
    if n < 0:
        fail(errors.ShapeError, "diff", "n must be an integer ≥ 0", f"got {n}")
    for _ in range(n):
        size = x.shape[axis]
        if size == 0:
            break
        later, earlier = between(x, axis, 1, size), between(x, axis, 0, size - 1)
        x = not_equal(later, earlier) if x.dtype == BOOL else later - earlier
    return x
