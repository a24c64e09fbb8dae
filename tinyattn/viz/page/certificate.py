"""A hand-derived operation opened, with a certificate: that it computes what it is defined by, that its derivative by hand
is the one that the chain rule gives for the definition, and that both are what finite differences say.

All numbers are float64, those of the picture where they are known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import tensor
from tinyattn.graph.op import Op
from tinyattn.graph.tensor import Tensor, make, outputs
from tinyattn.graph.traverse import depends_on, topological
from tinyattn.graph.types import is_float
from tinyattn.runtime import reference
from tinyattn.runtime.program import Program
from tinyattn.viz import layout
from tinyattn.viz.derivation.differences import close, difference
from tinyattn.viz.derivation.forms import open_definitions
from tinyattn.viz.room import Shown

LARGEST, MOST = 5_000, 8
"""Numbers that an operation takes and gives, and kinds of operations, for which there are certificates."""
FEW = 60
"""Numbers of which each one is changed for finite differences."""
EXACT, NEAR = 1e-10, 1e-6
"""How far apart values may be, relative to the largest or 1: those computed in two ways, and finite differences."""
_STENCIL = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
_STEPS = (1e-2, 1e-3, 1e-4, 1e-5)
_known: dict[tuple, dict[str, Any]] = {}
"""Certificates of this process: pages with the same operation on the same numbers have the same one."""


@dataclass(frozen=True)
class Case:
    """An operation on leaves with numbers, closed and opened into what it is defined by."""

    op: Op
    leaves: list[Tensor]
    closed: list[Tensor]
    opened: list[Tensor]

    @property
    def moving(self) -> list[Tensor]:
        """The leaves to differentiate by."""
        above = depends_on(self.opened, self.leaves)
        return [x for x in self.leaves if is_float(x.dtype) and x in above]


def certificates_of(shown: Shown | None) -> dict[str, Any]:
    """Node → certificate, one for each kind of hand-derived operation in a picture."""
    found: dict[str, Any] = {}
    kinds: set[str] = set()
    if shown is None:
        return found
    for ident, values in shown.of.items():
        node = values[0] if values else None
        if node is not None and node.op.name == "output":
            node = node.inputs[0]
        if (
            node is None
            or node.op.definition is None
            or node.origin is not None
            or node.op.name in kinds
            or len(kinds) >= MOST
        ):
            continue
        if sum(x.size for x in (*node.inputs, *values)) > LARGEST or node.op.name in (
            "dropout",
            "checkpoint",
        ):
            continue
        kinds.add(node.op.name)
        try:
            found[ident] = _certificate(node, shown.draw)
        except errors.TinyattnError:  # (numbers at which it is not defined)
            continue
    return found


def _certificate(node: Tensor, draw) -> dict[str, Any]:
    arrays = [_numbers(x, k) for k, x in enumerate(node.inputs)]
    key = (
        node.op,
        *((str(k), str(v)) for k, v in node.attrs.items()),
        *((a.dtype, a.shape, a.tobytes()) for a in arrays),
    )
    if key not in _known:
        case = _case(node, arrays)
        _known[key] = {
            "op": node.op.name.replace("_", " "),
            "checks": [
                {"name": name, "error": _said(error), "holds": error is None or error <= bound}
                for name, error, bound in _checks(case)
            ],
            "counts": _counts(case),
            "svg": _picture(case, draw),
        }
    return _known[key]


def _numbers(x: Tensor, seed: int) -> np.ndarray:
    """The numbers of an operand, if they are known; else some of its type."""
    if all(n.op.name not in ("input", "argument", "uniform") for n in topological([x])):
        (array,) = reference.evaluate([x])
    elif is_float(x.dtype):
        array = np.random.default_rng(seed).standard_normal(x.shape)
    else:
        array = np.ones(x.shape, bool) if x.dtype == bool else np.zeros(x.shape, x.dtype)
    return np.asarray(array, np.float64) if is_float(x.dtype) else np.asarray(array)


@scope.isolated
def _case(node: Tensor, arrays: Sequence[np.ndarray]) -> Case:
    scope.state.origin = None
    leaves = [
        tensor(a, name=x.name or f"x{k}") for k, (x, a) in enumerate(zip(node.inputs, arrays, strict=True))
    ]
    attrs = {
        k: np.dtype(np.float64) if isinstance(v, np.dtype) and is_float(v) else v
        for k, v in node.attrs.items()
    }
    made = make(node.op.name, *leaves, **attrs)
    assert node.op.definition is not None
    defined = node.op.definition(*leaves, **attrs)
    closed = [made] if made.dtype is not None else list(outputs(made, len(defined)))
    closed = [y for y in closed if is_float(y.dtype)]
    return Case(node.op, leaves, closed, open_definitions(closed, lambda n: n.op.definition is not None))


def _checks(case: Case):
    """(what is compared, by how much it differs, by how much it may)."""
    by_kernel = Program(case.closed, [], {}).run([])
    values = reference.evaluate(case.opened)
    yield "its kernel computes the definition", _apart(by_kernel, values), EXACT
    rng = np.random.default_rng(0)
    # Statistics that only the derivative reads have no cotangent of their own.
    weights = [
        rng.standard_normal(y.shape) if k == 0 or case.op.name.endswith("_cell") else np.zeros(y.shape)
        for k, y in enumerate(case.closed)
    ]
    by_hand = _gradient(case.closed, weights, case.moving)
    by_rule = _gradient(case.opened, weights, case.moving)
    yield (
        "the derivative by hand is that of the definition by the chain rule",
        _apart(by_hand, by_rule),
        EXACT,
    )
    stopped = any(node.op.name == "stop_gradient" for node in topological(case.opened))
    by_differences = _differences(case, weights, by_rule) if stopped else 0.0
    if by_differences is not None and by_differences > NEAR:
        yield "finite differences don't apply: parts of its definition are taken to be constants", None, NEAR
        return
    apart = _differences(case, weights, by_hand)
    what = "the derivative by hand is what finite differences say"
    yield (
        what
        if apart is not None
        else "at these numbers there is no derivative for finite differences to find",
        apart,
        NEAR,
    )


def _said(error: float | None) -> float | str | None:
    """As JSON has it."""
    return error if error is None or math.isfinite(error) else "inf"


def _apart(found: Sequence, right: Sequence) -> float:
    return max((close(a, b) for a, b in zip(found, right, strict=True)), default=0.0)


def _gradient(
    results: Sequence[Tensor], weights: Sequence[np.ndarray], leaves: Sequence[Tensor]
) -> list[np.ndarray]:
    seeds = {y: tensor(w) for y, w in zip(results, weights, strict=True) if w.any()}
    found = pull_back(seeds, leaves)
    made = iter(reference.evaluate([g for g in found if g is not None]))
    return [np.zeros(x.shape) if g is None else next(made) for g, x in zip(found, leaves, strict=True)]


def _differences(case: Case, weights: Sequence[np.ndarray], gradient: Sequence[np.ndarray]) -> float | None:
    """How far a gradient is from finite differences: element by element where they are few (but for places at which there
    is no derivative), else along one direction.
    """
    if sum(x.size for x in case.moving) > FEW:
        return _along(case, weights, gradient)
    apart = 0.0
    for x, found in zip(case.moving, gradient, strict=True):
        slope, unsmooth = difference(case.opened, weights, x)
        apart = max(apart, close(found, slope, unsmooth))
    return apart


def _along(case: Case, weights: Sequence[np.ndarray], gradient: Sequence[np.ndarray]) -> float | None:
    """How far the gradient along one direction is from the slope in it, at the step at which they are nearest; None if
    there is a kink.
    """
    rng = np.random.default_rng(1)
    way = [rng.standard_normal(x.shape) for x in case.moving]
    said = sum(float(np.vdot(g, d)) for g, d in zip(gradient, way, strict=True))
    (base,) = [reference.evaluate(case.opened)]

    def change(step: float) -> float:
        moved = {x: x.storage.array + step * d for x, d in zip(case.moving, way, strict=True)}
        values = reference.evaluate(case.opened, moved)
        with np.errstate(invalid="ignore"):  # (what is infinite at both points doesn't change)
            return sum(
                float(np.vdot(w, np.where(a == b, 0, a - b)))
                for w, a, b in zip(weights, values, base, strict=True)
            )

    slopes = [sum(c * (change(k * h) - change(-k * h)) for k, c in _STENCIL.items()) / h for h in _STEPS]
    scale, h = max(1.0, *map(abs, slopes)), _STEPS[-1]
    if abs(change(h) + change(-h)) > 1e-3 * h * scale or abs(slopes[-1] - slopes[-2]) > NEAR * scale:
        return (
            None  # (to both sides of a kink the slopes are two, and where it is too bent they don't settle)
        )
    return min(abs(slope - said) for slope in slopes) / scale


def _counts(case: Case) -> list[dict[str, Any]]:
    """Operations, and bytes that forward keeps for backward, by hand and by definition."""
    rows = []
    for name, results in (("by hand", case.closed), ("as it is defined", case.opened)):
        seeds = {y: tensor(np.ones(y.shape)) for y in results[:1]}
        gradients = [g for g in pull_back(seeds, case.moving) if g is not None]
        forward = topological(results)
        before = set(forward)
        backward = [n for n in topological(gradients) if n not in before and n.inputs]
        read = {x for n in backward for x in n.inputs} & {
            n for n in forward if n.inputs and n.op.name != "constant"
        }
        work = [n for n in (*forward, *backward) if n.inputs and n.op.view is None and n.op.name != "output"]
        kept = sum(x.size * x.dtype.itemsize for x in read if x.dtype is not None and x.op.view is None)
        rows.append({"name": name, "operations": len(work), "kept": kept})
    return rows


def _picture(case: Case, draw) -> str:
    """The definition and its derivative."""
    return draw(case.opened[0], case.moving or None).svg if layout.available() else ""
