"""Reading and writing by position: basic and advanced indexing, take, one-hot, embedding, and their
transposes.

Advanced indexing x[i, j, …] becomes one ``take`` along a joined axis; its derivative adds cotangents up
where positions repeat: x̄[k] = Σ over i with index_i = k of ḡ_i.
"""

import builtins
import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.op import Op, register
from tinyattn.graph.point import at, fixed, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.types import (
    BOOL,
    FLOAT32,
    FLOAT64,
    INT32,
    INT64,
    Type,
    as_dtype,
    as_integer,
    broadcast,
    fail,
    normalize_axis,
)
from tinyattn.kernels.calls.gather import tiles_of_scatter, tiles_of_take
from tinyattn.ops.arrays.bounds import within
from tinyattn.ops.arrays.creation import arange
from tinyattn.ops.arrays.elementwise import cast, equal, logical_and, stop_gradient, where
from tinyattn.ops.arrays.shape import broadcast_to, reshape, slice_, transpose


@public(at(real(4, 3), fixed([1, 0, 3, 1])))
def take(x, indices, axis: int = 0) -> Tensor:
    """Entries of ``x`` along ``axis`` at ``indices``, integers of any shape, negative from the end: x (n, m),
    indices (i,) → (i, m) for axis 0.

    Of any element type, which the result has. Raises DTypeError for indices that aren't integers, ShapeError for
    those out of range, when the program runs if they are known only then.
    """
    x, indices = as_tensor(x), as_tensor(indices)
    axis = normalize_axis("take", axis, x.ndim)
    if indices.dtype.kind != "i":
        fail(errors.DTypeError, "take", "indices must be int32 or int64", f"got {indices.type}")
    return _taken(x, within("take", f"indices of axis {axis}", indices, x.shape[axis]), axis)


def _taken(x: Tensor, indices: Tensor, axis: int) -> Tensor:
    if x.dtype == BOOL:  # the kernel moves numbers
        return cast(make("take", cast(x, INT32), indices, axis=axis), BOOL)
    return make("take", x, indices, axis=axis)


def _carrier(dtype):
    """The kernel variant that moves elements of this size."""
    return FLOAT64 if dtype.itemsize == 8 else FLOAT32


def _words(indices, outer: int, n: int, inner: int):
    wide = int(indices.dtype == INT64)
    sizes = {"outer": outer, "n": n, "inner": inner}
    return sizes | {"indices": indices, "wide": wide, "count": indices.size}


def _lower_take(node, emit):
    x, indices = (emit.contiguous(emit.value(s)) for s in node.inputs)
    axis, result = node.attrs["axis"], emit.result(node)
    outer, inner = math.prod(x.shape[:axis]), math.prod(x.shape[axis + 1 :])
    words = _words(indices, outer, x.shape[axis], inner) | {"x": x, "y": result}
    tiles = tiles_of_take(outer, indices.size, inner) if result.size else 0
    emit.kernel(
        "gather.take",
        words,
        tiles,
        reads=[x, indices],
        writes=[result],
        dtype=_carrier(x.dtype),
        cost=result.size * 0.3,
    )


def _lower_scatter(node, emit):
    g, indices = (emit.contiguous(emit.value(s)) for s in node.inputs)
    axis, result = node.attrs["axis"], emit.result(node)
    outer, inner = math.prod(node.shape[:axis]), math.prod(node.shape[axis + 1 :])
    words = _words(indices, outer, node.attrs["size"], inner) | {"dy": g, "dx": result, "adding": 0}
    tiles = tiles_of_scatter(outer, node.attrs["size"], inner, indices.size) if result.size else 0
    emit.kernel(
        "gather.scatter_add",
        words,
        tiles,
        reads=[g, indices],
        writes=[result],
        cost=(g.size + result.size) * 0.3,
        flops=float(g.size),
    )


register(
    Op(
        "take",
        lambda x, indices, *, axis: Type((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype),
        lambda g, node: (
            make(
                "scatter_add",
                g,
                node.inputs[1],
                axis=node.attrs["axis"],
                size=node.inputs[0].shape[node.attrs["axis"]],
            ),
            None,
        ),
        reference=lambda x, indices, *, axis: np.take(x, indices, axis),
        lower=_lower_take,
        formula="{0}[{1}]",
        vjp_formula="Σ ḡ at {1}",
    )
)


def _infer_scatter(g, indices, *, axis, size):
    return Type((*g.shape[:axis], size, *g.shape[axis + indices.ndim :]), g.dtype)


def _reference_scatter(g, indices, *, axis, size):
    moved = np.moveaxis(g.reshape(*g.shape[:axis], indices.size, *g.shape[axis + indices.ndim :]), axis, 0)
    result = np.zeros((size, *moved.shape[1:]), g.dtype)
    np.add.at(result, indices.ravel(), moved)
    return np.moveaxis(result, 0, axis)


register(
    Op(
        "scatter_add",
        _infer_scatter,
        lambda g, node: (make("take", g, node.inputs[1], axis=node.attrs["axis"]), None),
        reference=_reference_scatter,
        lower=_lower_scatter,
        formula="Σ {0} at {1}",
        vjp_formula="ḡ[{1}]",
    )
)


@public(at(real(5, 3), fixed([[1, 4], [1, 0]])))
def embedding(table, indices, padding_idx: int | None = None) -> Tensor:
    """Rows of ``table`` (V, d) at ``indices`` (…), integers from 0 to V − 1 → (…, d). Of any element type, which
    the result has. No gradient reaches the row ``padding_idx``. Raises ShapeError for other indices, when the
    program runs if they are known only then.
    """
    table, indices = as_tensor(table), as_tensor(indices)
    size = table.shape[normalize_axis("embedding", 0, table.ndim)]
    if indices.dtype.kind != "i":
        fail(errors.DTypeError, "embedding", "indices must be int32 or int64", f"got {indices.type}")
    indices = within("embedding", "indices", indices, size, negative=False)
    rows = _taken(table, indices, 0)
    if padding_idx is None:
        return rows
    if not -size <= padding_idx < size:
        must = f"padding_idx must lie in 0..{size - 1} (or −{size}..−1)"
        fail(errors.ShapeError, "embedding", must, f"got {padding_idx}")
    padding = equal(indices, padding_idx % size)
    return where(reshape(padding, (*padding.shape, 1)), stop_gradient(rows), rows)


@public(constant="no reals go in")
def one_hot(indices, size: int, dtype=np.float32) -> Tensor:
    """``indices`` (…), integers from 0 to ``size`` − 1 → (…, size), 1 at each index and 0 elsewhere, of ``dtype``.

    Raises ShapeError for other integers, when the program runs if they are known only then.
    """
    indices = as_tensor(indices)
    if indices.dtype.kind != "i":
        fail(errors.DTypeError, "one_hot", "indices must be int32 or int64", f"got {indices.type}")
    return hot_rows(within("one_hot", "indices", indices, size, negative=False), size, dtype)


def hot_rows(indices: Tensor, size: int, dtype) -> Tensor:
    """:func:`one_hot` of any integers: all 0 for what is no index."""
    return cast(
        equal(reshape(indices, (*indices.shape, 1)), cast(arange(size), indices.dtype)), as_dtype(dtype)
    )


@public(at(real(3, 4), fixed([[1], [0], [3]]), -1))
def take_along_axis(x, indices, axis: int) -> Tensor:
    """``np.take_along_axis``: for each position along the other axes, entries of ``x`` at integer ``indices``,
    which have as many axes as ``x`` (broadcast but for ``axis``) and may be negative, from the end: x (n, m),
    indices (n, k) → (n, k) for axis 1.

    Of any element type, which the result has. Raises ShapeError for indices out of range, when the program runs if
    they are known only then.
    """
    op, x, indices = "take_along_axis", as_tensor(x), as_tensor(indices)
    axis = normalize_axis(op, axis, x.ndim)
    if indices.dtype.kind != "i":
        fail(errors.DTypeError, op, "indices must be int32 or int64", f"got {indices.type}")
    if indices.ndim != x.ndim:
        fail(errors.ShapeError, op, f"indices must have {x.ndim} axes, as x has", f"got {indices.type}")
    indices = within(op, f"indices of axis {axis}", indices, x.shape[axis])
    grid: list = [
        0 if size == 1 else reshape(arange(size), tuple(-1 if b == a else 1 for b in range(x.ndim)))
        for a, size in enumerate(x.shape)
    ]
    grid[axis] = indices
    return x[tuple(grid)]


def _normalize(x: Tensor, index) -> list:
    """An index as a list over the axes of ``x``: slices, integers, None for new axes, and index tensors."""
    items = list(index) if isinstance(index, tuple) else [index]
    expanded: list = []
    for item in items:
        if isinstance(item, (list, np.ndarray)):
            found = as_tensor(item)  # (an empty list has no type of its own)
            item = cast(found, INT64) if isinstance(item, list) and not found.size else found
        if isinstance(item, (bool, np.bool_)) or (isinstance(item, Tensor) and item.dtype == BOOL):
            fail(
                errors.DTypeError,
                "index",
                "the shape of a result must not depend on values",
                "got a bool mask",
                "Use ta.where(mask, x, 0), or compute integer positions beforehand with np.nonzero.",
            )
        if isinstance(item, np.integer):
            item = int(item)
        if isinstance(item, slice):
            given = item.start, item.stop, item.step
            bounds = [None if part is None else as_integer(part) for part in given]
            wrong = [part for part, b in zip(given, bounds, strict=True) if part is not None and b is None]
            if wrong or bounds[2] == 0:
                must = "start, stop and step of a slice must be integers or None, the step not 0"
                hint = "Where a place is known only at run time, use ta.take or ta.where."
                fail(errors.DTypeError, "index", must, f"got {wrong[0] if wrong else 0!r}", hint)
            item = slice(*bounds)
        if isinstance(item, Tensor) and item.dtype.kind != "i" or isinstance(item, (float, str)):
            fail(
                errors.DTypeError,
                "index",
                "indices must be integers, slices, ..., None or integer tensors",
                f"got {item!r}",
            )
        expanded.append(item)
    if sum(1 for item in expanded if item is Ellipsis) > 1:
        fail(errors.ShapeError, "index", "an index must hold ... once at most", f"got {index!r}")
    used = sum(1 for item in expanded if item is not None and item is not Ellipsis)
    if used > x.ndim:
        fail(
            errors.ShapeError,
            "index",
            f"a tensor of shape {x.shape} takes at most {x.ndim} indices",
            f"got {used}",
        )
    position = next((k for k, item in enumerate(expanded) if item is Ellipsis), None)
    if position is None:
        return expanded + [slice(None)] * (x.ndim - used)
    return expanded[:position] + [slice(None)] * (x.ndim - used) + expanded[position + 1 :]


def getitem(x: Tensor, index) -> Tensor:
    """``x[index]`` with NumPy's basic and advanced indexing (bool masks excepted: their result's shape would
    depend on values).
    """
    items = _normalize(x, index)
    starts: list[int] = []
    steps: list[int] = []
    sizes: list[int] = []
    shape: list[int] = []
    advanced: list[tuple[int, Tensor]] = []

    def add(start: int, step: int, size: int) -> None:
        starts.append(start)
        steps.append(step)
        sizes.append(size)

    axis = 0
    for item in items:
        if item is None:
            shape.append(1)
            continue
        size = x.shape[axis]
        if isinstance(item, slice):
            start, stop, step = item.indices(size)
            count = len(range(start, stop, step))
            add(start if count else 0, step, count)
            shape.append(count)
        elif isinstance(item, Tensor):
            add(0, 1, size)
            advanced.append((len(shape), within("index", f"indices of axis {axis}", item, size)))
            shape.append(size)
        else:
            if not isinstance(item, int) or not -size <= item < size:
                fail(
                    errors.ShapeError,
                    "index",
                    f"an index of axis {axis} must lie in 0..{size - 1} (or −{size}..−1)",
                    f"got {item!r}",
                )
            add(item % size, 1, 1)
        axis += 1
    result = reshape(slice_(x, starts, steps, sizes), tuple(shape))
    return _advanced(result, advanced, items) if advanced else result


def _advanced(x: Tensor, advanced: list[tuple[int, Tensor]], items: list) -> Tensor:
    """Index the given axes of ``x`` with index tensors that broadcast together."""
    axes = [a for a, _ in advanced]
    shape = broadcast("index", *(i.shape for _, i in advanced))
    # NumPy puts the joined axes first when slices or new axes stand between the index arrays (an integer
    # counts as an index array).
    kinds = [not (i is None or isinstance(i, slice)) for i in items]
    first, last = kinds.index(True), len(kinds) - 1 - kinds[::-1].index(True)
    adjacent = builtins.all(kinds[first : last + 1])
    if len(advanced) == 1:
        taken, axis = _taken(x, advanced[0][1], axes[0]), axes[0]
        moved = range(axis, axis + len(shape))
        return (
            taken
            if adjacent
            else transpose(taken, (*moved, *(a for a in range(taken.ndim) if a not in moved)))
        )
    target = axes[0] if adjacent else 0
    rest = [a for a in range(x.ndim) if a not in axes]
    before = rest[: len([a for a in rest if a < axes[0]])] if adjacent else []
    order = (*before, *axes, *(a for a in rest if a not in before))
    sizes = [x.shape[a] for a in axes]
    linear = None
    for (_, index), size in zip(advanced, sizes, strict=True):
        index = cast(index, INT64)
        linear = index if linear is None else linear * size + index
    joined = transpose(x, order)
    flat = reshape(joined, (*joined.shape[:target], math.prod(sizes), *joined.shape[target + len(axes) :]))
    return _taken(flat, broadcast_to(linear, shape), target)


@public(at(real(3, 4), (slice(None), 1), real(3)))
def index_update(x, index, value) -> Tensor:
    """``x`` with ``x[index] = value``, as a new tensor: x (…), value (…), which broadcasts to ``x[index]`` → (…).

    The ``index``: integers, slices, ellipsis, and 0-d integer tensors, whose values may be known only at run time.
    Of any element type, which the result has. Raises ShapeError for an index that isn't there or a value that
    doesn't fit.
    """
    x = as_tensor(x)
    value = as_tensor(value, x)
    items = _normalize(x, index)
    if builtins.any(isinstance(item, Tensor) and item.shape for item in items):
        fail(
            errors.ShapeError,
            "index_update",
            "the index must be made of integers and slices",
            f"got {index!r}",
            "For index arrays, combine ta.one_hot and ta.where.",
        )
    if builtins.any(isinstance(item, Tensor) for item in items):
        return _update_at(x, items, value)
    inside = getitem(x, index)
    value = broadcast_to(cast(value, x.dtype), inside.shape)
    if inside is x:
        return value
    starts, steps, shape = _basic(x, index)
    spread = make("unslice", reshape(value, shape), starts=starts, steps=steps, shape=x.shape)
    mask = make("unslice", broadcast_to(as_tensor(True), shape), starts=starts, steps=steps, shape=x.shape)
    return where(mask, spread, x)


def _update_at(x: Tensor, items: list, value: Tensor) -> Tensor:
    """``index_update`` with positions among the items: everything along their axes is looked at."""
    items = [item for item in items if item is not None]
    region = tuple(slice(None) if isinstance(item, Tensor) else item for item in items)
    old = getitem(x, region)
    axes = [item for item in items if isinstance(item, (slice, Tensor))]  # those of ``old``
    hit = as_tensor(True)
    for axis, item in enumerate(axes):
        if isinstance(item, Tensor):
            size = old.shape[axis]
            place = reshape(arange(size, dtype=item.dtype), (size, *(1,) * (old.ndim - axis - 1)))
            item = within("index_update", f"an index of axis {axis}", item, size)
            hit = logical_and(hit, equal(place, item))
    sizes = list(zip(axes, old.shape, strict=True))
    value = broadcast_to(cast(value, x.dtype), tuple(n for item, n in sizes if isinstance(item, slice)))
    value = reshape(value, tuple(n if isinstance(item, slice) else 1 for item, n in sizes))
    return index_update(x, region, where(hit, value, old))


def _basic(x: Tensor, index):
    starts, steps, shape, axis = [], [], [], 0
    for item in _normalize(x, index):
        if item is None:
            continue
        size = x.shape[axis]
        first, stop, step = (
            item if isinstance(item, slice) else slice(item % size, item % size + 1)
        ).indices(size)
        count = len(range(first, stop, step))
        starts.append(first if count else 0)
        steps.append(step)
        shape.append(count)
        axis += 1
    return tuple(starts), tuple(steps), tuple(shape)
