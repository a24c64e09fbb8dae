"""What all optimizers share: the update of every parameter as part of the graph.

``optimizer.minimize(loss)`` differentiates the loss and writes, for each parameter w with gradient g, what w
and its moments become:

    g ← g · min(1, clip_norm / (‖all gradients‖ + 1e-6));     w' = w − lr · (…)

Inside a compiled function these updates belong to its program, so that one native call runs the whole
training step. What does not depend on the element (learning rate, bias corrections, the clipping factor) is
computed once, in float64; the rest is one elementwise chain for each parameter. The rules are in ``optim.py``.

All that an optimizer remembers are leaves: the moments, the number of updates, the learning rate. They are
its state dict, and restoring it resumes training exactly.
"""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.graph.grad import grad, zeros_like
from tinyattn.graph.hints import missing
from tinyattn.graph.leaf import as_tensor, tensor
from tinyattn.graph.scope import isolated, scope
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import FLOAT64, fail
from tinyattn.nn import state
from tinyattn.ops.arrays.elementwise import cast, clip, isfinite, minimum, sqrt, square, where
from tinyattn.ops.arrays.reduce import sum as sum_of
from tinyattn.runtime.program import Program
from tinyattn.train import schedules
from tinyattn.train.groups import Parameters, split_groups

Scalars = tuple[Tensor, ...]
Moments = tuple[Tensor, ...]


class Optimizer:
    """What all optimizers share: gradients, clipping, learning rate, state.

    ``parameters``: leaves made by ``ta.parameter``, for instance ``model.parameters()``; or groups of them as in
    torch, ``[{"params": …, "weight_decay": 0.0}, …]``, each with an ``lr`` or ``weight_decay`` of its own where it
    gives one. ``lr``: a number, or a schedule (``ta.optim.schedules``, or a function of yours: ``lambda step: 0.1 /
    (1 + step)``), a function of the number of updates done, a float64 Tensor. ``clip_norm`` limits the norm of all
    gradients together (Pascanu et al. 2013), ``clip_value`` each of their elements. With ``skip_nonfinite`` an
    update whose gradients hold inf or NaN, or have a norm beyond what the squares of their type can hold (1.8e19 of
    float32), changes nothing, not even the count of updates: the loop sees the norm, and the parameters are still good.

    Raises TinyattnError for no parameters, for one that is there twice, and for a rate or an option that makes no
    sense.
    """

    moments: tuple[str, ...] = ()
    """Names of the moments, arrays of the parameter's shape that start at 0."""

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        skip_nonfinite: bool = True,
    ):
        self.parameters, options = split_groups(self._name, parameters, [*vars(self), "lr"])
        self.schedule: schedules.Schedule | None = lr if callable(lr) else None
        self.clip_norm, self.clip_value, self.skip_nonfinite = clip_norm, clip_value, skip_nonfinite
        if clip_norm is not None and clip_value is not None:
            got = f"got {clip_norm} and {clip_value}"
            fail(errors.TinyattnError, self._name, "clip_norm or clip_value must be left out", got)
        for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            self._check(
                name, limit is None or schedules.is_number(limit) and limit > 0, "positive", repr(limit)
            )
        self._check_options()
        self._lr = tensor(np.array(self._first("lr", lr), np.float64), name="lr")
        self.steps = tensor(np.zeros((), np.int64), name="steps")
        """The number of updates done."""
        self._moments: list[Moments] = [
            tuple(tensor(np.zeros(w.shape, w.dtype), name=_join(m, w.name)) for m in self.moments)
            for w in self.parameters
        ]
        for w, own in zip(self.parameters, self._moments, strict=True):
            for moment in own:
                w.storage.follow(moment)
        self._groups = [self._with(own) for own in options]

    def _with(self, options: dict[str, Any]) -> tuple["Optimizer", Any]:
        """For one parameter: whose rule it follows, and its own learning rate or None."""
        for name, value in options.items():
            (self._first if name == "lr" else self._in_range)(name, value)
        variant = copy.copy(self) if options else self
        vars(variant).update({name: value for name, value in options.items() if name != "lr"})
        return variant, options.get("lr")

    def _first(self, name: str, given: Any) -> float:
        """The value of an option, or of its schedule at the first step."""
        first = schedules.rate_at(self._name, given, 0).item() if callable(given) else given
        self._check(name, schedules.is_number(first), "a number or a schedule", repr(first))
        return self._in_range(name, first)

    def _check_options(self) -> None:
        """Every option is a number where it may lie, whichever optimizer has it."""
        for name in ("momentum", "weight_decay", "eps"):
            self._in_range(name, vars(self).get(name, 0))
        for name in ("alpha", "rho"):
            self._in_range(name, vars(self).get(name, 0), 1)
        betas = vars(self).get("betas", (0, 0))
        self._check("betas", isinstance(betas, (tuple, list)) and len(betas) == 2, "two numbers", repr(betas))
        good = all(schedules.is_number(beta) and 0 <= beta < 1 for beta in betas)
        self._check("betas", good, "in [0, 1)", betas)

    def _in_range(self, name: str, value: Any, below: float = math.inf) -> Any:
        self._check(name, schedules.is_number(value), "a number", repr(value))
        self._check(name, 0 <= value < below, "at least 0" if below > 1 else "in [0, 1)", value)
        return value

    @property
    def _name(self) -> str:
        return type(self).__name__

    def __getattr__(self, name: str) -> Any:
        raise missing(type(self).__name__, "optimizer", name, dir(type(self)))

    def _check(self, name: str, holds: bool, must: str, got: Any) -> None:
        if not holds:
            fail(errors.TinyattnError, self._name, f"{name} must be {must}", f"got {got}")

    @property
    def lr(self) -> Tensor:
        """The learning rate, a 0-d float64 leaf: assign a number, or read what a schedule gave last."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        if self.schedule is not None:
            got = f"got an assignment of {value}"
            fail(errors.TinyattnError, self._name, "the learning rate must be set by the schedule", got)
        self._lr.assign(float(self._in_range("lr", value)))

    # The update.

    def minimize(self, loss: Tensor) -> Tensor:
        """One step of descent: update all parameters against the gradient of the scalar ``loss``.

        Inside a compiled function the update is recorded, once for each call of its program; outside it
        happens now. Returns the norm of all gradients before clipping, a 0-d float64 Tensor.
        """
        if isinstance(loss, Tensor) and set(topological([loss])).isdisjoint(self.parameters):
            self._refuse_other_model()
        return self.update(grad(loss, self.parameters))

    @isolated
    def update(self, gradients: Sequence[Tensor], norm: Tensor | None = None) -> Tensor:
        """Like ``minimize``, with gradients from elsewhere: a list or tuple of Tensors, one for each parameter, of its
        shape and type; and with their ``norm``, a 0-d float64 Tensor, if it is known. ShapeError, DTypeError or
        TinyattnError for others, or if they are the gradients of a loss that depends on none of the parameters.
        """
        self._check_gradients(gradients)
        with scope(self._name):
            if norm is None:
                norm = sqrt(_total([cast(sum_of(square(g)), FLOAT64) for g in gradients]))
            updates = self._updates(list(gradients), norm)
        if trace.current() is None:
            return tensor(Program([norm], [], updates).run([])[0])
        for leaf, value in updates.items():
            trace.assign(leaf, value)
        return norm

    def _updates(self, gradients: list[Tensor], norm: Tensor) -> dict[Tensor, Tensor]:
        """What each leaf becomes."""
        lr = self._lr if self.schedule is None else self._rate(self.schedule)
        done = self.steps + 1
        updates = {self.steps: done} if self.schedule is None else {self.steps: done, self._lr: lr}
        scale = None if self.clip_norm is None else minimum(self.clip_norm / (norm + 1e-6), 1.0)
        known = zip(self.parameters, gradients, self._moments, self._groups, strict=True)
        for w, g, moments, (rules, own) in known:
            rate = lr if own is None else self._rate(own) if callable(own) else as_tensor(np.float64(own))
            scalars = rules.scalars(rate, cast(done, FLOAT64))
            if scale is not None:
                g = g * cast(scale, w.dtype)
            if self.clip_value is not None:
                g = clip(g, -self.clip_value, self.clip_value)
            new_w, new_moments = rules.rule(w, g, moments, tuple(cast(s, w.dtype) for s in scalars))
            updates[w] = new_w
            updates.update(zip(moments, new_moments, strict=True))
        if not self.skip_nonfinite:
            return updates
        sound = isfinite(norm)
        kept = {leaf: where(sound, value, leaf) for leaf, value in updates.items()}
        return kept if self.schedule is None else {**kept, self._lr: lr}

    def _rate(self, schedule: schedules.Schedule) -> Tensor:
        return schedules.rate_at(self._name, schedule, self.steps)

    def scalars(self, lr: Tensor, step: Tensor) -> Scalars:
        """What the rule needs besides arrays, from the rate and the update's number 1, 2, …; 0-d float64."""
        return (lr,)

    def rule(self, w: Tensor, g: Tensor, moments: Moments, scalars: Scalars) -> tuple[Tensor, Moments]:
        """New values of a parameter ``w`` and its ``moments``, by its gradient ``g`` and ``scalars``, such as the
        rate.
        """
        raise NotImplementedError

    def _refuse_other_model(self) -> NoReturn:
        must, got = "the loss must depend on a parameter of the optimizer", "it depends on none"
        hint = "They belong to another model: make the optimizer from the one that is trained, after any .copy() of it."
        fail(errors.TinyattnError, self._name, must, got, hint)

    def _check_gradients(self, gradients: Sequence[Tensor]) -> None:
        several = isinstance(gradients, (list, tuple))
        if not several or not all(isinstance(g, Tensor) for g in gradients):
            must = "the gradients must be a list of Tensors, in the order of the parameters"
            wrong = [type(g).__name__ for g in gradients if not isinstance(g, Tensor)] if several else []
            got = f"{wrong[0]} in it" if wrong else type(gradients).__name__
            hint = "An array g becomes one by ta.tensor(g)."
            fail(errors.DTypeError, self._name, must, f"got {got}", hint)
        if len(gradients) != len(self.parameters):
            must = f"there must be a gradient for each of {len(self.parameters)} parameters"
            fail(errors.ShapeError, self._name, must, f"got {len(gradients)}")
        for w, g in zip(self.parameters, gradients, strict=True):
            if g.type != w.type:
                must = f"the gradient of {w.name or 'a parameter'} must be {w.type}"
                fail(errors.ShapeError, self._name, must, f"got {g.type}")
        if all(g is zeros_like(w) for w, g in zip(self.parameters, gradients, strict=True)):
            self._refuse_other_model()
        tracing = trace.current()
        if tracing is not None and self.steps in tracing.updates:
            must = "an optimizer must update once in a compiled function"
            hint = "Add the losses up, and minimize their sum."
            fail(errors.TinyattnError, self._name, must, "got a second update", hint)

    # State.

    def _leaves(self) -> dict[str, Tensor]:
        names = names_of(self.parameters)
        leaves = {"steps": self.steps, "lr": self._lr}
        for k, moment in enumerate(self.moments):
            leaves |= {_join(moment, name): own[k] for name, own in zip(names, self._moments, strict=True)}
        return leaves

    @property
    def moments_of(self) -> dict[Tensor, Moments]:
        """The moments of each parameter."""
        return dict(zip(self.parameters, self._moments, strict=True))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that the optimizer remembers: ``steps``, ``lr`` and each ``<moment>.<parameter>``.

        Parameters go by their numbers 0, 1, … where their names are not unique.
        """
        return state.save(self._leaves())

    def load_state_dict(self, given: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned, ``given``. CheckpointError, with nothing changed, if it does not
        fit.
        """
        state.load(self._name, self._leaves(), given)

    def __repr__(self) -> str:
        size = sum(w.size for w in self.parameters)
        return f"{self._name}({len(self.parameters)} parameters of {size:,} numbers, lr={float(self._lr):g})"


def names_of(parameters: Sequence[Tensor]) -> list[str]:
    """What parameters are called in a state dict: by their numbers where their names are not unique."""
    names = [w.name or "" for w in parameters]
    if len(set(names)) < len(names) or "" in names:
        return [str(k) for k in range(len(names))]
    return names


def _join(moment: str, name: str | None) -> str:
    return f"{moment}.{name}" if name else moment


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total
