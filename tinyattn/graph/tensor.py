"""The node of the graph. A Tensor *is* an expression: an operation, its inputs, its attributes, and the type
they imply.

Nodes are immutable and hash-consed: building the same expression twice gives the same object, so common
subexpressions cost nothing and ``is`` compares expressions. Operators read like NumPy; nothing is computed
until a value is asked for.
"""

import importlib
import math
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.hints import missing
from tinyattn.graph.interop import Values
from tinyattn.graph.op import OPS, Op, check_operands
from tinyattn.graph.types import DTYPES, FLOAT32, SHORT, Shape, Type, as_array, as_dtype, fail, is_float

retirements = 0
"""How many leaves have been replaced by others so far."""


class Storage:
    """Memory that a leaf owns, alone: a C-contiguous array and a count of how often it was overwritten; and
    ``promises`` of values that are still to be computed from what it holds now.
    """

    __slots__ = ("array", "version", "promises", "retired", "__weakref__")

    def __init__(self, array: np.ndarray):
        self.array = array
        self.version = 0
        self.promises: list[Any] = []
        self.retired = False

    def retire(self) -> None:
        """Note that a leaf of another element type has taken the place of this one in its module."""
        global retirements
        self.retired = True
        retirements += 1

    def keep_promises(self) -> None:
        """Compute what was promised, before the memory changes."""
        while self.promises:
            self.promises[-1].keep()
            self.promises.pop()  # (not before it is kept: the user may press Ctrl-C)

    def assign(self, value: np.ndarray) -> None:
        if self.promises:
            self.keep_promises()
        self.array[...] = value
        self.version += 1


class Tensor(Values):
    """A node. Attributes: ``op``, ``inputs``, ``attrs``, ``shape``, ``dtype``, ``name``, ``scope`` (module
    path), ``line`` (user's source line) and, in a derivative, ``origin``: the forward node that it belongs
    to. Make leaves with ``ta.tensor`` and ``ta.parameter``."""

    __slots__ = (
        "op",
        "inputs",
        "attrs",
        "shape",
        "dtype",
        "name",
        "scope",
        "line",
        "origin",
        "storage",
        "grad",
        "_memo",
        "_verified",
        "__weakref__",
    )
    op: Op
    inputs: "tuple[Tensor, ...]"
    attrs: dict[str, Any]
    shape: Shape
    dtype: np.dtype
    name: str | None
    scope: tuple[str, ...]
    line: Any
    origin: "Tensor | None"
    storage: Any  # Storage for a leaf with a value, else None
    grad: "Tensor | None"
    _memo: Any
    _verified: bool

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def type(self) -> Type:
        return Type(self.shape, self.dtype)

    @property
    def T(self) -> "Tensor":
        """All axes reversed."""
        return self.transpose()

    def __len__(self) -> int:
        if not self.shape:
            fail(errors.ShapeError, "len", "a tensor must have an axis to have a length", "got a scalar")
        return self.shape[0]

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    __hash__ = object.__hash__

    if TYPE_CHECKING:  # bound by tinyattn/ops/methods.py; the graph knows no operation

        def __add__(self, other: Any) -> "Tensor": ...
        def __radd__(self, other: Any) -> "Tensor": ...
        def __sub__(self, other: Any) -> "Tensor": ...
        def __rsub__(self, other: Any) -> "Tensor": ...
        def __mul__(self, other: Any) -> "Tensor": ...
        def __rmul__(self, other: Any) -> "Tensor": ...
        def __truediv__(self, other: Any) -> "Tensor": ...
        def __rtruediv__(self, other: Any) -> "Tensor": ...
        def __floordiv__(self, other: Any) -> "Tensor": ...
        def __mod__(self, other: Any) -> "Tensor": ...
        def __matmul__(self, other: Any) -> "Tensor": ...
        def __rmatmul__(self, other: Any) -> "Tensor": ...
        def __pow__(self, other: Any) -> "Tensor": ...
        def __rpow__(self, other: Any) -> "Tensor": ...
        def __and__(self, other: Any) -> "Tensor": ...
        def __or__(self, other: Any) -> "Tensor": ...
        def __xor__(self, other: Any) -> "Tensor": ...
        def __lt__(self, other: Any) -> "Tensor": ...
        def __le__(self, other: Any) -> "Tensor": ...
        def __gt__(self, other: Any) -> "Tensor": ...
        def __ge__(self, other: Any) -> "Tensor": ...
        def __eq__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __ne__(self, other: Any) -> "Tensor": ...  # type: ignore[override]
        def __neg__(self) -> "Tensor": ...
        def __abs__(self) -> "Tensor": ...
        def __invert__(self) -> "Tensor": ...
        def __getitem__(self, index: Any) -> "Tensor": ...
        def sum(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def mean(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def max(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def min(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def prod(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def var(self, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> "Tensor": ...
        def std(self, axis: Any = None, keepdims: bool = False, ddof: float = 0) -> "Tensor": ...
        def any(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def all(self, axis: Any = None, keepdims: bool = False) -> "Tensor": ...
        def argmax(self, axis: int | None = None, keepdims: bool = False) -> "Tensor": ...
        def argmin(self, axis: int | None = None, keepdims: bool = False) -> "Tensor": ...
        def cumsum(self, axis: int = 0, reverse: bool = False) -> "Tensor": ...
        def cumprod(self, axis: int = 0) -> "Tensor": ...
        def sort(self, axis: int | None = -1, descending: bool = False) -> "Tensor": ...
        def argsort(self, axis: int | None = -1, descending: bool = False) -> "Tensor": ...
        def reshape(self, *shape: Any) -> "Tensor": ...
        def transpose(self, *axes: Any) -> "Tensor": ...
        def squeeze(self, axis: Any = None) -> "Tensor": ...
        def swapaxes(self, axis1: int, axis2: int) -> "Tensor": ...
        def flatten(self) -> "Tensor": ...
        def ravel(self) -> "Tensor": ...
        def repeat(self, repeats: Any, axis: int | None = None) -> "Tensor": ...
        def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> "Tensor": ...
        def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> "Tensor": ...
        def astype(self, dtype: Any) -> "Tensor": ...
        def take(self, indices: Any, axis: int = 0) -> "Tensor": ...
        def dot(self, other: Any) -> "Tensor": ...
        def clip(self, low: Any = None, high: Any = None) -> "Tensor": ...
        def round(self, decimals: int = 0) -> "Tensor": ...
        def backward(self) -> None: ...

    def __getattr__(self, name: str):
        raise missing("a Tensor", "Tensor", name, dir(type(self)), "x.")

    # Values.
    def numpy(self) -> np.ndarray:
        """The value, computed now (and remembered): compile the expression, run it, copy the result."""
        return evaluator(self).copy()

    def tolist(self) -> Any:
        """The value as (nested lists of) Python numbers."""
        return evaluator(self).tolist()

    def item(self) -> float | int | bool:
        """The value of a tensor of one element as a Python number."""
        if self.size != 1:
            fail(
                errors.ShapeError,
                "item",
                "the tensor must hold one element",
                f"got shape {self.shape}",
                "Reduce it first, for instance with .sum() or .mean().",
            )
        return evaluator(self).reshape(()).item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if any(node.op.name in ("input", "argument") for node in _ancestors(self)):
            fail(
                errors.TinyattnError,
                "bool",
                "a condition inside a compiled function must not depend on its inputs",
                "got a traced tensor",
                "Use ta.where(condition, a, b), which chooses element by element.",
            )
        return bool(self.item())

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        value = self.numpy()
        return value if dtype is None else value.astype(dtype)

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        made = f"{self.inputs[0].op.name}[{self.attrs['key']}]" if self.op.name == "output" else self.op.name
        return f"<Tensor{label} {self.type if self.dtype is not None else 'tuple'} = {made}>"

    def __str__(self) -> str:
        if any(node.op.name in ("input", "argument") for node in _ancestors(self)):
            return repr(self)
        return str(evaluator(self))

    # Mutation is refused with the replacement.
    def __setitem__(self, index, value):
        fail(
            errors.TinyattnError,
            "setitem",
            "tensors are immutable",
            "got an assignment to a part",
            "Use ta.index_update(x, index, value), ta.where(mask, value, x) or ta.concat([...]).",
        )

    def assign(self, value) -> None:
        """Overwrite the value of a leaf."""
        if self.storage is None:
            fail(
                errors.TinyattnError,
                "assign",
                "only a leaf made by ta.tensor or ta.parameter owns memory",
                f"got the result of {self.op.name!r}",
            )
        array = as_array(evaluator(value) if isinstance(value, Tensor) else value)
        if array.dtype.kind not in "fiub":
            got = f"got an array of {array.dtype}"
            fail(errors.DTypeError, "assign", "the value must be made of numbers", got)
        if array.shape != self.shape:
            fail(
                errors.ShapeError,
                "assign",
                f"the value must have the leaf's shape {self.shape}",
                f"got {array.shape}",
            )
        self.storage.assign(array.astype(self.dtype, copy=False))


def evaluator(node: Tensor) -> np.ndarray:
    """Compute a node's value. The runtime, a floor above, puts itself here when it is imported: now, if need be."""
    importlib.import_module("tinyattn.runtime.evaluate")
    return evaluator(node)


def set_evaluator(function) -> None:
    """Give the graph its way to compute values."""
    global evaluator
    evaluator = function


class _Entry(ref):
    """A node in the table of all nodes, which it leaves when nobody has it any more. (A WeakValueDictionary does the
    same, in twice the time.)
    """

    __slots__ = ("key",)
    key: tuple


def _forget(entry: "_Entry") -> None:
    if _nodes.get(entry.key) is entry:
        del _nodes[entry.key]


_nodes: dict[tuple, _Entry] = {}


def _ancestors(node: Tensor):
    seen, stack = {node}, [node]
    while stack:
        current = stack.pop()
        yield current
        for source in current.inputs:
            if source not in seen:
                seen.add(source)
                stack.append(source)


_NONE: dict[str, Any] = {}
"""The attributes of most nodes."""


def _fresh(op: Op, inputs, attrs, kind: Type | None, name=None, storage=None) -> Tensor:
    node = object.__new__(Tensor)
    node.op, node.inputs, node.attrs = op, inputs, attrs or _NONE
    node.shape, node.dtype = kind if kind is not None else (None, None)  # type: ignore[assignment]
    node.name, node.storage, node.grad, node._memo, node._verified = name, storage, None, None, False
    state = scope.state
    node.scope, node.origin = state.scope, state.origin
    node.line = state.line if state.line is not None else scope.user_line()
    return node


def make(name: str, *inputs: Tensor, **attrs) -> Tensor:
    """The node ``name(*inputs, **attrs)``: the existing one if this expression has been built before.
    Attributes must be hashable.
    """
    op = OPS[name]
    key = (name, *map(id, inputs), *attrs.items())
    entry = _nodes.get(key)
    node: Tensor | None = entry() if entry is not None else None
    if node is None:
        check_operands(op, inputs)
        kind = op.infer(*inputs, **attrs)
        node = _fresh(op, inputs, attrs, kind if isinstance(kind, Type) else None)
        entry = _Entry(node, _forget)
        entry.key = key
        _nodes[key] = entry
    if scope.state.made is not None:
        scope.state.made.add(node)
    return node


def distinct(node: Tensor) -> Tensor:
    """The same expression as a node of its own, whose remembered value is its own, too."""
    with scope.on_behalf_of(node, node.origin):
        if not node.inputs:
            return _fresh(OPS["reshape"], (node,), {"shape": node.shape}, node.type)
        return _fresh(node.op, node.inputs, node.attrs, node.type, node.name)


def stand_in(node: Tensor) -> Tensor:
    """A node with the operation, attributes and type of this one, and nothing below it."""
    kind = Type(node.shape, node.dtype) if node.dtype is not None else None
    return _fresh(node.op, (), node.attrs, kind, node.name)


def output(node: Tensor, key) -> Tensor:
    """One output of a node that has several; ``key`` is its number, or what the op calls it."""
    return make("output", node, key=key)


def outputs(node: Tensor, count: int) -> tuple[Tensor, ...]:
    """The first ``count`` outputs of a node."""
    return tuple(output(node, k) for k in range(count))


def output_type(node: Tensor, key) -> Type:
    """The type of one output of a node that has several."""
    if node.op.output_type is not None:
        return node.op.output_type(node, key)
    return node.op.infer(*node.inputs, **node.attrs)[key]


def _array(data, dtype, op: str, weak=FLOAT32) -> np.ndarray:
    """``data`` in memory of its own: whoever writes to the one doesn't change the other."""
    if isinstance(data, Tensor):
        data = evaluator(data)
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

    ``data``: NumPy array, nested lists or a number; copied, so that neither changes with the other. Element
    type: that of the array; float32 for lists of Python floats; or ``dtype``. Raises DTypeError for what
    isn't numbers.
    """
    array = _array(data, dtype, "tensor")
    return _fresh(OPS["tensor"], (), {}, Type(array.shape, array.dtype), name, Storage(array))


def parameter(data, dtype=None, name: str | None = None) -> Tensor:
    """A trainable leaf: like :func:`tensor`, but optimizers overwrite it."""
    array = _array(data, dtype, "parameter")
    if not is_float(array.dtype):
        fail(
            errors.DTypeError,
            "parameter",
            "a parameter must be floating-point",
            f"got {SHORT[array.dtype]}",
        )
    return _fresh(OPS["parameter"], (), {}, Type(array.shape, array.dtype), name, Storage(array))


def placeholder(kind: Type, name: str | None = None) -> Tensor:
    """A leaf whose value is given at each call of a compiled function."""
    return _fresh(OPS["input"], (), {}, kind, name)


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


def _leaf_type(*, data, shape, dtype) -> Type:
    return Type(shape, dtype)


def constant_value(node: Tensor) -> np.ndarray:
    """The value of a constant node."""
    return np.frombuffer(node.attrs["data"], node.dtype).reshape(node.shape)


def _register_leaves() -> None:
    from tinyattn.graph.op import ZERO, register

    def no_value(*inputs, **attrs):
        raise errors.TinyattnError("a traced input has no value")

    register(Op("tensor", no_value, ZERO, formula="x"))
    register(Op("parameter", no_value, ZERO, formula="w"))
    register(Op("input", no_value, ZERO, formula="x"))
    register(Op("argument", lambda *, index, shape, dtype: Type(shape, dtype), ZERO, formula="x"))
    register(
        Op(
            "constant",
            _leaf_type,
            ZERO,
            reference=lambda *, data, shape, dtype: np.frombuffer(data, dtype).reshape(shape),
            formula="c",
        )
    )
    register(Op("output", output_type, lambda g, node: (g,), formula="{0}"))


_register_leaves()
