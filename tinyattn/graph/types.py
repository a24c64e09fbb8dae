"""Element types and shapes: what a node is before anything runs.

Five element types exist: float32, float64, int32, int64 and bool. Shapes are tuples of integers and
broadcast as in NumPy. When element types mix, the wider of a kind wins, a floating-point type wins over an
integer, an integer over bool, and a Python number takes the type of what it meets.
"""

import functools
import operator
from typing import NamedTuple, NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope

Shape = tuple[int, ...]

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
INT32, INT64, BOOL = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.bool_)
DTYPES = (BOOL, INT32, INT64, FLOAT32, FLOAT64)
SHORT = {FLOAT32: "f32", FLOAT64: "f64", INT32: "i32", INT64: "i64", BOOL: "bool"}
_LONGEST = 400
"""Letters of a value in the text of an error."""
_RANK = {dtype: rank for rank, dtype in enumerate(DTYPES)}


class Type(NamedTuple):
    """Shape and element type of a value."""

    shape: Shape
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{SHORT[self.dtype]}[{', '.join(map(str, self.shape))}]"


def fail(error: type[errors.TinyattnError], op: str, must: str, got: str, suggestion: str = "") -> NoReturn:
    """Raise ``[op] what must hold, but got what``, with the user's line and one suggestion."""
    line = scope.user_line()
    got = " ".join(got.split())  # (an array is printed in several lines)
    if len(got) > _LONGEST:
        got = f"{got[: _LONGEST // 2]} … {got[-_LONGEST // 2 :]}"
    rows = [f"[{op}] {must}, but {got}."]
    if line is not None:
        rows.append(f"  at {line}")
    if suggestion:
        rows.append(f"  {suggestion}")
    raise error("\n".join(rows))


def as_dtype(dtype, op: str = "dtype") -> np.dtype:
    """Check that ``dtype`` is one of the five element types."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found not in _RANK:
        fail(
            errors.DTypeError,
            op,
            "the element type must be float32, float64, int32, int64 or bool",
            f"got {dtype!r}",
            "Convert the data first, for instance with data.astype(np.float32).",
        )
    return found


_HARMLESS = {
    np.dtype(found): np.dtype(kept)
    for found, kept in (
        ("u1", "i4"), ("i1", "i4"), ("u2", "i4"), ("i2", "i4"), ("u4", "i8"), ("u8", "i8"), ("f2", "f4"),
    )
}  # fmt: skip
"""Element types that another one holds without loss (uint64 as far as its numbers are below 2⁶³)."""


def as_array(data) -> np.ndarray:
    """An array in one of the five element types, converted if nothing is lost by it; as it is otherwise."""
    array = np.asarray(data)
    kept = _HARMLESS.get(array.dtype.newbyteorder("="), array.dtype.newbyteorder("="))
    fits = array.dtype.kind != "u" or array.itemsize < 8 or not array.size or array.max() < 1 << 63
    return array.astype(kept, copy=False) if fits else array


def is_float(dtype: np.dtype) -> bool:
    return dtype.kind == "f"


def promote(*dtypes: np.dtype) -> np.dtype:
    """The element type of an operation on values of these types."""
    return max(dtypes, key=_RANK.__getitem__, default=BOOL)


@functools.lru_cache(maxsize=65536)
def broadcast(op: str, *shapes: Shape) -> Shape:
    """The shape that all of ``shapes`` broadcast to, by NumPy's rules."""
    if shapes.count(shapes[0]) == len(shapes):
        return shapes[0]
    rank = max(map(len, shapes))
    result = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if len(shape) >= -axis} - {1}
        if len(sizes) > 1:
            fail(
                errors.ShapeError,
                op,
                "the shapes must broadcast together (each axis equal, or 1)",
                f"got {' and '.join(map(str, shapes))}: axis {axis} is "
                + " against ".join(map(str, sorted(sizes))),
                "Insert axes of size 1 with reshape or x[:, None], or transpose one of them.",
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def as_integer(value) -> int | None:
    """``value`` as a Python integer, if it is one of any kind (NumPy's, a 0-d array …; True is none); else None."""
    if isinstance(value, (bool, np.bool_)) or isinstance(value, np.ndarray) and value.dtype == bool:
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def as_shape(op: str, shape, least: int = 0) -> Shape:
    """``shape``, an integer or several, as a tuple of integers ≥ ``least``."""
    several = isinstance(shape, (tuple, list)) or isinstance(shape, np.ndarray) and shape.ndim == 1
    sizes = tuple(map(as_integer, tuple(shape) if several else (shape,)))
    if not all(s is not None and s >= least for s in sizes):
        must = f"a shape must be made of integers ≥ {least}"
        fail(errors.ShapeError, op, must, f"got {shape!r}")
    return sizes  # type: ignore[return-value]


def normalize_axis(op: str, axis: int, rank: int) -> int:
    """``axis`` counted from the front; an error names what was allowed."""
    place = as_integer(axis)
    if place is None or not -rank <= place < rank:
        fail(
            errors.ShapeError,
            op,
            f"the axis must be an integer from {-rank} to {rank - 1}" if rank else "there must be an axis",
            f"got {axis!r}" if rank else f"got a scalar and axis {axis!r}",
        )
    return place % rank


def normalize_axes(op: str, axis, rank: int) -> tuple[int, ...]:
    """All axes for None, else the given ones, sorted, counted from the front, each once."""
    if axis is None:
        return tuple(range(rank))
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    found = tuple(sorted(normalize_axis(op, a, rank) for a in axes))
    if len(set(found)) != len(found):
        fail(errors.ShapeError, op, "each axis must be named once", f"got {tuple(axes)}")
    return found
