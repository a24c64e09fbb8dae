"""From the graph to mathematics: the matrix form of an expression, and its index form where it has one.

The matrix form is written as the graph is, node by node. The index form says what one element is: a product of
matrices becomes a sum over an index, a transpose exchanges two indices, a broadcast axis drops out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from tinyattn.graph.names import subscript
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import consumers, rebuild, topological, transform
from tinyattn.rewrite import rules
from tinyattn.viz import labels
from tinyattn.viz.derivation.tree import Equation, Index, Tree, name, number

SILENT = ("reshape", "broadcast_to", "cast", "stop_gradient", "within")
_ARITHMETIC = {"add": "add", "sub": "sub", "neg": "neg", "div": "quotient", "pow": "power", "sqrt": "root"}
_RELATIONS = {"eq": "=", "ne": "≠", "lt": "<", "le": "≤", "gt": ">", "ge": "≥", "and": "∧", "or": "∨"}
_REDUCTIONS = ("sum", "max", "min", "prod", "mean")
_LETTERS = "ijklmnopqrstuvw"
_DEEP = 6
"""Operations of an expression that gets a line of its own."""


class NoForm(Exception):
    """An expression whose elements have no formula in indices here."""


def open_definitions(roots: Sequence[Tensor], which) -> list[Tensor]:
    """``roots`` with the nodes for which ``which`` is true replaced by what they are defined by, over and over."""
    roots = list(roots)
    while any(node.op.definition is not None and which(node) for node in topological(roots)):
        parts: dict[Tensor, tuple] = {}

        def change(node: Tensor, inputs: list[Tensor], parts=parts) -> Tensor:
            if node.op.name == "output" and inputs[0] in parts:
                return parts[inputs[0]][node.attrs["key"]]
            if node.op.definition is None or not which(node):
                return rebuild(node, inputs)
            found = node.op.definition(*inputs, **node.attrs)
            if not isinstance(found, tuple):
                return found
            new = rebuild(node, inputs)
            parts[new] = found
            return new

        roots = transform(roots, change)
    return roots


class Writer:
    """Writes expressions over values that have names; ``numbers`` are the constants that have a name, 1/√d."""

    def __init__(self, names: Mapping[Tensor, str], numbers: Mapping[float, Tree]):
        self.names, self.numbers = dict(names), dict(numbers)

    def constant(self, node: Tensor) -> Tree | None:
        """A node that is one number everywhere."""
        value = rules.number(node)
        if value is None:
            return None
        return self.numbers.get(value) or number(labels.number(value))

    def matrix(self, root: Tensor) -> Tree:
        """The matrix form."""
        found: dict[Tensor, Tree] = {}
        for node in topological([root], self.names):
            constant = self.constant(node)
            if node in self.names:
                found[node] = name(self.names[node])
            elif constant is not None:
                found[node] = constant
            else:
                found[node] = self._written(node, [found[source] for source in node.inputs])
        return found[root]

    def _written(self, node: Tensor, parts: list[Tree]) -> Tree:
        kind = node.op.name
        if kind in SILENT:
            return parts[0]
        if kind == "output":
            return Tree("call", (parts[0],), f"part {node.attrs['key']} of")
        if kind == "mul":
            return self._product(node, parts)
        if kind == "div" and parts[0].kind == "quotient" and parts[0].parts[0] == number("1"):
            return Tree("quotient", (parts[0].parts[0], Tree("product", (parts[0].parts[1], parts[1]))))
        if kind == "matmul":
            return Tree("matmul", tuple(parts))
        if kind in _ARITHMETIC:
            return Tree(_ARITHMETIC[kind], tuple(parts))
        if kind in _RELATIONS:
            return Tree("relation", tuple(parts), _RELATIONS[kind])
        if kind == "where":
            return Tree("choice", tuple(parts))
        if kind == "transpose" and labels.swaps(node):
            return parts[0].parts[0] if parts[0].kind == "transpose" else Tree("transpose", tuple(parts))
        if kind in _REDUCTIONS and "axes" in node.attrs:
            return self._reduced(node, parts[0])
        if kind == "square":
            return Tree("power", (parts[0], number("2")))
        if kind == "slice":
            return Tree("part", tuple(parts), labels.slice_text(node))
        if kind == "unslice":
            return Tree("call", tuple(parts), f"into{_place(node)}")
        words = kind.removesuffix("_backward")
        more = labels.attributes(node) if not node.op.elementwise else ""
        return Tree(
            "call", tuple(parts), f"{'d ' if words != kind else ''}{words}" + (f"[{more}]" if more else "")
        )

    def _product(self, node: Tensor, parts: list[Tree]) -> Tree:
        for k in (0, 1):
            if self.constant(node.inputs[k]) is None:
                continue
            factor, rest = parts[k], parts[1 - k]
            if factor.kind == "quotient" and factor.parts[0] == number("1"):
                return Tree("quotient", (rest, factor.parts[1]))
            return Tree("product", (factor, rest))
        small = [source.size == 1 for source in node.inputs]
        if node.size == 1 or small[0]:
            return Tree("product", tuple(parts))
        return Tree("hadamard", tuple(parts))

    def _reduced(self, node: Tensor, part: Tree) -> Tree:
        axes, rank = node.attrs["axes"], node.inputs[0].ndim
        if node.op.name == "sum" and part.kind == "hadamard" and not _is_cotangent(part.parts[0]):
            if _is_cotangent(part.parts[1]):  # Σ dP ∘ P: the cotangent comes first, as in ⟨dP, P⟩
                part = Tree("hadamard", part.parts[::-1])
        if len(axes) == rank:
            where = ""
        elif axes == (rank - 1,):
            where = "row"
        elif axes == (rank - 2,):
            where = "col"
        else:
            return Tree("call", (part,), f"{node.op.name}_{','.join(map(str, axes))}")
        return Tree("call", (part,), where + node.op.name)

    def equations(self, left: str, root: Tensor, taken: Sequence[str]) -> list[Equation]:
        """``left = …``, and what stands in it as lines of their own: parts that are long, or used again."""
        order = topological([root], self.names)
        users, names = consumers(order), dict(self.names)
        free = iter(
            [c for c in "abcefghuvw" if c not in taken] + [f"a{subscript(k)}" for k in range(len(order))]
        )
        weight: dict[Tensor, int] = {}
        rows = []
        for node in order:
            known = node in names or self.constant(node) is not None or not node.inputs
            silent = node.op.name in SILENT or node.op.name == "transpose"
            weight[node] = 0 if known else sum(weight[s] for s in node.inputs) + (0 if silent else 1)
            if node is root or known or silent or node.dtype is None:
                continue
            if weight[node] > _DEEP or len(users[node]) > 1 and weight[node] > 1:
                letter = next(free)
                rows.append(Equation(name(letter), Writer(names, self.numbers).matrix(node)))
                names[node], weight[node] = letter, 0
        return [Equation(name(left), Writer(names, self.numbers).matrix(root)), *reversed(rows)]

    def elements(self, root: Tensor) -> tuple[Index, Tree]:
        """The index form: (the letters of an element, what it is). Raises NoForm."""
        letters = iter(c for c in _LETTERS if c not in self.names.values())
        index = tuple(next(letters) if size != 1 else None for size in root.shape)
        return index, self._element(root, index, letters)

    def _element(self, node: Tensor, index: Index, letters) -> Tree:
        constant, kind = self.constant(node), node.op.name
        if node in self.names:
            return Tree("element" if any(index) else "name", text=self.names[node], index=index)
        if constant is not None:
            return replace(constant, value=rules.number(node))
        if kind == "transpose":
            axes = node.attrs["axes"]
            return self._element(
                node.inputs[0], tuple(index[axes.index(a)] for a in range(len(axes))), letters
            )
        if kind in ("broadcast_to", "reshape", "cast", "stop_gradient"):
            return self._element(node.inputs[0], _moved(node, index), letters)
        if kind == "matmul":
            return self._matmul(node, index, letters)
        if kind == "sum":
            return self._sum(node, index, letters)
        if not node.op.elementwise or node.op.reference is None:
            raise NoForm(kind)
        parts = tuple(self._element(s, _aligned(s, node, index), letters) for s in node.inputs)
        reference, attrs = node.op.reference, node.attrs
        if kind == "mul":
            shape = Writer(self.names, self.numbers)._product(node, list(parts))
            written = "quotient" if shape.kind == "quotient" else "product"
            return Tree(
                written, shape.parts, function=(lambda a, b: a / b) if written == "quotient" else None
            )
        shape = self._written(node, list(parts))
        if kind == "square":
            return shape
        return Tree(shape.kind, shape.parts, shape.text, function=lambda *v: reference(*map(np.float64, v), **attrs)
                    if kind != "where" else v[1] if v[0] else v[2])  # fmt: skip

    def _matmul(self, node: Tensor, index: Index, letters) -> Tree:
        left, right = node.inputs
        if min(left.ndim, right.ndim) < 2:
            raise NoForm("a product with a vector")
        shared = next(letters, None)
        if shared is None:
            raise NoForm("letters")
        one = left.shape[-1] == 1
        k = None if one else shared
        batch = index[:-2]
        rows = _shaped(left.shape[:-2], batch) + (index[-2], k)
        columns = _shaped(right.shape[:-2], batch) + (k, index[-1])
        product = Tree(
            "product", (self._element(left, rows, letters), self._element(right, columns, letters))
        )
        return product if one else _bigsum((shared,), (left.shape[-1],), product)

    def _sum(self, node: Tensor, index: Index, letters) -> Tree:
        source, axes = node.inputs[0], node.attrs["axes"]
        rest = iter(index)
        inner: list[str | None] = []
        for axis, size in enumerate(source.shape):
            if axis in axes:
                inner.append(next(letters, "?") if size != 1 else None)
                if node.attrs["keepdims"]:
                    next(rest)
            else:
                inner.append(next(rest))
        if "?" in inner:
            raise NoForm("letters")
        summed = [(inner[a], source.shape[a]) for a in axes if inner[a] is not None]
        body = self._element(source, tuple(inner), letters)
        return _bigsum(tuple(x for x, _ in summed), tuple(n for _, n in summed), body) if summed else body


def _place(node: Tensor) -> str:
    """Where an unslice puts its input among zeros."""
    starts, steps, sizes = node.attrs["starts"], node.attrs["steps"], node.inputs[0].shape
    parts = []
    for start, step, size, whole in zip(starts, steps, sizes, node.shape, strict=True):
        stop = start + size
        alone = f"{start or ''}:{'' if stop == whole else stop}"
        parts.append(alone if step == 1 else f"{start}::{step} × {size}")
    return f"[{', '.join(parts)}]"


def work(tree: Tree, size: int) -> int:
    """How many steps it takes to evaluate an index form for ``size`` elements."""
    inner = max((work(part, 1) for part in tree.parts), default=1)
    return size * math.prod(tree.range) * inner


def _bigsum(index: Index, sizes: tuple[int, ...], body: Tree) -> Tree:
    if body.kind == "bigsum":
        index, sizes, body = index + body.index, sizes + body.range, body.parts[0]
    return Tree("bigsum", (body,), index=index, range=sizes)


def _is_cotangent(tree: Tree) -> bool:
    return tree.kind == "name" and len(tree.text) > 1 and tree.text[0] == "d"


def _aligned(source: Tensor, node: Tensor, index: Index) -> Index:
    return _shaped(source.shape, index) if source.shape != node.shape else index


def _shaped(shape: Sequence[int], index: Index) -> Index:
    """The index of an operand that is broadcast to what has ``index``."""
    near = index[len(index) - len(shape) :]
    return tuple(None if size == 1 else letter for size, letter in zip(shape, near, strict=True))


def _moved(node: Tensor, index: Index) -> Index:
    source = node.inputs[0].shape
    if node.op.name == "broadcast_to":
        return _shaped(source, index)
    if node.op.name != "reshape":
        return index
    if [n for n in source if n != 1] != [n for n in node.shape if n != 1]:
        raise NoForm("reshape")
    letters = iter(letter for letter, size in zip(index, node.shape, strict=True) if size != 1)
    return tuple(next(letters) if size != 1 else None for size in source)
