"""``ta.optim``: the rules by which optimizers change parameters, one class each, with torch's names, formulas and
defaults. The equations stand with the classes; what all of them share is in ``optimizer.py``.
"""

from typing import Any

from tinyattn.graph.hints import missing
from tinyattn.ops.arrays.elementwise import maximum, sqrt
from tinyattn.train import schedules
from tinyattn.train.groups import Parameters
from tinyattn.train.optimizer import Optimizer


class SGD(Optimizer):
    """Gradient descent with momentum μ and weight decay λ.

    g ← g + λw; b' = μb + g; w' = w − lr·b', or w − lr·(g + μb') with ``nesterov`` (Sutskever et al. 2013).

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; ``momentum``: μ, ``weight_decay``: λ.
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
        super().__init__(parameters, lr, **options)
        self._check("momentum", momentum > 0 or not nesterov, "positive with nesterov", momentum)

    def rule(self, w, g, moments, scalars):
        (lr,) = scalars
        g = g + self.weight_decay * w if self.weight_decay else g
        if not moments:
            return w - lr * g, ()
        buffer = self.momentum * moments[0] + g
        return w - lr * (g + self.momentum * buffer if self.nesterov else buffer), (buffer,)


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps of a size that does not depend on the gradient's scale.

    g ← g + λw; m' = m + (1−β₁)(g − m); v' = β₂v + (1−β₂)g²; w' = w − lr/(1−β₁ᵗ) · m' / (√v' / √(1−β₂ᵗ) + ε).

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; ``betas``: β₁ and β₂, ``eps``: ε,
    ``weight_decay``: λ. Kingma & Ba 2015, algorithm 1.
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

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; the others as Adam's: ``betas``, ``eps``,
    ``weight_decay``: λ. Loshchilov & Hutter 2019, algorithm 2.
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
    """RMSprop (Tieleman & Hinton 2012), as in torch; ``centered`` divides by the standard deviation of the gradient
    (Graves 2013).

    g ← g + λw; n' = αn + (1−α)g²; m' = m + (1−α)(g − m); d = √n' or √(n' − m'²); b' = μb + g/(d + ε); w' = w −
    lr·b'.

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; ``alpha``: α, ``eps``: ε,
    ``weight_decay``: λ, ``momentum``: μ.
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

    g ← g + λw; n' = ρn + (1−ρ)g²; δ = √(a + ε)/√(n' + ε) · g; a' = ρa + (1−ρ)δ²; w' = w − lr·δ.

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; ``rho``: ρ, ``eps``: ε, ``weight_decay``:
    λ. Zeiler 2012, algorithm 1.
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

    n' = ρn + (1−ρ)g²; m' = ρm + (1−ρ)g; Δ' = μΔ − lr · g / √(n' − m'² + ε); w' = w + Δ'.

    ``parameters``, ``lr`` and further options as for :class:`Optimizer`; ``rho``: ρ, ``momentum``: μ, ``eps``: ε.
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
