"""Layers without recurrence: Linear, Embedding, Dropout."""

import math
import operator
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_integer, fail
from tinyattn.nn import init
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.index import embedding
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.random import dropout
from tinyattn.ops.arrays.shape import transpose


class Linear(Module):
    """y = x Wᵀ + b over the last axis: (…, I) → (…, O).

    ``in_features``: I, ``out_features``: O. Parameters: ``weight`` (O, I) and ``bias`` (O,), both uniform in ±1/√I
    as in torch. Raises ShapeError for sizes below 1, and where the last axis isn't I long.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = np.float32):
        check_sizes("Linear", in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        bound = 1 / math.sqrt(in_features)
        self.weight = parameter(init.uniform((out_features, in_features), -bound, bound), dtype)
        self.bias = parameter(init.uniform(out_features, -bound, bound), dtype) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """(…, I) → (…, O). Raises ShapeError when the last axis is not I long."""
        x = as_tensor(x)
        if not x.shape or x.shape[-1] != self.in_features:
            must = f"the last axis of x must have in_features = {self.in_features} elements"
            fail(errors.ShapeError, "Linear", must, f"got shape {x.shape}")
        y = matmul(x, transpose(self.weight))
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


class Embedding(Module):
    """A vector for each of ``num_embeddings`` ids: integers (…) → (…, embedding_dim). As
    :func:`tinyattn.embedding`.

    Parameter: ``weight`` (num_embeddings, embedding_dim), standard normal. The row ``padding_idx`` starts as 0 and
    has no gradient. Raises ShapeError for a row or ids that there aren't.
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, dtype: Any = np.float32
    ):
        check_sizes("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        table = init.normal((num_embeddings, embedding_dim))
        if padding_idx is not None:
            if (
                not -num_embeddings <= (place := as_integer(padding_idx) or 0) < num_embeddings
                or place != padding_idx
            ):
                must = f"padding_idx must lie in 0..{num_embeddings - 1}"
                fail(errors.ShapeError, "Embedding", must, f"got {padding_idx}")
            padding_idx = place % num_embeddings
            table[padding_idx] = 0
        self.padding_idx = padding_idx
        self.weight = parameter(table, dtype)

    def forward(self, indices: Tensor) -> Tensor:
        """Integers (…) → (…, embedding_dim)."""
        return embedding(self.weight, indices, self.padding_idx)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Dropout(Module):
    """In training, each element is 0 with probability ``p``, else divided by 1 − p: (…) → (…) (Srivastava et al.
    2014). Raises ShapeError unless 0 ≤ p < 1.
    """

    def __init__(self, p: float = 0.5):
        self.p = check_probability("Dropout", p)

    def forward(self, x: Tensor) -> Tensor:
        return dropout(x, self.p) if self.training else as_tensor(x)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def check_probability(op: str, p: float) -> float:
    """``p``, which must lie in [0, 1)."""
    if not isinstance(p, (int, float, np.number)) or not 0 <= p < 1:
        fail(errors.ShapeError, op, "the probability of dropping must lie in [0, 1)", f"got {p!r}")
    return float(p)


def check_sizes(op: str, **sizes: int) -> list[int]:
    """The named sizes as Python integers; raises ShapeError unless all are positive integers."""
    for name, size in sizes.items():
        if (as_integer(size) or 0) < 1:
            fail(errors.ShapeError, op, f"{name} must be a positive integer", f"got {size!r}")
    return list(map(operator.index, sizes.values()))
