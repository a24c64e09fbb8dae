"""Learning rates as functions of the number of updates done so far.

A schedule is a callable. Given a Tensor it returns a Tensor, so that the learning rate is part of the
compiled training step; given a number it returns a number, for printing and plotting. Step 0 is the first
update; a warm-up over w steps gives lr·1/w at step 0 and lr at step w − 1, so that no update is wasted at
rate 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.graph.leaf import as_tensor, placeholder
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import substitute
from tinyattn.graph.types import FLOAT64, fail
from tinyattn.ops.arrays import elementwise

Schedule = Callable[[Any], Any]
"""step, a float64 Tensor or a number → learning rate, a Tensor of shape () or a number."""


def rate_at(optimizer: str, schedule: Schedule, step: Any) -> Tensor:
    """What a schedule, perhaps a user's, gives for ``step`` (a number, or a Tensor that it gets as float64): a 0-d
    float64 Tensor. In a compiled function the schedule sees no value of the step: an ``if`` would choose once for ever.
    """
    seen = step
    if isinstance(step, Tensor):
        step = elementwise.cast(step, FLOAT64)
        seen = placeholder(step.type, "step") if trace.current() is not None else step
    rate = schedule(seen)
    if not isinstance(rate, (Tensor, np.ndarray)) and is_number(rate):
        return as_tensor(np.float64(rate))
    if not isinstance(rate, (Tensor, np.ndarray)) or rate.shape != () or rate.dtype.kind not in "fiu":
        must = "a schedule must return a number or a Tensor of shape ()"
        fail(errors.DTypeError, optimizer, must, f"got {rate!r}")
    rate = as_tensor(rate)
    return elementwise.cast(rate if seen is step else substitute([rate], {seen: step})[0], FLOAT64)


def is_number(value: Any) -> bool:
    """Whether it is a number of Python or NumPy (True is none)."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _schedule(formula: Callable[[Any, Any], Any]) -> Schedule:
    """A schedule from ``formula(functions, step)``, where the functions are NumPy's or ours."""

    def schedule(step):
        if isinstance(step, Tensor):
            return formula(elementwise, elementwise.cast(step, FLOAT64))
        return float(formula(np, float(step)))

    return schedule


def constant(lr: float) -> Schedule:
    """The rate ``lr`` at every step."""
    return _schedule(lambda f, step: step * 0 + lr)


def linear_warmup(
    lr: float, warmup_steps: int, total_steps: int | None = None, floor: float = 0.0
) -> Schedule:
    """Rise linearly to ``lr`` over ``warmup_steps``, then fall linearly to ``floor`` at ``total_steps``, if given.
    Raises TinyattnError unless 0 ≤ warmup_steps < total_steps.
    """
    if total_steps is None:
        return _warmed_up(lr, warmup_steps, warmup_steps + 1, lr, lambda f, progress: progress)
    return _warmed_up(lr, warmup_steps, total_steps, floor, lambda f, progress: progress)


def cosine(lr: float, total_steps: int, warmup_steps: int = 0, floor: float = 0.0) -> Schedule:
    """After a linear warm-up of ``warmup_steps``, fall along half a cosine from ``lr`` to ``floor`` at
    ``total_steps``. Raises TinyattnError unless 0 ≤ warmup_steps < total_steps.

    Loshchilov & Hutter 2017, without restarts.
    """
    return _warmed_up(
        lr, warmup_steps, total_steps, floor, lambda f, progress: 0.5 - 0.5 * f.cos(math.pi * progress)
    )


def _warmed_up(lr: float, warmup_steps: int, total_steps: int, floor: float, fallen: Callable) -> Schedule:
    """Warm-up, then a fall: ``fallen`` maps the progress since the warm-up to its depth, both 0 to 1."""
    if not 0 <= warmup_steps < total_steps:
        must = "warmup_steps must lie in 0..total_steps − 1"
        fail(errors.TinyattnError, "schedule", must, f"got {warmup_steps} of {total_steps} steps")

    def formula(f, step):
        progress = f.minimum(f.maximum(step - warmup_steps, 0.0) / (total_steps - warmup_steps), 1.0)
        rate = lr + (floor - lr) * fallen(f, progress)
        return f.where(step < warmup_steps, (step + 1) * (lr / max(warmup_steps, 1)), rate)

    return _schedule(formula)


def noam(d_model: int, warmup_steps: int = 4000, factor: float = 1.0) -> Schedule:
    """factor · d_model^−½ · min(n^−½, n · warmup_steps^−3⁄2), n = step + 1 (Vaswani et al. 2017, eq. 3). Raises
    TinyattnError unless both numbers are positive.
    """
    if d_model < 1 or warmup_steps < 1:
        got = f"got {d_model} and {warmup_steps}"
        fail(errors.TinyattnError, "schedule", "d_model and warmup_steps must be positive", got)
    scale = factor * d_model**-0.5

    def formula(f, step):
        n = step + 1
        return scale * f.minimum(1 / f.sqrt(n), n * warmup_steps**-1.5)

    return _schedule(formula)
