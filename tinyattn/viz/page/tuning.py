"""Which numbers of a formula a reader may change, τ in S = τ Q Kᵀ.

Equal constants are one node: a 2 that the user wrote and the 2 of the rule d(x²) = 2 x dx are the same. A number may be
changed if the gradient that is drawn, with another number in its place, is still the gradient of what is drawn.
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.grad import pull_back
from tinyattn.graph.leaf import constant_value, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import substitute, topological
from tinyattn.graph.types import is_float
from tinyattn.runtime import reference
from tinyattn.viz.derivation.differences import close
from tinyattn.viz.derivation.forms import open_definitions
from tinyattn.viz.room import Shown

MOST, LARGEST = 8, 20_000
"""Constants that are tried, and numbers in all values."""
_SAME = 1e-6


@scope.isolated
def tunable(shown: Shown) -> set[Tensor]:
    """The constants of the forward part that may be changed."""
    scope.state.origin = None
    results = {ident: parts[0] for ident, parts in shown.of.items() if ident.startswith("gradient_")}
    try:
        opened = open_definitions(
            [*shown.outputs, *results.values()], lambda node: node.op.definition is not None
        )
    except errors.TinyattnError:
        return set()
    outputs, gradients = opened[: len(shown.outputs)], opened[len(shown.outputs) :]
    order = topological(opened)
    if sum(n.size for n in order if n.dtype is not None) > LARGEST or any(
        n.op.name == "input" for n in order
    ):
        return set()
    found = [n for n in topological(outputs) if n.op.name == "constant" and n.size == 1 and is_float(n.dtype)]
    found = [
        c
        for c in found
        if np.isfinite(constant_value(c)).all() and constant_value(c).item() not in (0, 1, -1)
    ]
    return {c for c in found[:MOST] if _stays_right(c, outputs, gradients, shown.leaves)}


def _stays_right(c: Tensor, outputs: list[Tensor], gradients: list[Tensor], leaves: list[Tensor]) -> bool:
    value = constant_value(c)
    other = tensor((value * 1.07 + 0.03).astype(value.dtype))
    moved = substitute([*outputs, *gradients], {c: other})
    made, said = moved[: len(outputs)], moved[len(outputs) :]
    seeds = {y: tensor(np.ones(y.shape, y.dtype)) for y in made if is_float(y.dtype)}
    try:
        right = [g for g in pull_back(seeds, leaves) if g is not None]
    except errors.TinyattnError:
        return False
    if len(right) != len(said):
        return False
    pairs = zip(reference.evaluate(said), reference.evaluate(right), strict=True)
    return all(close(a, b) <= (_SAME if a.dtype == np.float64 else 1e-3) for a, b in pairs)
