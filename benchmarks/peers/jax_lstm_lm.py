"""A language model of one LSTM layer, one training step, as a JAX user writes it.

The same equations and weights as `torch_lstm_lm.py`, in one `jit`: the inputs of all steps are projected
together, one `lax.scan` runs over the steps, and the outputs are projected together.
"""

import jax
import jax.numpy as jnp
from jax import lax

from . import jax_training, problem
from .jax_training import Parameters

Carry = tuple[jax.Array, jax.Array]


def lstm(parameters: Parameters, x: jax.Array) -> jax.Array:
    """(T, B, E) inputs give the (T, B, H) states of PyTorch's LSTM (gates i, f, g, o)."""
    bias = parameters["lstm.bias_ih_l0"] + parameters["lstm.bias_hh_l0"]
    projected = x @ parameters["lstm.weight_ih_l0"].T + bias
    recurrent = parameters["lstm.weight_hh_l0"].T

    def step(carry: Carry, gates: jax.Array) -> tuple[Carry, jax.Array]:
        state, cell = carry
        enter, forget, candidate, leave = jnp.split(gates + state @ recurrent, 4, axis=-1)
        cell = jax.nn.sigmoid(forget) * cell + jax.nn.sigmoid(enter) * jnp.tanh(candidate)
        state = jax.nn.sigmoid(leave) * jnp.tanh(cell)
        return (state, cell), state

    zeros = jnp.zeros((x.shape[1], recurrent.shape[0]))
    _, states = lax.scan(step, (zeros, zeros), projected)
    return states


def loss(parameters: Parameters, data: Parameters) -> jax.Array:
    """Mean cross-entropy of the tokens that follow."""
    states = lstm(parameters, parameters["embedding.weight"][data["inputs"].T])
    logits = states @ parameters["output.weight"].T + parameters["output.bias"]
    return jax_training.cross_entropy(logits, data["outputs"].T).mean()


def make_step(
    batch: int = 32,
    steps: int = 64,
    embedding: int = 256,
    hidden: int = 256,
    vocabulary: int = 65,
    seed: int = 0,
) -> jax_training.Step:
    """A training step (Adam 1e-3, gradient clipped to norm 1) from the weights of `seed`."""
    return jax_training.Step(
        problem.lstm_lm_parameters(embedding, hidden, vocabulary, seed),
        problem.language_batch(batch, steps, vocabulary, seed),
        loss,
        jax_training.adam_state,
        jax_training.clipped_adam(),
    )
