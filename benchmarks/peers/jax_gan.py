"""One step of a convolutional GAN in JAX, as in `torch_gan.py`, compiled whole."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import jax_training, problem

Parameters = jax_training.Parameters
AXES = ("NCHW", "OIHW", "NCHW")


def convolve(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Stride 2, padding 1."""
    return lax.conv_general_dilated(x, weight, (2, 2), ((1, 1), (1, 1)), dimension_numbers=AXES)


def convolve_transposed(x: jax.Array, weight: jax.Array) -> jax.Array:
    """The transpose of `convolve` for a 4 x 4 window: (I, O, 4, 4) turned round, over x with zeros between."""
    kernel = jnp.flip(weight, (2, 3)).swapaxes(0, 1)
    return lax.conv_general_dilated(
        x, kernel, (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=AXES
    )


def normalize(p: Parameters, name: str, x: jax.Array, running: Parameters) -> tuple[jax.Array, Parameters]:
    """Batch norm in training, and the running statistics after it."""
    mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3))
    count = x.size // x.shape[1]
    after = {
        f"{name}.mean": 0.9 * running[f"{name}.mean"] + 0.1 * mean,
        f"{name}.var": 0.9 * running[f"{name}.var"] + 0.1 * variance * (count / (count - 1)),
    }
    scale = p[f"{name}.weight"] / jnp.sqrt(variance + 1e-5)
    shift = p[f"{name}.bias"] - mean * scale
    return x * scale[:, None, None] + shift[:, None, None], {**running, **lax.stop_gradient(after)}


def generate(p: Parameters, noise: jax.Array, running: Parameters) -> tuple[jax.Array, Parameters]:
    x = noise @ p["generator.project.weight"].T + p["generator.project.bias"]
    x, running = normalize(p, "generator.norm1", x.reshape(-1, 128, 7, 7), running)
    x, running = normalize(
        p, "generator.norm2", convolve_transposed(jax.nn.relu(x), p["generator.up1.weight"]), running
    )
    x = convolve_transposed(jax.nn.relu(x), p["generator.up2.weight"])
    return jnp.tanh(x + p["generator.up2.bias"][:, None, None]), running


def judge(p: Parameters, images: jax.Array, running: Parameters) -> tuple[jax.Array, Parameters]:
    bias = p["discriminator.down1.bias"][:, None, None]
    x = jax.nn.leaky_relu(convolve(images, p["discriminator.down1.weight"]) + bias, 0.2)
    x, running = normalize(p, "discriminator.norm", convolve(x, p["discriminator.down2.weight"]), running)
    x = jax.nn.leaky_relu(x, 0.2).reshape(len(images), -1)
    return x @ p["discriminator.logit.weight"].T + p["discriminator.logit.bias"], running


class Step:
    """One step on a fixed batch; calling it returns the sum of the two losses."""

    def __init__(self, weights: problem.Arrays, batch: problem.Arrays) -> None:
        self.batch = jax.tree.map(jnp.asarray, batch)
        parts = [
            {name: jnp.array(array) for name, array in weights.items() if name.startswith(part)}
            for part in ("generator", "discriminator")
        ]
        running = {}
        for name in weights:
            if "norm" in name and name.endswith("weight"):
                base = name.removesuffix(".weight")
                running[f"{base}.mean"] = jnp.zeros(weights[name].shape)
                running[f"{base}.var"] = jnp.ones(weights[name].shape)
        self.state = (*parts, *map(jax_training.adam_state, parts), running)
        self.step = jax.jit(self._step, donate_argnums=0)

    @staticmethod
    def _step(state, batch):
        generator, discriminator, g_moments, d_moments, running = state

        def d_loss(discriminator, fakes, running):
            real, running = judge(discriminator, batch["images"], running)
            fake, running = judge(discriminator, fakes, running)
            return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean(), running

        def generated(generator):
            return generate(generator, batch["noise"], running)

        fakes, pull, running = jax.vjp(generated, generator, has_aux=True)
        (loss, running), gradients = jax.value_and_grad(d_loss, has_aux=True)(discriminator, fakes, running)
        discriminator, d_moments = jax_training.adam(discriminator, gradients, d_moments, 2e-4, (0.5, 0.999))

        def g_loss(fakes):
            fake, after = judge(discriminator, fakes, running)
            return jax.nn.softplus(-fake).mean(), after

        (loss_g, running), cotangent = jax.value_and_grad(g_loss, has_aux=True)(fakes)
        (gradients,) = pull(cotangent)
        generator, g_moments = jax_training.adam(generator, gradients, g_moments, 2e-4, (0.5, 0.999))
        return loss + loss_g, (generator, discriminator, g_moments, d_moments, running)

    def __call__(self) -> float:
        value, self.state = self.step(self.state, self.batch)
        jax.block_until_ready(self.state)
        return float(np.asarray(value))


def make_step(batch: int = 64, seed: int = 0, weights: problem.Arrays | None = None) -> Step:
    """A step from `weights`, or else those of `seed`."""
    return Step(weights or problem.gan_parameters(seed), problem.gan_batch(batch, seed))
