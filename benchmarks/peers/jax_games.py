"""Two players that draw and judge images, as a JAX user writes them: DCGAN and SAGAN.

A loss is given a dict of weights with our names. What a step moves beside them, the estimates of singular vectors, it
writes into that dict.
"""

from typing import Any

import jax
import jax.numpy as jnp

from .jax_gan import convolve, convolve_transposed, normalize
from .jax_training import Parameters

MOVED = "._u", "._v"
"""How the names of what isn't trained end."""


def noise(c: Any, batch: Parameters) -> jax.Array:
    shape = len(batch["images"]), c.latent
    return batch["noise"] if "noise" in batch else jax.random.uniform(batch["key"], shape, minval=-1)


def blurred(c: Any, x: jax.Array, key: jax.Array) -> jax.Array:
    return x + c.blur * jax.random.normal(key, x.shape) if c.blur else x


def project(weight: jax.Array, z: jax.Array) -> jax.Array:
    """The first layer of a generator: noise (B, n) → images, by a weight (n, C, H, H)."""
    return (z @ weight.reshape(len(weight), -1)).reshape(len(z), *weight.shape[1:])


# DCGAN.


def generate(c: Any, p: Parameters, z: jax.Array) -> jax.Array:
    """Noise (B, n) → images."""
    x, place = project(p["generator.0.weight"], z), 1
    for _ in range(c.plan()[1]):
        x = jax.nn.relu(normalize(p, f"generator.{place}", x, p)[0])
        x, place = convolve_transposed(x, p[f"generator.{place + 2}.weight"]), place + 3
    return jnp.tanh(x + p[f"generator.{place - 1}.bias"][:, None, None])


def judge(c: Any, p: Parameters, x: jax.Array, key: jax.Array) -> jax.Array:
    """Images → logits (B,)."""
    x = convolve(blurred(c, x, key), p["discriminator.0.weight"]) + p["discriminator.0.bias"][:, None, None]
    place = 2
    for _ in range(c.plan()[1] - 1):
        x = convolve(jax.nn.leaky_relu(x, 0.2), p[f"discriminator.{place}.weight"])
        x = normalize(p, f"discriminator.{place + 1}", x, p)[0]
        place += 3
    x = jax.nn.leaky_relu(x, 0.2).reshape(len(x), -1)
    return x @ p[f"discriminator.{place}.weight"].reshape(-1) + p[f"discriminator.{place}.bias"]


def dcgan_discriminator(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    one, two, three = jax.random.split(batch["key"], 3)
    real = judge(c, p, batch["images"], one)
    drawn = judge(c, p, jax.lax.stop_gradient(generate(c, p, noise(c, batch | {"key": two}))), three)
    return (jax.nn.softplus(-real) + c.smoothing * real + jax.nn.softplus(drawn)).mean()


def dcgan_generator(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    one, two = jax.random.split(batch["key"])
    return jax.nn.softplus(-judge(c, p, generate(c, p, noise(c, batch | {"key": one})), two)).mean()


# SAGAN.


def normed(p: Parameters, name: str, axis: int = 0) -> jax.Array:
    """A layer's weight divided by its largest singular value, which a power iteration follows."""
    name = f"{name}.parametrizations.weight"
    weight = p[f"{name}.original"]
    matrix = jnp.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    fixed = jax.lax.stop_gradient(matrix)
    u = fixed @ p[f"{name}.0._v"]
    u = u / jnp.maximum(jnp.linalg.norm(u), 1e-12)
    v = u @ fixed
    v = v / jnp.maximum(jnp.linalg.norm(v), 1e-12)
    p[f"{name}.0._u"], p[f"{name}.0._v"] = u, v
    return weight / (u @ matrix @ v)


def look(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    """The block of self-attention: (B, C, H, W) → the same."""
    places = x.reshape(*x.shape[:2], -1)
    f, g, h = (jnp.einsum("oc,bcn->bno", normed(p, f"{name}.{k}")[:, :, 0, 0], places) for k in "fgh")
    found = jax.nn.softmax(g @ f.mT) @ h
    found = jnp.einsum("oc,bnc->bon", normed(p, f"{name}.v")[:, :, 0, 0], found)
    return p[f"{name}.gamma"] * found.reshape(x.shape) + x


def sagan_generate(c: Any, p: Parameters, z: jax.Array) -> jax.Array:
    """Noise (B, n) → images."""
    x, place, count = project(normed(p, "generator.0", 1), z), 1, c.plan()[1]
    for k in reversed(range(count)):
        x = jax.nn.relu(normalize(p, f"generator.{place}", x, p)[0])
        place += 2
        if k + 1 == c.attention:
            x, place = look(p, f"generator.{place}", x), place + 1
        name = f"generator.{place}"
        x, place = convolve_transposed(x, normed(p, name, 1) if k else p[f"{name}.weight"]), place + 1
    return jnp.tanh(x + p[f"generator.{place - 1}.bias"][:, None, None])


def with_deviation(x: jax.Array, size: int) -> jax.Array:
    """One channel more: how much the images of a group differ."""
    groups = x.reshape(-1, size, *x.shape[1:])
    deviation = jnp.sqrt(groups.var(axis=1) + 1e-8).mean(axis=(1, 2, 3))
    told = 10 * jnp.repeat(deviation, size)[:, None, None, None]
    return jnp.concatenate([x, jnp.broadcast_to(told, (len(x), 1, *x.shape[2:]))], axis=1)


def sagan_judge(c: Any, p: Parameters, x: jax.Array, key: jax.Array) -> jax.Array:
    """Images → (B,)."""
    x, place = blurred(c, x, key), 0
    for k in range(c.plan()[1]):
        name = f"discriminator.{place}"
        x = jax.nn.leaky_relu(convolve(x, normed(p, name)) + p[f"{name}.bias"][:, None, None], 0.1)
        place += 2
        if k + 1 == c.attention:
            x, place = look(p, f"discriminator.{place}", x), place + 1
    if c.companions:
        x, place = with_deviation(x, c.companions), place + 1
    name = f"discriminator.{place}"
    return x.reshape(len(x), -1) @ normed(p, name).reshape(-1) + p[f"{name}.bias"]


def sagan_discriminator(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    one, two = jax.random.split(batch["key"])
    drawn = jax.lax.stop_gradient(sagan_generate(c, p, noise(c, batch | {"key": one})))
    real, drawn = jnp.split(sagan_judge(c, p, jnp.concatenate([batch["images"], drawn]), two), 2)
    return (jax.nn.relu(1 - real) + jax.nn.relu(1 + drawn)).mean()


def sagan_generator(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    one, two = jax.random.split(batch["key"])
    return -sagan_judge(c, p, sagan_generate(c, p, noise(c, batch | {"key": one})), two).mean()


GAMES = {
    "dcgan": {"discriminator": dcgan_discriminator, "generator": dcgan_generator},
    "sagan": {"discriminator": sagan_discriminator, "generator": sagan_generator},
}
"""The loss of each player, in the order of a step."""
