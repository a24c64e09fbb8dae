"""What says bits, with a memory or without, and what points, in PyTorch: see `torch_models.py`."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from .torch_ntm import address, write
from .torch_parts import Batch, Holder, inside, packed, vector


def bits_loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Logits (B, T, O): the mean −log p of the bits that are asked for."""
    asked = batch["asked"]
    return F.binary_cross_entropy_with_logits(logits[asked], batch["targets"][asked])


class LSTMBits(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        self.lstm = nn.LSTM(c.inputs, c.hidden, c.layers, batch_first=True)
        self.output = nn.Linear(c.hidden, c.outputs)

    def forward(self, batch: Batch) -> torch.Tensor:
        return bits_loss(self.output(self.lstm(batch["inputs"])[0]), batch)


class NTM(nn.Module):
    """An LSTM as controller, a head that reads and one that writes, each with a distribution over three shifts."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        n, self.places, self.width = c.hidden, c.places, c.width
        self.cell = Holder()
        self.cell.weight = vector(4 * n, n)
        self.input, self.reading = nn.Linear(c.inputs, 4 * n), nn.Linear(c.width, 4 * n, bias=False)
        self.emit = nn.Linear(n, 2 * (c.width + 6) + 2 * c.width)
        self.output = nn.Linear(n + c.width, c.outputs)

    def forward(self, batch: Batch) -> torch.Tensor:
        inputs = batch["inputs"]
        rows, head = len(inputs), self.width + 6
        memory = inputs.new_full((rows, self.places, self.width), 1e-6)
        weights = inputs.new_zeros(rows, 2, self.places)
        weights[:, :, 0] = 1.0
        h = c = inputs.new_zeros(rows, self.cell.weight.shape[1])
        read = inputs.new_zeros(rows, self.width)
        given = torch.cat([self.input.weight, self.reading.weight], 1)  # (of nn.LSTMCell that weight_ih)
        cell = given, self.cell.weight, self.input.bias, torch.zeros_like(self.input.bias)
        said = []
        for x in inputs.unbind(1):
            h, c = torch.lstm_cell(torch.cat([x, read], 1), (h, c), *cell)
            emitted, erase, add = self.emit(h).split([2 * head, self.width, self.width], 1)
            weights = address(emitted.unflatten(1, (2, head)), memory[:, None], weights)  # (B, 2, N)
            read = (weights[:, :1] @ memory).squeeze(1)
            memory = write(memory, weights[:, 1], erase, add)
            said.append(torch.cat([h, read], 1))
        return bits_loss(self.output(torch.stack(said, 1)), batch)


class Pointer(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        n, self.permutation = c.hidden, c.permutation
        self.encoder, self.decoder = (nn.LSTM(c.features, n, batch_first=True) for _ in range(2))
        self.key, self.query = nn.Linear(n, n, bias=False), nn.Linear(n, n, bias=False)
        self.v, self.start, self.end = vector(n), vector(c.features), vector(n)

    def forward(self, batch: Batch) -> torch.Tensor:
        points, count = batch["points"], batch["count"]
        rows, longest, width = points.shape
        states, last = packed(self.encoder, points, count)
        keys = self.key(torch.cat([self.end.expand(rows, 1, -1), states], 1))  # (B, S, H)
        table = torch.cat([self.start.expand(rows, 1, -1), points], 1)
        given = table.gather(1, batch["slots_in"][:, :, None].expand(-1, -1, width))
        query = self.query(self.decoder(given, last)[0])  # (B, T, H)
        scores = torch.tanh(query[:, :, None] + keys[:, None]) @ self.v
        there = inside(count + 1, longest + 1)
        there[:, 0] = not self.permutation
        scores = scores.masked_fill(~there[:, None], -1e30)
        return F.cross_entropy(scores.flatten(0, 1), batch["slots_out"].flatten(), ignore_index=-1)
