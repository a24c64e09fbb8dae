"""Reverse-mode differentiation, as a function from graphs to graphs.

For a scalar y the cotangent of a node v is v̄ = ∂y/∂v. One walk from y to the leaves applies the chain rule

    v̄  =  Σ over users u of v:   ū · ∂u/∂v

where each operation contributes its vector-Jacobian product ū ↦ ū·∂u/∂v, written with Tensor operators. The
result is made of ordinary nodes, so it can be printed, drawn, run and differentiated again.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.collecting import resting
from tinyattn.graph.leaf import as_tensor, constant, tensor
from tinyattn.graph.op import ZERO, NotDifferentiable
from tinyattn.graph.tensor import Tensor, distinct, make
from tinyattn.graph.traverse import depends_on, topological
from tinyattn.graph.types import fail, is_float


def zeros_like(node: Tensor) -> Tensor:
    """Zeros of a node's shape and type."""
    return make("broadcast_to", constant(0, node.dtype), shape=node.shape)


def ones_like(node: Tensor) -> Tensor:
    """Ones of a node's shape and type."""
    return make("broadcast_to", constant(1, node.dtype), shape=node.shape)


def sum_to(cotangent: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Undo broadcasting: sum over the axes along which a value of ``shape`` was repeated."""
    if cotangent.shape == shape:
        return cotangent
    extra = cotangent.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(
        extra + axis for axis, size in enumerate(shape) if size == 1 and cotangent.shape[extra + axis] != 1
    )
    if axes:
        cotangent = make("sum", cotangent, axes=axes, keepdims=False)
    return cotangent if cotangent.shape == shape else make("reshape", cotangent, shape=shape)


def _add(total: Tensor | None, term: Tensor) -> Tensor:
    return term if total is None else make("add", total, term)


def _apply(node: Tensor, cotangent) -> Sequence[Tensor | None]:
    """The row of the derivative table for ``node``: one cotangent for each input."""
    rule = node.op.derivative
    if rule is ZERO:
        return (None,) * len(node.inputs)
    if isinstance(rule, NotDifferentiable):
        fail(
            errors.TinyattnError,
            "grad",
            "every operation between output and leaf must be differentiable",
            f"{node.op.name!r} is not: {rule}",
            "Use ta.stop_gradient on its input if it should count as a constant.",
        )
    return rule(cotangent, node)


@scope.isolated
def pull_back(seeds: Mapping[Tensor, Tensor], leaves: Sequence[Tensor]) -> list[Tensor | None]:
    """Cotangents of ``leaves``, given those of some outputs (``seeds``); None where no path leads to a
    leaf.
    """
    with resting():
        return _pull_back(seeds, leaves)


class Pass:
    """One walk from outputs to leaves. ``order``: 1 if what it differentiates holds no derivative, 2 if it holds a
    first one, and so on.
    """

    __slots__ = ("order",)

    def __init__(self) -> None:
        self.order = 1


def _pull_back(seeds: Mapping[Tensor, Tensor], leaves: Sequence[Tensor]) -> list[Tensor | None]:
    order = topological(seeds)
    walk = Pass()
    wanted = depends_on(seeds, leaves, order)
    cotangents: dict[Tensor, Any] = {}  # of a node of several outputs: a dict, by output
    for node, seed in seeds.items():
        cotangents[node] = _add(cotangents.get(node), seed)
    stop = set(leaves)
    for node in reversed(order):
        cotangent = cotangents.get(node)
        if cotangent is None or node not in wanted:
            continue
        known = node.cotangent_of
        if known is not None and known[1].order >= walk.order:
            walk.order = known[1].order + 1
        if type(cotangent) is Tensor and cotangent.origin is not None:
            # It is complete. What passes through a sum unchanged stays the cotangent of the sum.
            known = cotangent.cotangent_of
            if known is None or known[1] is not walk:
                cotangent.cotangent_of = node, walk
        if not node.inputs:
            continue
        if node in stop and not wanted.intersection(node.inputs):
            continue
        with scope.on_behalf_of(node, node):
            if node.op.name == "output":
                # Gather what reaches the outputs of one node, by their keys.
                parts = cotangents.setdefault(node.inputs[0], {})
                key = node.attrs["key"]
                parts[key] = _add(parts.get(key), cotangent)
                continue
            contributions = _apply(node, cotangent)
            for source, contribution in zip(node.inputs, contributions, strict=True):
                if contribution is None or contribution is ZERO or source not in wanted:
                    continue
                cotangents[source] = _add(cotangents.get(source), sum_to(contribution, source.shape))
    return [cotangents.get(leaf) for leaf in leaves]


def grad(y: Tensor, xs=None):
    """Gradient of the scalar ``y`` with respect to ``xs`` (a Tensor, or a list or tuple of them), as Tensors
    of the same shapes.

    Where ``y`` doesn't depend on an x the gradient is zeros; but TinyattnError is raised for an x that is made of the
    same leaves as ``y`` and not on the way from them to it. Raises ShapeError if ``y`` isn't a scalar,
    DTypeError for integer tensors, and TinyattnError if an operation on the way has no derivative. Second
    and higher orders: apply ``grad`` to the result.
    """
    if not isinstance(y, Tensor):
        got = f"the function {getattr(y, '__name__', 'given')!r}" if callable(y) else repr(y)
        hint = "The gradient of a function is ta.value_and_grad(fn)(x)." if callable(y) else ""
        fail(errors.DTypeError, "grad", "what is differentiated must be a Tensor", f"got {got}", hint)
    if xs is None:
        fail(
            errors.DTypeError,
            "grad",
            "there must be Tensors to differentiate by",
            "got none",
            "Write ta.grad(y, x).",
        )
    single = isinstance(xs, Tensor)
    leaves = [xs] if single else list(xs)
    if y.shape != ():
        fail(
            errors.ShapeError,
            "grad",
            "the output must be a scalar",
            f"got shape {y.shape}",
            "Reduce it with .sum() or .mean(), or use ta.vjp with a cotangent of that shape.",
        )
    for value in (y, *leaves):
        check_float("grad", value)
    found = pull_back({y: constant(1, y.dtype)}, leaves)
    _check_on_the_way(y, [x for x, g in zip(leaves, found, strict=True) if g is None and x.inputs])
    result = [zeros_like(leaf) if g is None else g for leaf, g in zip(leaves, found, strict=True)]
    return result[0] if single else as_given(xs, result)


def as_given(given: Any, values: Sequence[Any]) -> Any:
    """Values in a list, tuple or named tuple like ``given``; in a list for what else there is."""
    if hasattr(given, "_fields"):
        return type(given)(*values)
    return type(given)(values) if isinstance(given, (list, tuple)) else list(values)


def several(given: Any) -> list[Any]:
    """What is in a list or tuple; or the one thing that is given instead of it."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _check_on_the_way(y: Tensor, aside: Sequence[Tensor]) -> None:
    """Values that ``y`` is made beside, not of (the weights that a fused attention returns): zeros would mislead."""
    below = set(topological([y])) if aside else set()
    leaves = {n for n in below if not n.inputs and n.op.name != "constant"}
    for x in aside:  # (what is below, but only through what counts as a constant, does have the gradient 0)
        if x not in below and not leaves.isdisjoint(topological([x])):
            fail(
                errors.TinyattnError,
                "grad",
                "the output must depend on what it is differentiated by",
                f"{x!r} lies beside the way to it: both are made of the same leaves",
                "Compute the output from it (of attention: weights @ values), or differentiate by leaves.",
            )


def check_float(op: str, value: Tensor) -> None:
    """Refuse what has no derivative: anything but a floating-point Tensor."""
    if not isinstance(value, Tensor) or not is_float(value.dtype):
        fail(
            errors.DTypeError,
            op,
            "derivatives are taken of and with respect to floating-point tensors",
            f"got {value!r}",
        )


class Promise:
    """Gradients that ``backward`` has promised: their values are computed together, when one of them or ``y`` is asked
    for, or else before a leaf that they depend on changes.
    """

    __slots__ = ("_y", "_gradients")

    def __init__(self, y: Tensor, gradients: Sequence[Tensor], leaves: Iterable[Tensor]):
        self._y, self._gradients = weakref.ref(y), [weakref.ref(gradient) for gradient in gradients]
        for node in (y, *gradients):
            node._memo = self
        for leaf in leaves:
            pending = [other for other in leaf.storage.promises if other.gradients()]
            leaf.storage.promises = [*pending, self]

    def y(self) -> Tensor | None:
        """What was differentiated, if it is still to be computed."""
        y = self._y()
        return y if y is not None and y._memo is self else None

    def gradients(self) -> list[Tensor]:
        """Those that are still to be computed, and that somebody still has."""
        alive = (reference() for reference in self._gradients)
        return [g for g in alive if g is not None and g._memo is self]

    def keep(self) -> None:
        """Compute what hasn't been computed."""
        for gradient in self.gradients()[:1]:
            gradient.numpy()


@scope.isolated
def backward(y: Tensor) -> None:
    """Set ``.grad`` (a symbolic Tensor) of every parameter and named leaf tensor that ``y`` depends on.

    The value of a ``.grad`` is that of the moment of ``backward``, even when leaves change before it is asked for, so
    that parameters can be updated one after another.
    """
    below = topological([y])
    leaves = [n for n in below if n.op.name in ("parameter", "tensor") and is_float(n.dtype)]
    gradients = grad(y, leaves)
    traced = trace.current() is not None or any(n.op.name in ("input", "argument") for n in below)
    if not traced:
        gradients = [distinct(g) for g in gradients]
        Promise(y, gradients, [n for n in below if n.storage is not None])
    for leaf, gradient in zip(leaves, gradients, strict=True):
        leaf.grad = gradient


def vjp(fn: Callable, inputs: Tensor | Sequence[Tensor], cotangents):
    """``(outputs, cotangents pulled back to the inputs)`` of ``fn(*inputs)``: v ↦ vᵀJ. ``inputs``, and ``cotangents``
    of the outputs' shapes and types: a list, or one alone. Raises ShapeError if there are too few or too many
    cotangents, or one has another type.
    """
    leaves = list(map(as_tensor, several(inputs)))
    result = fn(*leaves)
    results = several(result)
    pulled = _pull(results, _alike("vjp", "cotangent", cotangents, results), leaves)
    return result, pulled if isinstance(inputs, (list, tuple)) else pulled[0]


def _pull(results, seeds, inputs) -> list[Tensor]:
    total: dict[Tensor, Tensor] = {}
    for value, seed in zip(results, seeds, strict=True):
        total[value] = _add(total.get(value), seed)
    found = pull_back(total, list(inputs))
    return [zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)]


def _alike(op: str, what: str, given: Any, values: Sequence[Tensor]) -> list[Tensor]:
    """What is given for each of some values, of its type."""
    found = [as_tensor(one) for one in several(given)]
    if len(found) != len(values):
        fail(errors.ShapeError, op, f"there must be {len(values)} {what}s", f"got {len(found)}")
    for one, value in zip(found, values, strict=True):
        if one.type != value.type:
            must = f"a {what} must have the type {value.type} of what it belongs to"
            fail(errors.ShapeError, op, must, f"got {one.type}")
    return found


def jvp(fn: Callable, inputs: Tensor | Sequence[Tensor], tangents: Tensor | Sequence[Tensor]):
    """``(outputs, their tangents)`` of ``fn(*inputs)``: v ↦ Jv. ``inputs``, and ``tangents`` of their shapes and
    types: a list, or one alone. Raises ShapeError if there are too few or too many tangents, or one has another type.

    The pull-back u ↦ uᵀJ is linear in u, so pulling ``tangents`` back through *it* gives Jv: one table of
    rules serves both modes.
    """
    leaves = list(map(as_tensor, several(inputs)))
    directions = _alike("jvp", "tangent", tangents, leaves)
    result = fn(*leaves)
    results = several(result)
    dummies = [zeros_like(value) + _dummy(value, k) for k, value in enumerate(results)]
    pushed = _pull(_pull(results, dummies, leaves), directions, dummies)
    return result, as_given(result, pushed) if isinstance(result, (list, tuple)) else pushed[0]


def _dummy(value: Tensor, index: int) -> Tensor:
    """A zero that is a node of its own: something to differentiate by."""
    return tensor(np.zeros(value.shape, value.dtype), name=f"cotangent{index}")


def hvp(fn: Callable, inputs: Tensor | Sequence[Tensor], vectors: Tensor | Sequence[Tensor]):
    """``(value, H·v)`` for the scalar function ``fn`` of ``inputs``, v being ``vectors``, of their shapes: the
    gradient of ⟨∇f, v⟩. Both a list, or one alone. Raises ShapeError if the value isn't a scalar, there are too few or
    too many vectors, or one has another type.
    """
    leaves = list(map(as_tensor, several(inputs)))
    y = fn(*leaves)
    gradients = grad(y, leaves)
    inner = constant(0, y.dtype)
    for g, v in zip(gradients, _alike("hvp", "vector", vectors, gradients), strict=True):
        inner = _add(inner, make("sum", make("mul", g, v), axes=tuple(range(g.ndim)), keepdims=False))
    return y, grad(inner, leaves if isinstance(inputs, (list, tuple)) else leaves[0])
