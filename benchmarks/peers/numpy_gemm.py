"""Matrix product in NumPy, which hands it to OpenBLAS; a transposed view costs no copy."""

import numpy as np

from . import problem


class Product:
    """C = op(A) op(B) into a fixed array; calling it returns C."""

    def __init__(self, m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, seed: int = 0) -> None:
        a, b = problem.gemm_operands(m, n, k, transpose_a, transpose_b, seed)
        self.a, self.b = a.T if transpose_a else a, b.T if transpose_b else b
        self.c = np.empty((m, n), np.float32)

    def __call__(self) -> np.ndarray:
        return np.matmul(self.a, self.b, out=self.c)
