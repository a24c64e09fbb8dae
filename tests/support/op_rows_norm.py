"""Rows of the op table: normalisations, the Gaussian error linear unit, and the operations their derivatives are made of."""

import math
from dataclasses import replace

import numpy as np
from op_sample import Row, ours, rough, sample

import tinyattn as ta
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.point import apart, fixed, integers, positive, real
from tinyattn.graph.tensor import make, outputs


def _float(*shape):
    return ta.zeros(shape)


# Layer normalisation.


def _axes(x, shape):
    return tuple(range(x.ndim - len(np.atleast_1d(shape)), x.ndim))


def layer_norm(x, weight=None, bias=None, *, shape, eps=1e-5):
    axes = _axes(x, shape)
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def rms_norm(x, weight=None, *, shape, eps=1e-5):
    y = x / np.sqrt((x * x).mean(_axes(x, shape), keepdims=True) + eps)
    return y if weight is None else y * weight


def _torch_shape(shape):
    return (shape,) if isinstance(shape, int) else shape


def _backward(centred):
    def backward(x, mean, scale, g, weight=1.0):
        normal = (x - mean[:, None] * centred) * scale[:, None]
        u = g * weight
        dx = scale[:, None] * (
            u - centred * u.mean(1, keepdims=True) - normal * (u * normal).mean(1, keepdims=True)
        )
        return dx, (g * normal).sum(0), g.sum(0)

    return backward


# In a row of equal numbers nothing but rounding is left, and a small ε makes it large unless the mean is exact, as it is of
# 2ⁿ numbers. Some tests repeat a number along the row; so rows of other lengths have a larger ε.
_SAMPLES = [
    sample(real(3, 4), shape=4),
    sample(real(3, 4), real(4), shape=4),
    sample(real(2, 3, 5), real(5), shape=(5,), eps=0.1),
    sample(real(2, 2, 3), real(2, 3), shape=(2, 3), eps=0.1),
    sample(real(7), real(7), shape=7, eps=0.1),
    sample(real(2, 70), real(70), shape=70, eps=0.1),
    sample(real(20, 1), real(1), shape=1),
    sample(real(0, 4), real(4), shape=4),
]
_BIASED = [
    sample(real(3, 4), real(4), real(4), shape=4),
    sample(real(2, 2, 3), real(2, 3), real(2, 3), shape=(2, 3), eps=0.1),
    sample(real(33, 35), real(35), real(35), shape=35, eps=0.1),
    sample(real(0, 4), real(4), real(4), shape=4),
]


def _norm_row(name, numpy, samples, tolerance=1.0):
    call = getattr(ta, name)
    text = "[{}] x must end in the axes to normalise, (…, {}), none of them empty, but got shape {}."
    return Row(
        name, lambda x, *affine, shape, eps=1e-5: call(x, shape, *affine, eps=eps), numpy, samples, tolerance=tolerance,
        torch=lambda t, x, *affine, shape, eps=1e-5: getattr(t.nn.functional, name)(x, _torch_shape(shape), *affine, eps=eps),
        errors=[
            (lambda: call(_float(2, 3), 4), ShapeError, text.format(name, 4, (2, 3))),
            (lambda: call(_float(2, 3), (4, 2, 3)), ShapeError, text.format(name, "4, 2, 3", (2, 3))),
            (lambda: call(_float(2, 0), 0), ShapeError, text.format(name, 0, (2, 0))),
            (lambda: call(_float(2, 3), 3, _float(2)), ShapeError, f"[{name}] weight and bias must have the normalized shape (3,), but got (2,)."),
        ],
    )  # fmt: skip


def _backward_row(name):
    operands = (real(3, 4), real(3), real(3), real(3, 4))
    wide = (real(33, 70), real(33), real(33), real(33, 70))
    return Row(
        name, lambda *x: outputs(make(name, *x), 3), _backward(name.startswith("layer")),
        [sample(*operands), sample(*operands, real(4)), sample(*wide, real(70)), sample(real(0, 4), real(0), real(0), real(0, 4))],
        tolerance=4.0,
    )  # fmt: skip


# Whole numbers far from 0: E[x²] − E[x]² would lose every digit of their variance in float32 (torch loses some in x ρ − μ ρ).
_FAR_OFF = ours(fixed([[8192.0, 8193.0, 8191.0, 8194.0], [8192.0, 8190.0, 8191.0, 8189.0]]), shape=4)


def group_norm(x, weight=None, bias=None, num_groups=1, eps=1e-5):
    rows = x.reshape(len(x), num_groups, math.prod(x.shape[1:]) // num_groups)
    y = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + eps)
    channel = (-1, *[1] * (x.ndim - 2))
    y = y.reshape(x.shape) * (1 if weight is None else weight.reshape(channel))
    return y + (0 if bias is None else bias.reshape(channel))


def _group_norm(x, weight=None, bias=None, num_groups=1, **attrs):
    return ta.group_norm(x, num_groups, weight, bias, **attrs)


LAYER_ROWS = [
    Row(
        "group_norm",
        _group_norm,
        group_norm,
        [
            sample(real(2, 4, 3), real(4), real(4), num_groups=2),
            sample(real(3, 8), real(8), num_groups=2),
            sample(real(2, 4, 2, 3), num_groups=4, eps=1e-2),
            sample(real(2, 3, 5), real(3), real(3)),
            sample(real(0, 4, 2), num_groups=2),
        ],
        torch=lambda t, x, weight=None, bias=None, num_groups=1, **a: t.nn.functional.group_norm(
            x, num_groups, weight, bias, **a
        ),
        errors=[
            (
                lambda: ta.group_norm(_float(2, 5, 3), 2),
                ShapeError,
                "[group_norm] x must be (N, C, …), its channels C a multiple of num_groups, but got shape (2, 5, 3) and num_groups 2.",
            ),
            (
                lambda: ta.group_norm(_float(2, 4, 3), 2, _float(2)),
                ShapeError,
                "[group_norm] weight and bias must be (4,), one number a channel, but got (2,).",
            ),
        ],
    ),
    _norm_row("layer_norm", layer_norm, [*_SAMPLES, *_BIASED, _FAR_OFF]),
    _norm_row("rms_norm", rms_norm, _SAMPLES),
    _backward_row("layer_norm_backward"),
    _backward_row("rms_norm_backward"),
]


# The Gaussian error linear unit.


def _distribution(x):
    return np.vectorize(lambda v: 0.5 * math.erfc(-v * math.sqrt(0.5)), otypes=[x.dtype])(x) if x.size else x


def gelu(x, approximate="none"):
    if approximate == "none":
        return x * _distribution(x)
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_backward(x, g):
    return g * (_distribution(x) + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi))


def gelu_tanh_backward(x, g):
    t = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return g * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x))


_WIDE = fixed(np.linspace(-9, 9, 145))
_FAR = fixed([np.nan, np.inf, 0.0, 1.0, -1.0, 40.0, -40.0, 1e4, 1e-20])

GELU_ROWS = [
    Row("gelu", ta.gelu, gelu,
        [sample(x, approximate=a) for x in (real(3, 4), real(2, 70), real(), real(0, 3), _WIDE) for a in ("none", "tanh")],
        torch=lambda t, x, approximate="none": t.nn.functional.gelu(x, approximate=approximate),
        errors=[(lambda: ta.gelu(_float(2), "fast"), TinyattnError, "[gelu] approximate must be \"none\" or \"tanh\", but got 'fast'.")],
        special=[sample(_FAR, approximate="none"), sample(_FAR, approximate="tanh")]),
    *(
        Row(f"{name}_backward", lambda x, g, name=name: make(f"{name}_backward", x, g), numpy,
            [sample(real(3, 4), real(3, 4)), sample(real(70), real(70)), sample(real(0, 4), real(0, 4))])
        for name, numpy in (("gelu", gelu_backward), ("gelu_tanh", gelu_tanh_backward))
    ),
]  # fmt: skip

# Batch normalisation. The running statistics are no part of the derivative, so they are returned in samples of values only;
# torch also leaves out the derivative by those that are given.


def _channels(value, x):
    return np.reshape(value, (1, -1) + (1,) * (x.ndim - 2))


def batch_norm(x, *rest, training, momentum=0.1, eps=1e-5, given="mean var weight bias", statistics=False):
    held = dict(zip(given.split(), rest, strict=True))
    axes = (0, *range(2, x.ndim))
    count = x.size // max(x.shape[1], 1)
    mean, var = (x.mean(axes), x.var(axes)) if training else (held["mean"], held["var"])
    y = (x - _channels(mean, x)) / np.sqrt(_channels(var, x) + eps)
    y = y * _channels(held.get("weight", np.ones(x.shape[1])), x) + _channels(
        held.get("bias", np.zeros(x.shape[1])), x
    )
    if not statistics:
        return y
    keep = 1 - momentum
    return y, keep * held["mean"] + momentum * mean, keep * held["var"] + momentum * var * count / (count - 1)


_NAMES = {"mean": "running_mean", "var": "running_var"}


def _our_batch_norm(x, *rest, given="mean var weight bias", statistics=False, **attrs):
    named = {_NAMES.get(name, name): value for name, value in zip(given.split(), rest, strict=True)}
    found = ta.batch_norm(x, **named, **attrs)
    return found if statistics else found[0]


def _torch_batch_norm(t, x, *rest, given="mean var weight bias", statistics=False, **attrs):
    named = {_NAMES.get(name, name): value for name, value in zip(given.split(), rest, strict=True)}
    held = [named[name].detach().clone() for name in _NAMES.values() if name in named]
    y = t.nn.functional.batch_norm(
        x, *(held or (None, None)), named.get("weight"), named.get("bias"), **attrs
    )
    return (y, *held) if statistics else y


def _batch_norm_backward(x, mean, var, g, weight=1.0):
    scale = 1 / np.sqrt(_channels(var, x) + 0.1)
    normal = (x - _channels(mean, x)) * scale
    axes = (0, *range(2, x.ndim))
    dx = g - g.mean(axes, keepdims=True) - normal * (g * normal).mean(axes, keepdims=True)
    return dx * scale * _channels(np.broadcast_to(weight, x.shape[1]), x), (g * normal).sum(axes), g.sum(axes)


_INPUTS = (real(4, 3), real(2, 3, 5), real(2, 3, 2, 3))
_FOUR = (real(3), positive(3), real(3), real(3))
_WANT = (
    "[batch_norm] running mean and variance must be given together, and in evaluation they must, but got {}."
)

BATCH_ROWS = [
    Row("batch_norm", _our_batch_norm, batch_norm,
        [sample(x, *_FOUR, training=True, eps=0.1) for x in _INPUTS]
        + [replace(sample(x, *_FOUR, training=False, eps=0.1), **only) for x in _INPUTS for only in ({"peer": False}, {"smooth": False})]
        + [
            sample(real(4, 3), training=True, given=""),
            sample(real(4, 3, 2), real(3), training=True, given="weight", eps=0.1),
            sample(real(4, 3, 1), real(3), training=True, given="bias", eps=0.1),
            sample(real(4, 3), real(3), positive(3), training=True, given="mean var", momentum=0.5),
            ours(real(4, 3), real(3), positive(3), training=False, given="mean var"),
            sample(real(5, 3, 67), *_FOUR, training=True, eps=0.1),
            sample(real(70, 3), *_FOUR, training=True, eps=0.1),
            ours(real(0, 3, 2), *_FOUR, training=False),
            replace(sample(real(4, 3, 2), *_FOUR, training=True, statistics=True), smooth=False),
            replace(sample(real(4, 3), *_FOUR, training=True, statistics=True, momentum=0.7), smooth=False),
        ],
        torch=_torch_batch_norm,
        errors=[
            (lambda: ta.batch_norm(_float(3), training=True), ShapeError, "[batch_norm] x must be (N, C, …), but got shape (3,)."),
            (lambda: ta.batch_norm(_float(2, 3), weight=_float(2), training=True), ShapeError,
             "[batch_norm] weight, bias and running statistics must be (3,), one number a channel, but got (2,)."),
            (lambda: ta.batch_norm(_float(2, 3)), ShapeError, _WANT.format("none")),
            (lambda: ta.batch_norm(_float(2, 3), _float(3)), ShapeError, _WANT.format("only one")),
            (lambda: ta.batch_norm(_float(1, 3), training=True), ShapeError,
             "[batch_norm] training needs more than one number a channel, but got shape (1, 3)."),
        ]),
    Row("batch_norm_backward", lambda *x: outputs(make("batch_norm_backward", *x, eps=0.1), 3), _batch_norm_backward,
        [sample(real(2, 3, 4), real(3), positive(3), real(2, 3, 4)), sample(real(4, 3, 1), real(3), positive(3), real(4, 3, 1), real(3)),
         sample(real(3, 2, 35), real(2), positive(2), real(3, 2, 35), real(2))], tolerance=4.0),
]  # fmt: skip


# Spectral normalisation. The vectors u and v are constants to the derivative, so they are made inside the call.


def _vectors(w, dim):
    height = w.shape[dim]
    return np.arange(1.0, height + 1), np.arange(1.0, w.size // height + 1)


def spectral_norm(w, dim=0, n_power_iterations=1, eps=1e-12, vectors=False):
    matrix = np.moveaxis(w, dim, 0).reshape(w.shape[dim], -1)
    u, v = _vectors(w, dim)
    for _ in range(n_power_iterations):
        u = matrix @ v
        u = u / max(np.sqrt(u @ u), eps)
        v = u @ matrix
        v = v / max(np.sqrt(v @ v), eps)
    found = w / (u @ matrix @ v)
    return (found, u, v) if vectors else found


def _our_spectral_norm(w, dim=0, vectors=False, **attrs):
    u, v = (a.astype(w.dtype) for a in _vectors(w, dim))
    found = ta.spectral_norm(w, u, v, dim=dim, **attrs)
    return found if vectors else found[0]


def _torch_spectral_norm(t, w, dim=0, n_power_iterations=1, eps=1e-12, vectors=False):
    """As torch.nn.utils.parametrizations.spectral_norm does it: u and v without a gradient."""
    matrix = w.movedim(dim, 0).flatten(1)
    u, v = map(t.from_numpy, _vectors(w.detach().numpy(), dim))
    with t.no_grad():
        for _ in range(n_power_iterations):
            u = t.nn.functional.normalize(matrix.mv(v), dim=0, eps=eps)
            v = t.nn.functional.normalize(matrix.T.mv(u), dim=0, eps=eps)
    found = w / t.vdot(u, matrix.mv(v))
    return (found, u, v) if vectors else found


def _spectral(*shape, order=2, smooth=True, **attrs):
    return replace(sample(positive(*shape), **attrs), order=order, smooth=smooth)


SPECTRAL_ROWS = [
    Row("spectral_norm", _our_spectral_norm, spectral_norm,
        [
            _spectral(3, 4, n_power_iterations=0), _spectral(2, 3, 2, n_power_iterations=0, dim=1), _spectral(3, 2, n_power_iterations=0, dim=-1),
            # After many steps u and v are the singular vectors, where σ is stationary: then the derivative is the true one.
            _spectral(3, 4, n_power_iterations=40, order=1),
            _spectral(3, 4, n_power_iterations=1, vectors=True, smooth=False), _spectral(5, 2, 2, n_power_iterations=3, vectors=True, smooth=False, dim=2),
            _spectral(17, 70, n_power_iterations=2, vectors=True, smooth=False),
        ],
        torch=_torch_spectral_norm,
        errors=[
            (lambda: ta.spectral_norm(_float(3), _float(3), _float(1)), ShapeError,
             "[spectral_norm] the weight must be floating-point and have two axes or more, dim=0 among them, but got f32[3]."),
            (lambda: ta.spectral_norm(_float(2, 3), _float(3), _float(2)), ShapeError,
             "[spectral_norm] u must be (2,) and v (3,), but got (3,) and (2,)."),
        ]),
]  # fmt: skip


# Weights of attention by ReLU.


def relu_norm(x, mask=None, by="length", axis=-1, eps=1e-6):
    visible = np.ones(x.shape, bool)
    if mask is not None:
        visible &= mask if mask.dtype == bool else mask != -np.inf
        x = x if mask.dtype == bool else x + mask
    weights = np.maximum(np.where(visible, x, 0), 0)
    if by == "length":
        return weights / np.maximum(visible.sum(axis, keepdims=True), 1)
    return weights / (weights.sum(axis, keepdims=True) + eps) if by == "sum" else weights


def _torch_relu_norm(t, x, mask=None, by="length", axis=-1, eps=1e-6):
    visible = t.ones(x.shape, dtype=t.bool) if mask is None else mask.expand(x.shape)
    weights = t.relu(t.where(visible, x, 0))
    if by == "length":
        return weights / visible.sum(axis, keepdim=True).clamp(min=1)
    return weights / (weights.sum(axis, keepdim=True) + eps) if by == "sum" else weights


_ALLOWED = np.array([[True, True, False, True], [False, False, False, False], [True, False, True, True]])
_WAYS = ("length", "sum", "none")

RELU_ROWS = [
    Row("relu_norm", lambda x, mask=None, axis=-1, **attrs: ta.relu_norm(x, axis, mask, **attrs), relu_norm,
        [
            *(sample(apart(3, 4), by=by) for by in _WAYS), *(sample(apart(2, 3, 4), fixed(_ALLOWED), by=by) for by in _WAYS),
            *(rough(apart(3, 4), fixed(np.where(_ALLOWED, 0.05, -np.inf)), by=by) for by in _WAYS),
            sample(apart(3, 4), axis=0, by="sum", eps=0.5), sample(apart(2, 70), by="sum"), sample(real(0, 4), by="sum"),
            sample(apart(2, 3, 4), fixed([[True, False, True, True]])), sample(apart(5, 1)),
        ],
        torch=_torch_relu_norm,
        errors=[
            (lambda: ta.relu_norm(_float(2, 3), by="max"), TinyattnError,
             "[relu_norm] by must be \"length\", \"sum\" or \"none\", but got 'max'."),
            (lambda: ta.relu_norm(_float(2, 3), mask=np.ones((4, 2, 3), bool)), ShapeError,
             "[relu_norm] the mask must broadcast to (2, 3), but got (4, 2, 3)."),
        ]),
    Row("relu_norm_backward", lambda y, s, g, by: make("relu_norm_backward", y, s, g, by=by),
        lambda y, s, g, by: np.where(y > 0, s * (g - (by == "sum") * np.where(y > 0, y * g, 0).sum(-1, keepdims=True)), 0),
        [sample(apart(3, 4), positive(3, 1), real(3, 4), by=by) for by in _WAYS]),
]  # fmt: skip


# Output projection and loss.


def _word_rows(hidden, weight, targets, bias=0.0, ignore_index=None, label_smoothing=0.0):
    logits = hidden @ weight.T + bias
    log_sum = np.log(np.exp(logits).sum(-1, keepdims=True))
    hot = targets[..., None] == np.arange(len(weight))
    counted = np.ones(targets.shape) if ignore_index is None else targets != ignore_index
    q = hot * (1 - label_smoothing) + label_smoothing / len(weight)
    return counted * (q * (log_sum - logits)).sum(-1), log_sum[..., 0], counted, np.exp(logits - log_sum) - q


def linear_cross_entropy(*arguments, **attrs):
    losses, _, counted, _ = _word_rows(*arguments, **attrs)
    return losses.sum() / max(counted.sum(), 1)


def _torch_linear(t, hidden, weight, targets, *bias, ignore_index=-100, label_smoothing=0.0):
    logits = t.nn.functional.linear(hidden, weight, *bias).reshape(-1, len(weight))
    return t.nn.functional.cross_entropy(
        logits, targets.reshape(-1), ignore_index=ignore_index, label_smoothing=label_smoothing
    )


def _chunked(*arguments):
    """The losses, and the log-sums of the exponentials themselves."""
    loss, top, log_sum = outputs(make("linear_cross_entropy", *arguments, **_CHUNKED), 3)
    return loss, top + log_sum


def _chunked_backward(hidden, weight, targets, top, log_sum, g, bias=0.0):
    logits = hidden @ weight.T + bias
    rows = (np.exp(logits - (top + log_sum)[:, None]) - (targets[:, None] == np.arange(len(weight)))) * g[
        :, None
    ]
    return rows @ weight, rows.T @ hidden, rows.sum(0)


_CHUNKED = {"ignore": None, "smoothing": 0.0, "chunk": 2}
_LINEAR = "[linear_cross_entropy] "

PROJECTION_ROWS = [
    Row("linear_cross_entropy", ta.linear_cross_entropy, linear_cross_entropy,
        [
            sample(real(3, 4), real(5, 4), fixed([1, 0, 4])), sample(real(2, 3, 4), real(5, 4), integers(5, 2, 3), real(5)),
            sample(real(2, 3, 4), real(5, 4), integers(5, 2, 3), real(5), ignore_index=2, label_smoothing=0.1),
            sample(real(4), real(5, 4), fixed(2)), sample(real(9, 33), real(70, 33), integers(70, 9)), sample(real(3, 1), real(5, 1), fixed([1, 0, 4])),
            ours(real(0, 4), real(5, 4), fixed(np.zeros(0, int))),
        ],
        torch=_torch_linear, tolerance=4.0,
        errors=[
            (lambda: ta.linear_cross_entropy(_float(2, 3), _float(5, 4), [0, 0]), ShapeError,
             _LINEAR + "hidden (…, d) and weight (V, d) must share the width d, but got f32[2, 3] and f32[5, 4]."),
            (lambda: ta.linear_cross_entropy(_float(2, 4), _float(5, 4), [0]), ShapeError,
             _LINEAR + "hidden (…, d) and targets (…) must agree but for the width, but got (2, 4) and (1,)."),
            (lambda: ta.linear_cross_entropy(_float(2, 4), _float(5, 4), [0, 0], _float(4)), ShapeError,
             _LINEAR + "the bias must be (5,), but got (4,)."),
            (lambda: ta.linear_cross_entropy(_float(2, 4), _float(5, 4), [0, 5]), ShapeError, "[linear_cross_entropy] targets must lie in 0..4, but got 5."),
        ]),
    Row("linear_cross_entropy in chunks", _chunked, lambda *x: _word_rows(*x)[:2],
        [sample(real(3, 4), real(5, 4), fixed([1, 0, 4])), sample(real(5, 4), real(6, 4), integers(6, 5), real(6)),
         sample(real(5, 33), real(70, 33), integers(70, 5), real(70)), sample(real(0, 4), real(5, 4), fixed(np.zeros(0, int)))], tolerance=4.0),
    Row("linear_cross_entropy_backward", lambda *x: outputs(make("linear_cross_entropy_backward", *x, **_CHUNKED), 3), _chunked_backward,
        [sample(real(3, 4), real(5, 4), fixed([1, 0, 4]), real(3), real(3), real(3)), sample(real(5, 3), real(4, 3), integers(4, 5), real(5), real(5), real(5), real(4)),
         sample(real(0, 4), real(5, 4), fixed(np.zeros(0, int)), real(0), real(0), real(0))], tolerance=8.0),
]  # fmt: skip


NORM_ROWS = [*LAYER_ROWS, *GELU_ROWS, *BATCH_ROWS, *SPECTRAL_ROWS, *PROJECTION_ROWS, *RELU_ROWS]


def proof_cases():
    """Cases for the proof: (operation, what is special, arrays in float64, attributes)."""
    rng = np.random.default_rng(5)
    real = lambda *shape: rng.standard_normal(shape)
    for name, operands in (("layer_norm", 3), ("rms_norm", 2)):
        for count, kind in enumerate(("plain", "weight", "weight and bias")[:operands]):
            yield name, kind, (real(2, 3, 4), *(real(4) for _ in range(count))), {"eps": 1e-5}
        yield name, "wide rows", (real(5, 70), *(real(70) for _ in range(operands - 1))), {"eps": 1e-2}
        yield name, "one number a row", (real(3, 1),), {"eps": 0.5}
    for count, kind in enumerate(("plain", "weight", "weight and bias")):
        yield "batch_norm", kind, (real(4, 3, 2), *(real(3) for _ in range(count))), {"eps": 1e-5}
    yield "batch_norm", "one place", (real(40, 3, 1), real(3), real(3)), {"eps": 0.1}
    yield "batch_norm", "many places", (real(2, 3, 70), real(3), real(3)), {"eps": 0.1}
    yield "spectral_norm", "plain", (real(3, 4) + 2, 1 + rng.random(3), 1 + rng.random(4)), {}
    closed = np.array([[True, True, False, True], [False, False, False, False], [True, True, True, True]])
    for by in _WAYS:
        attrs = {"by": by, "eps": 1e-6}
        yield "relu_norm", by, (real(2, 3, 4),), attrs
        yield "relu_norm", f"{by}, a row closed", (real(2, 3, 4), closed), attrs
        yield "relu_norm", f"{by}, added", (real(2, 3, 4), np.where(closed, 0.3, -np.inf)), attrs
    for chunk, ignore, smoothing in ((1, None, 0.0), (2, 3, 0.1), (8, None, 0.2)):
        attrs = {"ignore": ignore, "smoothing": smoothing, "chunk": chunk}
        yield (
            "linear_cross_entropy",
            f"chunks of {chunk}",
            (real(5, 3), real(4, 3), np.array([1, 0, 3, 2, 3]), real(4)),
            attrs,
        )
    for name in ("gelu", "gelu_tanh"):
        yield name, "plain", (2 * real(3, 7),), {}
