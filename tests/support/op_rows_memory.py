"""Rows of the op table: the addressing and the memory of a Neural Turing Machine, local windows, the cosine and location scores, hard attention."""

from functools import partial

import numpy as np
from op_rows_arrays import _drawn, _seeded
from op_rows_attention import log_softmax, softmax
from op_sample import Row, rough, sample

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.graph.point import Numbers, fixed, real
from tinyattn.graph.tensor import make, outputs

NAN, INF = np.nan, np.inf


def _float(*shape):
    return ta.zeros(shape)


def share(*shape) -> Numbers:
    """Positive numbers that add up to 1 along the last axis."""
    return Numbers(shape, lambda g, s: (w := g.uniform(0.2, 1, s)) / w.sum(-1, keepdims=True), "share")


def between(low, high, *shape) -> Numbers:
    """Numbers in [low, high)."""
    return Numbers(shape, lambda g, s: g.uniform(low, high, s), f"between {low} and {high}")


def _swap(x):
    return np.swapaxes(x, -1, -2)


# Scores.


def _norm(x):
    return np.sqrt((x * x).sum(-1, keepdims=True))


def _cosine(q, k, eps=1e-8):
    return q @ _swap(k) / (_norm(q) * _swap(_norm(k)) + eps)


def _torch_cosine(t, q, k, eps=1e-8):
    lengths = [x.norm(dim=-1, keepdim=True) for x in (q, k)]
    return q @ k.mT / (lengths[0] * lengths[1].mT + eps)


def _cosine_backward(q, k, c, g):
    lengths, others = _norm(q), _swap(_norm(k))
    along = g / (lengths * others + 0.1)
    across = along * c
    return (
        along @ k - (across * others).sum(-1, keepdims=True) * q / lengths,
        _swap(along) @ q - _swap((across * lengths).sum(-2, keepdims=True)) * k / _swap(others),
    )


def _location(q, w, length):
    known = min(length, len(w))
    scores = np.full((*q.shape[:-1], length), -INF)
    scores[..., :known] = q @ w[:known].T
    return scores


_NONE = fixed(np.zeros((2, 5, 4)))
_SHARED = (
    "[cosine_score] query (…, Tq, d) and keys (…, Tk, d) must share the width d, but got (2, 3) and (2, 4)."
)
_PLACES = "[location_score] query (…, Tq, d) and W (S, d) must share the width d, but got (2, 3) and (4, 2)."

_KEYS = "[location_score] keys must be (…, Tk, d), or the number Tk, but got (4,)."

SCORE_ROWS = [
    Row("cosine_score", ta.cosine_score, _cosine,
        [sample(real(2, 3, 4), real(2, 5, 4)), sample(real(3, 4), real(2, 5, 4)), sample(real(2, 3, 4), real(2, 5, 4), eps=0.1),
         sample(real(1, 2), real(2, 2)), sample(real(3, 1), real(5, 1)), sample(real(2, 3, 3), real(1, 5, 3)), sample(real(1, 70), real(9, 70)), rough(real(2, 3, 4), _NONE),
         sample(real(0, 3, 4), real(0, 5, 4))],
        torch=_torch_cosine, errors=[(lambda: ta.cosine_score(_float(2, 3), _float(2, 4)), ShapeError, _SHARED)],
        special=[sample(fixed([[0.0, 0.0], [1e10, 0.0], [INF, 1.0], [NAN, 1.0]]), fixed([[1.0, 0.0], [0.0, 0.0], [-1e-5, 0.0]]))]),
    Row("cosine_score_backward", lambda *x: outputs(make("cosine_score_backward", *x, eps=0.1), 2), _cosine_backward,
        [sample(real(2, 3, 4), real(2, 5, 4), real(2, 3, 5), real(2, 3, 5))]),
    Row("location_score", lambda q, w, length: ta.location_score(q, length, w), _location,
        [sample(real(2, 3, 4), real(5, 4), length=5), sample(real(3, 4), real(5, 4), length=2), rough(real(2, 3, 4), real(5, 4), length=7),
         sample(real(0, 4), real(5, 4), length=3), sample(real(3, 4), real(5, 4), length=0)],
        torch=lambda t, q, w, length: q @ w[:length].T,
        errors=[(lambda: ta.location_score(_float(2, 3), 5, _float(4, 2)), ShapeError, _PLACES),
                (lambda: ta.location_score(_float(2, 3), _float(4), _float(4, 3)), ShapeError, _KEYS),
                (lambda: ta.location_score(_float(2, 3), -1, _float(4, 3)), ShapeError, _KEYS.replace("(4,)", "-1"))]),
]  # fmt: skip


# Addressing.


def _content(key, strength, memory, eps=1e-8):
    single = key.ndim == memory.ndim - 1
    key, strength = (key[..., None, :], strength[..., None]) if single else (key, strength)
    weights = softmax(strength.reshape(key.shape[:-1])[..., None] * _cosine(key, memory, eps))
    return weights[..., 0, :] if single else weights


def _torch_content(t, key, strength, memory, eps=1e-8):
    single = key.ndim == memory.ndim - 1
    key, strength = (key[..., None, :], strength[..., None]) if single else (key, strength)
    weights = t.softmax(strength.reshape(key.shape[:-1])[..., None] * _torch_cosine(t, key, memory, eps), -1)
    return weights[..., 0, :] if single else weights


def _shift(w, s):
    """By the Fourier transform where the last axes differ, else by a number."""
    if s.ndim < w.ndim:
        low = np.floor(s).astype(int)
        places = (np.arange(w.shape[-1]) - low[..., None]) % w.shape[-1]
        one = np.take_along_axis(w, places, -1)
        other = np.take_along_axis(w, (places - 1) % w.shape[-1], -1)
        return (1 - (s - low)[..., None]) * one + (s - low)[..., None] * other
    radius, places = s.shape[-1] // 2, w.shape[-1]
    kernel = np.zeros((*s.shape[:-1], places))
    for k in range(-radius, radius + 1):
        kernel[..., k % places] += s[..., k + radius]
    return np.fft.irfft(np.fft.rfft(w) * np.fft.rfft(kernel), places)


def _torch_shift(t, w, s):
    if s.ndim < w.ndim:
        low = t.floor(s).detach()
        places = (t.arange(w.shape[-1]) - low[..., None].long()) % w.shape[-1]
        part = (s - low)[..., None]
        return (1 - part) * w.gather(-1, places) + part * w.gather(-1, (places - 1) % w.shape[-1])
    radius = s.shape[-1] // 2
    return sum(s[..., k + radius, None] * t.roll(w, k, -1) for k in range(-radius, radius + 1))


def _sharpen(w, gamma):
    top = w.max(-1, keepdims=True, initial=0)
    powers = (w / np.where(top == 0, 1, top)) ** gamma.reshape(w.shape[:-1])[..., None]
    total = powers.sum(-1, keepdims=True)
    return powers / np.where(total == 0, 1, total)


def _torch_sharpen(t, w, gamma):
    powers = (w / w.detach().amax(-1, keepdim=True)) ** gamma.reshape(w.shape[:-1])[..., None]
    return powers / powers.sum(-1, keepdim=True)


def _sharpen_backward(w, gamma, y, g):
    rest = g - (y * g).sum(-1, keepdims=True)
    slope = gamma[..., None] * w ** (gamma[..., None] - 1) / (w ** gamma[..., None]).sum(-1, keepdims=True)
    return slope * rest, (y * rest * np.log(w)).sum(-1)


_GIVEN = "but got {}."
_CONTENT = "[content_addressing] key (…, H, W), or (…, W) for one head, and memory (…, N, W) must agree but for H and N, "
_STRENGTH = "[content_addressing] strength must be one number a key, here (2, 3), but got (4,)."
_BETWEEN = "[interpolate] the two weightings (…, N) must have one shape, but got (2, 5) and (2, 4)."
_SHIFTS = "[circular_shift] weights must be (…, N) and shift (…, 2R + 1), or (…) for a shift by a number, but got {} and {}."
_FAR = "[circular_shift] the largest shift must be less than the number of places, 2, but got shifts -2 … 2."
_GAMMA = "[sharpen] gamma must be one number a weighting, here (2,), but got (3,)."

ADDRESSING_ROWS = [
    Row("content_addressing", ta.content_addressing, _content,
        [sample(real(2, 3, 4), between(0.5, 4, 2, 3), real(2, 5, 4)), sample(real(2, 4), between(0.5, 4, 2), real(2, 5, 4)),
         sample(real(2, 4), between(0.5, 4, 2, 1), real(2, 5, 4)), sample(real(3, 4), between(0.5, 4, 3, 1), real(5, 4)), sample(real(2), between(0.5, 4), real(3, 2)),
         sample(real(2, 1, 3), between(0.5, 4, 2, 1), real(2, 1, 3)), sample(real(2, 1), between(0.5, 4, 2), real(2, 5, 1), eps=0.1),
         rough(real(2, 4), between(0.5, 4, 2), _NONE), sample(real(0, 3, 4), real(0, 3), real(0, 5, 4))],
        torch=_torch_content,
        errors=[(lambda: ta.content_addressing(_float(2, 3), 1.0, _float(2, 5, 4)), ShapeError, _CONTENT + _GIVEN.format("(2, 3) and (2, 5, 4)")),
                (lambda: ta.content_addressing(_float(2, 3, 4), _float(4), _float(2, 5, 4)), ShapeError, _STRENGTH)]),
    Row("interpolate", ta.interpolate, lambda g, c, p: (g := g.reshape(c.shape[:-1])[..., None]) * c + (1 - g) * p,
        [sample(between(0, 1, 2, 3), share(2, 3, 5), share(2, 3, 5)), sample(between(0, 1, 2, 1), share(2, 5), share(2, 5)),
         sample(between(0, 1), share(5), share(5)), sample(real(0), real(0, 5), real(0, 5))],
        torch=lambda t, g, c, p: (g := g.reshape(c.shape[:-1])[..., None]) * c + (1 - g) * p,
        errors=[(lambda: ta.interpolate(0.5, _float(2, 5), _float(2, 4)), ShapeError, _BETWEEN)]),
    Row("circular_shift", ta.circular_shift, _shift,
        [sample(share(2, 3, 5), share(2, 3, 3)), sample(share(2, 5), share(2, 1)), sample(share(3), share(5)), sample(share(1), share(1)), sample(share(3, 70), share(3, 5)),
         sample(share(2, 3, 5), between(-9, 9, 2, 3)), sample(share(2, 5), fixed([6.7, -1.25])), sample(share(3), fixed(0.3)), sample(share(2, 1), fixed([0.5, 3.5])),
         sample(real(0, 5), real(0, 3)), sample(real(0, 5), real(0))],
        torch=_torch_shift,
        errors=[(lambda: ta.circular_shift(_float(2, 5), _float(2, 2)), ShapeError, _SHIFTS.format((2, 5), (2, 2))),
                (lambda: ta.circular_shift(_float(2, 5), _float(3)), ShapeError, _SHIFTS.format((2, 5), (3,))),
                (lambda: ta.circular_shift(_float(4, 2), _float(4, 5)), ShapeError, _FAR)]),
    Row("sharpen", ta.sharpen, _sharpen,
        [sample(share(2, 3, 5), between(1, 5, 2, 3)), sample(share(2, 5), between(1, 5, 2, 1)), sample(share(5), fixed(1.0)), sample(share(3, 1), between(1, 5, 3)),
         sample(share(2, 70), between(1, 20, 2)), rough(fixed([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]), fixed([3.5, 4.0])),
         rough(fixed([[0.0, 0.5, 0.5], [0.0, 0.0, 0.0]]), fixed([1.0, 2.0])), sample(real(0, 5), real(0))],
        torch=_torch_sharpen,
        errors=[(lambda: ta.sharpen(_float(2, 5), _float(3)), ShapeError, _GAMMA),
                (lambda: ta.sharpen(_float(), 1.0), ShapeError, "[sharpen] weights must have an axis, but got a scalar.")],
        special=[sample(fixed([[1e-20, 1e-30, 0.0], [1e-3, 1.0, 2.0], [1e-38, 1e-38, 1e-38]]), fixed([50.0, 100.0, 30.0]))]),
    Row("sharpen_backward", lambda *x: outputs(make("sharpen_backward", *x), 2), _sharpen_backward, [sample(share(3, 5), between(1, 5, 3), share(3, 5), real(3, 5))]),
]  # fmt: skip


# The whole of addressing.


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _address(emitted, memory, previous, eps=1e-8):
    width = memory.shape[-1]
    key, strength, gate, shift, gamma = np.split(
        emitted, [width, width + 1, width + 2, emitted.shape[-1] - 1], -1
    )
    content = _content(key, np.logaddexp(strength, 0)[..., 0], memory, eps)
    gated = _sigmoid(gate) * content + (1 - _sigmoid(gate)) * previous
    radius, s = shift.shape[-1] // 2, softmax(shift)
    shifted = sum(s[..., k + radius, None] * np.roll(gated, k, -1) for k in range(-radius, radius + 1))
    return _sharpen(shifted, 1 + np.logaddexp(gamma, 0)[..., 0])


def _torch_address(t, emitted, memory, previous, eps=1e-8):
    width, softplus = memory.shape[-1], partial(t.nn.functional.softplus, threshold=1e6)
    key, strength, gate, shift, gamma = emitted.split([width, 1, 1, emitted.shape[-1] - width - 3, 1], -1)
    content = _torch_content(t, key, softplus(strength)[..., 0], memory, eps)
    gated = t.sigmoid(gate) * content + (1 - t.sigmoid(gate)) * previous
    return _torch_sharpen(t, _torch_shift(t, gated, t.softmax(shift, -1)), 1 + softplus(gamma))


def _address_backward(emitted, memory, previous, y, cosine, g):
    """One number moved at a time."""
    key, rest = emitted[..., : memory.shape[-1]], emitted[..., memory.shape[-1] :]
    strength, gate, gamma = (
        np.logaddexp(rest[..., :1], 0),
        _sigmoid(rest[..., 1:2]),
        1 + np.logaddexp(rest[..., -1:], 0),
    )
    s, content = softmax(rest[..., 2:-1]), softmax(strength * cosine)
    ks = range(-(s.shape[-1] // 2), s.shape[-1] // 2 + 1)
    gated = gate * content + (1 - gate) * previous
    shifted = sum(s[..., j, None] * np.roll(gated, k, -1) for j, k in enumerate(ks))
    d_shifted, d_gamma = _sharpen_backward(shifted, gamma[..., 0], y, g)
    d_shift = np.stack([(d_shifted * np.roll(gated, k, -1)).sum(-1) for k in ks], -1)
    d_gated = sum(s[..., j, None] * np.roll(d_shifted, -k, -1) for j, k in enumerate(ks))
    d_content = gate * d_gated
    scores = content * (d_content - (content * d_content).sum(-1, keepdims=True))
    d_key, d_memory = _cosine_backward(key, memory, cosine, strength * scores)
    activated = [
        (scores * cosine).sum(-1, keepdims=True) * _sigmoid(rest[..., :1]),
        (d_gated * (content - previous)).sum(-1, keepdims=True) * gate * (1 - gate),
        s * (d_shift - (s * d_shift).sum(-1, keepdims=True)),
        d_gamma[..., None] * _sigmoid(rest[..., -1:]),
    ]
    return np.concatenate([d_key, *activated], -1), d_memory, (1 - gate) * d_gated


_ADDRESS = (
    "[memory_address] emitted (…, H, W + S + 3), memory (…, N, W) and previous (…, H, N) must fit, with S odd and S < 2N, "
    "but got {}."
)

ADDRESS_ROWS = [
    Row("memory_address", ta.memory_address, _address,
        [sample(real(2, 3, 10), real(2, 5, 4), share(2, 3, 5)), sample(real(2, 9), real(2, 5, 3), share(2, 5)), sample(real(2, 9), real(3, 5), share(2, 3)),
         sample(real(2, 1, 5), real(2, 1, 1), share(2, 1, 1)), sample(real(1, 2, 26), real(1, 33, 20), share(1, 2, 33)),
         sample(real(6), real(2, 2), share(2)), sample(real(2, 8), real(2, 6, 2), share(2, 6), eps=0.1), sample(real(0, 2, 10), real(0, 5, 4), real(0, 2, 5)),
         rough(real(2, 10), fixed(np.zeros((2, 5, 4))), fixed(np.eye(5)[:2]))],
        torch=_torch_address,
        errors=[(lambda: ta.memory_address(_float(2, 9), _float(2, 5, 4), _float(2, 5)), ShapeError, _ADDRESS.format("(2, 9), (2, 5, 4) and (2, 5)")),
                (lambda: ta.memory_address(_float(12), _float(2, 4), _float(2)), ShapeError, _ADDRESS.format("(12,), (2, 4) and (2,)"))]),
    Row("memory_address_backward", lambda *x: outputs(make("memory_address_backward", *x, eps=0.1), 3), _address_backward,
        [sample(real(2, 3, 10), real(2, 5, 4), share(2, 3, 5), share(2, 3, 5), between(-1, 1, 2, 3, 5), real(2, 3, 5))]),
]  # fmt: skip


# Reading and writing.


def _write(memory, weights, erase, add):
    if weights.ndim < memory.ndim:
        weights, erase, add = weights[..., None, :], erase[..., None, :], add[..., None, :]
    for h in range(weights.shape[-2]):
        memory = memory * (1 - weights[..., h, :, None] * erase[..., h, None, :])
    return memory + _swap(weights) @ add


def _torch_write(t, memory, weights, erase, add):
    if weights.ndim < memory.ndim:
        weights, erase, add = weights[..., None, :], erase[..., None, :], add[..., None, :]
    kept = (1 - weights[..., None] * erase[..., None, :]).prod(-3)
    return memory * kept + weights.mT @ add


def _write_backward(memory, weights, erase, add, g):
    keep = 1 - weights[..., None] * erase[:, :, None]  # (B, H, N, W)
    others = np.stack([memory * np.delete(keep, h, 1).prod(1) for h in range(weights.shape[1])], 1)
    g = g[:, None]
    return (
        (g * keep.prod(1, keepdims=True))[:, 0],
        (g * (add[:, :, None] - others * erase[:, :, None])).sum(-1),
        -(weights[..., None] * g * others).sum(2),
        (weights[..., None] * g).sum(2),
    )


_READ = "[memory_read] weights (…, H, N), or (…, N) for one head, and memory (…, N, W) must agree but for H and W, but got (2, 4) and (2, 5, 3)."
_WRITE = (
    "[memory_write] for memory (2, 5, 3) = (…, N, W), weights must be (…, H, N), erase and add (…, H, W), or without H, "
    "but got (2, 5), (2, 3) and (2, 4)."
)


def _written(*lead, heads, places, width):
    inner = (heads,) if heads else ()
    return sample(
        real(*lead, places, width),
        share(*lead, *inner, places),
        between(0, 1, *lead, *inner, width),
        real(*lead, *inner, width),
    )


_MEMORY_ROWS = [
    Row("memory_read", ta.memory_read, lambda w, m: np.einsum("...n,...nw->...w", w, m) if w.ndim < m.ndim else w @ m,
        [sample(share(2, 3, 5), real(2, 5, 4)), sample(share(2, 5), real(2, 5, 4)), sample(share(5), real(5, 3)), sample(share(2, 1, 1), real(2, 1, 1)),
         sample(real(0, 5), real(0, 5, 4))],
        torch=lambda t, w, m: (w[..., None, :] @ m)[..., 0, :] if w.ndim < m.ndim else w @ m,
        errors=[(lambda: ta.memory_read(_float(2, 4), _float(2, 5, 3)), ShapeError, _READ)]),
    Row("memory_write", ta.memory_write, _write,
        [_written(2, heads=1, places=5, width=4), _written(2, heads=0, places=5, width=3), _written(heads=2, places=5, width=4), _written(2, heads=3, places=1, width=1),
         _written(1, heads=2, places=9, width=20), _written(0, heads=2, places=5, width=4), _written(2, heads=1, places=5, width=0)],
        torch=_torch_write,
        errors=[(lambda: ta.memory_write(_float(2, 5, 3), _float(2, 5), _float(2, 3), _float(2, 4)), ShapeError, _WRITE)]),
    Row("memory_write_backward", lambda *x: outputs(make("memory_write_backward", *x), 4), _write_backward,
        [sample(real(2, 5, 4), share(2, 3, 5), between(0, 1, 2, 3, 4), real(2, 3, 4), real(2, 5, 4)),
         sample(real(2, 5, 4), share(2, 1, 5), between(0, 1, 2, 1, 4), real(2, 1, 4), real(2, 5, 4))]),
]  # fmt: skip


# Local windows.


def _window(p, length, half_width, predictive=False):
    distance = np.arange(length) - p[..., None]
    inside = np.abs(distance) <= half_width
    return np.where(inside, np.exp(-2 * (distance / half_width) ** 2), 0) if predictive else inside


_WINDOW = "[local_window] length must not be negative and half_width must be positive (0 will do without predictive), but got length {} and half_width {}."

WINDOW_ROWS = [
    Row("local_window", ta.local_window, _window,
        [sample(between(0, 8, 2, 3), length=9, half_width=2, predictive=True), sample(between(-3, 12, 4), length=9, half_width=3.25, predictive=True),
         sample(between(0, 8), length=70, half_width=10, predictive=True), sample(real(0), length=9, half_width=2, predictive=True),
         sample(real(3), length=0, half_width=2, predictive=True)],
        torch=lambda t, p, length, half_width, predictive: t.where(
            (d := t.arange(length) - p[..., None]).abs() <= half_width, t.exp(-2 * (d / half_width) ** 2), 0.0
        ),
        errors=[(lambda: ta.local_window(_float(3), -1, 2), ShapeError, _WINDOW.format(-1, 2)),
                (lambda: ta.local_window(_float(3), 5, 0, predictive=True), ShapeError, _WINDOW.format(5, 0))],
        special=[sample(fixed([NAN, INF, -INF, 1e10, 4.0]), length=7, half_width=2, predictive=True)]),
    Row("local_window of whole places", ta.local_window, _window,
        [sample(fixed(np.arange(5)), length=9, half_width=2), sample(fixed([[0.5, 8.0], [-4.0, 3.0]]), length=9, half_width=2), sample(fixed([2]), length=4, half_width=0)],
        constant="bools"),
]  # fmt: skip


# Hard attention.


def _sample(u, scores, mask=None):
    after = np.cumsum(softmax(scores, mask), -1)
    drawn = u(scores.shape[:-1], dtype=np.float64)[..., None] * after[..., -1:]
    before = np.concatenate([np.zeros((*after.shape[:-1], 1)), after[..., :-1]], -1)
    return ((before <= drawn) & (drawn < after)) * 1.0


_CHOSEN, _REWARD = np.eye(4)[[2, 0, 3]], np.array([0.7, -1.2, 0.4])
_CLOSED = fixed([[True, False, True, True], [True, True, True, True], [False, False, False, True]])


def _term(scores, mask=None, baseline=0.0, **weights):
    return ta.score_function(scores, _CHOSEN.tolist(), _REWARD.tolist(), baseline, mask, **weights)


def _numpy_term(scores, mask=None, baseline=0.0, reward_weight=1.0, entropy_weight=0.0):
    logs = log_softmax(scores, mask)
    surprise = np.where(np.isneginf(logs), 0, logs)
    entropy = -(np.exp(logs) * surprise).sum(-1)
    return (
        -reward_weight * (_REWARD - baseline) * np.where(_CHOSEN == 0, 0, logs).sum(-1)
        - entropy_weight * entropy
    )


def _term_backward(scores, g):
    held = ta.tensor(_CHOSEN.astype(scores.dtype)), ta.tensor(_REWARD.astype(scores.dtype))
    return make("score_function_backward", scores, *held, g, reward_weight=0.5, entropy_weight=0.1)


def _torch_term(t, scores, mask=None, baseline=0.0, reward_weight=1.0, entropy_weight=0.0):
    chosen = t.distributions.Categorical(logits=scores if mask is None else t.where(mask, scores, -1e9))
    likelihood = chosen.log_prob(t.tensor(_CHOSEN.argmax(-1)))
    return -reward_weight * (t.tensor(_REWARD) - baseline) * likelihood - entropy_weight * chosen.entropy()


_SCORES = "[hard_attention] scores (…, Tk) must have a key at least, but got (3, 0)."
_SAME = "[score_function] scores and sample must have one shape (…, Tk), but got (3, 4) and (3, 5)."
_ONE = "[score_function] reward − baseline must be one number a query, here (3,), but got (4,)."

HARD_ROWS = [
    Row("hard_attention", _seeded(lambda scores, mask=None: ta.hard_attention(scores.astype(np.float64), mask).astype(scores.dtype)), _drawn(_sample),
        [sample(real(3, 4)), sample(real(2, 3, 70)), sample(real(3, 4), _CLOSED), sample(real(3, 4), fixed(np.zeros((3, 4), bool))), sample(real(5, 1)), sample(real(0, 4))],
        errors=[(lambda: ta.hard_attention(_float(3, 0)), ShapeError, _SCORES)]),
    Row("score_function", _term, _numpy_term,
        [sample(real(3, 4)), sample(real(3, 4), baseline=0.3, reward_weight=0.5, entropy_weight=0.1), sample(real(3, 4), _CLOSED, entropy_weight=0.2)],
        torch=_torch_term,
        errors=[(lambda: ta.score_function(_float(3, 4), _float(3, 5), 1.0), ShapeError, _SAME),
                (lambda: ta.score_function(_float(3, 4), _float(3, 4), _float(4)), ShapeError, _ONE)]),
    Row("score_function_backward", _term_backward,
        lambda e, g: g[:, None] * (0.1 * (a := softmax(e)) * (np.log(a) - (a * np.log(a)).sum(-1, keepdims=True)) - 0.5 * _REWARD[:, None] * (_CHOSEN - a)),
        [sample(real(3, 4), real(3))]),
]  # fmt: skip

MEMORY_ROWS = [*SCORE_ROWS, *ADDRESSING_ROWS, *ADDRESS_ROWS, *_MEMORY_ROWS, *WINDOW_ROWS, *HARD_ROWS]


def proof_cases():
    """(operation, what is special) → (arrays in float64, attributes), for the proof."""
    rng = np.random.default_rng(4)
    real = lambda *shape: rng.standard_normal(shape)
    share = lambda *shape: (w := rng.uniform(0.2, 1, shape)) / w.sum(-1, keepdims=True)
    empty = real(2, 5, 4)
    empty[0, 3] = 0
    eps = {"eps": 0.1}
    for name, lead in {"cosine_score": (), "content_addressing": (rng.uniform(0.5, 4, (2, 3)),)}.items():
        yield name, "plain", (real(2, 3, 4), *lead, real(2, 5, 4)), {"eps": 1e-8}
        yield name, "a row of zeros", (real(2, 3, 4), *lead, empty), eps
        yield name, "a key of zeros", (np.zeros((2, 3, 4)), *lead, empty), eps
        yield name, "width 1", (real(2, 3, 1), *lead, real(2, 5, 1)), eps
        yield name, "one place", (real(2, 3, 4), *lead, real(2, 1, 4)), eps
    yield "cosine_score", "one query for all", (real(3, 4), real(2, 5, 4)), eps
    for length in (3, 5, 7):
        yield "location_score", f"{length} words", (real(2, 3, 4), real(5, 4)), {"length": length}
    yield "interpolate", "plain", (rng.uniform(size=(2, 3)), share(2, 3, 5), share(2, 3, 5)), {}
    for places, shifts in ((5, 3), (1, 1), (3, 5), (7, 1)):
        yield "circular_shift", f"{shifts} over {places}", (share(2, 3, places), share(2, 3, shifts)), {}
    yield "circular_shift_number", "plain", (share(2, 3, 5), rng.uniform(-9, 9, (2, 3))), {}
    yield "circular_shift_number", "whole", (share(2, 3, 5), np.array([[-2.0, 0, 1], [5, 7, 12]])), {}
    yield "circular_shift_number", "one place", (share(2, 1), np.array([0.25, 3.5])), {}
    yield "sharpen", "plain", (share(2, 3, 5), rng.uniform(1, 5, (2, 3))), {}
    yield "sharpen", "γ = 1", (share(3, 5), np.ones(3)), {}
    yield "sharpen", "a weight of 0", (np.array([[0, 0.5, 0.5], [0, 0, 1]]), np.array([3.5, 4.0])), {}
    yield "sharpen", "one place", (share(3, 1), np.array([1.0, 2, 3])), {}
    yield "memory_read", "plain", (share(2, 3, 5), real(2, 5, 4)), {}
    for batch, heads, places, width in (
        (2, 1, 5, 4),
        (2, 3, 5, 3),
        (1, 2, 1, 1),
        (1, 2, 9, 20),
        (0, 2, 5, 4),
    ):
        kind, numbers = f"{heads} heads of {places} × {width}", (batch, heads, width)
        yield (
            "memory_write",
            kind,
            (
                real(batch, places, width),
                share(batch, heads, places),
                rng.uniform(size=numbers),
                real(*numbers),
            ),
            {},
        )
        yield (
            "memory_address",
            kind,
            (
                real(batch, heads, width + 3 + min(3, 2 * places - 1)),
                real(batch, places, width),
                share(batch, heads, places),
            ),
            eps,
        )
    # (N − 1 is the farthest shift.)
    yield "memory_address", "far shifts", (real(2, 2, 3 + 7 + 3), real(2, 4, 3), share(2, 2, 4)), eps
    yield "memory_address", "a row of zeros", (real(2, 3, 10), empty, share(2, 3, 5)), eps
    yield (
        "memory_address",
        "a key of zeros",
        (np.concatenate([np.zeros((2, 3, 4)), real(2, 3, 6)], -1), real(2, 5, 4), share(2, 3, 5)),
        eps,
    )
    yield (
        "memory_address",
        "one place looked at",
        (real(2, 2, 10), real(2, 5, 4), np.eye(5)[None, :2].repeat(2, 0)),
        eps,
    )
    yield "gaussian_window", "plain", (rng.uniform(-2, 11, (2, 3)),), {"length": 9, "half_width": 2.5}
    for kind, mask in {"plain": (), "mask": (np.array([True, True, False, True]),)}.items():
        chosen = np.eye(4)[[0, 1, 3]]
        for reward, entropy in ((1.0, 0.0), (0.5, 0.1), (0.0, 1.0)):
            attrs = {"reward_weight": reward, "entropy_weight": entropy}
            yield (
                "score_function",
                f"{kind}, {reward} and {entropy}",
                (real(3, 4), chosen, real(3), *mask),
                attrs,
            )
