"""Layer normalisation and its root-mean-square form: the last axis of every row brought to one scale.

    layer norm   x̂ = (x − μ) ρ,   μ = mean x,   ρ = (mean (x − μ)² + ε)^−½       y = g ⊙ x̂ + b
    RMS norm     x̂ = x ρ,                       ρ = (mean x² + ε)^−½             y = g ⊙ x̂

With u = ȳ ⊙ g, both have one derivative; the term with mean u belongs to μ, and falls away without it:

    x̄ = ρ (u − mean u − x̂ mean(u x̂)),      ḡ = Σ ȳ x̂,      b̄ = Σ ȳ     (sums over all rows)

(Ba, Kiros & Hinton 2016, "Layer normalization"; Zhang & Sennrich 2019, "Root mean square layer normalization".)
μ and ρ, two numbers a row, are kept from the forward pass; x̂ is made again from them.
"""

import math

import numpy as np

from tinyattn import errors
from tinyattn.graph.grad import ones_like, zeros_like
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.operands import real_operands
from tinyattn.graph.point import at, real
from tinyattn.graph.public import public
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.types import FLOAT32, Type, as_shape, fail, is_float
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.elementwise import sqrt
from tinyattn.ops.arrays.shape import expand_dims, reshape
from tinyattn.ops.definition import by_definition, by_rows, call, hand_derived


def _row_mean(x: Tensor) -> Tensor:
    return reduce.sum(x, -1, keepdims=True) * (1 / x.shape[-1])


def _definition(centred: bool):
    def definition(x, weight=None, bias=None, *, eps):
        mean = _row_mean(x) if centred else _row_mean(zeros_like(x))
        deviation = x - mean if centred else x
        scale = 1 / sqrt(_row_mean(deviation * deviation) + eps)
        y = deviation * scale
        y = y if weight is None else y * weight
        y = y if bias is None else y + bias
        rows = x.shape[:-1]
        return y, reshape(mean, rows), reshape(scale, rows)

    return definition


def _backward_definition(centred: bool):
    def definition(x, mean, scale, g, weight=None):
        mean, scale = expand_dims(mean, -1), expand_dims(scale, -1)
        normal = (x - mean if centred else x) * scale
        u = g if weight is None else g * weight
        dx = u - normal * _row_mean(u * normal)
        dx = scale * (dx - _row_mean(u) if centred else dx)
        rows = tuple(range(x.ndim - 1))
        return dx, reduce.sum(g * normal, rows), reduce.sum(g, rows)

    return definition


def _derivative(name: str):
    def derivative(cotangents, node):
        if 1 in cotangents or 2 in cotangents:  # somebody differentiates the statistics themselves
            return by_definition(cotangents, node)
        x, *affine = node.inputs
        found = call(
            f"{name}_backward", x, output(node, 1), output(node, 2), cotangents[0], *affine[:1], count=3
        )
        return found[: len(node.inputs)]

    return derivative


def _infer(x, *affine, eps):
    statistic = Type(x.shape[:-1], x.dtype)
    return x.type, statistic, statistic


def _infer_backward(x, *rest):
    column = Type(x.shape[-1:], x.dtype)
    return x.type, column, column


for _name, _centred, _formula in (
    ("layer_norm", True, "({0} − mean {0}) / √(var {0} + ε)"),
    ("rms_norm", False, "{0} / √(mean {0}² + ε)"),
):
    _mean = " − mean ḡ" if _centred else ""
    hand_derived(
        _name,
        _infer,
        _definition(_centred),
        _derivative(_name),
        recompute=True,  # its kernel costs no more than an elementwise one; the first result is what counts
        lower=by_rows(),
        results=("", "mean", "ρ"),
        formula=_formula,
        vjp_formula=f"ρ (ḡ{_mean} − x̂ mean(ḡ x̂)), Σ ḡ x̂" + (", Σ ḡ" if _centred else ""),
    )
    hand_derived(
        f"{_name}_backward",
        _infer_backward,
        _backward_definition(_centred),
        lower=by_rows(),
        results=("x", "weight", "bias"),
        formula=f"ρ ({{3}}{_mean.replace('ḡ', '{3}')} − x̂ mean({{3}} x̂)), Σ {{3}} x̂, Σ {{3}}",
    )


def _normalize(op: str, x, normalized_shape, *affine, eps: float) -> Tensor:
    """Check the operands, and normalise the last axes as one."""
    x, *operands = real_operands(x, optional=affine)
    given = [a for a in operands if a is not None]
    shape = as_shape(op, normalized_shape)
    if not shape or x.shape[x.ndim - len(shape) :] != shape or x.ndim < len(shape) or 0 in shape:
        fail(
            errors.ShapeError,
            op,
            f"x must end in the axes to normalise, (…, {', '.join(map(str, shape))}), none of them empty",
            f"got shape {x.shape}",
        )
    for a in given:
        if a.shape != shape:
            must = f"weight and bias must have the normalized shape {shape}"
            fail(errors.ShapeError, op, must, f"got {a.shape}")
    width = math.prod(shape)
    operands = [None if a is None else reshape(a, (width,)) for a in operands]
    if len(operands) == 2 and operands[0] is None and operands[1] is not None:
        operands[0] = ones_like(operands[1])
    rows = reshape(x, (*x.shape[: x.ndim - len(shape)], width))
    y = call(op, rows, *(a for a in operands if a is not None), count=3, eps=float(eps))[0]
    return reshape(y, x.shape)


@public(at(real(3, 4), 4, real(4), real(4)))
def layer_norm(x, normalized_shape, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """``(x − mean) / √(var + eps) · weight + bias`` over the last axes of ``x``, those of ``normalized_shape`` (an
    integer or a tuple), with the variance divided by their count.

    weight, bias: of shape ``normalized_shape``, or None for 1 and 0. Same shape and type as ``x``; integers and
    bools become float32. Raises ShapeError for what doesn't fit. (Ba, Kiros & Hinton 2016, equations 3 and 4.)
    """
    return _normalize("layer_norm", x, normalized_shape, weight, bias, eps=eps)


@public(at(real(3, 4), 4, real(4)))
def rms_norm(x, normalized_shape, weight=None, eps: float | None = None) -> Tensor:
    """``x / √(mean x² + eps) · weight`` over the last axes of ``x``, those of ``normalized_shape``.

    As :func:`layer_norm` without the mean and the bias; ``eps`` None is the smallest step from 1 of x's type, as in
    torch. (Zhang & Sennrich 2019, equation 4.)
    """
    x = as_tensor(x)
    step = float(np.finfo(x.dtype if is_float(x.dtype) else FLOAT32).eps)
    return _normalize("rms_norm", x, normalized_shape, weight, eps=step if eps is None else eps)


@public(at(real(2, 4, 3), 2, real(4), real(4)))
def group_norm(x, num_groups: int, weight=None, bias=None, eps: float = 1e-5) -> Tensor:
    """``(x − mean) / √(var + eps) · weight + bias`` of x (N, C, …), with mean and variance of each of
    ``num_groups`` groups of channels, in each of the N.

    weight, bias: (C,), a number a channel, or None for 1 and 0. Same shape and type as ``x``; integers and bools
    become float32. Raises ShapeError for what doesn't fit. (Wu & He 2018, equations 1 and 7.)
    """
    x, weight, bias = real_operands(x, optional=(weight, bias))
    if x.ndim < 2 or num_groups < 1 or x.shape[1] % num_groups:
        must = "x must be (N, C, …), its channels C a multiple of num_groups"
        fail(errors.ShapeError, "group_norm", must, f"got shape {x.shape} and num_groups {num_groups}")
    batch, channels, *places = x.shape
    for given in (weight, bias):
        if given is not None and given.shape != (channels,):
            must = f"weight and bias must be ({channels},), one number a channel"
            fail(errors.ShapeError, "group_norm", must, f"got {given.shape}")
    if x.size == 0:
        return x
    rows = reshape(x, (batch, num_groups, channels // num_groups * math.prod(places)))
    y = reshape(layer_norm(rows, rows.shape[-1], eps=eps), x.shape)
    channel = (channels, *(1 for _ in places))
    y = y if weight is None else y * reshape(weight, channel)
    return y if bias is None else y + reshape(bias, channel)
