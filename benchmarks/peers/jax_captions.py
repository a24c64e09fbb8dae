"""Captioners as a JAX user writes them: see `jax_models.py`."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from . import jax_training
from .jax_recurrent import layer, linear, lstm_gates, masked_mean, weighted
from .jax_training import Parameters


def pooled(x: jax.Array, by: int) -> jax.Array:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, by, by), (1, 1, by, by), "VALID")


def cells(c: Any, p: Parameters, x: jax.Array) -> jax.Array:
    """Images (B, C, H, H) → (B, L, D)."""
    for k in range(c.layers):
        if k:
            x = pooled(x, 2)
        x = lax.conv_general_dilated(x, p[f"network.layers.{k}.weight"], (1, 1), "SAME")
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        scale, shift = (p[f"network.norms.{k}.{part}"][:, None, None] for part in ("weight", "bias"))
        x = jax.nn.relu((x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift)
    return x.reshape(*x.shape[:2], -1).swapaxes(1, 2)


def captioner(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    grid = cells(c, p, batch["images"]).swapaxes(1, 2).reshape(-1, c.features, c.side, c.side)
    first = linear(p, "image", pooled(grid, c.pool).reshape(len(grid), -1))
    words = p["embedding.weight"][batch["target_in"].T]
    states, _ = layer("lstm", p, "lstm", words, None, first=(jnp.tanh(first), first))
    logits = linear(p, "vocabulary", states)
    targets = batch["target_out"].T
    return masked_mean(jax_training.cross_entropy(logits, targets), targets != 0)


def show_attend_tell(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    targets = batch["target_out"].T
    a = cells(c, p, batch["images"]) + p["place"]
    keys, mean = linear(p, "key", a), a.mean(1)
    y = p["embedding.weight"][batch["target_in"].T]  # (T, B, m)

    def step(state: tuple, word: jax.Array) -> tuple:
        h, cell = state
        weights = jax.nn.softmax(jnp.tanh(linear(p, "query", h)[:, None] + keys) @ p["v"])
        z = jax.nn.sigmoid(linear(p, "gate", h)) * weighted(weights, a)
        h, cell = lstm_gates(word + linear(p, "context", z) + h @ p["recurrent"].T, cell)
        return (h, cell), (h, z, weights)

    state = tuple(jnp.tanh(linear(p, name, mean)) for name in ("first_h", "first_c"))
    _, (h, z, weights) = lax.scan(step, state, linear(p, "word", y))
    if c.dropout:
        kept = jax.random.bernoulli(batch["key"], 1 - c.dropout, h.shape)
        h = jnp.where(kept, h / (1 - c.dropout), 0.0)
    logits = linear(p, "vocabulary", y + linear(p, "state", h) + linear(p, "seen", z))
    real = targets != 0
    nats = jnp.where(real, jax_training.cross_entropy(logits, targets), 0.0).sum()
    times = jnp.where(real[:, :, None], weights, 0.0).sum(0)
    penalty = jnp.where(batch["valid"], jnp.square(1 - times).sum(1), 0.0).sum()
    return (nats + c.stochastic * penalty) / real.sum()
