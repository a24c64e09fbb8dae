"""The Transformer translating, one training step, as a PyTorch user writes it.

Vaswani et al. (2017): `nn.Transformer` (layer norm after each block, relu) between scaled embeddings with
sinusoidal positions and an output projection; padding of the source is masked; label smoothing 0.1.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from . import problem, torch_training


class Translator(nn.Module):
    """Embeddings, encoder and decoder, projection to the vocabulary."""

    def __init__(
        self, layers: int, heads: int, width: int, inner: int, vocabulary: int, dropout: float, longest: int
    ) -> None:
        super().__init__()
        self.source_embedding = nn.Embedding(vocabulary, width)
        self.target_embedding = nn.Embedding(vocabulary, width)
        self.transformer = nn.Transformer(width, heads, layers, layers, inner, dropout, batch_first=True)
        self.output = nn.Linear(width, vocabulary)
        self.dropout = nn.Dropout(dropout)
        self.scale = width**0.5
        positions = torch.from_numpy(problem.positions(longest, width))
        self.register_buffer("positions", positions, persistent=False)
        mask = torch.full((longest, longest), -np.inf).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def embed(self, embedding: nn.Embedding, tokens: torch.Tensor) -> torch.Tensor:
        """(B, T) → (B, T, C)."""
        return self.dropout(embedding(tokens) * self.scale + self.positions[: tokens.shape[1]])

    def forward(self, source: torch.Tensor, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Tokens (B, S), (B, T) and the tokens that follow the latter give the mean smoothed cross-entropy."""
        steps = inputs.shape[1]
        padding = torch.zeros(source.shape).masked_fill(source == problem.PAD, -torch.inf)
        states = self.transformer(
            self.embed(self.source_embedding, source),
            self.embed(self.target_embedding, inputs),
            tgt_mask=self.mask[:steps, :steps],
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        logits = self.output(states).flatten(0, 1)
        return F.cross_entropy(logits, outputs.flatten(), ignore_index=problem.PAD, label_smoothing=0.1)


def make_step(
    batch: int = 32,
    source: int = 32,
    target: int = 32,
    layers: int = 2,
    heads: int = 4,
    width: int = 128,
    inner: int = 512,
    vocabulary: int = 1000,
    dropout: float = 0.0,
    seed: int = 0,
    compiled: bool = False,
    implementation: str = "fused",
) -> torch_training.Step:
    """A training step (Adam 1e-3, gradient clipped to norm 1) from the weights of `seed`."""
    model = Translator(layers, heads, width, inner, vocabulary, dropout, max(source, target))
    return torch_training.Step(
        model,
        problem.transformer_parameters(layers, width, inner, vocabulary, seed),
        problem.transformer_batch(batch, source, target, vocabulary, seed),
        torch_training.optimizer(model, implementation),
        compiled,
    )
