"""Reductions: sum, mean, maximum, minimum, product, positions of extremes, logsumexp, variance, and running
sums.
"""

import builtins
import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import ZERO, NotDifferentiable, Op, register
from tinyattn.graph.operands import common_operands, number_operands, real_operands
from tinyattn.graph.point import apart, at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import BOOL, INT64, Type, fail, is_float, normalize_axes, normalize_axis
from tinyattn.ops.arrays.creation import full
from tinyattn.ops.arrays.elementwise import cast, equal, exp, isfinite, log, not_equal, stop_gradient, where
from tinyattn.ops.arrays.reduce_lowering import lower_cumsum, lower_reduce
from tinyattn.ops.arrays.shape import broadcast_to, concat, pad, reshape, transpose


def _reduced_shape(shape, axes, keepdims):
    return tuple(1 if a in axes else s for a, s in enumerate(shape) if keepdims or a not in axes)


def _keep(value: Tensor, node: Tensor) -> Tensor:
    """A reduced value (or its cotangent) with the reduced axes put back as 1, so that it broadcasts against
    the input.
    """
    return reshape(value, _reduced_shape(node.inputs[0].shape, node.attrs["axes"], True))


def _spread(value: Tensor, node: Tensor) -> Tensor:
    return broadcast_to(_keep(value, node), node.inputs[0].shape)


def _infer(name, empty_ok):
    def infer(x, *, axes, keepdims):
        if not empty_ok and builtins.any(x.shape[a] == 0 for a in axes):
            fail(errors.ShapeError, name, "the reduced axes must not be empty", f"got shape {x.shape}")
        return Type(_reduced_shape(x.shape, axes, keepdims), x.dtype)

    return infer


def _lower(kind):
    def lower(node, emit):
        lower_reduce(emit, kind, emit.value(node.inputs[0]), node.attrs["axes"], emit.result(node))

    return lower


def _lower_squares(node, emit):
    # Along rows only: that is where the kernel squares what it reads. Rows as they lie in memory, so that the
    # norm of a weight's gradient, which is a transposed product, needs no copy.
    x = emit.value(node.inputs[0])
    axes = sorted(node.attrs["axes"], key=lambda a: -abs(x.strides[a]))
    kept = tuple(a for a in range(x.ndim) if a not in axes)
    rows = emit.contiguous(x.transposed((*kept, *axes)))
    lower_reduce(emit, "sum_squares", rows, tuple(range(len(kept), x.ndim)), emit.result(node))


def _wide(x: Tensor) -> Tensor:
    """Integers and bools as int64, in which they are added up and multiplied (as by NumPy)."""
    return x if is_float(x.dtype) else cast(x, INT64)


def _row(name, reference, derivative, formula, vjp, *, empty_ok=False, kinks=None, domain=real):
    register(
        Op(
            name,
            _infer(name, empty_ok),
            derivative,
            reference=lambda x, *, axes, keepdims: reference(x, axis=axes, keepdims=keepdims).astype(x.dtype),
            lower=_lower(name),
            formula=formula,
            vjp_formula=vjp,
            kinks=kinks,
        )
    )

    def function(x, axis=None, keepdims: bool = False) -> Tensor:
        x = _wide(as_tensor(x)) if name in ("sum", "prod") else as_tensor(x)
        return make(name, x, axes=normalize_axes(name, axis, x.ndim), keepdims=bool(keepdims))

    function.__name__ = function.__qualname__ = name
    types = (
        "Of bools and integers int64"
        if name in ("sum", "prod")
        else "Of any element type, which the result has"
    )
    of_none = "" if empty_ok else ", or that is empty"
    function.__doc__ = (
        f"``{formula.format('x')}`` over ``axis`` (an integer, a tuple, or all axes). {types}. Raises ShapeError for "
        f"an axis that isn't there{of_none}."
    )
    return public(at(domain(3, 4), 1))(function)


def _extreme_rule(g, node):
    x = node.inputs[0]
    hits = cast(equal(x, _keep(node, node)), x.dtype)
    return (hits * _keep(g, node) / sum(hits, node.attrs["axes"], keepdims=True),)


def _gap(largest):
    """Distance of the extreme from the runner-up: zero means a tie, where the derivative jumps."""

    def kinks(x, *, axes, keepdims):
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = np.sort(
            (x if largest else -x).transpose(*kept, *axes).reshape(*(x.shape[a] for a in kept), -1), axis=-1
        )
        return rows[..., -1] - rows[..., -2] if rows.shape[-1] > 1 else np.ones(rows.shape[:-1])

    return kinks


def _others(x: Tensor, axis: int) -> Tensor:
    """For each factor the product of all others along an axis, in the shape of x.

    Made of products alone, so that it and its derivatives of any order are exact where factors are 0. Each factor of
    the first half is multiplied by one of the second; what is left out for a factor is its partner times what is left
    out for the pair.
    """
    count = x.shape[axis]
    if count < 2:
        return broadcast_to(as_tensor(1, x), x.shape)
    half, before = -(-count // 2), (slice(None),) * axis
    left, right = x[*before, :half], x[*before, half:]
    if count % 2:
        right = pad(right, [(0, int(a == axis)) for a in range(x.ndim)], 1)
    rest = _others(left * right, axis)
    return concat([rest * right, (rest * left)[*before, : count - half]], axis)


def _prod_rule(g, node):
    x, axes = node.inputs[0], node.attrs["axes"]
    if len(axes) == 1:
        return (_keep(g, node) * _others(x, axes[0]),)
    order = (*(a for a in range(x.ndim) if a not in axes), *axes)
    kept = x.ndim - len(axes)
    last = transpose(x, order)
    others = _others(reshape(last, (*last.shape[:kept], math.prod(last.shape[kept:]))), kept)
    back = tuple(int(a) for a in np.argsort(order))
    return (_keep(g, node) * transpose(reshape(others, last.shape), back),)


sum = _row("sum", np.sum, lambda g, node: (_spread(g, node),), "Σ {0}", "ḡ repeated", empty_ok=True)
prod = _row("prod", np.prod, _prod_rule, "Π {0}", "ḡ·Π of the others", empty_ok=True)
max = _row(
    "max",
    np.max,
    _extreme_rule,
    "max {0}",
    "ḡ at the maximum, shared on ties",
    kinks=_gap(True),
    domain=apart,
)
min = _row(
    "min",
    np.min,
    _extreme_rule,
    "min {0}",
    "ḡ at the minimum, shared on ties",
    kinks=_gap(False),
    domain=apart,
)


@public(at(real(3, 4)))
def mean(x, axis=None, keepdims: bool = False) -> Tensor:
    """The mean of ``x`` over ``axis``. Integers and bools become float32, after their sum, which is exact. Raises
    ShapeError for an axis that isn't there, or that is empty.
    """
    x = as_tensor(x)
    count = math.prod(x.shape[a] for a in normalize_axes("mean", axis, x.ndim))
    if count == 0:
        fail(errors.ShapeError, "mean", "the reduced axes must not be empty", f"got shape {x.shape}")
    return sum(x, axis, keepdims) / count


@public(at(real(3, 4), 1, ddof=1))
def var(x, axis=None, keepdims: bool = False, ddof: float = 0) -> Tensor:
    """The variance of ``x`` over ``axis``: the sum of squares divided by (count − ``ddof``), or by 0 if that is
    less. Integers and bools become float32. Raises ShapeError for an axis that isn't there, or that is empty.
    """
    x = as_tensor(x)
    centred = x - mean(x, axis, keepdims=True)
    count = math.prod(x.shape[a] for a in normalize_axes("var", axis, x.ndim))
    return sum(centred * centred, axis, keepdims) / builtins.max(count - ddof, 0)


def _truth(name: str, fold: str, of_none: bool, x, axis, keepdims: bool) -> Tensor:
    (x,) = common_operands(x)
    x = x if x.dtype == BOOL else not_equal(x, 0)
    axes = normalize_axes(name, axis, x.ndim)
    if builtins.any(x.shape[a] == 0 for a in axes):
        return full(_reduced_shape(x.shape, axes, keepdims), of_none, BOOL)
    return make(fold, x, axes=axes, keepdims=bool(keepdims))


@public(constant="bools come out")
def any(x, axis=None, keepdims: bool = False) -> Tensor:
    """Whether any element of ``x`` over ``axis`` is True, or a number other than 0 (as NaN is): bool; False of
    none. Raises ShapeError for an axis that isn't there.
    """
    return _truth("any", "max", False, x, axis, keepdims)


@public(constant="bools come out")
def all(x, axis=None, keepdims: bool = False) -> Tensor:
    """Whether every element of ``x`` over ``axis`` is True, or a number other than 0: bool; True of none. Raises
    ShapeError for an axis that isn't there.
    """
    return _truth("all", "min", True, x, axis, keepdims)


@public(at(real(3, 4), -1))
def logsumexp(x, axis=None, keepdims: bool = False) -> Tensor:
    """``log Σ exp x`` over ``axis``, without overflow: the maximum is taken out first; −∞ of none. Integers and
    bools become float32. Raises ShapeError for an axis that isn't there.
    """
    (x,) = real_operands(x)
    axes = normalize_axes("logsumexp", axis, x.ndim)
    if builtins.any(x.shape[a] == 0 for a in axes):
        return full(_reduced_shape(x.shape, axes, keepdims), -math.inf, x.dtype)
    top = stop_gradient(max(x, axis, keepdims=True))
    top = where(isfinite(top), top, 0)
    result = log(sum(exp(x - top), axis, keepdims=True)) + top
    return result if keepdims else reshape(result, _reduced_shape(x.shape, axes, False))


def _arg_row(name, reference):
    def infer(x, *, axis):
        if x.shape[axis] == 0:
            fail(errors.ShapeError, name, "the axis must not be empty", f"got shape {x.shape}")
        return Type((*x.shape[:axis], *x.shape[axis + 1 :]), INT64)

    register(
        Op(
            name,
            infer,
            ZERO,
            reference=lambda x, *, axis: np.asarray(reference(x, axis)),
            formula=name + " {0}",
            lower=lambda node, emit: lower_reduce(
                emit, name, emit.value(node.inputs[0]), (node.attrs["axis"],), emit.result(node)
            ),
        )
    )

    def function(x, axis: int | None = None, keepdims: bool = False) -> Tensor:
        (x,) = number_operands(x)
        rows, along = (reshape(x, -1), 0) if axis is None else (x, normalize_axis(name, axis, x.ndim))
        found = make(name, rows, axis=along)
        kept = (1,) * x.ndim if axis is None else (*x.shape[:along], 1, *x.shape[along + 1 :])
        return reshape(found, kept) if keepdims else found

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"Position of the extreme of ``x`` over ``axis`` (None: of all numbers in a row) as np.{name}, int64: the "
        "first on ties; NaN counts. Raises ShapeError for an axis that isn't there, or that is empty."
    )
    return public(constant="integers come out")(function)


argmax = _arg_row("argmax", np.argmax)
argmin = _arg_row("argmin", np.argmin)


register(
    Op(
        "sum_squares",
        _infer("sum", True),
        NotDifferentiable("it exists only in compiled programs"),
        reference=lambda x, *, axes, keepdims: np.sum(x * x, axis=axes, keepdims=keepdims),
        lower=_lower_squares,
        formula="Σ {0}²",
    )
)


@public(at(real(3, 4), 1))
def cumsum(x, axis: int = 0, reverse: bool = False) -> Tensor:
    """Running sums of ``x`` along ``axis``; with ``reverse``, from the end: x (…) → (…). Of bools and integers
    int64. Raises ShapeError for an axis that isn't there.
    """
    x = _wide(as_tensor(x))
    return make("cumsum", x, axis=normalize_axis("cumsum", axis, x.ndim), reverse=bool(reverse))


def _reference_cumsum(x, *, axis, reverse):
    return np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis, dtype=x.dtype)


register(
    Op(
        "cumsum",
        lambda x, *, axis, reverse: x.type,
        lambda g, node: (cumsum(g, node.attrs["axis"], not node.attrs["reverse"]),),
        reference=lambda x, **attrs: _reference_cumsum(x, **attrs).astype(x.dtype),
        lower=lower_cumsum,
        formula="Σ_(j≤i) {0}_j",
        vjp_formula="Σ_(i≥j) ḡ_i",
    )
)
