"""A language model of one LSTM layer, one training step, as a PyTorch user writes it: the fused `nn.LSTM`
between an embedding and one output projection of all steps together.
"""

import torch
from torch import nn
from torch.nn import functional as F

from . import problem, torch_training


class LanguageModel(nn.Module):
    """Embedding, LSTM, projection to the vocabulary."""

    def __init__(self, embedding: int, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.output = nn.Linear(hidden, vocabulary)

    def forward(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) and the tokens that follow them give the mean cross-entropy."""
        states, _ = self.lstm(self.embedding(inputs))
        return F.cross_entropy(self.output(states).flatten(0, 1), outputs.flatten())


def make_step(
    batch: int = 32,
    steps: int = 64,
    embedding: int = 256,
    hidden: int = 256,
    vocabulary: int = 65,
    seed: int = 0,
    compiled: bool = False,
    implementation: str = "fused",
) -> torch_training.Step:
    """A training step (Adam 1e-3, gradient clipped to norm 1) from the weights of `seed`."""
    model = LanguageModel(embedding, hidden, vocabulary)
    return torch_training.Step(
        model,
        problem.lstm_lm_parameters(embedding, hidden, vocabulary, seed),
        problem.language_batch(batch, steps, vocabulary, seed),
        torch_training.optimizer(model, implementation),
        compiled,
    )
