"""What says bits, with a memory or without, and what points, in JAX: see `jax_models.py`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from . import jax_training
from .jax_ntm import address, write
from .jax_recurrent import inside, layer, linear, lstm_gates, masked_mean
from .jax_training import Parameters


def bits_loss(logits: jax.Array, batch: Parameters) -> jax.Array:
    """Logits (T, B, O): the mean −log p of the bits that are asked for."""
    nats = jax.nn.softplus(logits) - batch["targets"].swapaxes(0, 1) * logits
    return masked_mean(nats.mean(-1), batch["asked"].T)


def lstm_bits(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    x = batch["inputs"].swapaxes(0, 1)
    for k in range(c.layers):
        x, _ = layer("lstm", p, "lstm", x, None, f"l{k}")
    return bits_loss(linear(p, "output", x), batch)


def ntm(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    """An LSTM as controller, a head that reads and one that writes, each with a distribution over three shifts."""
    rows, width = len(batch["inputs"]), c.width
    heads = jax.vmap(address, (1, None, 1), 1)

    def step(carry: tuple, part: jax.Array) -> tuple:
        h, cell, memory, weights, read = carry
        h, cell = lstm_gates(part + linear(p, "reading", read) + h @ p["cell.weight"].T, cell)
        emitted, erase, add = jnp.split(linear(p, "emit", h), [2 * width + 12, 3 * width + 12], -1)
        weights = heads(emitted.reshape(rows, 2, -1), memory, weights)  # (B, 2, N)
        read = jnp.einsum("bn,bnw->bw", weights[:, 0], memory)
        memory = write(memory, weights[:, 1], erase, add)
        return (h, cell, memory, weights, read), jnp.concatenate([h, read], -1)

    zeros, memory = jnp.zeros((rows, c.hidden)), jnp.full((rows, c.places, width), 1e-6)
    first = jnp.zeros((rows, 2, c.places)).at[:, :, 0].set(1.0)
    carry = zeros, zeros, memory, first, jnp.zeros((rows, width))
    _, said = lax.scan(step, carry, linear(p, "input", batch["inputs"].swapaxes(0, 1)))
    return bits_loss(linear(p, "output", said), batch)


def pointer(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    points, count, targets = batch["points"], batch["count"], batch["slots_out"].T
    longest = points.shape[1]
    mask = inside(count, longest).T
    states, last = layer("lstm", p, "encoder", points.swapaxes(0, 1), mask)
    end = jnp.broadcast_to(p["end"], (1, *states.shape[1:]))
    keys = linear(p, "key", jnp.concatenate([end, states]))  # (S, B, H)
    start = jnp.broadcast_to(p["start"], (len(points), 1, points.shape[2]))
    given = jnp.take_along_axis(jnp.concatenate([start, points], 1), batch["slots_in"][..., None], 1)
    states, _ = layer("lstm", p, "decoder", given.swapaxes(0, 1), None, first=last)
    query = linear(p, "query", states)  # (T, B, H)
    scores = jnp.einsum("tsbh,h->tbs", jnp.tanh(query[:, None] + keys), p["v"])
    there = inside(count + 1, longest + 1).at[:, 0].set(not c.permutation)
    values = jax_training.cross_entropy(jnp.where(there, scores, -1e30), jnp.maximum(targets, 0))
    return masked_mean(values, targets >= 0)
