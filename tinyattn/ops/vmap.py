"""``vmap``: a function of one example, made into a function of many.

The function is traced once on one example. Then each node of its graph is rebuilt with a first axis for the examples:
elementwise operations broadcast along it, reductions and views move their axes up by one, products take it as a batch
axis. A node without such a rule runs in a loop over the examples (``ta.scan``), so every function can be mapped.
"""

from collections.abc import Callable, Sequence
from typing import Any

from tinyattn import errors
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.scan import scan
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.traverse import rebuild, topological
from tinyattn.graph.trees import flatten, unflatten
from tinyattn.graph.types import Type, fail, normalize_axis
from tinyattn.ops.arrays.rearrange import moveaxis
from tinyattn.ops.arrays.shape import broadcast_to, reshape

Axes = int | None | Sequence[int | None]


def vmap(fn: Callable, in_axes: Axes = 0, out_axes: int = 0) -> Callable:
    """``fn`` over an axis of its arguments: ``vmap(fn)(xs)[i]`` is ``fn(xs[i])``.

    ``in_axes``: which axis of each argument (a Tensor, an array or a tree of them) holds the examples; None where
    all examples share it; one number for all arguments. ``out_axes``: where the axis of the examples goes in the
    results. Differentiable; may be nested. Tensors that ``fn`` closes over are shared, and so are its random
    numbers. Raises ShapeError when the arguments have different numbers of examples, or none has any, TinyattnError
    for what is no function.
    """
    if not callable(fn):
        fail(errors.TinyattnError, "vmap", "what is mapped must be a function", f"got {fn!r}")

    def mapped(*args: Any):
        axes = list(in_axes) if isinstance(in_axes, Sequence) else [in_axes] * len(args)
        if len(axes) != len(args):
            must = f"in_axes must name an axis (or None) for each of the {len(args)} arguments"
            fail(errors.ShapeError, "vmap", must, f"got {in_axes!r}")
        leaves = [flatten(argument) for argument in args]
        whole: dict[Tensor, Tensor] = {}
        examples: set[int] = set()
        for axis, group in zip(axes, leaves, strict=True):
            for k, x in enumerate(group):
                if axis is None:
                    continue
                rows = moveaxis(x, normalize_axis("vmap", axis, x.ndim), 0)
                group[k] = variable = placeholder(Type(rows.shape[1:], rows.dtype))
                whole[variable] = rows
                examples.add(rows.shape[0])
        if len(examples) != 1:
            must = "all mapped arguments must have the same number of examples"
            fail(errors.ShapeError, "vmap", must, f"got {sorted(examples) or 'no mapped argument'}")
        result = fn(*(unflatten(a, group) for a, group in zip(args, leaves, strict=True)))
        values = _Batched(examples.pop(), whole)(flatten(result))
        return unflatten(result, [moveaxis(y, 0, normalize_axis("vmap", out_axes, y.ndim)) for y in values])

    return mapped


class _Batched:
    """Rebuilds a graph with a first axis of ``count`` examples. ``rows``: what is known to have it."""

    def __init__(self, count: int, rows: dict[Tensor, Tensor]):
        self.count, self.rows = count, dict(rows)

    def __call__(self, roots: Sequence[Tensor]) -> list[Tensor]:
        order = topological(roots)
        asked: dict[Tensor, list] = {}
        for node in order:
            if node.op.name == "output":
                asked.setdefault(node.inputs[0], []).append(node)
        for node in order:
            if node in self.rows or not any(s in self.rows for s in node.inputs):
                continue
            if node.op.name == "output":
                continue  # made together with its node
            rule = _RULES.get(node.op.name) or (_elementwise if node.op.elementwise else None)
            found = rule(node, self) if rule is not None and node.dtype is not None else None
            if found is None:
                self._loop(node, asked.get(node, [node]))
            else:
                self.rows[node] = found
        return [self.spread(root) for root in roots]

    def spread(self, node: Tensor) -> Tensor:
        """A node's value for each example, all the same if it doesn't depend on them."""
        return self.rows[node] if node in self.rows else broadcast_to(node, (self.count, *node.shape))

    def lifted(self, node: Tensor, rank: int) -> Tensor:
        """Ready to broadcast with values that have ``rank`` axes after that of the examples."""
        if node not in self.rows or node.ndim >= rank:
            return self.rows.get(node, node)
        return reshape(self.rows[node], (self.count, *(1,) * (rank - node.ndim), *node.shape))

    def _loop(self, node: Tensor, results: Sequence[Tensor]) -> None:
        mapped = [s for s in dict.fromkeys(node.inputs) if s in self.rows]

        def step(_, given):
            one = dict(zip(mapped, given, strict=True))
            again = rebuild(node, [one.get(s, s) for s in node.inputs])
            return None, [again if r is node else output(again, r.attrs["key"]) for r in results]

        stacks = scan(step, None, [self.rows[s] for s in mapped])[1]
        self.rows.update(zip(results, stacks, strict=True))


def _elementwise(node: Tensor, rows: _Batched) -> Tensor:
    inputs = [rows.lifted(s, node.ndim) for s in node.inputs]
    return make(node.op.name, *inputs, **node.attrs)


def _reduction(node: Tensor, rows: _Batched) -> Tensor:
    attrs = {**node.attrs, "axes": tuple(a + 1 for a in node.attrs["axes"])}
    return make(node.op.name, rows.rows[node.inputs[0]], **attrs)


def _matmul(node: Tensor, rows: _Batched) -> Tensor:
    rank = max(s.ndim for s in node.inputs)
    return make("matmul", *(rows.lifted(s, rank) for s in node.inputs))


def _reshape(node: Tensor, rows: _Batched) -> Tensor:
    return make("reshape", rows.rows[node.inputs[0]], shape=(rows.count, *node.shape))


def _transpose(node: Tensor, rows: _Batched) -> Tensor:
    return make("transpose", rows.rows[node.inputs[0]], axes=(0, *(a + 1 for a in node.attrs["axes"])))


def _broadcast(node: Tensor, rows: _Batched) -> Tensor:
    return broadcast_to(rows.lifted(node.inputs[0], node.ndim), (rows.count, *node.shape))


def _slice(node: Tensor, rows: _Batched) -> Tensor:
    attrs = {**node.attrs, "starts": (0, *node.attrs["starts"]), "steps": (1, *node.attrs["steps"])}
    return make(node.op.name, rows.rows[node.inputs[0]], **attrs | {"shape": (rows.count, *node.shape)})


def _concat(node: Tensor, rows: _Batched) -> Tensor:
    return make("concat", *(rows.spread(s) for s in node.inputs), axis=node.attrs["axis"] + 1)


def _take(node: Tensor, rows: _Batched) -> Tensor | None:
    x, indices = node.inputs
    if indices not in rows.rows:
        return make("take", rows.rows[x], indices, axis=node.attrs["axis"] + 1)
    return (
        make("take", x, rows.rows[indices], axis=0) if x not in rows.rows and not node.attrs["axis"] else None
    )


def _along_last(node: Tensor, rows: _Batched) -> Tensor | None:
    return make(node.op.name, rows.rows[node.inputs[0]], **node.attrs) if len(node.inputs) == 1 else None


_RULES: dict[str, Callable[[Tensor, _Batched], Tensor | None]] = {
    **dict.fromkeys(("sum", "prod", "max", "min"), _reduction),
    **dict.fromkeys(("softmax", "log_softmax"), _along_last),
    **dict.fromkeys(("stop_gradient", "within"), _elementwise),
    **dict.fromkeys(("slice", "unslice"), _slice),
    "matmul": _matmul,
    "reshape": _reshape,
    "transpose": _transpose,
    "broadcast_to": _broadcast,
    "concat": _concat,
    "take": _take,
}
