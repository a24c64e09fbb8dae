"""Rows of the op table: softmax, cross-entropy, alignment scores and recurrent cells, and the operations their derivatives are made of."""

import numpy as np
from op_sample import Row, ours, rough, sample

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError, TinyattnError
from tinyattn.graph.point import apart, fixed, flags, integers, real
from tinyattn.graph.tensor import make, outputs
from tinyattn.ops.layers import cells

NAN, INF = np.nan, np.inf


def _float(*shape):
    return ta.zeros(shape)


# Softmax, log-softmax, cross-entropy.


def _scores(x, mask):
    """Scores with −∞ where the mask forbids."""
    if mask is None:
        return x
    mask = np.asarray(mask)
    return np.where(mask, x, -INF) if mask.dtype == bool else np.where(mask == -INF, -INF, x + mask)


def _less_top(x, mask, axis):
    """Scores less their maxima; a row of −∞ is NaN unless a mask made it so."""
    x = _scores(x, mask)
    top = x.max(axis, keepdims=True) if x.shape[axis] else 0
    return x - (top if mask is None else np.where(np.isneginf(top), 0, top))


def softmax(x, mask=None, axis=-1):
    weights = np.exp(_less_top(x, mask, axis))
    total = weights.sum(axis, keepdims=True)
    return weights / (total if mask is None else np.where(total == 0, 1, total))


def log_softmax(x, mask=None, axis=-1):
    x = _less_top(x, mask, axis)
    total = np.exp(x).sum(axis, keepdims=True)
    return x - np.log(total if mask is None else np.where(total == 0, 1, total))


def _torch_softmax(name):
    def function(t, x, mask=None, axis=-1):
        if mask is not None:
            x = t.where(mask, x, -t.inf) if mask.dtype == t.bool else x + mask
        return getattr(t, name)(x, axis)

    return function


_MASK = np.array([[True, True, False, True], [False, False, False, False], [True, False, False, False]])
_ADDED = np.where(_MASK, 0.5, -INF)
_OPEN = np.array([[True, True, False, True], [False, True, False, False], [True, False, True, False]])
_HARD = [[1e4, 1e4, -1e4], [-INF, 0.0, 1.0], [-INF, -INF, -INF], [NAN, 0.0, 1.0], [INF, 0.0, 1.0]]


def _softmax_row(name, numpy):
    call = getattr(ta, name)
    held = [fixed(_OPEN), fixed(_MASK), fixed([[[True]], [[False]]])]
    masked = [
        (sample if name == "softmax" and k == 0 else ours if name == "softmax" else rough)(
            real(2, 3, 4), mask
        )
        for k, mask in enumerate(held)
    ]
    return Row(
        name, lambda x, mask=None, axis=-1: call(x, axis, mask), numpy,
        [sample(real(3, 4)), sample(real(3, 4), axis=0), sample(real(2, 70)), sample(real(2, 3, 4), real(1, 4)), sample(real(2, 3, 4), real(3, 1)),
         (ours if name == "softmax" else rough)(real(4, 3), flags(1, 3), axis=0), sample(real(0, 3)), sample(real(3, 0)), *masked,
         rough(real(3, 4), fixed(_ADDED))],
        torch=_torch_softmax(name),
        errors=[
            (lambda: call(_float()), ShapeError, f"[{name}] the operand must have an axis, but got a scalar."),
            (lambda: call(_float(2, 3), mask=np.ones((4, 2, 3), bool)), ShapeError, f"[{name}] the mask must broadcast to (2, 3), but got (4, 2, 3)."),
            (lambda: call(_float(2, 3), 2), ShapeError, f"[{name}] the axis must be an integer from -2 to 1, but got 2."),
        ],
        special=[sample(fixed(_HARD))],
    )  # fmt: skip


def _rows_loss(logits, targets, ignore_index=None, label_smoothing=0.0):
    logp, classes = log_softmax(logits), logits.shape[-1]
    hot = (targets[..., None] == np.arange(classes)) * (1 - label_smoothing) + label_smoothing / classes
    loss = -np.where(hot == 0, 0, hot * logp).sum(-1)
    return loss if ignore_index is None else np.where(targets == ignore_index, 0, loss)


def _loss(logits, targets, ignore_index=None, label_smoothing=0.0):
    rows = _rows_loss(logits, targets, ignore_index, label_smoothing)
    count = rows.size if ignore_index is None else (targets != ignore_index).sum()
    return rows.sum() / max(count, 1)


def _torch_loss(reduction):
    def function(t, logits, targets, ignore_index=None, label_smoothing=0.0):
        flat = logits.reshape(-1, logits.shape[-1])
        return t.nn.functional.cross_entropy(
            flat,
            targets.reshape(-1),
            ignore_index=-100 if ignore_index is None else ignore_index,
            label_smoothing=label_smoothing,
            reduction=reduction,
        ).reshape(targets.shape if reduction == "none" else ())

    return function


def _torch_mean_loss(t, logits, targets, ignore_index=None, **attrs):
    counted = [n for n in targets.ravel() if n != ignore_index]
    return _torch_loss("mean")(t, logits, targets, ignore_index, **attrs) if counted else logits.sum() * 0


_TARGETS = (
    sample(real(3, 4), fixed([1, 0, 3])),
    sample(real(3, 4), fixed([1, 0, 3]), label_smoothing=0.1),
    sample(real(2, 3, 5), integers(5, 2, 3), ignore_index=2),
    sample(real(3, 4), fixed([1, 0, 3]), ignore_index=0, label_smoothing=0.1),
    sample(real(3, 70), integers(70, 3)),
)


def _loss_errors(name):
    call = getattr(ta, name)
    many = ta.tensor(np.full(70, 4))
    return [
        (lambda: call(_float(2, 3), np.zeros(2)), DTypeError,
         "[cross_entropy] logits must be floating-point and targets integer class numbers, but got f32[2, 3] and f64[2]."),
        (lambda: call(_float(2, 3), [0, 0, 0]), ShapeError,
         "[cross_entropy] logits (…, C) and targets (…) must agree but for the class axis, but got (2, 3) and (3,)."),
        (lambda: call(_float(2, 3), [0, 0], label_smoothing=1.0), ShapeError, "[cross_entropy] label_smoothing must lie in [0, 1), but got 1.0."),
        (lambda: call(_float(70, 4), many), ShapeError, "[cross_entropy] targets must lie in 0..3, but got 4."),
        (lambda: call(_float(2, 4), [0, 4]), ShapeError, "[cross_entropy] targets must lie in 0..3, but got 4."),
    ]  # fmt: skip


def _log_sum(logits):
    return np.log(np.exp(logits).sum(-1))


SOFTMAX_ROWS = [
    _softmax_row("softmax", softmax),
    _softmax_row("log_softmax", log_softmax),
    Row("cross_entropy", ta.cross_entropy, _loss,
        [*_TARGETS, sample(real(3, 4), fixed([1, 1, 1]), ignore_index=1), sample(real(0, 4), fixed(np.zeros(0, int)))],
        torch=_torch_mean_loss, errors=_loss_errors("cross_entropy")),
    Row("cross_entropy_rows", ta.cross_entropy_rows, _rows_loss, _TARGETS, torch=_torch_loss("none"), errors=_loss_errors("cross_entropy_rows"),
        special=[sample(fixed([[1e4, 0.0, -1e4], [-INF, 0.0, 1.0]]), fixed([0, 2]))]),
    Row("softmax_backward", lambda p, g: make("softmax_backward", p, g), lambda p, g: p * (g - (p * g).sum(-1, keepdims=True)),
        [sample(real(3, 4), real(3, 4)), sample(real(2, 70), real(2, 70)), sample(real(0, 4), real(0, 4))]),
    Row("log_softmax_backward", lambda y, g: make("log_softmax_backward", y, g), lambda y, g: g - np.exp(y) * g.sum(-1, keepdims=True),
        [sample(real(3, 4), real(3, 4)), sample(real(2, 70), real(2, 70))]),
    Row("cross_entropy_backward", lambda x, i, m, s, g: make("cross_entropy_backward", x, i, m, s, g, ignore=None, smoothing=0.0),
        lambda x, i, m, s, g: (np.exp(x - m[:, None] - s[:, None]) - (i[:, None] == np.arange(x.shape[1]))) * g[:, None],
        [sample(real(3, 4), fixed([1, 0, 3]), real(3), real(3), real(3))]),
]  # fmt: skip


# Alignment scores.


def _additive(q, k, v):
    return np.tanh(q[..., :, None, :] + k[..., None, :, :]) @ v


def _torch_additive(t, q, k, v):
    return t.tanh(q[..., :, None, :] + k[..., None, :, :]) @ v


def _additive_backward(q, k, v, g):
    t = np.tanh(q[:, :, None] + k[:, None])
    gamma = g[..., None] * v * (1 - t * t)
    return gamma.sum(2), gamma.sum(1), (g[..., None] * t).sum((1, 2))


def _swap(x):
    return np.swapaxes(x, -1, -2)


_QK = (
    sample(real(2, 3, 4), real(2, 5, 4)),
    sample(real(3, 4), real(2, 5, 4)),
    sample(real(0, 3, 4), real(0, 5, 4)),
)
_PAIR = "[{}] query (…, Tq, d) and keys (…, Tk, d) must {}, but got {} and {}."
_AXES, _WIDTH = "have two axes or more", "share the width d"

SCORE_ROWS = [
    Row("dot_score", ta.dot_score, lambda q, k: q @ _swap(k), _QK, torch=lambda t, q, k: q @ k.mT,
        errors=[(lambda: ta.dot_score(_float(2, 3), _float(2, 4)), ShapeError, _PAIR.format("dot_score", _WIDTH, (2, 3), (2, 4)))]),
    Row("scaled_dot_score", ta.scaled_dot_score, lambda q, k, scale=None: q @ _swap(k) * (scale or 1 / np.sqrt(q.shape[-1])),
        [*_QK, sample(real(2, 3, 4), real(2, 5, 4), scale=0.3)], torch=lambda t, q, k, scale=None: q @ k.mT * (scale or q.shape[-1] ** -0.5),
        errors=[(lambda: ta.scaled_dot_score(_float(3), _float(2, 3)), ShapeError, _PAIR.format("scaled_dot_score", _AXES, (3,), (2, 3)))]),
    Row("general_score", ta.general_score, lambda q, k, w: q @ w @ _swap(k),
        [sample(real(2, 3, 4), real(2, 5, 3), real(4, 3)), sample(real(3, 4), real(2, 5, 3), real(4, 3)), sample(real(2, 3, 4), real(5, 3), real(4, 3))],
        torch=lambda t, q, k, w: q @ w @ k.mT,
        errors=[(lambda: ta.general_score(_float(2, 3), _float(2, 4), _float(4, 3)), ShapeError,
                 "[general_score] W must be (3, 4), query width by key width, but got (4, 3)."),
                (lambda: ta.general_score(_float(3), _float(2, 4), _float(3, 4)), ShapeError, _PAIR.format("general_score", _AXES, (3,), (2, 4)))]),
    Row("additive_score", ta.additive_score, lambda q, k, w, u, v: _additive(q @ w.T, k @ u.T, v),
        [sample(real(2, 3, 4), real(2, 5, 3), real(4, 4), real(4, 3), real(4)), sample(real(3, 4), real(2, 5, 3), real(4, 4), real(4, 3), real(4))],
        torch=lambda t, q, k, w, u, v: _torch_additive(t, q @ w.T, k @ u.T, v),
        errors=[(lambda: ta.additive_score(_float(2, 3), _float(2, 4), _float(5, 4), _float(5, 4), _float(5)), ShapeError,
                 "[additive_score] W must be (a, 3) and U (a, 4), but got (5, 4) and (5, 4).")]),
    Row("additive_alignment", ta.additive_alignment, _additive,
        [sample(real(2, 3, 4), real(2, 5, 4), real(4)), sample(real(1, 4), real(2, 5, 4), real(4)), sample(real(2, 1, 70), real(2, 9, 70), real(70)),
         sample(real(2, 0, 4), real(2, 5, 4), real(4))],
        torch=_torch_additive,
        errors=[(lambda: ta.additive_alignment(_float(2, 3), _float(2, 4), _float(4)), ShapeError,
                 "[additive_score] projected query (…, Tq, a), keys (…, Tk, a) and v (a,) must share the width a, but got (2, 3), (2, 4) and (4,).")]),
    Row("additive_score_backward", lambda *x: outputs(make("additive_score_backward", *x), 3), _additive_backward,
        [sample(real(2, 3, 4), real(2, 5, 4), real(4), real(2, 3, 5))]),
    Row("concat_score", ta.concat_score, lambda q, k, w, v: _additive(q @ w[:, : q.shape[-1]].T, k @ w[:, q.shape[-1] :].T, v),
        [sample(real(2, 3, 4), real(2, 5, 3), real(4, 7), real(4))],
        torch=lambda t, q, k, w, v: _torch_additive(t, q @ w[:, : q.shape[-1]].T, k @ w[:, q.shape[-1] :].T, v),
        errors=[(lambda: ta.concat_score(_float(2, 3), _float(2, 4), _float(5, 6), _float(5)), ShapeError,
                 "[concat_score] W must be (a, 7), but got (5, 6).")]),
]  # fmt: skip


# Recurrent cells.


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


def _keep(mask, new, old):
    return new if mask is None else np.where(mask, new, old)


def _lstm(gates, h, c, mask=None):
    i, f, g, o = np.split(gates, 4, 1)
    cell = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
    return _keep(mask, _sigmoid(o) * np.tanh(cell), h), _keep(mask, cell, c)


def _gru(xp, hp, h, mask=None):
    (xr, xz, xn), (hr, hz, hn) = np.split(xp, 3, 1), np.split(hp, 3, 1)
    r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    return _keep(mask, (1 - z) * n + z * h, h)


def _gru_before(xp, h, w, mask=None):
    width = h.shape[1]
    rz = _sigmoid(xp[:, : 2 * width] + h @ w[: 2 * width].T)
    r, z = rz[:, :width], rz[:, width:]
    n = np.tanh(xp[:, 2 * width :] + (r * h) @ w[2 * width :].T)
    return _keep(mask, (1 - z) * h + z * n, h)


def _whole_gru(x, h, w_ih, w_hh, b_ih, b_hh, reset_after=True):
    if reset_after:
        return _gru(x @ w_ih.T + b_ih, h @ w_hh.T + b_hh, h)
    return _gru_before(x @ w_ih.T + b_ih + b_hh, h, w_hh)


def _torch_gru(t, x, h, w_ih, w_hh, b_ih, b_hh, reset_after=True):
    if reset_after:
        return t.gru_cell(x, h, w_ih, w_hh, b_ih, b_hh)
    width = h.shape[1]
    xp = x @ w_ih.T + b_ih + b_hh
    r, z = t.sigmoid(xp[:, : 2 * width] + h @ w_hh[: 2 * width].T).split(width, 1)
    return (1 - z) * h + z * t.tanh(xp[:, 2 * width :] + (r * h) @ w_hh[2 * width :].T)


def _lstm_backward(gates, c, dh, dc):
    i, f, g, o = np.split(gates, 4, 1)
    i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
    t = np.tanh(f * c + i * g)
    d = dc + dh * o * (1 - t * t)
    return np.concatenate(
        [d * g * i * (1 - i), d * c * f * (1 - f), d * i * (1 - g * g), dh * t * o * (1 - o)], 1
    ), d * f


def _gru_backward(xp, hp, h, g):
    (xr, xz, xn), (hr, hz, hn) = np.split(xp, 3, 1), np.split(hp, 3, 1)
    r, z = _sigmoid(xr + hr), _sigmoid(xz + hz)
    n = np.tanh(xn + r * hn)
    d_n, d_z = g * (1 - z) * (1 - n * n), g * (h - n) * z * (1 - z)
    d_r = d_n * hn * r * (1 - r)
    return np.concatenate([d_r, d_z, d_n], 1), np.concatenate([d_r, d_z, d_n * r], 1), g * z


def _rnn(x, h, w_ih, w_hh, b_ih=0.0, b_hh=0.0, nonlinearity="tanh"):
    total = x @ w_ih.T + b_ih + h @ w_hh.T + b_hh
    return np.tanh(total) if nonlinearity == "tanh" else np.maximum(total, 0)


def _torch_rnn(t, *operands, nonlinearity="tanh"):
    return getattr(t, f"rnn_{nonlinearity}_cell")(*operands)


_STEP = fixed([[True], [False]])
_RNN = (apart(2, 3), real(2, 4), real(4, 3), real(4, 4), real(4), real(4))
_LSTM = (real(2, 3), real(2, 4), real(2, 4), real(16, 3), real(16, 4), real(16), real(16))
_GRU = (real(2, 3), real(2, 4), real(12, 3), real(12, 4), real(12), real(12))

CELL_ROWS = [
    Row("lstm_cell", lambda x, h, c, *w: ta.lstm_cell(x, (h, c), *w), lambda x, h, c, a, b, e, f: _lstm(x @ a.T + e + h @ b.T + f, h, c), [sample(*_LSTM)],
        torch=lambda t, x, h, c, *w: t.lstm_cell(x, (h, c), *w),
        errors=[(lambda: ta.lstm_cell(_float(2, 3), (_float(2, 4), _float(2, 4)), _float(12, 3), _float(16, 4)), ShapeError,
                 "[lstm_cell] x (B, I), h (B, H), w_ih (4H, I) and w_hh (4H, H) must fit together, but got (2, 3), (2, 4), (12, 3) and (16, 4).")]),
    Row("gru_cell", ta.gru_cell, _whole_gru, [sample(*_GRU), sample(*_GRU, reset_after=False)], torch=_torch_gru,
        errors=[(lambda: ta.gru_cell(_float(2, 3), _float(2, 4), _float(16, 3), _float(12, 4)), ShapeError,
                 "[gru_cell] x (B, I), h (B, H), w_ih (3H, I) and w_hh (3H, H) must fit together, but got (2, 3), (2, 4), (16, 3) and (12, 4).")]),
    Row("lstm_gates", cells.lstm_gates, _lstm,
        [sample(real(2, 16), real(2, 4), real(2, 4)), sample(real(2, 16), real(2, 4), real(2, 4), _STEP), sample(real(3, 4 * 70), real(3, 70), real(3, 70)),
         sample(real(0, 16), real(0, 4), real(0, 4))]),
    Row("gru_gates", cells.gru_gates, _gru, [sample(real(2, 12), real(2, 12), real(2, 4)), sample(real(2, 12), real(2, 12), real(2, 4), _STEP)]),
    Row("gru_gates_before", cells.gru_gates_before, _gru_before,
        [sample(real(2, 12), real(2, 4), real(12, 4)), sample(real(2, 12), real(2, 4), real(12, 4), _STEP)]),
    Row("lstm_cell_backward", lambda *x: outputs(make("lstm_cell_backward", *x), 2), _lstm_backward, [sample(real(2, 16), real(2, 4), real(2, 4), real(2, 4))]),
    Row("rnn_cell", ta.rnn_cell, _rnn, [sample(*_RNN), sample(*_RNN, nonlinearity="relu"), sample(*_RNN[:4])], torch=_torch_rnn,
        errors=[(lambda: ta.rnn_cell(_float(2, 3), _float(2, 4), _float(8, 3), _float(4, 4)), ShapeError,
                 "[rnn_cell] x (B, I), h (B, H), w_ih (1H, I) and w_hh (1H, H) must fit together, but got (2, 3), (2, 4), (8, 3) and (4, 4)."),
                (lambda: ta.rnn_cell(_float(2, 3), _float(2, 4), _float(4, 3), _float(4, 4), nonlinearity="sigmoid"), TinyattnError,
                 "[rnn_cell] nonlinearity must be 'tanh' or 'relu', but got 'sigmoid'.")]),
    Row("gru_cell_backward", lambda *x: outputs(make("gru_cell_backward", *x), 3), _gru_backward, [sample(real(2, 12), real(2, 12), real(2, 4), real(2, 4))]),
]  # fmt: skip


# Maxout.


def _maxout_backward(x, g):
    first = x[..., 0::2] >= x[..., 1::2]
    return np.stack([np.where(first, g, 0), np.where(first, 0, g)], -1).reshape(x.shape)


MAXOUT_ROWS = [
    Row("maxout", ta.maxout, lambda x: np.maximum(x[..., 0::2], x[..., 1::2]), [sample(apart(3, 6)), sample(real(2, 2, 140)), sample(real(0, 4))],
        torch=lambda t, x: x.unflatten(-1, (-1, 2)).amax(-1),
        errors=[(lambda: ta.maxout(_float(2, 3)), ShapeError, "[maxout] the last axis must have an even size, but got shape (2, 3).")]),
    Row("maxout_backward", lambda x, g: make("maxout_backward", x, g), _maxout_backward, [sample(apart(3, 6), real(3, 3))]),
]  # fmt: skip

ATTENTION_ROWS = [*SOFTMAX_ROWS, *SCORE_ROWS, *CELL_ROWS, *MAXOUT_ROWS]
