"""tinyattn's side of the convolutional GAN's step, `peers/torch_gan.py`."""

import numpy as np

import tinyattn as ta

from .harness import Work
from .peers import problem

Leaves = dict[str, ta.Tensor]


def _normalize(w: Leaves, running: Leaves, name: str, x: ta.Tensor) -> ta.Tensor:
    """Batch norm in training; the running statistics in `running` go on."""
    statistics = running[f"{name}.mean"], running[f"{name}.var"]
    y, *after = ta.batch_norm(x, *statistics, w[f"{name}.weight"], w[f"{name}.bias"], training=True)
    running[f"{name}.mean"], running[f"{name}.var"] = after
    return y


def _generate(w: Leaves, running: Leaves, noise: ta.Tensor) -> ta.Tensor:
    x = (noise @ w["generator.project.weight"].T + w["generator.project.bias"]).reshape(-1, 128, 7, 7)
    x = ta.relu(_normalize(w, running, "generator.norm1", x))
    x = ta.conv_transpose2d(x, w["generator.up1.weight"], stride=2, padding=1)
    x = ta.relu(_normalize(w, running, "generator.norm2", x))
    x = ta.conv_transpose2d(x, w["generator.up2.weight"], w["generator.up2.bias"], stride=2, padding=1)
    return ta.tanh(x)


def _judge(w: Leaves, running: Leaves, images: ta.Tensor) -> ta.Tensor:
    x = ta.conv2d(images, w["discriminator.down1.weight"], w["discriminator.down1.bias"], 2, 1)
    x = ta.conv2d(ta.leaky_relu(x, 0.2), w["discriminator.down2.weight"], stride=2, padding=1)
    x = ta.leaky_relu(_normalize(w, running, "discriminator.norm", x), 0.2)
    x = x.reshape(x.shape[0], -1)
    return x @ w["discriminator.logit.weight"].T + w["discriminator.logit.bias"]


def _adam(weights: Leaves, loss: ta.Tensor, rate: float = 2e-4, beta1: float = 0.5) -> Leaves:
    """The weights after a step of Adam, which is also assigned."""
    count = ta.tensor(np.zeros((), np.float32), name="step")
    step = count + 1.0
    ta.assign(count, step)
    size, correction = rate / (1.0 - ta.power(beta1, step)), ta.sqrt(1.0 - ta.power(0.999, step))
    updated = {}
    for (name, weight), g in zip(weights.items(), ta.grad(loss, list(weights.values())), strict=True):
        mean, square = (ta.tensor(np.zeros(weight.shape, np.float32)) for _ in range(2))
        new_mean = beta1 * mean + (1 - beta1) * g
        new_square = 0.999 * square + 0.001 * (g * g)
        updated[name] = weight - size * new_mean / (ta.sqrt(new_square) / correction + 1e-8)
        for leaf, value in ((mean, new_mean), (square, new_square), (weight, updated[name])):
            ta.assign(leaf, value)
    return updated


def gan_step(batch: int = 64, seed: int = 0) -> Work:
    """One update of the discriminator and one of the generator, in one program.

    The second half reads the discriminator's new weights as expressions, as they are not yet in their leaves.
    """
    arrays = problem.gan_batch(batch, seed)
    w = {name: ta.parameter(array, name=name) for name, array in problem.gan_parameters(seed).items()}
    norms = [name.removesuffix(".weight") for name in w if "norm" in name and name.endswith("weight")]
    leaves = {
        f"{name}.{kind}": ta.tensor(np.full(w[f"{name}.weight"].shape, value, np.float32))
        for name in norms
        for kind, value in (("mean", 0), ("var", 1))
    }
    parts = [
        {name: leaf for name, leaf in w.items() if name.startswith(part)}
        for part in ("generator", "discriminator")
    ]

    @ta.function
    def run(images, noise):
        running = dict(leaves)
        fakes = _generate(w, running, noise)
        real, fake = _judge(w, running, images), _judge(w, running, ta.stop_gradient(fakes))
        loss = ta.softplus(-real).mean() + ta.softplus(fake).mean()
        updated = _adam(parts[1], loss)
        generator_loss = ta.softplus(-_judge(updated, running, fakes)).mean()
        _adam(parts[0], generator_loss)
        for name, leaf in leaves.items():
            ta.assign(leaf, running[name])
        return loss + generator_loss

    given = arrays["images"], arrays["noise"]

    def work():
        return float(run(*given))

    work.program = run.program(*given)
    return work
