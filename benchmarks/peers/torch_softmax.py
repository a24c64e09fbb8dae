"""Softmax and its derivative in PyTorch, along the rows of a matrix, into fixed tensors."""

import torch

from . import problem


class Forward:
    """The softmax of each row; calling it returns the result."""

    def __init__(self, rows: int, columns: int, seed: int = 0) -> None:
        self.x, _ = map(torch.from_numpy, problem.softmax_operands(rows, columns, seed))
        self.y = torch.empty_like(self.x)

    def __call__(self) -> torch.Tensor:
        return torch.softmax(self.x, -1, out=self.y)


class Backward:
    """The gradient of the scores for a given gradient of the result."""

    def __init__(self, rows: int, columns: int, seed: int = 0) -> None:
        x, self.g = map(torch.from_numpy, problem.softmax_operands(rows, columns, seed))
        self.y, self.dx = torch.softmax(x, -1), torch.empty_like(x)

    def __call__(self) -> torch.Tensor:
        return torch.ops.aten._softmax_backward_data(self.g, self.y, -1, self.y.dtype, grad_input=self.dx)
