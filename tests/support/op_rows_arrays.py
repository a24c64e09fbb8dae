"""Rows of the op table: operations on whole arrays (shapes, reductions, products, indices, randomness)."""

import numpy as np
from op_sample import Row, ours, sample
from scipy import special

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError
from tinyattn.graph.point import apart, fixed, flags, integers, positive, real
from tinyattn.graph.tensor import make

NAN, INF = np.nan, np.inf


def _float(*shape):
    return ta.zeros(shape)


# Shapes.

_IDS = [0, 2, -1]


def _padded(x, widths, value=0.0):
    return np.pad(x, [(w, w) if isinstance(w, int) else w for w in widths], constant_values=value)


def _index_update(x, value, index):
    result = x.copy()
    result[index] = value
    return result


def _unslice(x, starts, steps, shape):
    result = np.zeros(shape, x.dtype)
    result[tuple(slice(a, a + n * s, s) for a, s, n in zip(starts, steps, x.shape, strict=True))] = x
    return result


def _torch_unslice(t, x, starts, steps, shape):
    result = t.zeros(shape, dtype=x.dtype)
    result[tuple(slice(a, a + n * s, s) for a, s, n in zip(starts, steps, x.shape, strict=True))] = x
    return result


def _unsliced(x, starts, steps, shape):
    return make("unslice", x, starts=starts, steps=steps, shape=shape)


_VIEW = (slice(1, None), None, slice(None, None, 2))
_ROWS = [[0, 1], [1, 1]]


def _numpy_index(x, index):
    """An index as NumPy takes it: lists become arrays."""
    items = index if isinstance(index, tuple) else (index,)
    return x[tuple(np.array(i) if isinstance(i, list) else i for i in items)]


def _torch_index(t, x, index):
    items = index if isinstance(index, tuple) else (index,)
    for item in items:
        assert not (isinstance(item, slice) and (item.step or 1) < 0), "torch has no negative steps"
    return x[tuple(t.tensor(i) if isinstance(i, list) else i for i in items)]


SHAPE_ROWS = [
    Row(
        "reshape", lambda x, shape: ta.reshape(x, shape), lambda x, shape: x.reshape(shape),
        [sample(real(3, 4), shape=(2, -1)), sample(real(1), shape=()), sample(real(0, 3), shape=(3, 0, 2)), sample(real(2, 3, 4), shape=(4, 6))],
        torch=lambda t, x, shape: x.reshape(shape),
        errors=[
            (lambda: ta.reshape(_float(2, 3), (4, 2)), ShapeError,
             "[reshape] the new shape must hold the 6 elements of (2, 3), but got (4, 2)."),
            (lambda: ta.reshape(_float(2, 3), (4, -1)), ShapeError,
             "[reshape] the new shape must hold the 6 elements of (2, 3), but got (4, 1)."),
        ],
    ),
    Row(
        "transpose", lambda x, axes=(): ta.transpose(x, *axes), lambda x, axes=(): np.transpose(x, axes or None),
        [sample(real(3, 4)), sample(real(2, 3, 4), axes=(1, -1, 0)), sample(real(0, 2)), sample(real(5))],
        torch=lambda t, x, axes=(): x.permute(axes or tuple(reversed(range(x.ndim)))),
        errors=[(lambda: ta.transpose(_float(2, 3), (0, 0)), ShapeError,
                 "[transpose] the axes must be a permutation of 0..1, but got (0, 0).")],
    ),
    Row(
        "broadcast_to", ta.broadcast_to, np.broadcast_to,
        [sample(real(3, 1), shape=(2, 3, 4)), sample(real(), shape=(5,)), sample(real(1, 2), shape=(0, 2))],
        torch=lambda t, x, shape: x.expand(shape),
        errors=[
            (lambda: ta.broadcast_to(_float(3), (2,)), ShapeError,
             "[broadcast_to] the shapes must broadcast together (each axis equal, or 1), but got (3,) and (2,): axis -1 is 2 against 3."),
            (lambda: ta.broadcast_to(_float(3), (1,)), ShapeError,
             "[broadcast_to] (3,) must broadcast to the given shape, but got (1,)."),
        ],
    ),
    Row(
        "concat", lambda *x, axis=0: ta.concat(x, axis), lambda *x, axis=0: np.concatenate(x, axis),
        [sample(real(2, 3), real(1, 3)), sample(real(2, 3), real(2, 0), real(2, 70), axis=-1), sample(real(4))],
        torch=lambda t, *x, axis=0: t.cat(x, axis),
        errors=[
            (lambda: ta.concat([_float(2, 3), _float(2, 4)]), ShapeError,
             "[concat] all axes but 0 must agree, but got shapes [(2, 3), (2, 4)]."),
            (lambda: ta.concat([]), ShapeError, "[concat] there must be at least one tensor, but got none."),
        ],
    ),
    Row(
        "expand_dims", ta.expand_dims, np.expand_dims, [sample(real(3, 4), axis=1), sample(real(3), axis=-1), sample(real(0), axis=0)],
        torch=lambda t, x, axis: x.unsqueeze(axis),
        errors=[(lambda: ta.expand_dims(_float(3), 3), ShapeError,
                 "[expand_dims] the axis must be an integer from -2 to 1, but got 3.")],
    ),
    Row(
        "squeeze", ta.squeeze, np.squeeze, [sample(real(3, 1, 4, 1)), sample(real(1, 3, 1), axis=0), sample(real(1, 0))],
        torch=lambda t, x, axis=None: x.squeeze() if axis is None else x.squeeze(axis),
        errors=[(lambda: ta.squeeze(_float(3, 1), 0), ShapeError, "[squeeze] the axes must have size 1, but got axes [0] of (3, 1).")],
    ),
    Row(
        "stack", lambda *x, axis=0: ta.stack(x, axis), lambda *x, axis=0: np.stack(x, axis),
        [sample(real(2, 3), real(2, 3)), sample(real(2, 3), real(2, 3), axis=-1), sample(real(0), real(0), axis=1)],
        torch=lambda t, *x, axis=0: t.stack(x, axis),
        errors=[(lambda: ta.stack([_float(2), _float(3)]), ShapeError,
                 "[stack] all tensors must have one shape, but got [(2,), (3,)].")],
    ),
    Row(
        "split", ta.split, lambda x, sizes, axis=0: np.split(x, sizes if isinstance(sizes, int) else np.cumsum(sizes)[:-1], axis),
        [sample(real(4, 3), sizes=2), sample(real(2, 6), sizes=(1, 0, 5), axis=1), sample(real(0, 2), sizes=1)],
        torch=lambda t, x, sizes, axis=0: t.split(x, x.shape[axis] // sizes if isinstance(sizes, int) else sizes, axis)
        if x.numel() else [x],
        errors=[(lambda: ta.split(_float(5), 2), ShapeError, "[split] the parts must add up to 5, but got [2, 2].")],
    ),
    Row(
        "flip", ta.flip, np.flip, [sample(real(3, 4)), sample(real(3, 4), axis=1), sample(real(0, 2)), sample(real(2, 3, 4), axis=(0, -1))],
        torch=lambda t, x, axis=None: t.flip(x, tuple(range(x.ndim)) if axis is None else axis if isinstance(axis, tuple) else (axis,)),
        errors=[(lambda: ta.flip(_float(3), 1), ShapeError, "[flip] the axis must be an integer from -1 to 0, but got 1.")],
    ),
    Row(
        "pad", ta.pad, _padded,
        [sample(real(2, 3), widths=((1, 0), (0, 2))), sample(real(2, 3), widths=(1, 2), value=3.0), sample(real(0, 2), widths=((1, 1), 0)),
         sample(real(4), widths=(0,), value=1.0), sample(integers(5, 3), widths=(1,), value=7)],
        torch=lambda t, x, widths, value=0.0: t.nn.functional.pad(
            x, [n for w in reversed(widths) for n in ((w, w) if isinstance(w, int) else w)], value=value),
        errors=[
            (lambda: ta.pad(_float(2, 3), ((1, 1),)), ShapeError,
             "[pad] one (before, after) ≥ 0 must be given for each of 2 axes, but got ((1, 1),)."),
            (lambda: ta.pad(_float(2), ((-1, 1),)), ShapeError,
             "[pad] one (before, after) ≥ 0 must be given for each of 1 axes, but got ((-1, 1),)."),
        ],
    ),
    Row("arange", lambda bounds: ta.arange(*bounds), lambda bounds: np.arange(*bounds),
        [sample(bounds=(5,)), sample(bounds=(2, 9, 3)), sample(bounds=(4, 4)), sample(bounds=(9, 2, -3)), sample(bounds=(-2, 5))],
        errors=[(lambda: ta.arange(0, INF), ShapeError, "[arange] start, stop and step must be finite, but got (0, inf, 1).")]),
    Row("arange of fractions", lambda bounds, **attrs: (ta.arange(*bounds, **attrs) * 1000 + 0.5).astype(np.int64),
        lambda bounds, **attrs: (np.arange(*bounds, **attrs) * 1000 + 0.5).astype(np.int64),
        [sample(bounds=(5.0,)), sample(bounds=(0, 1, 0.125)), sample(bounds=(1, 0, -0.3)), sample(bounds=(2.5, 2)),
         sample(bounds=(0.1, -7.9, -4.0), dtype=np.int64), sample(bounds=(0, 3), dtype=np.float64)], constant="no inputs"),
    Row("full", lambda **a: ta.full(**a, dtype=np.int32), lambda shape, value: np.full(shape, value), [sample(shape=(2, 3), value=7)]),
    Row("zeros", lambda shape: ta.zeros(shape, np.int64), np.zeros, [sample(shape=(2, 3)), sample(shape=(0,))]),
    Row("ones", lambda shape: ta.ones(shape, np.int64), np.ones, [sample(shape=(2, 3)), sample(shape=())]),
    Row(
        "getitem", lambda x, index: x[index], _numpy_index,
        [sample(real(4, 5), index=_VIEW), sample(real(4, 5), index=(Ellipsis, 2)), sample(real(3, 4), index=2),
         sample(real(4, 5), index=(slice(None, None, -2), slice(3, 0, -1))), sample(real(4, 3), index=(slice(2, 2),)),
         sample(real(3, 4), index=(_ROWS, slice(1, 3))), sample(real(3, 4, 5), index=(_IDS, slice(None), 1)),
         sample(real(3, 4, 5), index=(_IDS, [1, 1, 3])), sample(real(3, 4, 5), index=(_IDS, slice(None), [1, 1, 3])),
         sample(real(3, 4, 5), index=(slice(None), 1, _IDS)), sample(real(3, 4, 5), index=(0, slice(None), _IDS)),
         sample(real(3, 4, 5), index=(None, _IDS, [[1], [2]]))],
        errors=[
            (lambda: _float(3)[3], ShapeError, "[index] an index of axis 0 must lie in 0..2 (or −3..−1), but got 3."),
            (lambda: _float(3)[0, 0], ShapeError, "[index] a tensor of shape (3,) takes at most 1 indices, but got 2."),
            (lambda: _float(3)[np.array([True, False, True])], DTypeError,
             "[index] the shape of a result must not depend on values, but got a bool mask."),
            (lambda: _float(3)[[0, 5]], ShapeError, "[index] indices of axis 0 must lie in 0..2 (or −3..−1), but got 5."),
            (lambda: _float(3)[1.5], DTypeError, "[index] indices must be integers, slices, ..., None or integer tensors, but got 1.5."),
        ],
    ),
    Row(
        "unslice", _unsliced, _unslice,
        [sample(real(2, 3), starts=(1, 0), steps=(1, 2), shape=(4, 6)), sample(real(2), starts=(0,), steps=(3,), shape=(5,)),
         sample(real(0, 2), starts=(0, 0), steps=(1, 1), shape=(2, 2))],
        torch=_torch_unslice,
    ),
    Row(
        "index_update", lambda x, value, index: ta.index_update(x, index, value), _index_update,
        [sample(real(3, 4), real(4), index=1), sample(real(3, 4), real(3, 1), index=(slice(None), slice(1, 3))),
         sample(real(3, 4), real(), index=(slice(None, None, 2), 2)), sample(real(3, 4), real(4), index=(Ellipsis, slice(None, None, -1)))],
        torch=lambda t, x, value, index: t.index_put(
            x, tuple(t.as_tensor(np.ascontiguousarray(g)) for g in np.unravel_index(np.arange(x.numel()).reshape(x.shape)[index], x.shape)), value),
        errors=[(lambda: ta.index_update(_float(3), [0, 1], 1.0), ShapeError,
                 "[index_update] the index must be made of integers and slices, but got [0, 1].")],
    ),
]  # fmt: skip


# Reductions.


def _axes(axis, x):
    return tuple(range(x.ndim)) if axis is None else axis


_REDUCED = [
    sample(real(3, 4)), sample(real(3, 4), axis=0), sample(real(2, 3, 4), axis=1, keepdims=True), sample(real(2, 3, 4), axis=(0, -1)),
    sample(real(70, 3), axis=1), sample(real(3, 70), axis=0), sample(real()),
]  # fmt: skip
_DISTINCT = [
    sample(apart(3, 4)), sample(apart(3, 4), axis=0), sample(apart(2, 3, 4), axis=1, keepdims=True), sample(apart(2, 3, 4), axis=(0, -1)),
    sample(apart(1, 5), axis=0),
]  # fmt: skip
_KEPT = [sample(apart(3, 4), axis=1, keepdims=True), sample(apart(2, 3, 4), keepdims=True)]
_SPREAD = [[1.0, NAN, 2.0], [INF, 1.0, -INF], [INF, 2.0, 3.0], [-INF, -INF, -INF], [0.0, -0.0, -1.0]]
_SPECIAL = [sample(fixed(_SPREAD), axis=1), sample(fixed(_SPREAD), axis=0)]


def _axis_error(name):
    return (
        lambda: getattr(ta, name)(_float(2, 3), 2),
        ShapeError,
        f"[{name}] the axis must be an integer from -2 to 1, but got 2.",
    )


def _twice_error(name):
    return (
        lambda: getattr(ta, name)(_float(2, 3), (0, -2)),
        ShapeError,
        f"[{name}] each axis must be named once, but got (0, -2).",
    )


def _empty_error(name, what="the reduced axes"):
    return (
        lambda: getattr(ta, name)(_float(0, 3), 0),
        ShapeError,
        f"[{name}] {what} must not be empty, but got shape (0, 3).",
    )


def _whole(function):
    return lambda x, axis=None, **attrs: function(x, axis=axis, **attrs)


def _torch(name):
    return lambda t, x, axis=None, keepdims=False: getattr(t, name)(x, dim=_axes(axis, x), keepdim=keepdims)


def _torch_prod(t, x, axis=None, keepdims=False):
    for a in sorted(
        (d % x.ndim for d in ((axis,) if isinstance(axis, int) else _axes(axis, x))), reverse=True
    ):
        x = t.prod(x, dim=a, keepdim=keepdims)
    return x


REDUCE_ROWS = [
    Row("sum", ta.sum, _whole(np.sum), [*_REDUCED, sample(real(0, 3), axis=0), sample(real(2, 0), axis=0)], torch=_torch("sum"),
        errors=[_axis_error("sum"), _twice_error("sum")], special=_SPECIAL),
    Row("prod", ta.prod, _whole(np.prod), [*_REDUCED, sample(fixed([[0.0, 2.0, 3.0], [0.0, 0.0, 1.0]]), axis=1), sample(real(0, 3), axis=0)],
        torch=_torch_prod, errors=[_axis_error("prod")], special=_SPECIAL),
    Row("max", ta.max, _whole(np.max), [*_DISTINCT, sample(real(2, 0), axis=0)], torch=_torch("amax"),
        errors=[_axis_error("max"), _empty_error("max")], special=_SPECIAL),
    Row("min", ta.min, _whole(np.min), [*_DISTINCT, sample(real(2, 0), axis=0)], torch=_torch("amin"),
        errors=[_axis_error("min"), _empty_error("min")], special=_SPECIAL),
    Row("mean", ta.mean, _whole(np.mean), _REDUCED, torch=_torch("mean"), errors=[_axis_error("mean"), _empty_error("mean")]),
    Row("var", ta.var, _whole(np.var), [*_REDUCED, sample(real(3, 5), axis=1, ddof=1)], errors=[
        (lambda: ta.var(_float(2, 3), 2), ShapeError, "[mean] the axis must be an integer from -2 to 1, but got 2.")],
        torch=lambda t, x, axis=None, keepdims=False, ddof=0: t.var(x, dim=_axes(axis, x), keepdim=keepdims, correction=ddof) if x.ndim else 0 * x),
    Row("any", ta.any, _whole(np.any), [sample(flags(3, 4)), sample(flags(3, 4), axis=1), sample(flags(3, 4), axis=0, keepdims=True)]),
    Row("all", ta.all, _whole(np.all), [sample(flags(3, 4)), sample(flags(3, 4), axis=1), sample(flags(3, 4), axis=0, keepdims=True)]),
    Row("logsumexp", ta.logsumexp, _whole(special.logsumexp), _REDUCED, torch=_torch("logsumexp"),
        errors=[
            (lambda: ta.logsumexp(_float(2, 3), 2), ShapeError, "[logsumexp] the axis must be an integer from -2 to 1, but got 2.")],
        special=[sample(fixed([[1e4, 1e4, 0.0], [-INF, -INF, -INF], [-1e4, -1e4, -1e4], [INF, 0.0, 1.0]]), axis=1)]),
    Row("sum_squares", lambda x, axes, keepdims=False: make("sum_squares", x, axes=axes, keepdims=keepdims),
        lambda x, axes, keepdims=False: np.sum(x * x, axis=axes, keepdims=keepdims),
        [sample(real(3, 4), axes=(0, 1)), sample(real(3, 70), axes=(1,)), sample(real(3, 4), axes=(0,)), sample(real(2, 3, 4), axes=(1,), keepdims=True),
         sample(real(0, 3), axes=(0, 1)), sample(real(70001), axes=(0,))], constant="it exists only in compiled programs", tolerance=20),
    Row("argmax", ta.argmax, _whole(np.argmax), [sample(apart(3, 4)), sample(apart(3, 4), axis=0), sample(apart(2, 70), axis=-1), *_KEPT],
        errors=[_axis_error("argmax"), _empty_error("argmax", "the axis")], special=_SPECIAL),
    Row("argmin", ta.argmin, _whole(np.argmin), [sample(apart(3, 4)), sample(apart(3, 4), axis=0), sample(apart(2, 70), axis=-1), *_KEPT],
        errors=[_axis_error("argmin"), _empty_error("argmin", "the axis")], special=_SPECIAL),
    Row("cumsum", ta.cumsum, lambda x, axis=0, reverse=False: np.flip(np.cumsum(np.flip(x, axis), axis), axis) if reverse else np.cumsum(x, axis),
        [sample(real(4, 3)), sample(real(3, 4), axis=1, reverse=True), sample(real(2, 5, 3), axis=1), sample(real(0, 2)), sample(integers(9, 6))],
        torch=lambda t, x, axis=0, reverse=False: t.flip(t.cumsum(t.flip(x, (axis,)), axis), (axis,)) if reverse else t.cumsum(x, axis),
        errors=[_axis_error("cumsum")]),
]  # fmt: skip


# Products.

_MATMUL = "[matmul] the inner axes must agree, (…, n, k) @ (…, k, m), but got (2, 3) @ (2, 3): 3 against 2."

PRODUCT_ROWS = [
    Row("matmul", ta.matmul, np.matmul,
        [sample(real(3, 4), real(4, 2)), sample(real(2, 3, 4), real(4, 2)), sample(real(2, 1, 3, 4), real(5, 4, 2)), sample(real(4), real(4, 3)),
         sample(real(3, 4), real(4)), sample(real(4), real(4)), sample(real(2, 3, 4), real(4)), sample(real(3, 0), real(0, 2)),
         sample(real(0, 3), real(3, 2)), sample(real(2, 3, 4), real(2, 4, 1)), sample(real(17, 33), real(33, 19))],
        torch=lambda t, a, b: a @ b,
        errors=[(lambda: _float(2, 3) @ _float(2, 3), ShapeError, _MATMUL),
                (lambda: ta.matmul(_float(), _float(3)), ShapeError, "[matmul] both operands must have an axis, but got () and (3,).")]),
    Row("dot", ta.dot, np.dot, [sample(real(5), real(5)), sample(real(0), real(0))], torch=lambda t, a, b: t.dot(a, b),
        errors=[(lambda: ta.dot(_float(2), _float(3)), ShapeError,
                 "[matmul] the inner axes must agree, (…, n, k) @ (…, k, m), but got (2,) @ (3,): 2 against 3.")]),
    Row("einsum", lambda *x, subscripts: ta.einsum(subscripts, *x), lambda *x, subscripts: np.einsum(subscripts, *x),
        [sample(real(2, 3, 4), real(2, 5, 4), subscripts="bik,bjk->bij"), sample(real(3, 3), subscripts="ii->i"), sample(real(3, 3), subscripts="ii"),
         sample(real(3, 4), subscripts="ij->ji"), sample(real(3), real(4), subscripts="i,j->ij"), sample(real(3, 4), subscripts="ij->j"),
         sample(real(2, 3), real(3, 4), real(4, 2), subscripts="ij,jk,kl->il"), sample(real(2, 3), real(3, 4), subscripts="ij , jk"),
         sample(real(2, 3, 4), real(4, 3), subscripts="abc,cb->a"), sample(real(0, 3), real(3, 2), subscripts="ij,jk->ik"),
         sample(real(2, 3), real(2, 3), subscripts="ij,ij->ij"),
         sample(real(2, 3, 4), real(2, 4, 5), subscripts="...ij,...jk->...ik"), sample(real(5, 2, 3, 4), real(2, 4, 5), subscripts="...ij,...jk"),
         sample(real(5, 1, 3, 4), real(2, 3), subscripts="...ij,...i->j..."), sample(real(3, 3, 2), subscripts="ii...->...i"),
         sample(real(2, 3), positive(3), real(4, 1, 3), subscripts="...,...i,a...->a..."), sample(real(3), subscripts="..."), sample(real(), real(3), subscripts="...,i->i..."),
         ours(real(1, 3), real(4, 3), subscripts="ij,ij->i"), ours(real(2, 1), real(3, 4), subscripts="ij,jk->ik"),
         sample(real(2, 3), real(3, 4), real(2, 4), subscripts="ij,jk,ik->"), sample(real(2, 3), real(3), real(3, 2), subscripts="ij,j,ji->i"),
         sample(integers(9, 2, 3), integers(9, 3, 2), subscripts="ij,jk"), sample(real(0, 3, 2), real(3, 2), subscripts="...ij,ij->...")],
        torch=lambda t, *x, subscripts: t.einsum(subscripts.replace(" ", ""), *x),
        errors=[
            (lambda: ta.einsum("ij,jk->ik", _float(2, 3)), ShapeError,
             "[einsum] there must be one group of letters for each operand and one letter for each axis, but got 'ij,jk->ik' for shapes [(2, 3)]."),
            (lambda: ta.einsum("ij,jk->ik", _float(2, 3), _float(2, 3)), ShapeError,
             "[einsum] axis 'j' must have one size in all operands, but got 3 and 2."),
            (lambda: ta.einsum("ij->ijk", _float(2, 3)), ShapeError, "[einsum] each output letter must be an input letter, once, but got 'ijk'."),
            (lambda: ta.einsum("...ij->ij", _float(2)), ShapeError,
             "[einsum] there must be one group of letters for each operand and one letter for each axis, but got '...ij->ij' for shapes [(2,)]."),
        ]),
]  # fmt: skip


# Indices.


def _scatter_add(g, indices, axis, size):
    moved = np.moveaxis(g, axis, 0)
    result = np.zeros((size, *moved.shape[1:]), g.dtype)
    np.add.at(result, indices, moved)
    return np.moveaxis(result, 0, axis)


_TABLE = "[take] indices of axis 0 must lie in 0..2 (or −3..−1), but got 3."

INDEX_ROWS = [
    Row("take", ta.take, np.take,
        [sample(real(4, 3), fixed([1, 0, -1, 1]), axis=0), sample(real(2, 4, 3), fixed([[3, -4]]), axis=1), sample(real(4), fixed(2), axis=0),
         sample(real(4, 3), fixed(np.zeros((0,), int)), axis=0), sample(flags(4, 3), fixed([1, 0]), axis=1),
         sample(real(4, 3), fixed(np.array([1, -1], np.int32)), axis=1), sample(integers(9, 4), fixed([3, 3, 0]), axis=0)],
        torch=lambda t, x, i, axis: t.index_select(x, axis, (i % x.shape[axis]).reshape(-1)).reshape((*x.shape[:axis], *i.shape, *x.shape[axis + 1:])),
        errors=[(lambda: ta.take(_float(3), 3), ShapeError, _TABLE),
                (lambda: ta.take(_float(3), np.array([1.0])), DTypeError, "[take] indices must be int32 or int64, but got f64[1].")]),
    Row("scatter_add", lambda g, i, axis, size: make("scatter_add", g, i, axis=axis, size=size), _scatter_add,
        [sample(real(4, 3), fixed([1, 0, 1, 2]), axis=0, size=4), sample(real(2, 3), fixed([2, 0, 2]), axis=1, size=3),
         sample(real(0, 3), fixed(np.zeros((0,), int)), axis=0, size=2)],
        torch=lambda t, g, i, axis, size: t.zeros(*g.shape[:axis], size, *g.shape[axis + 1:], dtype=g.dtype).index_add(axis, i, g)),
    Row("take_along_axis", ta.take_along_axis, np.take_along_axis,
        [sample(real(3, 4), fixed([[1], [0], [-1]]), axis=1), sample(real(3, 4), fixed([[1, 0, 2, 2]]), axis=0)],
        torch=lambda t, x, i, axis: t.take_along_dim(x, i % x.shape[axis], axis)),
    Row("embedding", ta.embedding, lambda table, i: table[i], [sample(real(5, 3), fixed([[1, 4], [1, 0]])), sample(real(5, 3), fixed(2))],
        torch=lambda t, table, i: t.nn.functional.embedding(i, table),
        errors=[(lambda: ta.embedding(_float(3, 2), [3]), ShapeError, "[embedding] indices must lie in 0..2, but got 3."),
                (lambda: ta.embedding(_float(3, 2), [1], padding_idx=3), ShapeError, "[embedding] padding_idx must lie in 0..2 (or −3..−1), but got 3.")]),
    Row("one_hot", lambda i, size: ta.one_hot(i, size, np.int64), lambda i, size: (i[..., None] == np.arange(size)).astype(np.int64),
        [sample(fixed([[1, 0], [3, 2]]), size=4), sample(integers(3, 5, dtype=np.int32), size=3), sample(fixed(np.zeros((0,), int)), size=2)]),
]  # fmt: skip


# Randomness: the row fixes the seed, so that the reference of the numbers is the op's own, and shapes and
# ranges are checked elsewhere.


def _seeded(function):
    def call(*inputs, **attrs):
        ta.manual_seed(5)
        return function(*inputs, **attrs)

    return call


def _drawn(function):
    """NumPy's side of a random row: the documented generator, Philox-4x32-10 keyed by the seed."""

    def numbers(*arrays, **attrs):
        from tinyattn.ops.arrays.random import uniform_numbers

        return function(
            lambda shape, step=0, dtype=np.float32: uniform_numbers(
                np.array([5, step << 32]), 0, shape, np.dtype(dtype)
            ),
            *arrays,
            **attrs,
        )

    return numbers


def _normal(u, shape):
    return np.sqrt(-2 * np.log(1 - u(shape, dtype=np.float64))) * np.cos(2 * np.pi * u(shape, 1, np.float64))


_P = "[dropout] p must lie in [0, 1), but got 1."

RANDOM_ROWS = [
    Row("random_uniform", _seeded(lambda shape, low, high: ta.floor(ta.random_uniform(shape, low, high, np.float64) * 1000).astype(np.int64)),
        _drawn(lambda u, shape, low, high: np.floor((u(shape, dtype=np.float64) * (high - low) + low) * 1000)),
        [sample(shape=(3, 70), low=0.0, high=1.0), sample(shape=(5,), low=-2.0, high=3.0), sample(shape=(0,), low=0.0, high=1.0)]),
    Row("random_normal", _seeded(lambda shape: ta.floor(ta.random_normal(shape, dtype=np.float64) * 1000).astype(np.int64)),
        _drawn(lambda u, shape: np.floor(_normal(u, shape) * 1000)), [sample(shape=(3, 70)), sample(shape=())]),
    Row("bernoulli", _seeded(lambda p, shape: ta.bernoulli(p, shape, np.int32)), _drawn(lambda u, p, shape: (u(shape) < p).astype(np.int32)),
        [sample(positive(4), shape=(70, 4)), sample(fixed(0.3), shape=(9,))]),
    Row("dropout", _seeded(lambda x, p: ta.dropout(x.astype(np.float64), p).astype(x.dtype)),
        _drawn(lambda u, x, p: x * (u(x.shape, dtype=np.float64) >= p) / (1 - p)),
        [sample(real(3, 5), p=0.5), sample(real(3, 5), p=0.0), sample(real(0, 5), p=0.5), sample(real(70, 3), p=0.25)],
        errors=[(lambda: ta.dropout(_float(3), 1), ShapeError, _P)]),
]  # fmt: skip

ARRAY_ROWS = [*SHAPE_ROWS, *REDUCE_ROWS, *PRODUCT_ROWS, *INDEX_ROWS, *RANDOM_ROWS]
