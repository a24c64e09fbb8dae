"""Operations that move numbers without changing them: reshape, transpose, broadcasting, slices, joining and
padding.

The first four are *views*: they compile to no kernel, only to other strides over the same memory.
"""

import math
from collections.abc import Sequence

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import Op, register
from tinyattn.graph.operands import common_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import (
    SHORT,
    Type,
    as_integer,
    as_shape,
    broadcast,
    fail,
    is_float,
    normalize_axes,
    normalize_axis,
)
from tinyattn.ops.arrays.elementwise import cast


@public(at(real(3, 4), (2, -1)))
def reshape(x, *shape) -> Tensor:
    """``x`` (…) with another shape of the same size, in row-major order: (…) → (…). ``shape``: integers or one
    tuple of them; one axis may be −1, and is then as long as it must be. Of any element type, which the result has.
    Raises ShapeError for another size.
    """
    x = as_tensor(x)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
    sizes = as_shape("reshape", sizes, -1)
    if sizes.count(-1) == 1:
        known = math.prod(s for s in sizes if s != -1)
        sizes = tuple(x.size // known if s == -1 and known else s for s in sizes)
    return x if sizes == x.shape else make("reshape", x, shape=sizes)


def _infer_reshape(x, *, shape):
    if min(shape, default=1) < 0 or math.prod(shape) != math.prod(x.shape):
        fail(
            errors.ShapeError,
            "reshape",
            f"the new shape must hold the {x.size} elements of {x.shape}",
            f"got {shape}",
        )
    return Type(shape, x.dtype)


register(
    Op(
        "reshape",
        _infer_reshape,
        lambda g, node: (reshape(g, node.inputs[0].shape),),
        reference=lambda x, *, shape: x.reshape(shape),
        formula="reshape({0})",
        vjp_formula="reshape(ḡ)",
        view=lambda ref, node: ref.reshaped(node.shape),
    )
)


@public(at(real(2, 3, 4), 1, -1, 0))
def transpose(x, *axes) -> Tensor:
    """``x`` with its ``axes`` in another order, by default reversed: x (a, b, c) → (c, b, a), or (b, c, a) for 1,
    2, 0. Of any element type, which the result has. Raises ShapeError unless each axis is named once.
    """
    x = as_tensor(x)
    order = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], (tuple, list)) else axes
    order = (
        tuple(reversed(range(x.ndim)))
        if not order
        else tuple(normalize_axis("transpose", a, x.ndim) for a in order)
    )
    if sorted(order) != list(range(x.ndim)):
        hint = f"To swap two axes use ta.swapaxes(x, {axes[0]}, {axes[1]})." if len(axes) == 2 else ""
        must = f"the axes must be a permutation of 0..{x.ndim - 1}"
        fail(errors.ShapeError, "transpose", must, f"got {order}", hint)
    if order == tuple(range(x.ndim)):
        return x
    return make(
        "transpose", x, axes=order
    )  # (two in a row are merged later: a derivative may be asked by the one between)


def swap_last(x: Tensor) -> Tensor:
    """``x`` with its last two axes exchanged: the transpose of each matrix of a stack."""
    return transpose(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))


register(
    Op(
        "transpose",
        lambda x, *, axes: Type(tuple(x.shape[a] for a in axes), x.dtype),
        lambda g, node: (transpose(g, tuple(int(a) for a in np.argsort(node.attrs["axes"]))),),
        reference=lambda x, *, axes: x.transpose(axes),
        formula="{0}ᵀ",
        vjp_formula="ḡᵀ",
        view=lambda ref, node: ref.transposed(node.attrs["axes"]),
    )
)


@public(at(real(3, 1), (2, 3, 4)))
def broadcast_to(x, shape: Sequence[int]) -> Tensor:
    """``x`` repeated to a shape by NumPy's rules: ``x`` (…) → ``shape``. Of any element type, which the result has.
    Raises ShapeError where that can't be.
    """
    x, shape = as_tensor(x), as_shape("broadcast_to", shape)
    return x if x.shape == shape else make("broadcast_to", x, shape=shape)


def _infer_broadcast(x, *, shape):
    if broadcast("broadcast_to", x.shape, shape) != shape:
        fail(
            errors.ShapeError,
            "broadcast_to",
            f"{x.shape} must broadcast to the given shape",
            f"got {shape}",
        )
    return Type(shape, x.dtype)


register(
    Op(
        "broadcast_to",
        _infer_broadcast,
        lambda g, node: (g,),  # the engine sums it back
        reference=lambda x, *, shape: np.broadcast_to(x, shape),
        formula="{0}",
        vjp_formula="Σ ḡ",
        view=lambda ref, node: ref.broadcast(node.shape),
    )
)


def slice_(x: Tensor, starts, steps, shape) -> Tensor:
    """Elements ``start + step·i`` (``i < size``) along each axis."""
    starts, steps, shape = tuple(map(int, starts)), tuple(map(int, steps)), tuple(map(int, shape))
    if shape == x.shape and all(s == 0 for s in starts) and all(s == 1 for s in steps):
        return x
    return make("slice", x, starts=starts, steps=steps, shape=shape)


def _slices(starts, steps, shape) -> tuple[slice, ...]:
    """NumPy's slices of these elements (a step of 0 can only be of one)."""
    found = []
    for start, step, size in zip(starts, steps, shape, strict=True):
        stop = start + step * size
        found.append(slice(start, stop if size and stop >= 0 else None if size else start, step or 1))
    return tuple(found)


def _reference_slice(x, *, starts, steps, shape):
    return x[_slices(starts, steps, shape)]


register(
    Op(
        "slice",
        lambda x, *, starts, steps, shape: Type(shape, x.dtype),
        lambda g, node: (
            make(
                "unslice",
                g,
                starts=node.attrs["starts"],
                steps=node.attrs["steps"],
                shape=node.inputs[0].shape,
            ),
        ),
        reference=_reference_slice,
        formula="{0}[…]",
        vjp_formula="ḡ into zeros",
        view=lambda ref, node: ref.sliced(node.attrs["starts"], node.attrs["steps"], node.shape),
    )
)


def _reference_unslice(x, *, starts, steps, shape):
    result = np.zeros(shape, x.dtype)
    result[_slices(starts, steps, x.shape)] = x
    return result


def _lower_unslice(node, emit):
    source = emit.value(node.inputs[0])
    whole = emit.result(node)
    part = whole.sliced(node.attrs["starts"], node.attrs["steps"], node.inputs[0].shape)
    if part.shape != whole.shape:
        emit.fill(whole, 0)
    emit.copy(source, part)


register(
    Op(
        "unslice",
        lambda x, *, starts, steps, shape: Type(shape, x.dtype),
        lambda g, node: (slice_(g, node.attrs["starts"], node.attrs["steps"], node.inputs[0].shape),),
        reference=_reference_unslice,
        lower=_lower_unslice,
        formula="{0} into zeros",
        vjp_formula="ḡ[…]",
    )
)


def _several(op: str, tensors) -> list[Tensor]:
    if not isinstance(tensors, (list, tuple)):
        got = f"got {type(tensors).__name__}"
        fail(
            errors.DTypeError,
            op,
            "the tensors must be given in a list or tuple",
            got,
            f"Write ta.{op}([a, b]).",
        )
    return common_operands(*tensors)


@public(at([real(3, 4), real(3, 2)], -1))
def concat(tensors: Sequence, axis: int = 0) -> Tensor:
    """``tensors`` joined along an existing ``axis``: (…, n, …), (…, m, …) → (…, n + m, …); the other axes must
    agree. Of any element type, the wider of two. Raises ShapeError for other shapes, and for no tensors.
    """
    parts = _several("concat", tensors)
    if not parts:
        fail(errors.ShapeError, "concat", "there must be at least one tensor", "got none")
    axis = normalize_axis("concat", axis, parts[0].ndim)
    return parts[0] if len(parts) == 1 else make("concat", *parts, axis=axis)


def _infer_concat(*parts, axis):
    first = parts[0].shape
    for part in parts[1:]:
        if part.ndim != len(first) or any(
            a != b for k, (a, b) in enumerate(zip(part.shape, first, strict=True)) if k != axis
        ):
            fail(
                errors.ShapeError,
                "concat",
                f"all axes but {axis} must agree",
                f"got shapes {[p.shape for p in parts]}",
            )
    return Type((*first[:axis], sum(p.shape[axis] for p in parts), *first[axis + 1 :]), parts[0].dtype)


def _pieces(node: Tensor):
    """For each input of a concat: where it starts, as the ``starts`` of a slice."""
    axis, position = node.attrs["axis"], 0
    for part in node.inputs:
        yield tuple(position if k == axis else 0 for k in range(part.ndim))
        position += part.shape[axis]


def _concat_derivative(g, node):
    return tuple(
        slice_(g, starts, (1,) * g.ndim, part.shape)
        for starts, part in zip(_pieces(node), node.inputs, strict=True)
    )


def _lower_concat(node, emit):
    whole = emit.result(node)
    for starts, part in zip(_pieces(node), node.inputs, strict=True):
        source, target = emit.value(part), whole.sliced(starts, (1,) * len(starts), part.shape)
        if source != target:
            emit.copy(source, target)


register(
    Op(
        "concat",
        _infer_concat,
        _concat_derivative,
        reference=lambda *parts, axis: np.concatenate(parts, axis),
        lower=_lower_concat,
        pieces=_pieces,
        formula="[{0}; {1}]",
        vjp_formula="the parts of ḡ",
    )
)


@public(at(real(3, 4), 1))
def expand_dims(x, axis: int) -> Tensor:
    """``x`` with a new axis of size 1 before ``axis`` of the result: x (a, b) → (a, 1, b) for axis 1. Of any
    element type, which the result has. Raises ShapeError for an axis that there can't be.
    """
    x = as_tensor(x)
    axis = normalize_axis("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:axis], 1, *x.shape[axis:]))


@public(at(real(3, 1, 4)))
def squeeze(x, axis=None) -> Tensor:
    """``x`` without its axes of size 1, or without those named by ``axis``: x (a, 1, b) → (a, b). Of any element
    type, which the result has. Raises ShapeError for an axis that isn't there or isn't 1.
    """
    x = as_tensor(x)
    named = set(normalize_axes("squeeze", axis, x.ndim))
    if axis is not None and any(x.shape[a] != 1 for a in named):
        fail(
            errors.ShapeError,
            "squeeze",
            "the axes must have size 1",
            f"got axes {sorted(named)} of {x.shape}",
        )
    return reshape(x, tuple(s for a, s in enumerate(x.shape) if not (a in named and s == 1)))


@public(at([real(2, 3), real(2, 3)], -1))
def stack(tensors: Sequence, axis: int = 0) -> Tensor:
    """``tensors`` of one shape, joined along a new ``axis``: k of (n, m) → (n, m, k) for axis −1. Of any element
    type, the wider of two. Raises ShapeError for different shapes, and for no tensors.
    """
    parts = _several("stack", tensors)
    if len({p.shape for p in parts}) != 1:
        fail(
            errors.ShapeError,
            "stack",
            "all tensors must have one shape",
            f"got {[p.shape for p in parts]}",
        )
    axis = normalize_axis("stack", axis, parts[0].ndim + 1)
    return concat([expand_dims(p, axis) for p in parts], axis)


@public(at(real(2, 6), (1, 2, 3), 1))
def split(x, sizes: int | Sequence[int], axis: int = 0) -> list[Tensor]:
    """``x`` cut along ``axis`` into ``sizes`` equal parts, or parts of the given ``sizes``: a list of them, x (…,
    n, …) → (…, n′, …). Of any element type, which the result has. Raises ShapeError where the sizes don't make n.
    """
    x = as_tensor(x)
    axis = normalize_axis("split", axis, x.ndim)
    one = as_integer(sizes) is not None
    counts = as_shape("split", sizes, 1 if one else 0)
    parts = [x.shape[axis] // counts[0]] * counts[0] if one else list(counts)
    if sum(parts) != x.shape[axis]:
        fail(errors.ShapeError, "split", f"the parts must add up to {x.shape[axis]}", f"got {parts}")
    result, start = [], 0
    for size in parts:
        index = tuple(slice(start, start + size) if a == axis else slice(None) for a in range(x.ndim))
        result.append(x[index])
        start += size
    return result


@public(at(real(3, 4), 1))
def flip(x, axis=None) -> Tensor:
    """``x`` with the order along ``axis`` (all, one, or several) reversed. Of any shape, which the result has, and
    of any element type. Raises ShapeError for an axis that isn't there.
    """
    x = as_tensor(x)
    named = set(normalize_axes("flip", axis, x.ndim))
    return x[tuple(slice(None, None, -1) if a in named else slice(None) for a in range(x.ndim))]


@public(at(real(2, 3), ((1, 0), (0, 2))))
def pad(x, widths, value: float = 0.0) -> Tensor:
    """``x`` with ``widths`` = ((before, after), …), constant elements added along each axis, of ``value``: x (n, m)
    → (n′, m′), n′ = before + n + after. Of any element type, which the result has. Raises ShapeError for other
    widths, DTypeError for a value that isn't of x's type.
    """
    x = as_tensor(x)
    widths = widths.tolist() if isinstance(widths, np.ndarray) else widths
    given = widths if isinstance(widths, (tuple, list)) else (widths,)
    pairs = [tuple(w) if isinstance(w, (tuple, list)) else (w, w) for w in given]
    if len(pairs) != x.ndim or any(
        len(p) != 2 or any(n is None or n < 0 for n in map(as_integer, p)) for p in pairs
    ):
        fail(
            errors.ShapeError,
            "pad",
            f"one (before, after) ≥ 0 must be given for each of {x.ndim} axes",
            f"got {widths}",
        )
    pairs = [(int(before), int(after)) for before, after in pairs]
    shape = tuple(b + s + a for (b, a), s in zip(pairs, x.shape, strict=True))
    starts = tuple(b for b, _ in pairs)
    padded = make("unslice", x, starts=starts, steps=(1,) * x.ndim, shape=shape)
    if shape == x.shape or value == 0 and math.copysign(1, value) > 0:
        return padded
    if not is_float(x.dtype) and not (
        math.isfinite(value) and float(value).is_integer() and abs(value) < 2**63
    ):
        fail(errors.DTypeError, "pad", f"{SHORT[x.dtype]} must be padded with an integer", f"got {value!r}")
    from tinyattn.ops.arrays.elementwise import where

    inside = make(
        "unslice", broadcast_to(as_tensor(True), x.shape), starts=starts, steps=(1,) * x.ndim, shape=shape
    )
    return where(inside, padded, cast(as_tensor(value, x), x.dtype))
