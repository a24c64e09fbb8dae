"""Products beyond the matrix product: ``outer``, ``tensordot``, and the running product ``cumprod``."""

import math
from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.operands import number_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.scan import scan
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import INT64, fail, is_float, normalize_axes, normalize_axis
from tinyattn.ops.arrays.creation import ones
from tinyattn.ops.arrays.elementwise import cast
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.rearrange import moveaxis
from tinyattn.ops.arrays.shape import reshape, transpose


@public(at(real(3), real(4)))
def outer(a, b) -> Tensor:
    """``a_i b_j`` for all pairs: a (n,), b (m,) → (n, m); operands with more axes are flattened. Bools count as
    int64.
    """
    a, b = number_operands(a, b)
    return reshape(a, (-1, 1)) * reshape(b, (1, -1))


@public(at(real(2, 3, 4), real(3, 4, 2)))
def tensordot(a, b, axes: int | Sequence = 2) -> Tensor:
    """The sum of products over pairs of axes: ``axes`` pairs of a's last and b's first, or two lists of axes. a (n,
    k, l), b (k, l, m) → (n, m) for 2: the axes that are left come in the order of a, then of b. Bools count as
    int64. NumPy's tensordot. Raises ShapeError for pairs of different sizes.
    """
    a, b = number_operands(a, b)
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(a.ndim, b.ndim):
            must = f"axes must lie in 0..{min(a.ndim, b.ndim)}, or be two lists"
            fail(errors.ShapeError, "tensordot", must, f"got {axes}")
        left, right = tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes))
    else:
        several = isinstance(axes, (tuple, list))
        pair = [x if isinstance(x, (tuple, list)) else (x,) for x in axes] if several else []
        if len(pair) != 2 or len(pair[0]) != len(pair[1]):
            must = "axes must be a number, or two lists of as many axes"
            fail(errors.ShapeError, "tensordot", must, f"got {axes!r}")
        for part, x in zip(pair, (a, b), strict=True):
            normalize_axes("tensordot", part, x.ndim)  # (each once)
        left = tuple(normalize_axis("tensordot", k, a.ndim) for k in pair[0])
        right = tuple(normalize_axis("tensordot", k, b.ndim) for k in pair[1])
    if [a.shape[k] for k in left] != [b.shape[k] for k in right]:
        must = "the axes that are summed over must agree"
        got = f"got {[a.shape[k] for k in left]} and {[b.shape[k] for k in right]}"
        fail(errors.ShapeError, "tensordot", must, got)
    rows = [k for k in range(a.ndim) if k not in left]
    columns = [k for k in range(b.ndim) if k not in right]
    inner = math.prod(a.shape[k] for k in left)
    shape = (*(a.shape[k] for k in rows), *(b.shape[k] for k in columns))
    x = reshape(transpose(a, (*rows, *left)), (math.prod(a.shape[k] for k in rows), inner))
    y = reshape(transpose(b, (*right, *columns)), (inner, math.prod(b.shape[k] for k in columns)))
    return reshape(matmul(x, y), shape)


@public(at(real(3, 4), 1))
def cumprod(x, axis: int = 0) -> Tensor:
    """Running products of ``x`` along ``axis``, y_i = x_0 · … · x_i: x (…) → (…). Of bools and integers int64. A
    loop, whose derivatives hold at zeros, too. Raises ShapeError for an axis that isn't there.
    """
    (x,) = number_operands(x)
    x = x if is_float(x.dtype) else cast(x, INT64)
    rows = moveaxis(x, normalize_axis("cumprod", axis, x.ndim), 0)
    if not rows.shape[0]:
        return x
    _, products = scan(lambda running, row: (running * row,) * 2, ones(rows.shape[1:], x.dtype), rows)
    return moveaxis(products, 0, axis)
