"""Attention in PyTorch: `scaled_dot_product_attention`, forward and backward."""

import torch

from . import problem


class Attention:
    """Calling it returns O, Q', K' and V' as (B, T, heads, d)."""

    def __init__(self, batch: int, heads: int, length: int, width: int, causal: bool) -> None:
        arrays = problem.attention_operands(batch, length, heads, width)
        tensors = [torch.from_numpy(array).transpose(1, 2) for array in arrays]
        self.operands, self.cotangent = [x.requires_grad_() for x in tensors[:3]], tensors[3]
        self.causal = causal

    def __call__(self) -> list[torch.Tensor]:
        attend = torch.nn.functional.scaled_dot_product_attention
        out = attend(*self.operands, is_causal=self.causal)
        gradients = torch.autograd.grad(out, self.operands, self.cotangent)
        return [x.detach().transpose(1, 2) for x in (out, *gradients)]
