"""Spectral normalisation of a layer's weight (Miyato et al. 2018), with the keys of torch's parametrizations.

The layer keeps its weight W as ``parametrizations.weight.original`` and sees W/σ(W) in its place, with the
largest singular value σ estimated by power iteration: each call in training moves the estimates u and v of the
singular vectors (``parametrizations.weight.0._u`` and ``._v``) one step further.
"""

import numpy as np

from tinyattn import errors
from tinyattn.graph import trace
from tinyattn.graph.leaf import latest, tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail, normalize_axis
from tinyattn.nn import init
from tinyattn.nn.convolution import ConvTranspose2d
from tinyattn.nn.layers import check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.layers.spectral_norm import spectral_norm as divided

_FIRST_STEPS = 15
"""Power iterations at the beginning, as in torch."""


class _SpectralNorm(Module):
    """W → W/σ(W), and the estimates u and v of W's first singular vectors."""

    def __init__(self, weight: Tensor, n_power_iterations: int, eps: float, dim: int):
        self.n_power_iterations, self.eps, self.dim = n_power_iterations, eps, dim
        matrix = np.moveaxis(weight.numpy().astype(np.float64), dim, 0)
        matrix = matrix.reshape(matrix.shape[0], -1)
        u, v = (_unit(init.normal(size), eps) for size in matrix.shape)
        for _ in range(_FIRST_STEPS):
            u = _unit(matrix @ v, eps)
            v = _unit(matrix.T @ u, eps)
        self._u, self._v = (tensor(a.astype(weight.dtype)) for a in (u, v))

    def _leaves(self) -> list[tuple[str, Tensor]]:
        return [("_u", self._u), ("_v", self._v)]  # saved in spite of their names, which are torch's

    def forward(self, weight: Tensor) -> Tensor:
        steps = self.n_power_iterations if self.training else 0
        given = latest(self._u), latest(self._v)
        normalized, *new = divided(weight, *given, steps, self.eps, self.dim)
        if steps:
            for leaf, value in zip((self._u, self._v), new, strict=True):
                trace.assign(leaf, value)
        return normalized


def _unit(vector: np.ndarray, eps: float) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), eps)


class _Parametrized(Module):
    """A parameter ``original`` and what stands in its place."""

    def __init__(self, original: Tensor, parametrization: Module):
        self.original = original
        setattr(self, "0", parametrization)

    def forward(self) -> Tensor:
        return getattr(self, "0")(self.original)


def spectral_norm(
    module: Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> Module:
    """Let ``module`` see its parameter ``name`` divided by its largest singular value; returns ``module``.

    The parameter counts as a matrix with the axis ``dim`` (0; for ConvTranspose2d 1) against all others. The
    arguments and keys are those of ``torch.nn.utils.parametrizations.spectral_norm``. Raises TinyattnError if there
    is no such parameter with two axes or more. ``n_power_iterations``: how many steps improve the estimate at each
    call in training; ``eps`` keeps norms from 0. As :func:`tinyattn.spectral_norm`; (Miyato et al. 2018).
    """
    weight = vars(module).get(name)
    if not isinstance(weight, Tensor) or weight.op.name != "parameter" or weight.ndim < 2:
        must = f"the {type(module).__name__} must have a parameter {name!r} of two axes or more"
        got = f"{weight.type}" if isinstance(weight, Tensor) else f"{weight!r}"
        fail(errors.TinyattnError, "spectral_norm", must, f"got {got}")
    given = (1 if isinstance(module, ConvTranspose2d) else 0) if dim is None else dim
    axis = normalize_axis("spectral_norm", given, weight.ndim)
    check_sizes("spectral_norm", n_power_iterations=n_power_iterations)
    object.__delattr__(module, name)  # it stays a parameter, elsewhere
    weight.name = None  # it takes its new place as its name
    holder = vars(module).get("parametrizations") or Module()
    setattr(holder, name, _Parametrized(weight, _SpectralNorm(weight, n_power_iterations, eps, axis)))
    module.parametrizations = holder  # type: ignore[attr-defined]
    kind = type(module)
    value = property(lambda self: getattr(self.parametrizations, name)())
    module.__class__ = type(f"Parametrized{kind.__name__}", (kind,), {name: value, "__doc__": kind.__doc__})
    return module
