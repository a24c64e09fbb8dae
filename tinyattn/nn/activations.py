"""Functions of one tensor as modules, for ``Sequential`` and for models written after torch's: they have no parameters.

``inplace`` is accepted for torch's sake and means nothing: values are never changed in place, and where memory can be
used again, the plan of the program does it.
"""

from typing import Any

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail, normalize_axis
from tinyattn.nn.module import Module
from tinyattn.ops.arrays.elementwise import relu, sigmoid, softplus, tanh, where
from tinyattn.ops.arrays.functions import elu, leaky_relu, log_sigmoid, silu
from tinyattn.ops.arrays.shape import reshape
from tinyattn.ops.attention.softmax import log_softmax, softmax
from tinyattn.ops.layers.gelu import gelu


class Identity(Module):
    """Nothing: (…) → (…), what comes in goes out. Arguments of the constructor are ignored, as in torch."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def forward(self, x: Tensor) -> Tensor:
        return as_tensor(x)


class ReLU(Module):
    """max(x, 0): (…) → (…), element by element."""

    def __init__(self, inplace: bool = False):
        pass

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope`` · x: (…) → (…), element by element. (Maas et al. 2013.)"""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


class GELU(Module):
    """x Φ(x): (…) → (…), element by element. ``approximate="tanh"`` for the approximation: see
    :func:`tinyattn.gelu`. (Hendrycks & Gimpel 2016.)
    """

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    def forward(self, x: Tensor) -> Tensor:
        return gelu(x, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(Module):
    """x σ(x): (…) → (…), element by element. (Hendrycks & Gimpel 2016.)"""

    def __init__(self, inplace: bool = False):
        pass

    def forward(self, x: Tensor) -> Tensor:
        return silu(x)


class ELU(Module):
    """x where x > 0, else α (e^x − 1), ``alpha`` being α: (…) → (…), element by element. (Clevert et al. 2016.)"""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        self.alpha = alpha

    def forward(self, x: Tensor) -> Tensor:
        return elu(x, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"


class LogSigmoid(Module):
    """log σ(x): (…) → (…), element by element."""

    def forward(self, x: Tensor) -> Tensor:
        return log_sigmoid(x)


class Tanh(Module):
    """tanh x: (…) → (…), element by element."""

    def forward(self, x: Tensor) -> Tensor:
        return tanh(x)


class Sigmoid(Module):
    """σ(x) = 1/(1 + e⁻ˣ): (…) → (…), element by element."""

    def forward(self, x: Tensor) -> Tensor:
        return sigmoid(x)


class Softplus(Module):
    """log(1 + e^{βx})/β, ``beta`` being β, and x itself where βx > ``threshold``: (…) → (…), element by element."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def forward(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        scaled = x * self.beta
        return where(scaled > self.threshold, x, softplus(scaled) * (1 / self.beta))

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softmax(Module):
    """Weights of sum 1 along the axis ``dim``: (…) → (…). Raises ShapeError where x doesn't have it."""

    def __init__(self, dim: int):
        self.dim = dim

    def forward(self, x: Tensor) -> Tensor:
        return softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """The logarithm of :class:`Softmax`, with the same ``dim``: (…) → (…)."""

    def forward(self, x: Tensor) -> Tensor:
        return log_softmax(x, self.dim)


class Flatten(Module):
    """The axes from ``start_dim`` to ``end_dim`` as one: by default (N, a, b) → (N, a·b). Raises ShapeError for
    axes that x doesn't have, or in the wrong order.
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Tensor) -> Tensor:
        """Raises ShapeError for axes that x doesn't have, or in the wrong order."""
        x = as_tensor(x)
        first, last = (normalize_axis("Flatten", a, x.ndim) for a in (self.start_dim, self.end_dim))
        if first > last:
            got = f"got {self.start_dim} and {self.end_dim} of shape {x.shape}"
            fail(errors.ShapeError, "Flatten", "start_dim must not lie behind end_dim", got)
        size = 1
        for n in x.shape[first : last + 1]:
            size *= n
        return reshape(x, (*x.shape[:first], size, *x.shape[last + 1 :]))

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"
