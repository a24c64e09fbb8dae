"""Activations, losses, normalisation, convolutions, pools and attention of ``torch.nn.functional`` in tinyattn's words:
see `torch_calls.py`."""

import numpy as np
from torch_calls import Absent, dtype_of, same

import tinyattn as ta


def _softmax(name):
    def call(x, dim, dtype=None, **_):
        if dtype is not None:
            x = ta.cast(x, dtype_of(dtype))
        return getattr(ta, name)(x, axis=dim)

    return call


def _cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0, **_):
    if x.ndim != 1 and x.ndim > 2:  # torch's classes are on axis 1, ours on the last
        order = (0, *range(2, x.ndim), 1)
        x = ta.transpose(x, order)
        target = ta.transpose(target, order) if target.dtype.kind == "f" else target
    options = {} if weight is None else {"weight": weight}
    if reduction != "mean":
        options["reduction"] = reduction
    if target.dtype.kind != "f":
        options["ignore_index"] = ignore_index
    return ta.cross_entropy(x, target, label_smoothing=label_smoothing, **options)


def _nll(x, target, weight=None, ignore_index=-100, reduction="mean", **_):
    x = ta.moveaxis(x, 1, -1) if x.ndim > 1 else x
    return ta.nll_loss(x, target, weight, ignore_index, reduction)


def _loss(name):
    def call(x, y, *rest, reduction="mean", size_average=None, reduce=None, **keywords):
        if size_average is not None or reduce is not None:
            raise Absent("an argument that torch deprecates")
        if reduction != "mean":
            keywords["reduction"] = reduction
        return getattr(ta, name)(x, y, *rest, **keywords)

    return call


def _embedding(table, indices, padding_idx=None, max_norm=None, scale_grad_by_freq=False, sparse=False, **_):
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise Absent("rows that are scaled, or sparse gradients")
    return ta.embedding(table, indices, **({} if padding_idx in (None, -1) else {"padding_idx": padding_idx}))


def _layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    return ta.layer_norm(x, tuple(shape), weight, bias, eps)


def _batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        raise Absent("running state that is overwritten; the modules' samples try it")
    return ta.batch_norm(x, mean, var, weight, bias, training=False, eps=eps)[0]


def _batched(rank, call):
    """torch's convolutions and pools take a single image, too."""

    def one(x, *rest, **keywords):
        if x.ndim == rank - 1:
            return call(x.reshape(1, *x.shape), *rest, **keywords)[0]
        return call(x, *rest, **keywords)

    return one


def _convolution(name):
    def call(x, weight, bias=None, stride=1, padding=0, *rest, **keywords):
        names = ("output_padding", "groups", "dilation") if "transpose" in name else ("dilation", "groups")
        keywords |= dict(zip(names, rest, strict=False))
        keywords = {
            key: value
            for key, value in keywords.items()
            if value not in (1, (1, 1)) or key == "output_padding"
        }
        return getattr(ta, name)(x, weight, bias, stride=stride, padding=padding, **keywords)

    return call


def _pool(name):
    names = ("ceil_mode", "count_include_pad", "divisor_override") if name == "avg_pool2d" else ("dilation",)

    def call(x, kernel_size, stride=None, padding=0, *rest, **keywords):
        keywords |= dict(zip(names, rest, strict=False))
        if keywords.pop("return_indices", False):
            raise Absent("the places of maxima")
        defaults = {
            "dilation": (1, (1, 1)),
            "ceil_mode": (False,),
            "count_include_pad": (True,),
            "divisor_override": (None,),
        }
        keywords = {key: value for key, value in keywords.items() if value not in defaults[key]}
        return getattr(ta, name)(x, kernel_size, stride or None, padding, **keywords)

    return call


def _attention(
    query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False
):
    if dropout_p:
        raise Absent("other random numbers")
    options = {"enable_gqa": True} if enable_gqa else {}
    return ta.attention(query, key, value, mask=attn_mask, is_causal=is_causal, scale=scale, **options)


def _dropout(x, p=0.5, training=True, inplace=False):
    if training and 0 < p < 1:
        raise Absent("other random numbers")
    if training and p == 1:
        raise Absent("dropping everything")
    return ta.dropout(x, 0.0)


def _softplus(x, beta=1, threshold=20):
    if threshold != 20:
        raise Absent("a threshold above which softplus is made linear")
    return ta.softplus(x * beta) / beta


def _linear(x, weight, bias=None):
    y = ta.matmul(x, ta.transpose(weight))
    return y if bias is None else y + bias


def _one_hot(indices, num_classes=-1):
    if num_classes == -1:
        raise Absent("a size that depends on values")
    return ta.one_hot(indices, num_classes, np.int64)


CALLS = {
    **{f"nn.functional.{name}": same(name) for name in "relu silu mse_loss".split()},
    "nn.functional.leaky_relu": same("leaky_relu", "slope", negative_slope="slope"),
    "nn.functional.gelu": same("gelu"), "nn.functional.softplus": _softplus, "nn.functional.elu": same("elu"), "nn.functional.logsigmoid": same("log_sigmoid"),
    "nn.functional.hardtanh": lambda x, min_val=-1.0, max_val=1.0: ta.clip(x, min_val, max_val),
    "nn.functional.relu6": lambda x: ta.clip(x, 0, 6),
    "nn.functional.linear": _linear,
    "softmax": _softmax("softmax"), "log_softmax": _softmax("log_softmax"),
    "nn.functional.cross_entropy": _cross_entropy, "nn.functional.mse_loss": _loss("mse_loss"),
    **{f"nn.functional.{name}": _loss(name) for name in ("l1_loss", "smooth_l1_loss", "huber_loss")},
    "nn.functional.group_norm": same("group_norm"), "nn.functional.nll_loss": _nll,
    "nn.functional.binary_cross_entropy_with_logits": _loss("bce_with_logits"), "nn.functional.kl_div": _loss("kl_div"),
    "nn.functional.embedding": _embedding, "nn.functional.one_hot": _one_hot,
    "nn.functional.layer_norm": _layer_norm, "nn.functional.batch_norm": _batch_norm,
    "nn.functional.rms_norm": lambda x, shape, weight=None, eps=None: ta.rms_norm(x, tuple(shape), weight, eps),
    "nn.functional.conv1d": _batched(3, _convolution("conv1d")), "nn.functional.conv2d": _batched(4, _convolution("conv2d")),
    "nn.functional.conv_transpose2d": _batched(4, _convolution("conv_transpose2d")),
    "nn.functional.max_pool2d": _batched(4, _pool("max_pool2d")), "nn.functional.avg_pool2d": _batched(4, _pool("avg_pool2d")),
    "nn.functional.adaptive_avg_pool2d": _batched(4, lambda x, size: ta.adaptive_avg_pool2d(x, size)),
    "nn.functional.scaled_dot_product_attention": _attention, "nn.functional.dropout": _dropout,
}  # fmt: skip
"""By torch's name."""
