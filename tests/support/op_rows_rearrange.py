"""Rows of the op table: numbers put elsewhere, triangles and diagonals, tensors from shapes, reductions made of others."""

import numpy as np
from op_sample import Row, Sample, ours, sample

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError
from tinyattn.graph.point import apart, fixed, flags, integers, real

NAN, INF = np.nan, np.inf


def _float(*shape):
    return ta.zeros(shape)


def _axis_error(name, *arguments, axis=2):
    call = getattr(ta, name)
    text = f"[{name}] the axis must be an integer from -2 to 1, but got {axis}."
    return (lambda: call(_float(2, 3), *arguments), ShapeError, text)


_SPECIAL = fixed([[1.0, NAN, -INF], [INF, -0.0, 2.0], [3.0, 4.0, NAN]])

REARRANGE_ROWS = [
    Row("swapaxes", ta.swapaxes, np.swapaxes,
        [sample(real(2, 3, 4), axis1=0, axis2=-1), sample(real(3, 4), axis1=1, axis2=0), sample(real(5), axis1=0, axis2=0),
         sample(real(0, 3), axis1=0, axis2=1), sample(flags(2, 3), axis1=0, axis2=1)],
        torch=lambda t, x, axis1, axis2: x.swapaxes(axis1, axis2), errors=[_axis_error("swapaxes", 0, 2)]),
    Row("moveaxis", ta.moveaxis, np.moveaxis,
        [sample(real(2, 3, 4), source=0, destination=-1), sample(real(2, 3, 4, 5), source=(0, -1), destination=(2, 0)),
         sample(real(3, 4), source=1, destination=0), sample(real(0, 3), source=0, destination=1), sample(real(3), source=0, destination=0)],
        torch=lambda t, x, source, destination: x.moveaxis(source, destination),
        errors=[
            _axis_error("moveaxis", 0, 2),
            (lambda: ta.moveaxis(_float(2, 3), (0, -2), (0, 1)), ShapeError, "[moveaxis] each axis must be named once, but got (0, -2)."),
            (lambda: ta.moveaxis(_float(2, 3), (0, 1), 0), ShapeError,
             "[moveaxis] source and destination must name as many axes, but got (0, 1) and 0."),
        ]),
    Row("flatten", ta.flatten, np.ravel, [sample(real(2, 3, 4)), sample(real()), sample(real(0, 3)), sample(integers(9, 2, 3))],
        torch=lambda t, x: x.flatten(), special=[sample(_SPECIAL)]),
    Row("roll", ta.roll, np.roll,
        [sample(real(5), shift=2), sample(real(3, 4), shift=-5), sample(real(3, 4), shift=1, axis=-1), sample(real(3, 4), shift=(2, 7), axis=(0, 1)),
         sample(real(3, 4), shift=1, axis=(0, 1)), sample(real(3, 4), shift=(1, 2), axis=(0, 0)), sample(real(), shift=3), sample(real(0, 3), shift=1, axis=0),
         sample(real(3, 4), shift=4, axis=1), sample(flags(2, 3), shift=1)],
        torch=lambda t, x, shift, axis=None: x.roll(shift, () if axis is None else axis) if isinstance(shift, tuple) or not isinstance(axis, tuple)
        else x.roll((shift,) * len(axis), axis),
        errors=[
            _axis_error("roll", 1, 2),
            (lambda: ta.roll(_float(3), 1.5), ShapeError, "[roll] shift must be an integer, but got 1.5."),
            (lambda: ta.roll(_float(2, 3), (1, 2, 3), (0, 1)), ShapeError, "[roll] shift must be an integer, or 2 integers, but got (1, 2, 3)."),
        ], special=[sample(_SPECIAL, shift=1)]),
    Row("tile", ta.tile, np.tile,
        [sample(real(3), reps=2), sample(real(2, 3), reps=2), sample(real(2, 3), reps=(2, 1, 3)), sample(real(2, 1, 3), reps=(2,)),
         sample(real(), reps=(2, 3)), sample(real(2, 3), reps=(0, 2)), sample(real(0, 2), reps=2), sample(real(3), reps=()), sample(integers(9, 2), reps=(3, 2))],
        torch=lambda t, x, reps: x.tile(reps),
        errors=[(lambda: ta.tile(_float(3), -1), ShapeError, "[tile] a shape must be made of integers ≥ 0, but got -1.")],
        special=[sample(_SPECIAL, reps=2)]),
    Row("repeat", ta.repeat, np.repeat,
        [sample(real(3), repeats=2), sample(real(2, 3), repeats=2), sample(real(2, 3), repeats=3, axis=0), sample(real(2, 3, 2), repeats=2, axis=-1),
         sample(real(2, 3), repeats=(1, 0, 2), axis=1), sample(real(2, 3), repeats=(2,), axis=1), sample(real(), repeats=3), sample(real(0, 3), repeats=2, axis=0),
         sample(real(3), repeats=0), sample(flags(2, 3), repeats=2, axis=1)],
        torch=lambda t, x, repeats, axis=None: x.repeat_interleave(t.tensor(repeats), axis),
        errors=[
            _axis_error("repeat", 2, 2),
            (lambda: ta.repeat(_float(3), -1), ShapeError, "[repeat] a shape must be made of integers ≥ 0, but got -1."),
            (lambda: ta.repeat(_float(3), (1, 2)), ShapeError, "[repeat] there must be one number of repeats, or one for each of 3 entries, but got 2."),
        ], special=[sample(_SPECIAL, repeats=2, axis=0)]),
]  # fmt: skip


# Triangles and diagonals.

_MATRICES = [
    sample(real(3, 4)), sample(real(4, 3), k=1), sample(real(2, 3, 3), k=-1), sample(real(3, 3), k=5), sample(real(3, 3), k=-5), sample(real(0, 3)),
    sample(real(2, 0, 0)), sample(flags(3, 3)), sample(integers(9, 3, 3), k=1),
]  # fmt: skip
_DIAGONALS = [
    sample(real(3, 4)), sample(real(4, 3), offset=1), sample(real(4, 3), offset=-2), sample(real(2, 3, 4), axis1=1, axis2=2),
    sample(real(2, 3, 4), offset=1, axis1=-1, axis2=0), sample(real(3, 3), offset=3), sample(real(3, 3), offset=-7), sample(real(0, 3)), sample(real(1, 1)),
    sample(integers(9, 3, 3)),
]  # fmt: skip
_TWO_AXES = "there must be two axes or more, but got shape (3,)."


def _torch_diagonal(t, x, offset=0, axis1=0, axis2=1):
    return x.diagonal(offset, axis1, axis2)


TRIANGLE_ROWS = [
    Row("tril", ta.tril, np.tril, _MATRICES, torch=lambda t, x, k=0: x.tril(k),
        errors=[(lambda: ta.tril(_float(3)), ShapeError, f"[tril] {_TWO_AXES}")], special=[sample(_SPECIAL), sample(_SPECIAL, k=-1)]),
    Row("triu", ta.triu, np.triu, _MATRICES, torch=lambda t, x, k=0: x.triu(k),
        errors=[(lambda: ta.triu(_float(3)), ShapeError, f"[triu] {_TWO_AXES}")], special=[sample(_SPECIAL), sample(_SPECIAL, k=1)]),
    Row("diagonal", ta.diagonal, np.diagonal, [s for s in _DIAGONALS if s.attrs.get("offset") not in (3, -7)], torch=_torch_diagonal,
        errors=[
            _axis_error("diagonal", 0, 0, 2),
            (lambda: ta.diagonal(_float(2, 3), 0, 1, -1), ShapeError, "[diagonal] the two axes must differ, but got 1 and -1."),
        ], special=[sample(_SPECIAL, offset=-1)]),
    Row("trace", ta.trace, np.trace, _DIAGONALS, torch=lambda t, *x, **attrs: _torch_diagonal(t, *x, **attrs).sum(-1),
        errors=[(lambda: ta.trace(_float(2, 3), 0, 0, 2), ShapeError, "[diagonal] the axis must be an integer from -2 to 1, but got 2.")],
        special=[sample(_SPECIAL)]),
    Row("diag", ta.diag, np.diag,
        [sample(real(3)), sample(real(3), k=1), sample(real(2), k=-2), sample(real(3, 4), k=1), sample(real(0)), sample(real(0), k=2), sample(flags(3)),
         sample(real(1))],
        torch=lambda t, x, k=0: t.diag(x, k), errors=[(lambda: ta.diag(_float(2, 3, 4)), ShapeError,
            "[diag] there must be one axis or two, but got shape (2, 3, 4).")], special=[sample(fixed([NAN, INF, 1.0]))]),
    Row("eye", lambda **attrs: ta.eye(**attrs, dtype=np.int32), lambda n, m=None, k=0: np.eye(n, m, k, np.int32),
        [sample(n=3), sample(n=2, m=4), sample(n=4, m=2, k=-1), sample(n=3, k=7), sample(n=0), sample(n=2, m=0)],
        errors=[(lambda: ta.eye(-1), ShapeError, "[eye] a shape must be made of integers ≥ 0, but got (-1, -1).")]),
]  # fmt: skip


# From shapes and intervals.

_INTERVALS = [
    sample(start=0, stop=1), sample(start=-2.5, stop=3, num=7), sample(start=0, stop=1, num=4, endpoint=False), sample(start=3, stop=-1, num=1),
    sample(start=0, stop=1, num=0),
]  # fmt: skip

LIKE_ROWS = [
    Row("zeros_like", ta.zeros_like, np.zeros_like, [sample(real(2, 3)), sample(real()), sample(real(0)), sample(flags(3)), sample(real(2), dtype=np.int64)],
        torch=lambda t, x, dtype=None: t.zeros_like(x, dtype=t.int64 if dtype else None), special=[sample(_SPECIAL)]),
    Row("ones_like", ta.ones_like, np.ones_like, [sample(real(2, 3)), sample(real()), sample(real(0)), sample(flags(3)), sample(real(2), dtype=np.int64)],
        torch=lambda t, x, dtype=None: t.ones_like(x, dtype=t.int64 if dtype else None), special=[sample(_SPECIAL)]),
    Row("full_like", ta.full_like, np.full_like, [sample(real(2, 3), fill_value=2.5), sample(integers(5, 3), fill_value=7), sample(real(0), fill_value=1)],
        torch=lambda t, x, fill_value: t.full_like(x, fill_value),
        errors=[(lambda: ta.full_like(_float(2), "x"), DTypeError, "[full] the value must be a number, but got 'x'.")]),
    Row("linspace", lambda **attrs: ta.floor(ta.linspace(**attrs, dtype=np.float64) * 1000).astype(np.int64),
        lambda **attrs: np.floor(np.linspace(**attrs) * 1000).astype(np.int64), _INTERVALS,
        errors=[
            (lambda: ta.linspace(0, INF), ShapeError, "[linspace] the bounds must be finite, but got 0 and inf."),
            (lambda: ta.linspace(0, 1, -1), ShapeError, "[linspace] a shape must be made of integers ≥ 0, but got -1."),
        ]),
]  # fmt: skip


# Reductions made of others.

_REDUCED = [
    sample(real(3, 4)), sample(real(3, 4), axis=0), sample(real(2, 3, 4), axis=1, keepdims=True), sample(real(2, 3, 4), axis=(0, -1)),
    sample(real(70, 3), axis=1), sample(real(3, 70), axis=0),
]  # fmt: skip
_ZEROS = Sample((fixed([[0.0, 0.0, 0.0], [3.0, 0.0, -4.0]]),), {"axis": 1}, smooth=False)


def _whole(function):
    return lambda x, axis=None, **attrs: function(x, axis=axis, **attrs)


def _torch_std(t, x, axis=None, keepdims=False, ddof=0):
    return t.std(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims, correction=ddof)


def _torch_norm(t, x, ord=None, axis=None, keepdims=False):
    if ord is None and isinstance(axis, tuple):
        return t.linalg.vector_norm(x, 2, axis, keepdims)
    return t.linalg.norm(x, ord, axis, keepdims)


STATISTICS_ROWS = [
    Row("std", ta.std, _whole(np.std), [*_REDUCED, sample(real(3, 5), axis=1, ddof=1), _ZEROS, ours(integers(9, 3, 4), axis=0)], torch=_torch_std,
        errors=[(lambda: ta.std(_float(2, 3), 2), ShapeError, "[mean] the axis must be an integer from -2 to 1, but got 2.")],
        special=[sample(_SPECIAL, axis=1), sample(fixed([[2.0, 2.0]]))], tolerance=2),
    Row("norm", ta.norm, lambda x, ord=None, axis=None, keepdims=False: np.sqrt(np.sum(x * x, axis, keepdims=keepdims)) if ord is None
        else np.linalg.norm(x, ord, axis, keepdims),
        [*_REDUCED, _ZEROS, sample(real(5), ord=2), sample(real(5), ord=1), sample(apart(3, 4), ord=1, axis=0), sample(apart(3, 4), ord=INF, axis=1, keepdims=True),
         sample(apart(3, 4), ord=-INF, axis=0), sample(apart(3, 4), ord="fro"), sample(apart(2, 3, 4), ord="fro", axis=(0, 2), keepdims=True),
         sample(apart(3, 4), ord=1), sample(apart(3, 4), ord=-1), sample(apart(2, 3, 4), ord=1, axis=(2, 0), keepdims=True),
         sample(apart(3, 4), ord=INF), sample(apart(2, 3, 4), ord=-INF, axis=(-1, 0)), sample(apart(3, 4), ord=3, axis=1), sample(apart(3, 4), ord=1.5, axis=0),
         sample(apart(3, 4), ord=-2, axis=1), sample(real(0, 3), axis=0), sample(real(0)), sample(real()), sample(real(2, 4), ord=0.5, axis=1)],
        torch=_torch_norm,
        errors=[
            (lambda: ta.norm(_float(2, 3), axis=2), ShapeError, "[norm] the axis must be an integer from -2 to 1, but got 2."),
            (lambda: ta.norm(_float(2, 3), 2), ShapeError,
             "[norm] ord must be a number for one axis, and 'fro', ±1 or ±inf for two, but got ord=2 and 2 axes."),
            (lambda: ta.norm(_float(3), "fro"), ShapeError,
             "[norm] ord must be a number for one axis, and 'fro', ±1 or ±inf for two, but got ord='fro' and 1 axes."),
        ],
        special=[sample(_SPECIAL, ord=order, axis=1) for order in (None, 0, 1, 2, 3, INF, -INF)] + [sample(fixed([1e-300, 0.0]), ord=1)]),
    Row("count_nonzero", ta.count_nonzero, _whole(np.count_nonzero),
        [sample(integers(2, 3, 4)), sample(integers(2, 3, 4), axis=0), sample(flags(3, 4), axis=(0, 1), keepdims=True), sample(real(0, 3), axis=0), sample(real())],
        torch=lambda t, x, axis=None, keepdims=False: (x != 0).sum(axis, keepdim=keepdims) if axis is not None else (x != 0).sum(),
        errors=[(lambda: ta.count_nonzero(_float(2, 3), 2), ShapeError, "[sum] the axis must be an integer from -2 to 1, but got 2.")],
        special=[sample(_SPECIAL, axis=1)]),
    Row("diff", ta.diff, np.diff,
        [sample(real(5)), sample(real(3, 4), n=2), sample(real(3, 4), axis=0), sample(real(3, 2), n=3), sample(real(0)), sample(real(1)), sample(real(4), n=0),
         sample(flags(7)), sample(integers(9, 3, 3), axis=-2)],
        torch=lambda t, x, n=1, axis=-1: x.diff(n, axis),
        errors=[_axis_error("diff", 1, 2), (lambda: ta.diff(_float(3), -1), ShapeError, "[diff] n must be an integer ≥ 0, but got -1.")],
        special=[sample(_SPECIAL)]),
]  # fmt: skip


# Questions.

_MAYBE = [
    fixed([1.0, 1.0, 1e9, NAN, INF, -INF, INF, 0.0]),
    fixed([1.0 + 1e-7, 1.1, 1e9 + 100, NAN, INF, INF, 1.0, 1e-9]),
]

PREDICATE_ROWS = [
    Row(name, getattr(ta, name), numpy, [sample(real(3, 4)), sample(real()), sample(real(0)), sample(integers(3, 4)), sample(flags(3))],
        torch=lambda t, x, name=name: getattr(t, name)(x), special=[sample(_SPECIAL)])
    for name, numpy in (("isnan", np.isnan), ("isinf", np.isinf))
] + [
    Row(name, getattr(ta, name), lambda *x, numpy=numpy, **attrs: np.asarray(numpy(*x, **attrs)),
        [sample(real(3, 4), real(4)), sample(real(3, 1), real(4), rtol=0.5, atol=0.5), sample(real(1, 2), real(2)), sample(integers(3, 5), integers(3, 5))],
        special=[sample(*_MAYBE), sample(*_MAYBE, equal_nan=True), sample(*_MAYBE, atol=0.5)],
        errors=[(lambda name=name: getattr(ta, name)(_float(2), _float(2), rtol=NAN), DTypeError, f"[{name}] rtol must be a number, but got nan.")])
    for name, numpy in (("isclose", np.isclose), ("allclose", np.allclose))
]  # fmt: skip

# Sums over ranks, of which there is one here; what several do is tested in tests/ranks.

RANK_ROWS = [
    Row("all_reduce", ta.distributed.all_reduce, lambda x: x, [sample(real(3, 4)), sample(real()), sample(real(0, 3))],
        special=[sample(_SPECIAL)],
        errors=[(lambda: ta.distributed.all_reduce(np.arange(3)), DTypeError, "[all_reduce] what is added up over ranks must be floating-point, but got int64.")])
]  # fmt: skip

REARRANGED_ROWS = [*RANK_ROWS, *REARRANGE_ROWS, *TRIANGLE_ROWS, *LIKE_ROWS, *STATISTICS_ROWS, *PREDICATE_ROWS]
