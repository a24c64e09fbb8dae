"""The derivation of a drawn expression, for the page to go through step by step beside the picture."""

from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.leaf import constant, constant_value, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import rebuild, topological, transform
from tinyattn.graph.types import is_float
from tinyattn.viz.derivation.derive import derive
from tinyattn.viz.derivation.steps import Step
from tinyattn.viz.derivation.tree import LATEX, MATHML, TEXT, Equation
from tinyattn.viz.room import Shown

MOST, LARGEST = 40, 2_000
"""Operations, and numbers in all values, of what is derived: more would take longer than drawing it."""


def steps_of(shown: Shown | None) -> dict[str, Any] | None:
    """The derivation of the only output by the leaves it was drawn with; None if there is none, or it is too long."""
    if shown is None or len(shown.outputs) != 1 or not shown.leaves:
        return None
    (y,) = shown.outputs
    order = topological([y])
    made = sum(bool(node.inputs) and node.op.view is None for node in order)
    numbers = sum(node.size for node in order if node.dtype is not None)
    unknown = any(node.op.name in ("input", "scan", "uniform") for node in order)
    if made > MOST or numbers > LARGEST or unknown or not is_float(y.dtype):
        return None
    try:
        found = derive(*_wide(y, shown.leaves))
    except errors.TinyattnError:
        return None
    return {
        "title": found.title,
        "note": found.note,
        "holds": found.holds,
        "steps": [*map(_step, found.steps)],
    }


@scope.isolated
def _wide(y: Tensor, leaves: list[Tensor]) -> tuple[Tensor, list[str]]:
    """``y`` in float64, in which its steps are checked, and what its leaves are called."""

    def change(node: Tensor, inputs: list[Tensor]) -> Tensor:
        if node.dtype is not None and node.dtype != np.float64 and is_float(node.dtype):
            if node.storage is not None:
                return tensor(node.storage.array.astype(np.float64), name=node.name)
            if node.op.name == "constant":
                return constant(np.asarray(constant_value(node), np.float64), np.dtype(np.float64))
        attrs = {
            k: np.dtype(np.float64) if isinstance(v, np.dtype) and is_float(v) else v
            for k, v in node.attrs.items()
        }
        return rebuild(node, inputs, attrs) if node.inputs else node

    (wide,) = transform([y], change)
    return wide, [str(leaf.name) for leaf in leaves if leaf.name]


def _step(step: Step) -> dict[str, Any]:
    return {
        "stage": step.stage,
        "rule": step.rule,
        "before": [*map(_math, step.before)],
        "after": [*map(_math, step.after)],
        "latex": r" \\ ".join(map(LATEX.equation, (*step.before, *step.after))),
        "names": [TEXT(equation.left) for equation in (*step.after, *step.before)],
        "error": step.error,
        "holds": step.holds,
    }


def _math(equation: Equation) -> str:
    return f"<math><mrow>{MATHML(equation.left)}<mo>=</mo>{MATHML(equation.right)}</mrow></math>"
