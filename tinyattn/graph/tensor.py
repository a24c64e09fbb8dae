"""The node of the graph. A Tensor *is* an expression: an operation, its inputs, its attributes, and the type
they imply.

Nodes are immutable and hash-consed: building the same expression twice gives the same object, so common
subexpressions cost nothing and ``is`` compares expressions. Operators read like NumPy; nothing is computed
until a value is asked for.
"""

import itertools
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.hints import missing
from tinyattn.graph.interop import Values
from tinyattn.graph.op import OPS, Op, check_operands, register
from tinyattn.graph.types import Shape, Type, as_array, fail


class Tensor(Values):
    """A node. Attributes: ``op``, ``inputs``, ``attrs``, ``shape``, ``dtype``, ``name``, ``scope`` (module
    path), ``line`` (user's source line) and, in a derivative, ``origin``: the forward node that it belongs
    to, and ``cotangent_of``: the value that it is the cotangent of, with the pass that found it; ``elsewhere``: other
    module paths in which the same expression was built. Make leaves with ``ta.tensor`` and ``ta.parameter``."""

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
        "cotangent_of",
        "elsewhere",
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
    cotangent_of: "tuple[Tensor, Any] | None"
    elsewhere: tuple[tuple[str, ...], ...]
    storage: Any  # Storage for a leaf with a value, else None
    grad: "Tensor | None"
    _memo: Any
    _verified: Any  # True, or the type that was inferred (None where there are several)

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many elements there are."""
        return math.prod(self.shape)

    @property
    def type(self) -> Type:
        """Shape and element type."""
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

        # The value, by tinyattn/runtime/values.py.
        def numpy(self) -> np.ndarray: ...
        def tolist(self) -> Any: ...
        def item(self) -> float | int | bool: ...
        def __float__(self) -> float: ...
        def __int__(self) -> int: ...
        def __bool__(self) -> bool: ...
        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray: ...

    def __getattr__(self, name: str):
        raise missing("a Tensor", "Tensor", name, dir(type(self)), "x.")

    def __repr__(self) -> str:
        label = f" {self.name!r}" if self.name else ""
        made = self.op.name
        if made == "output":
            made = f"{_inputs_of(self)[0].op.name}[{self.attrs['key']}]"
        return f"<Tensor{label} {self.type if self.dtype is not None else 'tuple'} = {made}>"

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
        """Overwrite the value of a leaf. Inside a compiled function: ``ta.assign``."""
        if self.storage is None:
            fail(
                errors.TinyattnError,
                "assign",
                "only a leaf made by ta.tensor or ta.parameter owns memory",
                f"got the result of {self.op.name!r}",
            )
        trace.check_change(self.storage, "assign", f"an assignment to {self.name or 'a leaf'}")
        array = as_array(value.numpy() if isinstance(value, Tensor) else value)
        if array.dtype.kind not in "fiub":
            got = f"got an array of {array.dtype}"
            fail(errors.DTypeError, "assign", "the value must be made of numbers", got)
        if array.dtype.kind == "f" and self.dtype.kind != "f":
            must = f"a leaf of {self.dtype} takes whole numbers"
            fail(errors.DTypeError, "assign", must, f"got an array of {array.dtype}")
        if array.shape != self.shape:
            fail(
                errors.ShapeError,
                "assign",
                f"the value must have the leaf's shape {self.shape}",
                f"got {array.shape}",
            )
        self.storage.assign(array.astype(self.dtype, copy=False))


_inputs_of: Any = vars(Tensor)["inputs"].__get__
"""The inputs, those of what is outdated, too."""


def _refuse_outdated(node: Tensor) -> NoReturn:
    made = f" (made at {node.line})" if node.line is not None else ""
    fail(
        errors.TinyattnError,
        "to",
        "an expression must be built again when leaves below it have got another element type",
        f"got {node!r}{made} from before",
        "Write it where it is used, after model.to(...), or inside a function.",
    )


class Outdated(Tensor):
    """An expression of leaves that had another element type when it was built: whoever goes down it is told to build
    it again.
    """

    __slots__ = ()
    inputs = property(_refuse_outdated)  # type: ignore[assignment]


def outdate(leaves: Iterable[Tensor]) -> None:
    """Take all living expressions of ``leaves`` out of the table, as the types of these are about to change."""
    below = set(leaves)
    oldest = min(leaf.storage.age for leaf in below)
    younger = list(
        itertools.takewhile(lambda entry: entry.age > oldest, reversed(list(_nodes.values())))
    )  # (others may go on building)
    for entry in reversed(younger):  # (the table is in the order in which nodes were made)
        node = entry()
        if node is not None and not below.isdisjoint(node.inputs):
            below.add(node)
            _nodes.pop(entry.key, None)
            node.__class__ = Outdated


class _Entry(ref):
    """A node in the table of all nodes, which it leaves when nobody has it any more. (A WeakValueDictionary does the
    same, in twice the time.)
    """

    __slots__ = ("key", "age")
    key: tuple
    age: int


def _enter(node: Tensor, key: tuple) -> None:
    entry = _nodes[key] = _Entry(node, _forget)
    entry.key, entry.age = key, next(ages)


def _forget(entry: "_Entry") -> None:
    if _nodes.get(entry.key) is entry:
        del _nodes[entry.key]


_nodes: dict[tuple, _Entry] = {}
"""All living nodes by what they are, the oldest first."""

ages = itertools.count()
"""The clock by which leaves and nodes are born."""


_NONE: dict[str, Any] = {}
"""The attributes of most nodes."""


def fresh(op: Op, inputs, attrs, kind: Type | None, name=None, storage=None) -> Tensor:
    """A node that isn't in the table: nobody else gets it."""
    node = object.__new__(Tensor)
    node.op, node.inputs, node.attrs = op, inputs, attrs or _NONE
    node.shape, node.dtype = kind if kind is not None else (None, None)  # type: ignore[assignment]
    node.name, node.storage, node.grad, node._memo, node._verified = name, storage, None, None, kind
    state = scope.state
    node.scope, node.origin, node.cotangent_of, node.elsewhere = state.scope, state.origin, None, ()
    node.line = state.line if state.line is not None else scope.user_line()
    return node


def make(name: str, *inputs: Tensor, **attrs) -> Tensor:
    """The node ``name(*inputs, **attrs)``: the existing one if this expression has been built before.
    Attributes must be hashable.
    """
    op = OPS[name]
    key = (name, *map(id, inputs), *attrs.items())
    entry = _nodes.get(key)
    node: Tensor | None = None
    if entry is not None and (node := entry()) is None:
        _forget(entry)  # (a new one comes last in the table)
    if node is None:
        check_operands(op, inputs)
        kind = op.infer(*inputs, **attrs)
        node = fresh(op, inputs, attrs, kind if isinstance(kind, Type) else None)
        _enter(node, key)
    elif node.scope is not scope.state.scope:
        _note_place(node)
    if scope.state.made is not None:
        scope.state.made.add(node)
    return node


_CALLS = 8
"""Calls of one module that a node remembers to have been built in."""


def _note_place(node: Tensor) -> None:
    """Somebody has built an expression that there was already: keep in which module, and in which call of it, unless
    it was built by a rule, on behalf of a node.
    """
    state = scope.state
    if state.line is None and node.origin is state.origin is None:
        place = state.scope
        if any(other is place for other in node.elsewhere):
            return
        same = [other for other in node.elsewhere if other == place]
        kept = [other for other in node.elsewhere if len(same) < _CALLS or other is not same[0]]
        node.elsewhere = (*kept, place)


def distinct(node: Tensor) -> Tensor:
    """The same expression as a node of its own, whose remembered value is its own, too."""
    with scope.on_behalf_of(node, node.origin):
        if node.inputs:
            new = fresh(node.op, node.inputs, node.attrs, node.type, node.name)
        else:
            new = fresh(OPS["reshape"], (node,), {"shape": node.shape}, node.type)
    _enter(new, (id(new),))  # (nobody looks for it there, but when leaves change their type)
    return new


def stand_in(node: Tensor) -> Tensor:
    """A node with the operation, attributes and type of this one, and nothing below it."""
    kind = Type(node.shape, node.dtype) if node.dtype is not None else None
    return fresh(node.op, (), node.attrs, kind, node.name)


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


register(Op("output", output_type, lambda g, node: (g,), formula="{0}"))
