"""Derivatives checked against finite differences, in float64, to second order.

Central differences with step h have an error of O(h²) from the Taylor series and O(ε/h) from rounding; the
step is chosen near the best h for each order and the tolerance follows. The full Jacobian is compared when
it is small, random projections vᵀ J u when it is large. A point closer to a kink (relu at 0, a tie of max)
than the step is reported as such rather than as a wrong derivative.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from tinyattn import errors
from tinyattn.errors import GradcheckError
from tinyattn.graph.grad import pull_back, several, zeros_like
from tinyattn.graph.leaf import tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.runtime import reference

_STEP = 1e-5
_SMALL = 4000
"""Largest number of entries of a Jacobian that is compared entry by entry."""


def gradcheck(
    fn: Callable,
    inputs: Sequence,
    order: int = 2,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    evaluate: Callable = reference.evaluate,
    seed: int = 0,
) -> bool:
    """Compare the derivatives of ``fn(*inputs)`` (a Tensor or a tuple of them) with central differences; True, or
    GradcheckError.

    ``inputs``: arrays or Tensors, or one of them, taken as float64 (integer and bool ones are held fixed; DTypeError
    if all are). ``order`` 2 also checks the derivative of the derivative. The error names the input, the element and
    both numbers, or the operation at whose kink the point lies.

    ``atol``, ``rtol``: how far a derivative may be from its difference, in absolute numbers and as a share of it.
    ``evaluate``: what computes values, and ``seed``: of the random directions in which the second order is checked.
    """
    if evaluate is reference.evaluate:
        evaluate = functools.partial(evaluate, memory={})
    leaves = [_as_leaf(x) for x in several(inputs)]
    if not any(x.dtype.kind == "f" for x in leaves):
        got = f"got {[str(x.type) for x in leaves]}"
        fail(errors.DTypeError, "gradcheck", "one input at least must be of floating-point numbers", got)
    rng = np.random.default_rng(seed)
    _check(fn, leaves, atol, rtol, evaluate, rng, "first")
    if order >= 2:

        def first(*xs):
            weights = np.random.default_rng(seed + 1)
            seeds = {}
            for y in _reals(fn(*xs)):
                w = tensor(weights.standard_normal(y.shape))
                seeds[y] = seeds[y] + w if y in seeds else w
            moving = [x for x in xs if x.dtype.kind == "f"]
            pulled = pull_back(seeds, moving)
            return tuple(zeros_like(x) if g is None else g for x, g in zip(moving, pulled, strict=True))

        _check(first, leaves, max(atol, 1e-6) * 10, rtol * 10, evaluate, rng, "second")
    return True


def _reals(value) -> list[Tensor]:
    """Of what a function returned, the Tensors that have a derivative."""
    found = [y for y in several(value) if y is not None]
    if not all(isinstance(y, Tensor) for y in found) or not any(y.dtype.kind == "f" for y in found):
        must = "the function must return a Tensor of floating-point numbers, or a tuple of them"
        fail(errors.DTypeError, "gradcheck", must, f"got {value!r}")
    return [y for y in found if y.dtype.kind == "f"]


def _as_leaf(x) -> Tensor:
    array = x.numpy() if isinstance(x, Tensor) else np.asarray(x)
    name = x.name if isinstance(x, Tensor) else None
    return tensor(np.array(array, np.float64) if array.dtype.kind == "f" else array, name=name)


def _check(fn, leaves, atol, rtol, evaluate, rng, order):
    results = _reals(fn(*leaves))
    moving = [k for k, x in enumerate(leaves) if x.dtype.kind == "f"]
    size_out = sum(y.size for y in results)
    for k in moving:
        leaf = leaves[k]
        if leaf.size * size_out == 0:
            continue
        if leaf.size * size_out <= _SMALL:
            _full(results, leaf, k, atol, rtol, evaluate, order)
        else:
            _projected(results, leaf, k, atol, rtol, evaluate, rng, order)


def _flat(arrays) -> np.ndarray:
    return np.concatenate([np.asarray(a, np.float64).ravel() for a in arrays]) if arrays else np.zeros(0)


def _difference(results, leaf: Tensor, direction: np.ndarray, evaluate) -> np.ndarray:
    """Central difference of all outputs along ``direction`` of one leaf."""
    base = leaf.storage.array.copy()
    size = _STEP * max(1.0, float(np.abs(base).max(initial=0.0)) ** 0.5)
    values = []
    try:
        for sign in (1, -1):
            leaf.assign(base + sign * size * direction)
            values.append(_flat([np.array(v) for v in evaluate(results)]))
    finally:
        leaf.assign(base)
    return (values[0] - values[1]) / (2 * size)


def _full(results, leaf, number, atol, rtol, evaluate, order):
    columns = []
    for i in range(leaf.size):
        direction = np.zeros(leaf.size)
        direction[i] = 1
        columns.append(_difference(results, leaf, direction.reshape(leaf.shape), evaluate))
    numeric = np.stack(columns, axis=1)  # (outputs, elements of the leaf)
    rows = []
    cotangents = [tensor(np.zeros(y.shape)) for y in results]
    pulled = _pull(results, cotangents, leaf)
    for c in cotangents:
        for j in range(c.size):
            value = np.zeros(c.size)
            value[j] = 1
            c.assign(value.reshape(c.shape))
            rows.append(np.array(evaluate([pulled])[0], np.float64).ravel())
        c.assign(np.zeros(c.shape))
    symbolic = np.stack(rows) if rows else np.zeros_like(numeric)
    scale = np.abs(numeric).max(initial=0.0)
    wrong = ~(np.abs(symbolic - numeric) <= atol * max(1.0, scale) + rtol * np.abs(numeric))
    if wrong.any():
        j, i = np.argwhere(wrong)[np.argmax(np.abs(symbolic - numeric)[wrong])]
        _fail(
            results,
            leaf,
            number,
            np.unravel_index(i, leaf.shape),
            symbolic[j, i],
            numeric[j, i],
            order,
            int(j),
        )


def _pull(results, cotangents, leaf) -> Tensor:
    seeds: dict = {}
    for y, c in zip(results, cotangents, strict=True):
        seeds[y] = seeds[y] + c if y in seeds else c
    found = pull_back(seeds, [leaf])[0]
    return zeros_like(leaf) if found is None else found


def _projected(results, leaf, number, atol, rtol, evaluate, rng, order):
    for _ in range(4):
        u = rng.standard_normal(leaf.shape)
        v = [rng.standard_normal(y.shape) for y in results]
        numeric = float(_flat(v) @ _difference(results, leaf, u, evaluate))
        pulled = _pull(results, [tensor(w) for w in v], leaf)
        gradient = np.array(evaluate([pulled])[0], np.float64)
        symbolic = float(np.vdot(gradient, u))
        scale = float(np.linalg.norm(gradient) + 1)
        if not abs(symbolic - numeric) <= 10 * (atol * scale + rtol * abs(numeric)):
            _fail(results, leaf, number, "a random direction", symbolic, numeric, order, None)


def _fail(results, leaf, number, element, symbolic, numeric, order, row):
    kink = _nearest_kink(results)
    name = f"{leaf.name!r}" if leaf.name else f"number {number}"
    where = f"element {tuple(map(int, element))}" if not isinstance(element, str) else element
    target = "" if row is None else f" of output element {row}"
    advice = (
        f"The point lies at a kink of {kink}: move it." if kink else "Check the derivative rules on the way."
    )
    raise GradcheckError(
        f"[gradcheck] {order}-order derivative{target} by input {name}, {where}, "
        f"must equal its finite difference {numeric:.9g}, "
        f"but got {symbolic:.9g}.\n  {advice}"
    )


def _nearest_kink(results) -> str | None:
    """The operation that has a kink within a step of the current point, if there is one."""
    found: list[str] = []

    def watch(node, value, arrays):
        if node.op.kinks is not None and len(arrays) == len(node.inputs):
            distance = np.abs(np.asarray(node.op.kinks(*arrays, **node.attrs), np.float64))
            if distance.size and distance.min() < 20 * _STEP:
                place = (
                    tuple(int(i) for i in np.unravel_index(distance.argmin(), distance.shape))
                    if distance.ndim
                    else ()
                )
                found.append(
                    f"{node.op.name!r} (element {place}{f', line {node.line}' if node.line else ''})"
                )

    reference.evaluate(results, watch=watch)
    return found[0] if found else None
