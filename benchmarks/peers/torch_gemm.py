"""Matrix product in PyTorch, which hands it to MKL; a transposed view costs no copy."""

import torch

from . import problem


class Product:
    """C = op(A) op(B) into a fixed tensor; calling it returns C (of a loop, the last one)."""

    def __init__(self, shape: problem.Shape) -> None:
        self.a, self.b = map(torch.from_numpy, problem.gemm_operands(shape))
        self.steps = shape.steps
        self.c, self.other = torch.empty(
            2, *shape.batch, shape.m, shape.n, dtype=getattr(torch, shape.dtype)
        ).unbind()

    def __call__(self) -> torch.Tensor:
        result, k = torch.matmul(self.a, self.b, out=self.c), self.b.shape[-2]
        other = self.other
        for _ in range(self.steps - 1):
            result, other = torch.matmul(result[:, :k], self.b, out=other), result
        return result
