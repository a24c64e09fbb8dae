"""The rules: constant folding, and algebra that is exact. (Those that stabilise are in ``stable.py``.)"""

import numpy as np

from tinyattn.graph.body import Body
from tinyattn.graph.leaf import constant, constant_value
from tinyattn.graph.op import Op
from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import rebuild, transform
from tinyattn.rewrite import stable as _stable  # noqa: F401  (registers the stabilising rules)
from tinyattn.rewrite.rule import NUMBERS, RULES, number, rule, spread

_FOLD_LIMIT = 4096
"""Largest result, in elements, of constant folding."""


def _may_fold(op: Op) -> bool:
    return (
        op.reference is not None and not op.impure and op.name not in ("constant", "broadcast_to", "output")
    )


@rule("fold-constants", "f(constants) → constant", "exact", suits=_may_fold, below=("constant",))
def fold_constants(node: Tensor) -> Tensor | None:
    for source in node.inputs:
        if source.op.name != "constant":
            return None
    if not node.inputs or node.dtype is None or node.size > _FOLD_LIMIT:
        return None
    if node.op.reference is None or any(isinstance(v, Body) for v in node.attrs.values()):
        return None
    with np.errstate(all="ignore"):
        value = node.op.reference(*map(constant_value, node.inputs), **node.attrs)
    return constant(np.asarray(value, order="C"), node.dtype)


@rule("add-zero", "x + 0 → x", "exact", "add", below=NUMBERS)
def add_zero(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    for x, other in ((a, b), (b, a)):
        if number(other) == 0:
            return spread(x, node)
    return None


@rule("subtract-zero", "x − 0 → x", "exact", "sub", below=NUMBERS)
def subtract_zero(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return spread(a, node) if number(b) == 0 else None


@rule("zero-minus", "0 − x → −x", "exact", "sub", below=NUMBERS)
def zero_minus(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return make("neg", spread(b, node)) if number(a) == 0 else None


@rule("multiply-one", "x · 1 → x", "exact", "mul", below=NUMBERS)
def multiply_one(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    for x, other in ((a, b), (b, a)):
        if number(other) == 1:
            return spread(x, node)
    return None


@rule("multiply-minus-one", "x · −1 → −x", "exact", "mul", below=NUMBERS)
def multiply_minus_one(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    for x, other in ((a, b), (b, a)):
        if number(other) == -1:
            return make("neg", spread(x, node))
    return None


@rule("divide-one", "x / 1 → x", "exact", "div", below=NUMBERS)
def divide_one(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return spread(a, node) if number(b) == 1 else None


@rule("multiply-square", "x · x → x²", "exact", "mul")
def multiply_square(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return make("square", a) if a is b else None


@rule("double-negation", "−(−x) → x", "exact", "neg", below=("neg",))
def double_negation(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    return inner.inputs[0] if inner.op.name == "neg" else None


@rule("add-negation", "a + (−b) → a − b", "exact", "add", below=("neg",))
def add_negation(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    if b.op.name == "neg":
        return make("sub", a, b.inputs[0])
    return make("sub", b, a.inputs[0]) if a.op.name == "neg" else None


@rule("subtract-negation", "a − (−b) → a + b", "exact", "sub", below=("neg",))
def subtract_negation(node: Tensor) -> Tensor | None:
    a, b = node.inputs
    return make("add", a, b.inputs[0]) if b.op.name == "neg" else None


@rule(
    "merge-views",
    "view(view(x)) → view(x)",
    "exact",
    "reshape",
    "broadcast_to",
    "transpose",
    below=("reshape", "broadcast_to", "transpose"),
)
def merge_views(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    if node.op.name == inner.op.name == "reshape":
        return (
            inner.inputs[0]
            if inner.inputs[0].shape == node.shape
            else make("reshape", inner.inputs[0], shape=node.shape)
        )
    if node.op.name == inner.op.name == "broadcast_to":
        return make("broadcast_to", inner.inputs[0], shape=node.shape)
    if node.op.name == inner.op.name == "transpose":
        axes = tuple(inner.attrs["axes"][a] for a in node.attrs["axes"])
        return (
            inner.inputs[0]
            if axes == tuple(range(len(axes)))
            else make("transpose", inner.inputs[0], axes=axes)
        )
    return None


@rule(
    "identity-view",
    "a view that changes nothing → x",
    "exact",
    "reshape",
    "broadcast_to",
    "transpose",
    "slice",
    "cast",
)
def identity_view(node: Tensor) -> Tensor | None:
    inner = node.inputs[0]
    if inner.shape != node.shape or inner.dtype != node.dtype:
        return None
    if node.op.name == "transpose" and node.attrs["axes"] != tuple(range(node.ndim)):
        return None
    if node.op.name == "slice" and (any(node.attrs["starts"]) or any(s != 1 for s in node.attrs["steps"])):
        return None
    return inner


@rule("sum-of-one-element-axes", "Σ over axes of size 1 → reshape", "exact", "sum", "max", "min", "prod")
def sum_unit_axes(node: Tensor) -> Tensor | None:
    x = node.inputs[0]
    if all(x.shape[a] == 1 for a in node.attrs["axes"]):
        return x if x.shape == node.shape else make("reshape", x, shape=node.shape)
    return None


def _axis_of(part: Tensor) -> int | None:
    """The one axis along which ``unslice`` lays its operand into zeros, if it is one, without gaps."""
    axes = [a for a, (n, m) in enumerate(zip(part.inputs[0].shape, part.shape, strict=True)) if n != m]
    return axes[0] if len(axes) == 1 and part.attrs["steps"][axes[0]] == 1 else None


@rule(
    "join-parts",
    "x + parts laid into zeros, together everything → x + concat",
    "exact",
    "add",
    below=("unslice",),
)
def join_parts(node: Tensor) -> Tensor | None:
    parts: list[Tensor] = []
    rest: Tensor | None = node
    while (
        rest is not None
    ):  # take parts off the sum from outside, so that what is left keeps its order of additions
        if rest.op.name == "unslice" and rest.shape == node.shape:
            parts.append(rest)
            rest = None
            break
        part = (
            next((s for s in rest.inputs if s.op.name == "unslice"), None) if rest.op.name == "add" else None
        )
        if part is None or part.shape != node.shape:
            break
        parts.append(part)
        rest = rest.inputs[1] if part is rest.inputs[0] else rest.inputs[0]
    axis = _axis_of(parts[0]) if parts else None
    if (
        axis is None
        or any(_axis_of(p) != axis for p in parts)
        or (rest is not None and rest.shape != node.shape)
    ):
        return None
    parts.sort(key=lambda p: p.attrs["starts"][axis])
    position = 0
    for part in parts:
        if part.attrs["starts"][axis] != position:
            return None  # a gap, or two parts at one place
        position += part.inputs[0].shape[axis]
    if position != node.shape[axis]:
        return None
    joined = make("concat", *(p.inputs[0] for p in parts), axis=axis)
    return joined if rest is None else make("add", rest, joined)


@rule(
    "rows-of-sum",
    "table[i] + row → (table + row)[i], for a table of fewer rows",
    "exact",
    "add",
    below=("take",),
)
def rows_of_sum(node: Tensor) -> Tensor | None:
    for rows, row in (node.inputs, reversed(node.inputs)):
        if rows.op.name == "take" and rows.attrs["axis"] == 0 and rows.shape == node.shape:
            table, indices = rows.inputs
            if (
                table.ndim == 2
                and table.size < node.size
                and row.shape[-1:] == node.shape[-1:] == (row.size,)
            ):
                total = make("add", table, make("reshape", row, shape=row.shape[-1:]))
                return make("take", total, indices, axis=0)
    return None


def expand_definition(node: Tensor) -> Tensor | None:
    """Ops without kernels of their own are compiled as their definition."""
    whole = node.inputs[0] if node.op.name == "output" else node
    op = whole.op
    if op.lower is not None or op.definition is None or op.elementwise:
        return None
    opened = op.definition(*whole.inputs, **whole.attrs)
    if whole is not node:
        opened = opened[node.attrs["key"]]
    if not isinstance(opened, Tensor):
        return None
    # Definitions inside it are opened, too; what lies below the inputs has been.
    return transform([opened], _expanded, {source: source for source in whole.inputs})[0]


def _expanded(node: Tensor, inputs: list[Tensor]) -> Tensor:
    node = rebuild(node, inputs)
    opened = expand_definition(node)
    return node if opened is None else opened


def _may_expand(op: Op) -> bool:
    return op.name == "output" or op.lower is None and op.definition is not None


rule("expand", "an op without kernels → its definition", "exact", suits=_may_expand)(expand_definition)

__all__ = ["RULES"]
