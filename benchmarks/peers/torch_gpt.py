"""GPT, one training step, as a PyTorch user writes it.

Radford et al. (2019) without biases and dropout: before each block a layer norm, causal attention by
`scaled_dot_product_attention`, an MLP four times as wide with the exact gelu; the token embedding is also the
output projection.
"""

import torch
from torch import nn
from torch.nn import functional as F

from . import problem, torch_training


class Attention(nn.Module):
    """Causal self-attention of several heads."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width, bias=False)
        self.c_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, C) → (B, T, C)."""
        batch, steps, width = x.shape
        parts = self.c_attn(x).view(batch, steps, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # (B, H, T, D) each
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(batch, steps, width))


class MLP(nn.Module):
    """Position by position: out, gelu, back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width, bias=False)
        self.c_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Attention and MLP, each after a layer norm and beside a residual path."""

    def __init__(self, heads: int, width: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width, bias=False)
        self.attn = Attention(heads, width)
        self.ln_2 = nn.LayerNorm(width, bias=False)
        self.mlp = MLP(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    """Token and position embeddings, blocks, a last norm, the tied output projection."""

    def __init__(self, layers: int, heads: int, width: int, block: int, vocabulary: int) -> None:
        super().__init__()
        self.transformer = nn.ModuleDict(
            {
                "wte": nn.Embedding(vocabulary, width),
                "wpe": nn.Embedding(block, width),
                "h": nn.ModuleList(Block(heads, width) for _ in range(layers)),
                "ln_f": nn.LayerNorm(width, bias=False),
            }
        )

    def forward(self, inputs: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
        """Tokens (B, T) and the tokens that follow them give the mean cross-entropy."""
        parts = self.transformer
        x = parts.wte(inputs) + parts.wpe(torch.arange(inputs.shape[1]))
        for block in parts.h:
            x = block(x)
        logits = F.linear(parts.ln_f(x), parts.wte.weight)
        return F.cross_entropy(logits.flatten(0, 1), outputs.flatten())


def make_step(
    batch: int = 12,
    block: int = 64,
    layers: int = 4,
    heads: int = 4,
    width: int = 128,
    vocabulary: int = 65,
    seed: int = 0,
    compiled: bool = False,
    implementation: str = "fused",
) -> torch_training.Step:
    """A training step (AdamW 1e-3, betas 0.9 and 0.99, decay 0.1 of matrices, gradient clipped to norm 1)."""
    model = GPT(layers, heads, width, block, vocabulary)
    return torch_training.Step(
        model,
        problem.gpt_parameters(layers, width, block, vocabulary, seed),
        problem.language_batch(batch, block, vocabulary, seed),
        torch_training.optimizer(model, implementation, betas=(0.9, 0.99), decay=0.1),
        compiled,
    )
