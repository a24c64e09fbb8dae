"""A Neural Turing Machine on the copy task, one training step, as a PyTorch user writes it.

Graves, Wayne and Danihelka, "Neural Turing machines" (2014), equations 1 to 9, one read and one write head:

    content    w^c = softmax(beta K[k, M(i)]),  K the cosine
    gate       w^g = g w^c + (1 - g) w_{t-1}
    shift      w~(i) = sum_j w^g(j) s(i - j mod N),  s over -1, 0, 1
    sharpen    w(i) = w~(i)^gamma / sum_j w~(j)^gamma
    read       r = sum_i w(i) M(i)              write   M(i) <- M(i) (1 - w(i) e) + w(i) a

Both heads address the memory of the step before; the read vector is taken before the write. The memory begins
at 1e-6 everywhere (Collier and Beel, 2018) and both heads begin at row 0.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import problem


def address(values: torch.Tensor, memory: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """What a head emits (…, W + 6), memory (…, N, W), previous weights (…, N) to new weights (…, N)."""
    key, strength, gate, shift, sharpening = values.split([memory.shape[-1], 1, 1, 3, 1], dim=-1)
    cosine = F.cosine_similarity(key.unsqueeze(-2), memory, dim=-1)  # (…, N)
    content = torch.softmax(F.softplus(strength) * cosine, dim=-1)
    gate = torch.sigmoid(gate)
    gated = gate * content + (1 - gate) * previous
    shift = torch.softmax(shift, dim=-1)
    rolled = torch.stack([gated.roll(-1, -1), gated, gated.roll(1, -1)], dim=-1)  # (…, N, 3)
    shifted = torch.matmul(rolled, shift.unsqueeze(-1)).squeeze(-1)
    sharp = (shifted + 1e-16) ** (1 + F.softplus(sharpening))
    return sharp / sharp.sum(-1, keepdim=True)


def write(
    memory: torch.Tensor, weights: torch.Tensor, erase: torch.Tensor, add: torch.Tensor
) -> torch.Tensor:
    """Memory (B, N, W), weights (B, N), what to erase, before its sigmoid, and what to add (B, W)."""
    places = weights.unsqueeze(-1)  # (B, N, 1)
    return memory * (1 - places * torch.sigmoid(erase).unsqueeze(1)) + places * add.unsqueeze(1)


class NTM(nn.Module):
    """LSTM controller, one read head, one write head."""

    def __init__(self, controller: int, rows: int, width: int) -> None:
        super().__init__()
        self.rows, self.width, self.sizes = rows, width, [width + 6, width, width]
        self.controller = nn.LSTMCell(problem.BITS + 1 + width, controller)
        self.read_head = nn.Linear(controller, width + 6)
        self.write_head = nn.Linear(controller, width + 6 + 2 * width)
        self.output = nn.Linear(controller + width, problem.BITS)

    def forward(self, inputs: torch.Tensor, answers: int) -> torch.Tensor:
        """(T, B, 9) inputs give the (answers, B, 8) logits of the last steps."""
        batch = inputs.shape[1]
        state = cell = inputs.new_zeros(batch, self.controller.hidden_size)
        memory = inputs.new_full((batch, self.rows, self.width), 1e-6)
        read = inputs.new_zeros(batch, self.width)
        read_weights = inputs.new_zeros(batch, self.rows)
        read_weights[:, 0] = 1.0
        write_weights = read_weights
        features = []
        for x in inputs:
            state, cell = self.controller(torch.cat([x, read], dim=-1), (state, cell))
            read_weights = address(self.read_head(state), memory, read_weights)
            values, erase, add = self.write_head(state).split(self.sizes, dim=-1)
            write_weights = address(values, memory, write_weights)
            read = torch.matmul(read_weights.unsqueeze(1), memory).squeeze(1)
            memory = write(memory, write_weights, erase, add)
            features.append(torch.cat([state, read], dim=-1))
        return self.output(torch.stack(features[-answers:]))


class Step:
    """One training step on a fixed batch; calling it returns the loss before the update."""

    def __init__(self, model: NTM, batch: problem.Arrays, compiled: bool) -> None:
        self.inputs, self.outputs = torch.from_numpy(batch["inputs"]), torch.from_numpy(batch["outputs"])
        self.model = model
        self.forward = torch.compile(model) if compiled else model
        self.optimizer = torch.optim.RMSprop(model.parameters(), lr=1e-4, alpha=0.95, momentum=0.9)

    def __call__(self) -> float:
        self.optimizer.zero_grad()
        logits = self.forward(self.inputs, len(self.outputs))
        loss = F.binary_cross_entropy_with_logits(logits, self.outputs)
        loss.backward()
        nn.utils.clip_grad_value_(self.model.parameters(), 10.0)
        self.optimizer.step()
        return loss.item()

    def parameters(self) -> dict[str, np.ndarray]:
        """A copy of the weights, by name."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.state_dict().items()}


def make_step(
    batch: int = 1,
    length: int = 20,
    controller: int = 100,
    rows: int = 128,
    width: int = 20,
    seed: int = 0,
    weights: problem.Arrays | None = None,
    compiled: bool = False,
) -> Step:
    """A training step (RMSprop 1e-4, gradients clipped to +-10) from `weights`, or else those of `seed`."""
    model = NTM(controller, rows, width)
    arrays = weights or problem.ntm_parameters(controller, width, seed)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return Step(model, problem.ntm_batch(batch, length, seed), compiled)
