"""Optimizers: the update of every parameter as part of the graph.

``optimizer.minimize(loss)`` differentiates the loss and writes, for each parameter w with gradient g, what w
and its moments become:

    g ← g · min(1, clip_norm / (‖all gradients‖ + 1e-6));     w' = w − lr · (…)

Inside a compiled function these updates belong to its program, so that one native call runs the whole
training step. What does not depend on the element (learning rate, bias corrections, the clipping factor) is
computed once, in float64; the rest is one elementwise chain for each parameter. Formulas and defaults are
torch's; the equations stand with each class.

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
from tinyattn.graph.scope import scope
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import FLOAT64, fail
from tinyattn.nn import state
from tinyattn.ops.elementwise import cast, clip, isfinite, maximum, minimum, sqrt, square, where
from tinyattn.ops.reduce import sum as sum_of
from tinyattn.runtime.program import Program
from tinyattn.train import schedules
from tinyattn.train.groups import Parameters, split_groups

Scalars = tuple[Tensor, ...]
Moments = tuple[Tensor, ...]


class Optimizer:
    """What all optimizers share: gradients, clipping, learning rate, state.

    ``parameters``: leaves made by ``ta.parameter``, for instance ``model.parameters()``; or groups of them as
    in torch, ``[{"params": …, "weight_decay": 0.0}, …]``, each with an ``lr`` or ``weight_decay`` of its own
    where it gives one. ``lr``: a number, or
    a schedule (``ta.optim.schedules``, or a function of yours: ``lambda step: 0.1 / (1 + step)``), a function of the
    number of updates done, a float64 Tensor. ``clip_norm`` limits the
    norm of all gradients together (Pascanu et al. 2013), ``clip_value`` each of their elements. With
    ``skip_nonfinite`` an update whose gradients hold inf or NaN changes nothing, not even the count of
    updates: the loop sees the norm, and the parameters are still good.
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
        self._check("clip_norm", clip_norm is None or clip_norm > 0, "positive", clip_norm)
        self._check("clip_value", clip_value is None or clip_value > 0, "positive", clip_value)
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
            self._first(name, value)
        variant = copy.copy(self) if options else self
        vars(variant).update({name: value for name, value in options.items() if name != "lr"})
        return variant, options.get("lr")

    def _first(self, name: str, given: Any) -> float:
        """The value of an option, or of its schedule at the first step."""
        first = schedules.rate_at(self._name, given, 0).item() if callable(given) else given
        self._check(name, schedules.is_number(first), "a number or a schedule", repr(first))
        self._check(name, math.isfinite(first) and first >= 0, "at least 0", first)
        return first

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
        self._check("lr", math.isfinite(value) and value >= 0, "at least 0", value)
        self._lr.assign(float(value))

    # The update.

    def minimize(self, loss: Tensor) -> Tensor:
        """One step of descent: update all parameters against the gradient of the scalar ``loss``.

        Inside a compiled function the update is recorded, once for each call of its program; outside it
        happens now. Returns the norm of all gradients before clipping, a 0-d float64 Tensor.
        """
        if isinstance(loss, Tensor) and set(topological([loss])).isdisjoint(self.parameters):
            self._refuse_other_model()
        return self.update(grad(loss, self.parameters))

    def update(self, gradients: Sequence[Tensor]) -> Tensor:
        """Like ``minimize``, with gradients from elsewhere: a list or tuple of Tensors, one for each parameter, of its
        shape and type. ShapeError, DTypeError or TinyattnError for others, or if they are the gradients of a loss that
        depends on none of the parameters.
        """
        self._check_gradients(gradients)
        with scope(self._name):
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
        """New values of a parameter and its moments."""
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
        names = [w.name or "" for w in self.parameters]
        if len(set(names)) < len(names) or "" in names:
            names = [str(k) for k in range(len(names))]
        leaves = {"steps": self.steps, "lr": self._lr}
        for k, moment in enumerate(self.moments):
            leaves |= {_join(moment, name): own[k] for name, own in zip(names, self._moments, strict=True)}
        return leaves

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of all that the optimizer remembers: ``steps``, ``lr`` and each ``<moment>.<parameter>``.

        Parameters go by their numbers 0, 1, … where their names are not unique.
        """
        return state.save(self._leaves())

    def load_state_dict(self, given: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned. CheckpointError, with nothing changed, if it does not fit."""
        state.load(self._name, self._leaves(), given)

    def __repr__(self) -> str:
        size = sum(w.size for w in self.parameters)
        return f"{self._name}({len(self.parameters)} parameters of {size:,} numbers, lr={float(self._lr):g})"


def _join(moment: str, name: str | None) -> str:
    return f"{moment}.{name}" if name else moment


def _total(parts: list[Tensor]) -> Tensor:
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


class SGD(Optimizer):
    """Gradient descent with momentum μ and weight decay λ.

    g ← g + λw;  b' = μb + g;  w' = w − lr·b', or w − lr·(g + μb') with ``nesterov`` (Sutskever et al. 2013).
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1e-3,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        **options: Any,
    ):
        self.momentum, self.nesterov, self.weight_decay = momentum, nesterov, weight_decay
        self.moments = ("momentum_buffer",) if momentum else ()
        self._check("momentum", momentum >= 0, "at least 0", momentum)
        self._check("momentum", momentum > 0 or not nesterov, "positive with nesterov", momentum)
        super().__init__(parameters, lr, **options)

    def rule(self, w, g, moments, scalars):
        (lr,) = scalars
        g = g + self.weight_decay * w if self.weight_decay else g
        if not moments:
            return w - lr * g, ()
        buffer = self.momentum * moments[0] + g
        return w - lr * (g + self.momentum * buffer if self.nesterov else buffer), (buffer,)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps of a size that does not depend on the gradient's scale.

    g ← g + λw;  m' = m + (1−β₁)(g − m);  v' = β₂v + (1−β₂)g²;  w' = w − lr/(1−β₁ᵗ) · m' / (√v' / √(1−β₂ᵗ) +
    ε).
    """

    moments = ("exp_avg", "exp_avg_sq")
    decoupled = False

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        **options: Any,
    ):
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        self._check("betas", all(0 <= beta < 1 for beta in betas), "in [0, 1)", betas)
        super().__init__(parameters, lr, **options)

    def scalars(self, lr, step):
        beta1, beta2 = self.betas
        return lr / (1 - beta1**step), sqrt(1 - beta2**step), 1 - lr * self.weight_decay

    def rule(self, w, g, moments, scalars):
        (beta1, beta2), (mean, mean_square), (size, correction, shrink) = self.betas, moments, scalars
        if self.weight_decay and self.decoupled:
            w = w * shrink
        elif self.weight_decay:
            g = g + self.weight_decay * w
        mean = mean + (1 - beta1) * (g - mean)
        mean_square = beta2 * mean_square + (1 - beta2) * (g * g)
        return w - size * (mean / (sqrt(mean_square) / correction + self.eps)), (mean, mean_square)


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019).

    The weight shrinks to (1 − lr·λ)w before Adam's step, and the gradient stays as it is.
    """

    decoupled = True

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        **options: Any,
    ):
        super().__init__(parameters, lr, betas, eps, weight_decay, **options)


class RMSprop(Optimizer):
    """RMSprop (Tieleman & Hinton 2012), as in torch; ``centered`` divides by the standard deviation of the
    gradient (Graves 2013).

    g ← g + λw;  n' = αn + (1−α)g²;  m' = m + (1−α)(g − m);  d = √n' or √(n' − m'²);  b' = μb + g/(d + ε);  w'
    = w − lr·b'.
    """

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        **options: Any,
    ):
        self.alpha, self.eps, self.weight_decay = alpha, eps, weight_decay
        self.momentum, self.centered = momentum, centered
        self.moments = ("square_avg", *["grad_avg"] * bool(centered), *["momentum_buffer"] * bool(momentum))
        self._check("alpha", 0 <= alpha < 1, "in [0, 1)", alpha)
        self._check("momentum", momentum >= 0, "at least 0", momentum)
        super().__init__(parameters, lr, **options)

    def rule(self, w, g, moments, scalars):
        (lr,), alpha = scalars, self.alpha
        old = dict(zip(self.moments, moments, strict=True))
        g = g + self.weight_decay * w if self.weight_decay else g
        new = {"square_avg": alpha * old["square_avg"] + (1 - alpha) * (g * g)}
        spread = new["square_avg"]
        if self.centered:
            new["grad_avg"] = old["grad_avg"] + (1 - alpha) * (g - old["grad_avg"])
            spread = maximum(spread - new["grad_avg"] * new["grad_avg"], 0)  # rounding may leave it below 0
        direction = g / (sqrt(spread) + self.eps)
        if self.momentum:
            direction = new["momentum_buffer"] = self.momentum * old["momentum_buffer"] + direction
        return w - lr * direction, tuple(new[name] for name in self.moments)


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012): steps in the parameter's own units.

    g ← g + λw;  n' = ρn + (1−ρ)g²;  δ = √(a + ε)/√(n' + ε) · g;  a' = ρa + (1−ρ)δ²;  w' = w − lr·δ.
    """

    moments = ("square_avg", "acc_delta")

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        **options: Any,
    ):
        self.rho, self.eps, self.weight_decay = rho, eps, weight_decay
        self._check("rho", 0 <= rho < 1, "in [0, 1)", rho)
        super().__init__(parameters, lr, **options)

    def rule(self, w, g, moments, scalars):
        (lr,), (mean_square, mean_delta), rho = scalars, moments, self.rho
        g = g + self.weight_decay * w if self.weight_decay else g
        mean_square = rho * mean_square + (1 - rho) * (g * g)
        delta = sqrt(mean_delta + self.eps) / sqrt(mean_square + self.eps) * g
        mean_delta = rho * mean_delta + (1 - rho) * (delta * delta)
        return w - lr * delta, (mean_square, mean_delta)


class GravesRMSprop(Optimizer):
    """RMSprop as Graves wrote it down (2013, equations 38–41), the optimizer of the Neural Turing Machine.

    n' = ρn + (1−ρ)g²;  m' = ρm + (1−ρ)g;  Δ' = μΔ − lr · g / √(n' − m'² + ε);  w' = w + Δ'.
    """

    moments = ("square_avg", "grad_avg", "delta")

    def __init__(
        self,
        parameters: Parameters,
        lr: float | schedules.Schedule = 1e-4,
        rho: float = 0.95,
        momentum: float = 0.9,
        eps: float = 1e-4,
        **options: Any,
    ):
        self.rho, self.momentum, self.eps = rho, momentum, eps
        self._check("rho", 0 <= rho < 1, "in [0, 1)", rho)
        super().__init__(parameters, lr, **options)

    def rule(self, w, g, moments, scalars):
        (lr,), (mean_square, mean, delta), rho = scalars, moments, self.rho
        mean_square = rho * mean_square + (1 - rho) * (g * g)
        mean = rho * mean + (1 - rho) * g
        variance = maximum(mean_square - mean * mean, 0)  # rounding may leave it below 0
        delta = self.momentum * delta - lr * (g / sqrt(variance + self.eps))
        return w + delta, (mean_square, mean, delta)


def __getattr__(name: str) -> Any:
    raise missing("tinyattn.optim", "optim", name, globals(), "ta.optim.")
