"""What PyTorch's models of the registry share: see `torch_models.py`."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

Batch = dict[str, torch.Tensor]


def inside(length: torch.Tensor, steps: int) -> torch.Tensor:
    """Which steps are no padding: (B,) → (B, steps) bool."""
    return torch.arange(steps) < length[:, None]


def packed(layer: nn.Module, x: torch.Tensor, length: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """A recurrent layer, batch first, over rows (B, T, m) of several lengths: states (B, T, n), last ones."""
    given = pack_padded_sequence(x, length, batch_first=True, enforce_sorted=False)
    states, last = layer(given)
    return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0], last


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Positions of Vaswani et al. (2017), section 3.5: (length, width)."""
    place, k = torch.arange(length)[:, None], torch.arange(width)
    angle = place / 10000.0 ** ((k - k % 2) / width)
    return torch.where(k % 2 == 1, angle.cos(), angle.sin())


def heads_of(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, m) → (B, h, T, m / h)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(x: torch.Tensor) -> torch.Tensor:
    """(B, h, T, d) → (B, T, m)."""
    return x.transpose(1, 2).flatten(2)


class Holder(nn.Module):
    """Parts under the names that they are given."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def vector(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.zeros(shape))
