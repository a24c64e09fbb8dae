"""SNAIL, the learner from few drawings, in JAX: a function of a dict of weights with the names of ours."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .jax_gan import AXES
from .jax_recurrent import linear, masked_mean
from .jax_training import Parameters, cross_entropy


def look(c: Any, p: Parameters, images: jax.Array) -> jax.Array:
    """Drawings (n, 1, H, H) → (n, features)."""
    x, size, place = images, c.image_size, 0
    while size > 1:
        weight = p[f"look.layers.{place}.weight"]
        x = lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=AXES)
        mean, variance = x.mean((0, 2, 3), keepdims=True), x.var((0, 2, 3), keepdims=True)
        scale, shift = (p[f"look.layers.{place + 1}.{part}"][:, None, None] for part in ("weight", "bias"))
        x = jax.nn.relu((x - mean) * lax.rsqrt(variance + 1e-5) * scale + shift)
        x = lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
        size, place = size // 2, place + 4
    return linear(p, "look.output", x.reshape(len(x), -1))


def snail(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    images = batch["images"]
    batch_size, steps = images.shape[:2]
    found = look(c, p, images.reshape(-1, *images.shape[2:])).reshape(batch_size, steps, -1)
    labels = jnp.pad(jax.nn.one_hot(batch["shown"], c.choices), ((0, 0), (0, 1), (0, 0)))
    x, dilation, k = jnp.concatenate([found, labels], -1), 1, 0
    while any(key.startswith(f"policy.blocks.{k}.") for key in p):
        name = f"policy.blocks.{k}"
        if f"{name}.query.weight" in p:
            q, keys, v = (linear(p, f"{name}.{part}", x) for part in ("query", "key", "value"))
            scores = jnp.einsum("bik,bjk->bij", q, keys) / q.shape[-1] ** 0.5
            scores = jnp.where(jnp.tri(steps, dtype=bool), scores, -jnp.inf)
            x, dilation = jnp.concatenate([x, jax.nn.softmax(scores) @ v], -1), 1
        else:
            earlier = jnp.pad(linear(p, f"{name}.before", x[:, :-dilation]), ((0, 0), (dilation, 0), (0, 0)))
            f, g = jnp.split(linear(p, f"{name}.now", x) + earlier, 2, axis=-1)
            x, dilation = jnp.concatenate([x, jnp.tanh(f) * jax.nn.sigmoid(g)], -1), 2 * dilation
        k += 1
    logits = linear(p, "policy.output", x[:, -1])
    return masked_mean(cross_entropy(logits, jnp.maximum(batch["label"], 0)), batch["label"] >= 0)
