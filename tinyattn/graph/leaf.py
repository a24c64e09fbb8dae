"""Leaves: the nodes with nothing below them. Values that the user gives and parameters own memory; constants are part
of the graph; the inputs of compiled functions get their values at each call.
"""

import weakref
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.graph.op import OPS, ZERO, Op, register
from tinyattn.graph.tensor import Tensor, ages, fresh, make, outdate
from tinyattn.graph.types import DTYPES, FLOAT32, SHORT, Type, as_array, as_dtype, fail, is_float

conversions: list[int] = []
"""For each conversion to another element type so far, the age of the oldest leaf that was converted."""


class Storage:
    """Memory that a leaf owns, alone: a C-contiguous array and a count of how often it was overwritten; ``promises``
    of values that are still to be computed from what it holds now; and the leaves that follow when this one gets
    another element type.
    """

    __slots__ = ("array", "version", "promises", "age", "_followers", "__weakref__")

    def __init__(self, array: np.ndarray):
        self.array = array
        self.version = 0
        self.promises: list[Any] = []
        self.age = next(ages)
        self._followers: list[weakref.ref[Tensor]] = []
        trace.note_built(self)

    def __deepcopy__(self, memo: Any) -> "Storage":
        return Storage(self.array.copy())

    def keep_promises(self) -> None:
        """Compute what was promised, before the memory changes."""
        while self.promises:
            self.promises[-1].keep()
            self.promises.pop()  # (not before it is kept: the user may press Ctrl-C)

    def assign(self, value: np.ndarray, op: str = "assign", what: str = "an assignment") -> None:
        """Overwrite the numbers; ``op`` and ``what`` tell what was tried if that is refused."""
        trace.check_change(self, op, what)
        self.write(value)

    def write(self, value: np.ndarray) -> None:
        """Overwrite the numbers, whatever is traced."""
        if self.promises:
            self.keep_promises()
        self.array[...] = value
        self.version += 1

    def followers(self) -> "list[Tensor]":
        """The leaves that take its element type and that somebody still has."""
        return [leaf for reference in self._followers if (leaf := reference()) is not None]

    def follow(self, leaf: Tensor) -> None:
        """Let ``leaf`` (an optimizer's moment) take its element type from now on."""
        self._followers = [weakref.ref(other) for other in (*self.followers(), leaf)]


def now() -> int:
    """The age of a leaf that would be made now."""
    return next(ages)


def convert(leaves: Iterable[Tensor], dtype: np.dtype) -> None:
    """Give leaves, and those that follow them, another element type. They stay the same leaves; what was built of them
    must be built again, functions that may have seen them are traced again, and their gradients are converted, too.
    """
    group = [leaf for one in leaves for leaf in (one, *one.storage.followers()) if leaf.dtype != dtype]
    group = list(dict.fromkeys(group))
    if not group:
        return
    for leaf in group:
        trace.check_change(leaf.storage, "to", f"a conversion to {dtype}")
        leaf.storage.keep_promises()
        memo = None if leaf.grad is None else leaf.grad._memo
        if (
            leaf.grad is not None and type(memo) is tuple and not memo[1]
        ):  # what ``backward`` has set is a value by now
            leaf.grad = tensor(memo[0].astype(dtype), name=leaf.grad.name)
    new = [leaf.storage.array.astype(dtype) for leaf in group]
    outdate(group)
    conversions.append(min(leaf.storage.age for leaf in group))
    for leaf, array in zip(group, new, strict=True):
        leaf.storage.version += 1
        leaf.storage.array, leaf.dtype, leaf._verified = (
            array,
            dtype,
            None,
        )  # (a leaf's type follows from nothing)
        leaf._verified = leaf.type


def latest(leaf: Tensor) -> Tensor:
    """State as a step finds it that may move it several times: what ``leaf`` holds after the assignments
    recorded so far. Without a trace, a copy, as ``leaf`` itself may have moved on when the value is asked
    for.
    """
    record = trace.current()
    return tensor(leaf.numpy(), name=leaf.name) if record is None else record.updates.get(leaf, leaf)


def _array(data, dtype, op: str, weak=FLOAT32) -> np.ndarray:
    """``data`` in memory of its own: whoever writes to the one doesn't change the other."""
    if isinstance(data, Tensor):
        data = data.numpy()
    was_array = isinstance(data, (np.ndarray, np.generic))
    try:
        array = np.array(data, order="C")
    except ValueError:
        array = np.asarray(None)
    array = as_array(array)
    if array.dtype.kind not in "fiub" or (dtype is None and array.dtype not in DTYPES):
        fail(
            errors.DTypeError,
            op,
            "the data must be numbers of type float32, float64, int32, int64 or bool",
            f"got an array of {array.dtype}" if array.dtype != object else f"got {type(data).__name__}",
            "Nested lists must be rectangular; other arrays can be converted with astype.",
        )
    if dtype is not None:
        array = array.astype(as_dtype(dtype, op), copy=False)
    elif not was_array and array.dtype.kind == "f":
        array = array.astype(weak)  # Python numbers have no width of their own; training is in float32
    return array


def tensor(data, dtype=None, name: str | None = None) -> Tensor:
    """A leaf with a value.

    ``data``: NumPy array, nested lists or a number; copied, so that neither changes with the other. Element type:
    that of the array; float32 for lists of Python floats; or ``dtype``. ``name``: what pictures and texts call it.
    Raises DTypeError for what isn't numbers.
    """
    array = _array(data, dtype, "tensor")
    return fresh(OPS["tensor"], (), {}, Type(array.shape, array.dtype), name, Storage(array))


def parameter(data, dtype=None, name: str | None = None) -> Tensor:
    """A trainable leaf: like :func:`tensor`, but optimizers overwrite it. ``name``: what pictures and texts call
    it.
    """
    array = _array(data, dtype, "parameter")
    if not is_float(array.dtype):
        fail(
            errors.DTypeError,
            "parameter",
            "a parameter must be floating-point",
            f"got {SHORT[array.dtype]}",
        )
    return fresh(OPS["parameter"], (), {}, Type(array.shape, array.dtype), name, Storage(array))


def placeholder(kind: Type, name: str | None = None) -> Tensor:
    """A leaf whose value is given at each call of a compiled function."""
    return fresh(OPS["input"], (), {}, kind, name)


def constant(value, dtype) -> Tensor:
    """A number, or small array of numbers, known when the graph is built; equal ones are the same node."""
    try:
        array = np.asarray(value, dtype)
    except OverflowError:
        fail(
            errors.DTypeError,
            "tensor",
            f"an integer must fit into {SHORT[np.dtype(dtype)]}",
            f"got {value}",
        )
    return make("constant", data=array.tobytes(), shape=array.shape, dtype=array.dtype)


def as_tensor(value, like: "Tensor | Type | None" = None) -> Tensor:
    """``value`` as a Tensor; a number, of Python or NumPy, takes the element type of ``like``."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, np.bool_)):
        return constant(value, np.bool_)
    if like is not None and isinstance(value, (np.integer, np.floating)):
        value = value.item()
    if isinstance(value, (int, float)) and not isinstance(value, np.generic):
        if like is not None and (is_float(like.dtype) or (isinstance(value, int) and like.dtype.kind == "i")):
            return constant(value, like.dtype)
        return constant(value, np.int64 if isinstance(value, int) else np.float32)
    array = _array(
        value, None, "tensor", like.dtype if like is not None and is_float(like.dtype) else FLOAT32
    )
    return constant(array, array.dtype) if array.size <= 64 else tensor(array)


def widest(values) -> Type | None:
    """The scalar type of the widest Tensor or array among ``values``: what numbers beside them are taken as."""
    found = None
    for value in values:
        if isinstance(value, (Tensor, np.ndarray)):
            dtype = (
                value.dtype if value.dtype in DTYPES else as_tensor(value).dtype
            )  # (which says what is wrong)
            if found is None or DTYPES.index(dtype) > DTYPES.index(found):
                found = dtype
    return None if found is None else Type((), found)


def constant_value(node: Tensor) -> np.ndarray:
    """The value of a constant node."""
    return np.frombuffer(node.attrs["data"], node.dtype).reshape(node.shape)


def _no_value(*inputs, **attrs):
    raise errors.TinyattnError("a traced input has no value")


register(Op("tensor", _no_value, ZERO, formula="x"))
register(Op("parameter", _no_value, ZERO, formula="w"))
register(Op("input", _no_value, ZERO, formula="x"))
register(Op("argument", lambda *, index, shape, dtype, place: Type(shape, dtype), ZERO, formula="x"))
register(
    Op(
        "constant",
        lambda *, data, shape, dtype: Type(shape, dtype),
        ZERO,
        reference=lambda *, data, shape, dtype: np.frombuffer(data, dtype).reshape(shape),
        formula="c",
        recompute=True,
    )
)
