"""SNAIL, the learner from few drawings, as a PyTorch user writes it, with the names of ours."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_parts import Batch, Holder


class Dense(nn.Module):
    """A gated pair of causal convolutions with a kernel of two, beside the input."""

    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.before = nn.Linear(inputs, 2 * filters, bias=False)
        self.now = nn.Linear(inputs, 2 * filters)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        earlier = F.pad(self.before(x[:, : -self.dilation]), (0, 0, self.dilation, 0))
        f, g = (self.now(x) + earlier).chunk(2, -1)
        return torch.cat([x, torch.tanh(f) * torch.sigmoid(g)], -1)


class Attention(nn.Module):
    """One head over earlier steps, beside the input."""

    def __init__(self, inputs: int, key: int, value: int) -> None:
        super().__init__()
        self.query, self.key = nn.Linear(inputs, key), nn.Linear(inputs, key)
        self.value = nn.Linear(inputs, value)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x), is_causal=True)
        return torch.cat([x, found], -1)


class SNAIL(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        self.choices, f = c.choices, c.filters
        layers: list[nn.Module] = []
        size, channels = c.image_size, 1
        while size > 1:
            layers += [nn.Conv2d(channels, c.channels, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(c.channels), nn.ReLU(), nn.MaxPool2d(2)]
            size, channels = size // 2, c.channels
        self.look = Holder(layers=nn.Sequential(*layers), output=nn.Linear(channels, c.features))
        width = c.features + c.choices
        blocks: list[nn.Module] = []
        for scale in (0.5, 2, 4):
            if blocks:
                for i in range(math.ceil(math.log2(c.length))):
                    blocks.append(Dense(width, f, 2**i))
                    width += f
            key, value = int(scale * f), int(scale * f) // 2
            blocks.append(Attention(width, key, value))
            width += value
        self.policy = Holder(blocks=nn.Sequential(*blocks), output=nn.Linear(width, c.choices))

    def forward(self, batch: Batch) -> torch.Tensor:
        images = batch["images"]
        found = self.look.output(self.look.layers(images.flatten(0, 1)).flatten(1)).unflatten(
            0, images.shape[:2]
        )
        labels = F.pad(F.one_hot(batch["shown"], self.choices).to(found.dtype), (0, 0, 0, 1))
        x = self.policy.blocks(torch.cat([found, labels], -1))
        return F.cross_entropy(self.policy.output(x)[:, -1], batch["label"], ignore_index=-1)
