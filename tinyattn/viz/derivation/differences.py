"""Finite differences, which steps of a derivation are compared with, and the places where there are none.

Central differences of sixth order have an error of the size of rounding wherever the function is smooth over the six
points they use. It is taken to be so where those of fourth order say the same, and where the slopes to the right and to
the left do; where they don't, the points move closer, as a kink may lie beside the place rather than at it. What stays
apart at the smallest step has no derivative there (relu at 0, a tie of max, the direction of a vector of zeros, 0 to a
power) or changes it too fast for differences to tell; nothing is compared there, and the step says so.

All this asks the function only, never its derivative, so that no wrong rule can pass for a kink.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn.graph.tensor import Tensor
from tinyattn.runtime import reference

_STEPS = (1e-3, 1e-4, 1e-5, 1e-6)
_SIXTH = {1: 3 / 4, 2: -3 / 20, 3: 1 / 60}
_FOURTH = {1: 2 / 3, 2: -1 / 12, 3: 0.0}
_ONE_SIDED = {1: 3.0, 2: -3 / 2, 3: 1 / 3}
_SAME_ORDERS, _SAME_SIDES = 1e-9, 1e-6
"""How far apart the slopes of a smooth function are, relative to the slope or to 1: those of the two orders, and those
to both sides, which are of third order.
"""


def close(found, right, apart_at=False) -> float:
    """The largest difference, relative to the largest number or 1; infinite where one is NaN and the other isn't.
    ``apart_at``: where nothing is compared.
    """
    found, right = np.asarray(found, np.float64), np.asarray(right, np.float64)
    same = (found == right) | np.isnan(found) & np.isnan(right) | apart_at
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0, np.abs(found - right)).max(initial=0)
    scale = np.abs(right[np.isfinite(right) & ~np.broadcast_to(apart_at, right.shape)]).max(initial=1)
    return float(apart / scale) if np.isfinite(apart) else float("inf")


def difference(
    results: Sequence[Tensor], weights: Sequence[np.ndarray], leaf: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Σ ⟨weight, ∂result/∂leaf⟩ by finite differences, and where there is no such number."""
    base = leaf.storage.array
    found, unsmooth = np.zeros(base.shape), np.zeros(base.shape, bool)
    memory: dict[Tensor, object] = {}
    array = base.copy()

    def values() -> list[np.ndarray]:
        """Those of the results that a cotangent comes back to (copies: some are views of what changes next)."""
        made = reference.evaluate(results, {leaf: array}, memory=memory)
        return [np.array(value)[w != 0] for value, w in zip(made, weights, strict=True)]

    kept = [w[w != 0] for w in weights]
    here = values()
    defined = not any(np.isnan(value).any() for value in here)

    def moved(place, distance: float) -> float:
        array[place] = base[place] + distance
        total = 0.0
        for w, a, b in zip(kept, values(), here, strict=True):
            with np.errstate(invalid="ignore"):  # (what is infinite at both points doesn't change)
                total += float(np.vdot(w, np.where(a == b, 0, a - b)))
        return total

    for place in np.ndindex(*base.shape):
        for step in _STEPS:
            right = {k: moved(place, k * step) for k in _SIXTH}
            left = {k: moved(place, -k * step) for k in _SIXTH}
            found[place] = _slope(_SIXTH, right, left) / step
            if _is_smooth(right, left, step):
                break
        else:
            unsmooth[place] = defined
        array[place] = base[place]
    return found, unsmooth


def _slope(coefficients: dict[int, float], right: dict[int, float], left: dict[int, float]) -> float:
    return sum(c * (right[k] - left[k]) for k, c in coefficients.items())


def _is_smooth(right: dict[int, float], left: dict[int, float], step: float) -> bool:
    """Whether what a function changes by at one to three steps to both sides may be that of a smooth one."""
    still = dict.fromkeys(right, 0.0)
    slope = _slope(_SIXTH, right, left)
    if not np.isfinite(slope):
        return False
    scale = max(step, abs(slope))
    orders = slope - _slope(_FOURTH, right, left)
    sides = _slope(_ONE_SIDED, right, still) - _slope(_ONE_SIDED, still, left)
    return abs(orders) <= _SAME_ORDERS * scale and abs(sides) <= _SAME_SIDES * scale
