"""Two players that draw and judge images, as a PyTorch user writes them: DCGAN and SAGAN."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from .torch_parts import Batch


class Game(nn.Module):
    """Generator and discriminator, and what each loses. rate: G's learning rate, as a share of D's."""

    rate = 1.0
    generator: nn.Module
    discriminator: nn.Module

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.c = c

    def judge(self, images: torch.Tensor) -> torch.Tensor:
        if self.c.blur:
            images = images + self.c.blur * torch.randn_like(images)
        return self.discriminator(images).flatten()

    def draw(self, batch: Batch) -> torch.Tensor:
        """Images of new noise, or of that which the batch has."""
        z = batch["noise"] if "noise" in batch else torch.rand(len(batch["images"]), self.c.latent) * 2 - 1
        return self.generator(z[:, :, None, None])


class DCGAN(Game):
    def __init__(self, c: Any) -> None:
        super().__init__(c)
        base, doublings = c.plan()
        widths = [c.width << k for k in range(doublings)]
        into: list[nn.Module] = []
        out: list[nn.Module] = []
        for k, width in enumerate(widths):
            before = c.channels if k == 0 else widths[k - 1]
            into += [nn.Conv2d(before, width, 4, 2, 1, bias=k == 0)]
            into += [nn.BatchNorm2d(width)] if k else []
            into += [nn.LeakyReLU(0.2)]
            last = [nn.ConvTranspose2d(width, before, 4, 2, 1, bias=k == 0)]
            out = [nn.BatchNorm2d(width), nn.ReLU(), *last, *out]
        first = nn.ConvTranspose2d(c.latent, widths[-1], base, bias=False)
        self.generator = nn.Sequential(first, *out, nn.Tanh())
        self.discriminator = nn.Sequential(*into, nn.Conv2d(widths[-1], 1, base))

    def discriminator_loss(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():  # (only D learns)
            drawn = self.draw(batch)
        real = self.judge(batch["images"])
        return (F.softplus(-real) + self.c.smoothing * real + F.softplus(self.judge(drawn))).mean()

    def generator_loss(self, batch: Batch) -> torch.Tensor:
        return F.softplus(-self.judge(self.draw(batch))).mean()


class SelfAttention(nn.Module):
    """Each place looks at all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner, values = max(1, channels // 8), max(1, channels // 2)
        self.f, self.g = (spectral_norm(nn.Conv2d(channels, inner, 1, bias=False)) for _ in range(2))
        self.h = spectral_norm(nn.Conv2d(channels, values, 1, bias=False))
        self.v = spectral_norm(nn.Conv2d(values, channels, 1, bias=False))
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        key, query, value = (part(x).flatten(2).mT for part in (self.f, self.g, self.h))
        found = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.gamma * self.v(found.mT.unflatten(2, x.shape[2:])) + x


class Deviation(nn.Module):
    """One channel more: how much the images of a group differ."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        groups = x.unflatten(0, (-1, self.size))
        deviation = (groups.var(1, correction=0) + 1e-8).sqrt().mean((1, 2, 3))
        told = 10 * deviation.repeat_interleave(self.size)[:, None, None, None]
        return torch.cat([x, told.expand(-1, 1, *x.shape[2:])], 1)


class SAGAN(Game):
    def __init__(self, c: Any) -> None:
        super().__init__(c)
        self.rate = c.generator_rate
        base, doublings = c.plan()
        widths = [c.width << k for k in range(doublings)]
        into: list[nn.Module] = []
        out: list[nn.Module] = []
        for k, width in enumerate(widths):
            before, looks = c.channels if k == 0 else widths[k - 1], k + 1 == c.attention
            into += [spectral_norm(nn.Conv2d(before, width, 4, 2, 1)), nn.LeakyReLU(0.1)]
            into += [SelfAttention(width)] if looks else []
            last = nn.ConvTranspose2d(width, before, 4, 2, 1, bias=k == 0)
            look = [SelfAttention(width)] if looks else []
            out = [nn.BatchNorm2d(width), nn.ReLU(), *look, spectral_norm(last) if k else last, *out]
        first = spectral_norm(nn.ConvTranspose2d(c.latent, widths[-1], base, bias=False))
        self.generator = nn.Sequential(first, *out, nn.Tanh())
        into += [Deviation(c.companions)] if c.companions else []
        last = nn.Conv2d(widths[-1] + (c.companions > 0), 1, base)
        self.discriminator = nn.Sequential(*into, spectral_norm(last))

    def discriminator_loss(self, batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            drawn = self.draw(batch)
        real, drawn = self.judge(torch.cat([batch["images"], drawn])).chunk(2)
        return (F.relu(1 - real) + F.relu(1 + drawn)).mean()

    def generator_loss(self, batch: Batch) -> torch.Tensor:
        return -self.judge(self.draw(batch)).mean()
