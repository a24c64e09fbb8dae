"""A Neural Turing Machine on the copy task, one training step, as a JAX user writes it.

The same equations and weights as `torch_ntm.py`, in one `jit` with one `lax.scan` over the 41 steps.
"""

import jax
import jax.numpy as jnp
from jax import lax

from . import jax_training, problem
from .jax_training import Parameters

Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def lstm(
    parameters: Parameters, x: jax.Array, state: jax.Array, cell: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """PyTorch's LSTM cell (gates i, f, g, o): new state and new cell, (B, C) each."""
    gates = x @ parameters["controller.weight_ih"].T + parameters["controller.bias_ih"]
    gates = gates + state @ parameters["controller.weight_hh"].T + parameters["controller.bias_hh"]
    enter, forget, candidate, leave = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
    return jax.nn.sigmoid(leave) * jnp.tanh(cell), cell


def address(values: jax.Array, memory: jax.Array, previous: jax.Array) -> jax.Array:
    """What a head emits (B, W + 6), memory (B, N, W), previous weights (B, N) to new weights (B, N)."""
    width = memory.shape[-1]
    key, strength, gate, shift, sharpening = jnp.split(
        values, [width, width + 1, width + 2, width + 5], axis=-1
    )
    lengths = jnp.maximum(jnp.linalg.norm(key, axis=-1), 1e-8)[:, None]
    rows = jnp.maximum(jnp.linalg.norm(memory, axis=-1), 1e-8)  # (B, N)
    cosine = jnp.einsum("bw,bnw->bn", key, memory) / (lengths * rows)
    content = jax.nn.softmax(jax.nn.softplus(strength) * cosine, axis=-1)
    gate = jax.nn.sigmoid(gate)
    gated = gate * content + (1 - gate) * previous
    back, stay, ahead = jnp.split(jax.nn.softmax(shift, axis=-1), 3, axis=-1)
    shifted = jnp.roll(gated, -1, axis=-1) * back + gated * stay + jnp.roll(gated, 1, axis=-1) * ahead
    sharp = (shifted + 1e-16) ** (1 + jax.nn.softplus(sharpening))
    return sharp / sharp.sum(axis=-1, keepdims=True)


def write(memory: jax.Array, weights: jax.Array, erase: jax.Array, add: jax.Array) -> jax.Array:
    """Memory (B, N, W), weights (B, N), what to erase, before its sigmoid, and what to add (B, W)."""
    places = weights[..., None]  # (B, N, 1)
    return memory * (1 - places * jax.nn.sigmoid(erase)[:, None]) + places * add[:, None]


def logits(parameters: Parameters, inputs: jax.Array, answers: int, memory_rows: int) -> jax.Array:
    """(T, B, 9) inputs give the (answers, B, 8) logits of the last steps."""
    batch = inputs.shape[1]
    controller = parameters["controller.weight_hh"].shape[1]
    width = parameters["output.weight"].shape[1] - controller
    start = jnp.zeros((batch, memory_rows)).at[:, 0].set(1.0)

    def emitted(head: str, state: jax.Array) -> jax.Array:
        return state @ parameters[f"{head}.weight"].T + parameters[f"{head}.bias"]

    def step(carry: Carry, x: jax.Array) -> tuple[Carry, jax.Array]:
        state, cell, memory, read, read_weights, write_weights = carry
        state, cell = lstm(parameters, jnp.concatenate([x, read], axis=-1), state, cell)
        read_weights = address(emitted("read_head", state), memory, read_weights)
        values, erase, add = jnp.split(emitted("write_head", state), [width + 6, 2 * width + 6], axis=-1)
        write_weights = address(values, memory, write_weights)
        read = jnp.einsum("bn,bnw->bw", read_weights, memory)
        memory = write(memory, write_weights, erase, add)
        return (state, cell, memory, read, read_weights, write_weights), jnp.concatenate(
            [state, read], axis=-1
        )

    zeros = jnp.zeros((batch, controller))
    memory = jnp.full((batch, memory_rows, width), 1e-6)
    _, features = lax.scan(step, (zeros, zeros, memory, jnp.zeros((batch, width)), start, start), inputs)
    return features[-answers:] @ parameters["output.weight"].T + parameters["output.bias"]


def make_step(
    batch: int = 1,
    length: int = 20,
    controller: int = 100,
    rows: int = 128,
    width: int = 20,
    seed: int = 0,
    weights: problem.Arrays | None = None,
) -> jax_training.Step:
    """A training step (RMSprop 1e-4, gradients clipped to +-10) from `weights`, or else those of `seed`."""

    def loss(parameters: Parameters, data: Parameters) -> jax.Array:
        values, bits = logits(parameters, data["inputs"], length, rows), data["outputs"]
        return jnp.mean(jax.nn.softplus(values) - bits * values)

    return jax_training.Step(
        weights or problem.ntm_parameters(controller, width, seed),
        problem.ntm_batch(batch, length, seed),
        loss,
        jax_training.rmsprop_state,
        lambda parameters, gradients, state: jax_training.rmsprop(
            parameters, jax.tree.map(lambda gradient: jnp.clip(gradient, -10.0, 10.0), gradients), state, 1e-4
        ),
    )
