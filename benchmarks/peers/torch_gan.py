"""One step of a convolutional GAN in PyTorch: an update of the discriminator, then one of the generator.

DCGAN (Radford et al. 2016) for 28 x 28 images, with the non-saturating loss and Adam 2e-4, beta1 0.5. The
generated images are made once; in the second half only the generator's gradients are asked for.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from . import problem


class Generator(nn.Module):
    """Noise (B, 64) to images (B, 1, 28, 28)."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(problem.NOISE, 128 * 7 * 7)
        self.norm1 = nn.BatchNorm2d(128)
        self.up1 = nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(64)
        self.up2 = nn.ConvTranspose2d(64, 1, 4, 2, 1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm1(self.project(noise).view(-1, 128, 7, 7)))
        x = torch.relu(self.norm2(self.up1(x)))
        return torch.tanh(self.up2(x))


class Discriminator(nn.Module):
    """Images (B, 1, 28, 28) to logits (B, 1) of being real."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(1, 64, 4, 2, 1)
        self.down2 = nn.Conv2d(64, 128, 4, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(128)
        self.logit = nn.Linear(128 * 7 * 7, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = F.leaky_relu(self.down1(images), 0.2)
        x = F.leaky_relu(self.norm(self.down2(x)), 0.2)
        return self.logit(x.flatten(1))


class Step:
    """One step on a fixed batch; calling it returns the sum of the two losses."""

    def __init__(
        self, weights: problem.Arrays, batch: problem.Arrays, implementation: str, compiled: bool
    ) -> None:
        self.images, self.noise = torch.from_numpy(batch["images"]), torch.from_numpy(batch["noise"])
        self.models = nn.ModuleDict({"generator": Generator(), "discriminator": Discriminator()})
        given = {name: torch.from_numpy(array) for name, array in weights.items()}
        self.models.load_state_dict(given, strict=False)
        parts = self.models["generator"], self.models["discriminator"]
        self.generator, self.discriminator = map(torch.compile, parts) if compiled else parts
        switches: dict[str, Any] = {} if implementation == "default" else {implementation: True}
        self.optimizers = [
            torch.optim.Adam(part.parameters(), 2e-4, (0.5, 0.999), **switches) for part in parts
        ]
        self.weights = list(parts[0].parameters())

    def __call__(self) -> float:
        of_generator, of_discriminator = self.optimizers
        fakes = self.generator(self.noise)
        of_discriminator.zero_grad()
        real, fake = self.discriminator(self.images), self.discriminator(fakes.detach())
        loss = F.softplus(-real).mean() + F.softplus(fake).mean()
        loss.backward()
        of_discriminator.step()
        of_generator.zero_grad()
        generator_loss = F.softplus(-self.discriminator(fakes)).mean()
        generator_loss.backward(inputs=self.weights)
        of_generator.step()
        return loss.item() + generator_loss.item()


def make_step(
    batch: int = 64,
    seed: int = 0,
    weights: problem.Arrays | None = None,
    implementation: str = "fused",
    compiled: bool = False,
) -> Step:
    """A step from `weights`, or else those of `seed`; `implementation` is that of Adam."""
    arrays = weights or problem.gan_parameters(seed)
    return Step(arrays, problem.gan_batch(batch, seed), implementation, compiled)
