"""Matrix product in PyTorch, which hands it to MKL; a transposed view costs no copy."""

import torch

from . import problem


class Product:
    """C = op(A) op(B) into a fixed tensor; calling it returns C."""

    def __init__(self, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, seed: int = 0) -> None:
        a, b = map(torch.from_numpy, problem.gemm_operands(m, n, k, transpose_a, transpose_b, seed))
        self.a, self.b = a.T if transpose_a else a, b.T if transpose_b else b
        self.c = torch.empty(m, n)

    def __call__(self) -> torch.Tensor:
        return torch.mm(self.a, self.b, out=self.c)
