"""Rows of the op table: sorting and products."""

import numpy as np
from op_sample import Row, edges, ours, rough, sample

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.graph.point import apart, fixed, flags, integers, real

_TIES = fixed([[2.0, 1.0, 2.0, 1.0], [0.0, 0.0, -1.0, 5.0]])
_NANS = fixed([[1.0, np.nan, -np.inf, 0.0], [np.inf, -0.0, 0.0, np.nan], [np.nan, np.nan, 2.0, 3.0]])


def _zeros(*shape):
    return ta.zeros(shape)


def _argsort(x, axis=-1, descending=False):
    """NaN last, or first if downwards; equal numbers as they come."""
    order = np.argsort(np.flip(x, axis) if descending else x, axis, kind="stable")
    return np.flip((x.size if axis is None else x.shape[axis]) - 1 - order, axis) if descending else order


def _read(x, places, axis):
    return np.take_along_axis(x.ravel() if axis is None else x, places, axis or 0 if axis is None else axis)


def _topk(x, k, axis=-1, largest=True):
    places = np.take(_argsort(x, axis, largest), range(k), axis=axis)
    return np.take_along_axis(x, places, axis), places


SORTING_ROWS = [
    Row(
        "argsort", ta.argsort, _argsort,
        [sample(apart(3, 5)), sample(apart(3, 5), axis=0), sample(apart(2, 3, 4), axis=1), sample(real(0, 3)), sample(real(3, 0)), sample(apart(1)),
         sample(integers(5, 4, 70, low=-5)), sample(integers(3, 9, dtype=np.int32)), sample(_TIES), sample(apart(400)),
         sample(_TIES, axis=None), sample(_TIES, descending=True), sample(flags(3, 9)), sample(flags(3, 9), descending=True)],
        special=[edges(), sample(_NANS), sample(_NANS, descending=True)],
        errors=[(lambda: ta.argsort(_zeros()), ShapeError, "[argsort] there must be an axis, but got a scalar and axis -1.")],
    ),
    Row(
        "sort", ta.sort, lambda x, axis=-1, descending=False: _read(x, _argsort(x, axis, descending), axis),
        [sample(apart(3, 5)), sample(apart(3, 5), axis=0), sample(apart(2, 3, 4), axis=1), sample(real(0, 3)), sample(apart(1)), sample(apart(130)),
         sample(integers(5, 4, 70, low=-5)), rough(_TIES), ours(apart(2, 3), axis=None), sample(apart(3, 5), axis=0, descending=True), sample(flags(9))],
        torch=lambda t, x, axis=-1, descending=False: t.sort(x, dim=axis, stable=True, descending=descending)[0],
        special=[edges(), sample(_NANS), sample(_NANS, descending=True)],
        errors=[(lambda: ta.sort(_zeros(2), axis=1), ShapeError, "[sort] the axis must be an integer from -1 to 0, but got 1.")],
    ),
    Row(
        "topk", ta.topk, _topk,
        [sample(apart(3, 5), k=2), sample(apart(3, 5), k=3, axis=0), sample(apart(6), k=6), sample(apart(6), k=0), rough(_TIES, k=3), rough(_NANS, k=3),
         sample(apart(3, 5), k=2, largest=False), rough(_NANS, k=3, axis=0, largest=False)],
        torch=lambda t, x, k, axis=-1, largest=True: tuple(t.topk(x, k, dim=axis, largest=largest)),
        errors=[(lambda: ta.topk(_zeros(3), 4), ShapeError, "[topk] k must lie in 0..3, the size of axis 0, but got 4.")],
    ),
    Row(
        "cumprod", ta.cumprod, lambda x, axis=0: np.cumprod(x, axis),
        [sample(real(5)), sample(real(3, 4), axis=1), sample(fixed([2.0, 0.0, 3.0, 0.0, 4.0])), sample(real(0, 2)), sample(real(1)), sample(integers(4, 3, 3)), sample(integers(4, 9, low=-3, dtype=np.int32)),
         sample(flags(4)), sample(fixed([[0.0, 0.0, 2.0], [1.0, 0.0, 0.0]]), axis=1)],
        torch=lambda t, x, axis=0: t.cumprod(x, axis),
        errors=[(lambda: ta.cumprod(_zeros(2), 1), ShapeError, "[cumprod] the axis must be an integer from -1 to 0, but got 1.")],
    ),
    Row("outer", ta.outer, np.outer, [sample(real(3), real(4)), sample(real(2, 2), real(0)), sample(real(), real(3)), sample(integers(9, 3), integers(9, 2))],
        torch=lambda t, a, b: t.outer(a.reshape(-1), b.reshape(-1))),
    Row(
        "tensordot", ta.tensordot, np.tensordot,
        [sample(real(2, 3, 4), real(3, 4, 5)), sample(real(2, 3), real(3), axes=1), sample(real(2), real(3), axes=0),
         sample(real(2, 3, 4), real(4, 5, 2), axes=[[0, 2], [2, 0]]), sample(real(3, 2), real(4, 3), axes=(0, 1)), sample(real(2, 0), real(0, 3), axes=1)],
        torch=lambda t, a, b, axes=2: t.tensordot(a, b, axes if isinstance(axes, int) else [[k] if isinstance(k, int) else k for k in axes]),
        errors=[
            (lambda: ta.tensordot(_zeros(2, 3), _zeros(4, 3)), ShapeError, "[tensordot] the axes that are summed over must agree, but got [2, 3] and [4, 3]."),
            (lambda: ta.tensordot(_zeros(2), _zeros(2), 2), ShapeError, "[tensordot] axes must lie in 0..1, or be two lists, but got 2."),
            (lambda: ta.tensordot(_zeros(2), _zeros(2), ([0], [0, 0])), ShapeError, "[tensordot] axes must be a number, or two lists of as many axes, but got ([0], [0, 0])."),
            (lambda: ta.tensordot(_zeros(2, 2), _zeros(2, 2), ([0, -2], [0, 1])), ShapeError, "[tensordot] each axis must be named once, but got (0, -2)."),
        ],
    ),
]  # fmt: skip
