"""What the JAX peers share: optimizers and layers with PyTorch's formulas, and a step compiled whole.

Parameters, optimizer state and gradients are dicts of arrays with the same keys. The old buffers are donated
to the compiled step, which therefore updates in place.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import problem

Parameters = dict[str, jax.Array]
State = dict[str, Any]  # moments by name, as the parameters; and the number of steps


def clip_norm(gradients: Parameters, limit: float) -> Parameters:
    """Scale all gradients by min(1, limit / norm), where norm is that of all of them together."""
    norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients.values()))
    scale = jnp.minimum(1.0, limit / (norm + 1e-6))
    return jax.tree.map(lambda gradient: gradient * scale, gradients)


def adam_state(parameters: Parameters) -> State:
    """Zero moments and step 0."""
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    return {
        "mean": zeros,
        "square": jax.tree.map(jnp.zeros_like, parameters),
        "step": jnp.zeros((), jnp.int32),
    }


def adam(
    parameters: Parameters,
    gradients: Parameters,
    state: State,
    rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    decay: float = 0.0,
) -> tuple[Parameters, State]:
    """Kingma and Ba (2015), algorithm 1, with epsilon 1e-8; `decay` of matrices as in AdamW."""
    first, second = betas
    step = state["step"] + 1
    mean = jax.tree.map(lambda m, g: first * m + (1 - first) * g, state["mean"], gradients)
    square = jax.tree.map(lambda v, g: second * v + (1 - second) * g * g, state["square"], gradients)
    scale, correction = rate / (1 - first**step), jnp.sqrt(1 - second**step)

    def update(p: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
        kept = p * (1 - rate * decay) if p.ndim > 1 and decay else p
        return kept - scale * m / (jnp.sqrt(v) / correction + 1e-8)

    updated = jax.tree.map(update, parameters, mean, square)
    return updated, {"mean": mean, "square": square, "step": step}


def clipped_adam(**options: Any) -> Callable[[Parameters, Parameters, State], tuple[Parameters, State]]:
    """The update of Adam 1e-3 with all gradients together clipped to norm 1; `options` are those of `adam`."""
    return lambda parameters, gradients, state: adam(
        parameters, clip_norm(gradients, 1.0), state, 1e-3, **options
    )


def rmsprop_state(parameters: Parameters) -> State:
    """Zero mean square and zero momentum."""
    return {
        "square": jax.tree.map(jnp.zeros_like, parameters),
        "momentum": jax.tree.map(jnp.zeros_like, parameters),
    }


def rmsprop(
    parameters: Parameters, gradients: Parameters, state: State, rate: float
) -> tuple[Parameters, State]:
    """torch.optim.RMSprop(alpha=0.95, momentum=0.9, eps=1e-8), not centred."""
    square = jax.tree.map(lambda v, g: 0.95 * v + 0.05 * g * g, state["square"], gradients)
    momentum = jax.tree.map(
        lambda b, g, v: 0.9 * b + g / (jnp.sqrt(v) + 1e-8), state["momentum"], gradients, square
    )
    updated = jax.tree.map(lambda p, b: p - rate * b, parameters, momentum)
    return updated, {"square": square, "momentum": momentum}


def layer_norm(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Ba et al. (2016) over the last axis, with epsilon 1e-5 and without bias."""
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-5) * weight


def cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: float = 0.0) -> jax.Array:
    """Cross-entropy of each row of (..., V) logits, with label smoothing as PyTorch's."""
    values = jax.nn.log_softmax(logits)
    each = -jnp.take_along_axis(values, targets[..., None], axis=-1)[..., 0]
    return (1 - smoothing) * each - smoothing * values.mean(-1) if smoothing else each


class Step:
    """One training step on a fixed batch; calling it waits for the end and returns the loss before it."""

    def __init__(
        self,
        weights: problem.Arrays,
        batch: problem.Arrays,
        loss: Callable[[Parameters, Parameters], jax.Array],
        start: Callable[[Parameters], State],
        update: Callable[[Parameters, Parameters, State], tuple[Parameters, State]],
    ) -> None:
        def step(
            parameters: Parameters, state: State, data: Parameters
        ) -> tuple[jax.Array, Parameters, State]:
            value, gradients = jax.value_and_grad(loss)(parameters, data)
            return value, *update(parameters, gradients, state)

        self._parameters = jax.tree.map(jnp.array, weights)
        self._state = start(self._parameters)
        self._batch = jax.tree.map(jnp.asarray, batch)
        self._step = jax.jit(step, donate_argnums=(0, 1))

    def arguments(self) -> tuple[Parameters, State, Parameters]:
        """What the compiled function is called with."""
        return self._parameters, self._state, self._batch

    def __call__(self) -> float:
        value, self._parameters, self._state = self._step(*self.arguments())
        jax.block_until_ready((value, self._parameters, self._state))
        return float(value)

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of the weights, by name."""
        return {name: np.array(array) for name, array in self._parameters.items()}
