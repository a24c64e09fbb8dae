"""Rows of the op table: scaled dot-product attention, its derivative as an operation, and multi-head attention."""

import numpy as np
from op_sample import Row, Sample, ours, rough, sample

import tinyattn as ta
from tinyattn.errors import DTypeError, ShapeError
from tinyattn.graph.point import fixed, flags, real
from tinyattn.graph.tensor import make, outputs

NAN, INF = np.nan, np.inf


def once(*inputs, **attrs):
    """A sample whose first derivative alone is checked by differences, which takes long enough."""
    return Sample(inputs, attrs, order=1, peer="return_weights" not in attrs)


def _float(*shape):
    return ta.zeros(shape)


def _swap(x):
    return np.swapaxes(x, -1, -2)


def _scores(q, k, mask, causal, scale):
    s = q @ _swap(k) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if mask is not None:
        mask = np.asarray(mask)
        s = np.where(mask, s, -INF) if mask.dtype == bool else np.where(mask == -INF, -INF, s + mask)
    return np.where(np.tril(np.ones(s.shape[-2:], bool)), s, -INF) if causal else s


def _mix(weights, rows):
    """Sums of rows with weights; what has weight 0 is left out."""
    terms = weights[..., None] * rows[..., None, :, :]
    return np.where(weights[..., None] == 0, 0, terms).sum(-2)


def attention(q, k, v, mask=None, is_causal=False, scale=None, return_weights=False):
    s = _scores(q, k, mask, is_causal, scale)
    top = s.max(-1, keepdims=True) if s.shape[-1] else np.zeros((*s.shape[:-1], 1))
    p = np.exp(s - np.where(np.isneginf(top), 0, top))
    total = p.sum(-1, keepdims=True)
    p = p / np.where(total == 0, 1, total)
    out = _mix(p, v)
    return (out, np.broadcast_to(p, (*out.shape[:-1], p.shape[-1]))) if return_weights else out


def _torch(t, q, k, v, mask=None, is_causal=False, scale=None, return_weights=False):
    if return_weights:
        s = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        p = t.softmax(s if mask is None else s + mask, -1)
        return p @ v, p
    if is_causal and mask is not None:
        causal = t.ones(q.shape[-2], k.shape[-2], dtype=t.bool).tril()
        mask = mask & causal if mask.dtype == t.bool else t.where(causal, mask, -t.inf)
        is_causal = False
    batch = t.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    q, k, v = (x.expand(*batch, *x.shape[-2:]) for x in (q, k, v))
    return t.nn.functional.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, scale=scale)


def _call(q, k, v, mask=None, **attrs):
    return ta.attention(q, k, v, mask, **attrs)


def _backward_call(q, k, v, *rest, **attrs):
    *mask, top, log_sum, mean, g = rest
    return outputs(
        make("attention_backward", q, k, v, *mask, top, log_sum, mean, g, p=0.0, stream=0, **attrs), 4
    )


def _backward(q, k, v, *rest, scale, causal):
    *mask, top, log_sum, mean, g = rest
    p = np.exp(_scores(q, k, mask[0] if mask else None, causal, scale) - (top + log_sum)[..., None])
    s = p * (g @ _swap(v) - mean[..., None])
    return s @ k * scale, _swap(s) @ q * scale, _swap(p) @ g, s


def _heads(x, heads):
    return np.swapaxes(x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads), -2, -3)


def _self(q, k, v, *weights, num_heads=8, is_causal=False, mask=None):
    if weights:
        w, b, w_out, b_out = weights
        e = w_out.shape[0]
        q, k, v = (x @ w[n * e : n * e + e].T + b[n * e : n * e + e] for n, x in enumerate((q, k, v)))
    out = attention(*(_heads(x, num_heads) for x in (q, k, v)), mask, is_causal)
    out = np.swapaxes(out, -2, -3).reshape(*q.shape[:-1], v.shape[-1])
    return out @ w_out.T + b_out if weights else out


def _self_call(q, k, v, *weights, **attrs):
    names = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
    params = dict(zip(names, weights, strict=True)) if weights else None
    return ta.self_attention(q, k, v, params=params, **attrs)


def _torch_self(t, q, k, v, *weights, num_heads=8, is_causal=False):
    if not weights:
        weights = (
            t.eye(q.shape[-1], dtype=q.dtype).repeat(3, 1),
            None,
            t.eye(q.shape[-1], dtype=q.dtype),
            None,
        )
    w, b, w_out, b_out = weights
    blocked = ~t.ones(q.shape[-2], k.shape[-2], dtype=t.bool).tril() if is_causal else None
    q, k, v = (x.transpose(0, 1) for x in (q, k, v))
    out, _ = t.nn.functional.multi_head_attention_forward(
        q, k, v, q.shape[-1], num_heads, w, b, None, None, False, 0.0, w_out, b_out,
        need_weights=False, attn_mask=blocked,
    )  # fmt: skip
    return out.transpose(0, 1)


_OPEN = np.array([[True, True, False, True], [False, True, False, False], [True, False, True, False]])
_CLOSED = np.array([[True, True, False, True], [False, False, False, False], [True, False, False, False]])
_QKV = (real(2, 3, 5), real(2, 4, 5), real(2, 4, 5))
_HEADS = (real(2, 3, 4, 2), real(2, 3, 4, 2), real(2, 3, 4, 2))
_WEIGHTS = (real(18, 6), real(18), real(6, 6), real(6))

_PADDED = np.array([[True, True, False, False]])
_RUBBISH = np.array([[1.0, 2.0], [0.5, -1.0], [NAN, INF], [-INF, NAN]])


def _repeated(q, k, v, *mask, **attrs):
    """Grouped heads: as if each head of the keys were there for every one of its queries' heads."""
    k, v = (np.repeat(x, q.shape[-3] // k.shape[-3], -3) for x in (k, v))
    return attention(q, k, v, *mask, **attrs)


def _torch_grouped(t, q, k, v, mask=None, is_causal=False, scale=None, return_weights=False):
    return t.nn.functional.scaled_dot_product_attention(
        q, k, v, mask, is_causal=is_causal, scale=scale, enable_gqa=True
    )


_GROUPS = (real(2, 4, 3, 2), real(2, 2, 4, 2), real(2, 2, 4, 3))
_BESIDE = "with enable_gqa the heads of the query must be a multiple of those of the keys"

SDPA_ROWS = [
    Row("attention_grouped", lambda q, k, v, mask=None, **a: ta.attention(q, k, v, mask, enable_gqa=True, **a), _repeated,
        [sample(*_GROUPS), once(*_GROUPS, is_causal=True), once(*_GROUPS, real(2, 4, 3, 4)), once(*_GROUPS, fixed([[[[True, True, False, True]]], [[[True, False, False, True]]]])),
         once(*_GROUPS, real(1, 4, 1, 4), scale=0.3), once(*_GROUPS, return_weights=True), once(real(6, 3, 2), real(1, 4, 2), real(1, 4, 2)),
         once(real(2, 3, 3, 2), real(3, 4, 2), real(3, 4, 2), real(3, 4)), sample(real(0, 4, 3, 2), real(0, 2, 4, 2), real(0, 2, 4, 2))],
        torch=_torch_grouped,
        errors=[
            (lambda: ta.attention(_float(2, 4, 3, 2), _float(2, 3, 4, 2), _float(2, 3, 4, 2), enable_gqa=True), ShapeError,
             f"[attention] {_BESIDE}, but got (2, 4, 3, 2), (2, 3, 4, 2) and (2, 3, 4, 2)."),
            (lambda: ta.attention(_float(4, 3, 2), _float(2, 4, 2), _float(1, 4, 2), enable_gqa=True), ShapeError,
             "[attention] with enable_gqa query (…, H, Tq, d), keys and values (…, G, Tk, d) must have heads, as many of both, but got (4, 3, 2), (2, 4, 2) and (1, 4, 2)."),
            (lambda: ta.attention(_float(4, 3, 2), _float(2, 4, 2), _float(2, 4, 2), np.ones((2, 3, 4), bool), enable_gqa=True), ShapeError,
             "[attention] the mask must broadcast to (4, 3, 4), but got (2, 3, 4)."),
        ]),
    Row(
        "attention", _call, attention,
        [
            sample(real(3, 4), real(5, 4), real(5, 4)), sample(*_QKV), sample(real(2, 3, 5), real(2, 4, 5), real(2, 4, 2), scale=0.3),
            once(*_HEADS), once(*_HEADS, is_causal=True), sample(real(2, 5), real(3, 5), real(3, 5), is_causal=True),
            sample(real(4, 5), real(3, 5), real(3, 5), is_causal=True), once(real(2, 3, 4, 2), real(2, 1, 4, 2), real(2, 1, 4, 3)),
            sample(real(3, 4, 2), real(4, 2), real(2, 1, 4, 3)), sample(*_QKV, fixed(_OPEN)), sample(*_QKV, flags(2, 1, 4)),
            sample(*_QKV, fixed(_CLOSED)), sample(*_QKV, fixed([[[True]], [[False]]])), sample(*_QKV, real(3, 4)), sample(*_QKV, real(2, 3, 1)),
            once(*_HEADS, real(3, 4, 4), is_causal=True), once(*_HEADS, fixed(_PADDED), is_causal=True),
            once(*_HEADS, fixed([[[[False, True, True, True]]]]), is_causal=True),
            rough(*_QKV, fixed(np.where(_CLOSED, 0.5, -INF))), sample(*_QKV, return_weights=True), ours(*_QKV, fixed(_CLOSED), return_weights=True),
            sample(*_QKV, real(3, 4), return_weights=True), once(*_HEADS, is_causal=True, return_weights=True),
            sample(real(2, 2), real(2, 2), real(2, 2)), sample(*[real(5, 1, 3)] * 3), sample(real(2, 1, 3), real(2, 7, 3), real(2, 7, 1)), sample(real(4, 7, 1), real(4, 1, 1), real(4, 1, 1)),
            sample(real(0, 3, 4), real(0, 3, 4), real(0, 3, 4)), sample(real(2, 0, 4), real(2, 3, 4), real(2, 3, 4)),
            ours(real(2, 3, 4), real(2, 0, 4), real(2, 0, 4)), sample(real(70, 3), real(133, 3), real(133, 2)),
            ours(real(135, 3), real(135, 3), real(135, 2), is_causal=True), ours(real(2, 65, 33), real(2, 129, 33), real(2, 129, 17), flags(65, 129)),
            ours(real(3, 260), real(4, 260), real(4, 300)),
        ],
        torch=_torch,
        errors=[
            (lambda: ta.attention(_float(4), _float(3, 4), _float(3, 4)), ShapeError,
             "[attention] query (…, Tq, d), keys (…, Tk, d) and values (…, Tk, dv) must have two axes or more, but got (4,), (3, 4) and (3, 4)."),
            (lambda: ta.attention(_float(2, 4), _float(3, 5), _float(3, 4)), ShapeError,
             "[attention] query (…, Tq, d) and keys (…, Tk, d) must share the width d, but got (2, 4), (3, 5) and (3, 4)."),
            (lambda: ta.attention(_float(2, 4), _float(3, 4), _float(5, 4)), ShapeError,
             "[attention] keys (…, Tk, d) and values (…, Tk, dv) must share the length Tk, but got (2, 4), (3, 4) and (5, 4)."),
            (lambda: ta.attention(_float(2, 3, 4), _float(3, 3, 4), _float(3, 3, 4)), ShapeError,
             "[attention] the shapes must broadcast together (each axis equal, or 1), but got (2,) and (3,) and (3,): axis -1 is 2 against 3."),
            (lambda: ta.attention(_float(2, 4), _float(3, 4), _float(3, 4), np.ones((2, 2), bool)), ShapeError,
             "[attention] the mask must broadcast to (2, 3), but got (2, 2)."),
            (lambda: ta.attention(_float(2, 4), _float(3, 4), _float(3, 4), np.ones((2, 3), int)), DTypeError,
             "[attention] a mask must be bool (True = may attend) or floating-point (added to the scores), but got i64[2, 3]."),
            (lambda: ta.attention(_float(2, 4), _float(3, 4), _float(3, 4), dropout_p=1.0), ShapeError,
             "[attention] dropout_p must lie in [0, 1), but got 1.0."),
        ],
        special=[
            sample(fixed([[1.0, -2.0], [0.5, 3.0]]), fixed(_RUBBISH), fixed(_RUBBISH), fixed(_PADDED)),
            sample(fixed([[1.0, -2.0], [0.5, 3.0]]), fixed(_RUBBISH[[0, 2]]), fixed(_RUBBISH[[0, 2]]), is_causal=True),
            sample(fixed([[NAN, -2.0], [0.5, 3.0]]), fixed([[1.0, 2.0]]), fixed([[1.0, 2.0]]), fixed([[False], [True]])),
            sample(fixed([[1e4, 0.0], [-1e4, 0.0], [0.0, NAN]]), fixed([[1e4, 0.0], [1e4, 1.0]]), fixed([[1.0, 2.0], [3.0, 4.0]])),
        ],
    ),
    Row(
        "attention_backward", _backward_call, _backward,
        [
            sample(real(2, 3, 5), real(2, 4, 5), real(2, 4, 2), real(2, 3), real(2, 3), real(2, 3), real(2, 3, 2), scale=0.5, causal=False),
            sample(real(2, 3, 5), real(2, 4, 5), real(2, 4, 2), real(3, 4), real(2, 3), real(2, 3), real(2, 3), real(2, 3, 2), scale=0.5, causal=True),
            sample(real(2, 3, 5), real(2, 4, 5), real(2, 4, 2), fixed(_CLOSED), real(2, 3), real(2, 3), real(2, 3), real(2, 3, 2), scale=0.5, causal=False),
        ],
    ),
    Row(
        "self_attention", _self_call, _self,
        [
            sample(real(2, 3, 6), real(2, 4, 6), real(2, 4, 6), *_WEIGHTS, num_heads=3), sample(*[real(2, 5, 6)] * 3, *_WEIGHTS, num_heads=2, is_causal=True),
            sample(*[real(2, 5, 16)] * 3), sample(*[real(2, 5, 6)] * 3, num_heads=1), sample(*[real(0, 5, 8)] * 3),
        ],
        torch=_torch_self,
        errors=[
            (lambda: ta.self_attention(_float(8), _float(3, 8), _float(3, 8)), ShapeError,
             "[self_attention] query must have two axes or more, (…, T, width), but got (8,)."),
            (lambda: ta.self_attention(_float(3, 6), _float(3, 6), _float(3, 6)), ShapeError,
             "[self_attention] the widths must be multiples of num_heads = 8, but got 6."),
            (lambda: ta.self_attention(_float(3, 8), _float(3, 8), _float(3, 8), params={"in_proj_weight": _float(24, 6)}), ShapeError,
             "[self_attention] the rows of W_q must be as wide as its operand, 8, but got (8, 6)."),
            (lambda: ta.self_attention(_float(3, 8), _float(3, 8), _float(3, 8), params={"q_proj_weight": _float(8, 8)}), ShapeError,
             "[self_attention] params must hold in_proj_weight, or q_proj_weight, k_proj_weight and v_proj_weight, but k_proj_weight is missing."),
        ],
    ),
]  # fmt: skip


def proof_cases(masks):
    """(operation, what is special, arrays, attributes) for the proof, with every kind of mask."""
    rng = np.random.default_rng(4)
    draw = lambda *shape: rng.standard_normal(shape)
    plain = {"scale": 0.5, "causal": False, "p": 0.0, "stream": 0}
    for kind, mask in masks.items():
        arrays = (draw(2, 3, 5), draw(2, 4, 5), draw(2, 4, 2), *(() if mask is None else (mask,)))
        yield "attention", kind, arrays, plain
        if kind not in ("bool, batch", "bool, a row closed", "added −∞"):
            dropped = {**plain, "causal": kind != "bool", "p": 0.3, "stream": 4}
            yield "attention", f"{kind}, dropout", (*arrays, np.array([7, 1 << 33])), dropped
    causal = {**plain, "causal": True}
    yield "attention", "causal", (draw(2, 4, 5), draw(2, 4, 5), draw(2, 4, 2)), causal
    yield "attention", "one head of keys", (draw(2, 3, 4, 2), draw(2, 1, 4, 2), draw(4, 3)), causal
    for kind, lead in {
        "plain": ((2,), (2,)),
        "one matrix for all": ((), (2,)),
        "heads": ((2, 1), (1, 3)),
    }.items():
        left, right = ((*batch, n, w) for batch, n, w in zip(lead, (3, 4), (5, 5), strict=True))
        yield "attention_score", kind, (draw(*left), draw(*right)), {"scale": 0.5}
        weights = draw(*lead[0], 3, 4) * (draw(*lead[0], 3, 4) > 0)
        yield "weighted_sum", kind, (weights, draw(*lead[1], 4, 2)), {}
