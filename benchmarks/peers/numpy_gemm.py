"""Matrix product in NumPy, which hands it to OpenBLAS; a transposed view costs no copy."""

import numpy as np

from . import problem


class Product:
    """C = op(A) op(B) into a fixed array; calling it returns C (of a loop, the last one)."""

    def __init__(self, shape: problem.Shape) -> None:
        self.a, self.b = problem.gemm_operands(shape)
        self.steps = shape.steps
        self.c, self.other = np.empty((2, *shape.batch, shape.m, shape.n), shape.dtype)

    def __call__(self) -> np.ndarray:
        result, k = np.matmul(self.a, self.b, out=self.c), self.b.shape[-2]
        other = self.other
        for _ in range(self.steps - 1):
            result, other = np.matmul(result[:, :k], self.b, out=other), result
        return result
