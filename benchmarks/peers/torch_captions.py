"""Captioners as a PyTorch user writes them: see `torch_models.py`."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_parts import Batch, vector


class Network(nn.Module):
    """Convolutions with batch norm and relu, and pooling between them: images → cells (B, L, D)."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        widths = [c.channels, *(c.width << k for k in range(c.layers))]
        pairs = [*zip(widths, widths[1:], strict=False)]
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1, bias=False) for pair in pairs)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _, width in pairs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(F.max_pool2d(x, 2) if number else x)).relu()
        return x.flatten(2).transpose(1, 2)


class Captioner(nn.Module):
    """The image as the first state."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.network, self.embedding = Network(c), nn.Embedding(c.target_vocabulary, c.embedding)
        self.image, self.c = nn.Linear(c.seen, c.hidden), c
        self.lstm = nn.LSTM(c.embedding, c.hidden, batch_first=True)
        self.vocabulary = nn.Linear(c.hidden, c.target_vocabulary)

    def forward(self, batch: Batch) -> torch.Tensor:
        grid = self.network(batch["images"]).transpose(1, 2).unflatten(2, (self.c.side, self.c.side))
        c = self.image(F.max_pool2d(grid, self.c.pool).flatten(1))[None]
        logits = self.vocabulary(self.lstm(self.embedding(batch["target_in"]), (torch.tanh(c), c))[0])
        return F.cross_entropy(logits.flatten(0, 1), batch["target_out"].flatten(), ignore_index=0)


class ShowAttendTell(nn.Module):
    """Soft attention, doubly stochastic."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.c, d, m, n, a = c, c.features, c.embedding, c.hidden, c.compared
        self.network, self.embedding = Network(c), nn.Embedding(c.target_vocabulary, m)
        self.place, self.v = vector(c.side**2, d), vector(a)
        self.query, self.key, self.gate = nn.Linear(n, a, bias=False), nn.Linear(d, a), nn.Linear(n, 1)
        self.first_h, self.first_c = nn.Linear(d, n), nn.Linear(d, n)
        self.word, self.context, self.recurrent = (
            nn.Linear(m, 4 * n),
            nn.Linear(d, 4 * n, bias=False),
            vector(4 * n, n),
        )
        self.state, self.seen = nn.Linear(n, m), nn.Linear(d, m, bias=False)
        self.vocabulary = nn.Linear(m, c.target_vocabulary)
        self.dropout = nn.Dropout(c.dropout)
        self.register_buffer("baseline", torch.zeros(c.longest_target))

    def forward(self, batch: Batch) -> torch.Tensor:
        targets = batch["target_out"]
        a = self.network(batch["images"]) + self.place  # (B, L, D)
        keys, mean = self.key(a), a.mean(1)
        h, cell = torch.tanh(self.first_h(mean)), torch.tanh(self.first_c(mean))
        y = self.embedding(batch["target_in"])  # (B, T, m)
        words, states, contexts, looked = self.word(y), [], [], []
        for t in range(y.shape[1]):
            weights = (torch.tanh(self.query(h)[:, None] + keys) @ self.v).softmax(1)  # (B, L)
            z = torch.sigmoid(self.gate(h)) * (weights[:, None] @ a).squeeze(1)
            i, f, g, o = (words[:, t] + self.context(z) + h @ self.recurrent.T).chunk(4, 1)
            cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(cell)
            states.append(h)
            contexts.append(z)
            looked.append(weights)
        h, z, weights = torch.stack(states, 1), torch.stack(contexts, 1), torch.stack(looked, 1)
        logits = self.vocabulary(y + self.state(self.dropout(h)) + self.seen(z))
        real = targets != 0
        nats = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=0, reduction="sum")
        times = (weights * real[:, :, None]).sum(1)
        penalty = ((1 - times).square().sum(1) * batch["valid"]).sum()
        return (nats + self.c.stochastic * penalty) / real.sum()
