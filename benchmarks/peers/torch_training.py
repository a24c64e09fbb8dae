"""What the PyTorch peers of language models and translation share: one training step of any model.

The model's `forward` returns the loss. `implementation` is the optimizer's: "default", "foreach" or "fused".
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from . import problem


def optimizer(
    model: nn.Module, implementation: str, betas: tuple[float, float] = (0.9, 0.999), decay: float = 0.0
) -> torch.optim.Optimizer:
    """Adam 1e-3; with `decay` AdamW, which decays matrices (and embeddings) only."""
    switches: dict[str, Any] = {} if implementation == "default" else {implementation: True}
    if not decay:
        return torch.optim.Adam(model.parameters(), lr=1e-3, betas=betas, **switches)
    groups = [
        {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=1e-3, betas=betas, **switches)


class Step:
    """One training step on a fixed batch, clipped to norm 1; calling it returns the loss before the update."""

    def __init__(
        self,
        model: nn.Module,
        weights: problem.Arrays,
        batch: problem.Arrays,
        update: torch.optim.Optimizer,
        compiled: bool,
    ) -> None:
        model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        self.model, self.optimizer = model, update
        self.batch = {name: torch.from_numpy(array) for name, array in batch.items()}
        self.forward = torch.compile(model) if compiled else model

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        loss = self.forward(**self.batch)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of the weights, by name."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}
