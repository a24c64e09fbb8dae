"""Multi-head attention (Vaswani et al. 2017, section 3.2.2).

    head_i = softmax(Q_i K_iᵀ / √d) V_i,    Q_i = X_q W_iᵠ,  K_i = X_k W_iᵏ,  V_i = X_v W_iᵛ
    output = [head_1; …; head_h] Wᵒ

Every head looks at the sequence in a subspace of its own, of width d = E / h. The projections of all heads
are one matrix, whose rows i·d … (i+1)·d belong to head i, so that splitting into heads and joining them only
changes how memory is read.

Masks are torch's here: in a bool mask True = BLOCKED, as in ``torch.nn.MultiheadAttention``; a floating-point
mask is added to the scores. (``ta.attention`` below means the opposite, True = may attend: the conversion is
here and nowhere else.) One thing differs from torch on purpose: a query that may attend to nothing gets the
average of nothing, 0, and passes no gradient, where torch gives NaN. And padding may be NaN or infinite: attention
doesn't see it, and projections take it for 0.
"""

import math
from itertools import groupby
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor, parameter
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import BOOL, fail, is_float
from tinyattn.nn import init
from tinyattn.nn.cache import KVCache, Position
from tinyattn.nn.layers import Linear, check_probability, check_sizes
from tinyattn.nn.module import Module
from tinyattn.ops.arrays import reduce
from tinyattn.ops.arrays.creation import arange, zeros
from tinyattn.ops.arrays.elementwise import cast, equal, isfinite, logical_and, logical_not, logical_or, where
from tinyattn.ops.arrays.linalg import matmul
from tinyattn.ops.arrays.shape import (
    broadcast_to,
    concat,
    expand_dims,
    pad,
    reshape,
    split,
    squeeze,
    transpose,
)
from tinyattn.ops.attention.attention import attention
from tinyattn.ops.attention.multihead import join_heads, split_heads

_NAME = "MultiheadAttention"


def causal_mask(size: int, dtype: Any = np.float32) -> Tensor:
    """(size, size): −∞ above the diagonal, 0 elsewhere; added to scores, position i sees 0 … i.

    Built twice it is the same Tensor, by which modules know that they may leave blocked tiles out.
    """
    row, column = reshape(arange(size), (size, 1)), reshape(arange(size), (1, size))
    zero = as_tensor(np.zeros((), dtype))
    return where(column > row, cast(as_tensor(-math.inf), zero.dtype), zero)


def silenced(x: Tensor, padding: Any, batch_first: bool) -> Tensor:
    """x (S, N, E), or (N, S, E) with ``batch_first``, or (S, E), with 0 for the NaNs and infinities that stand where
    ``padding``, (N, S) or (S,), blocks: the gradient of a weight adds up x times a cotangent, and 0 times NaN is NaN.
    """
    lead = x.shape[:-1]
    padding = _checked("key_padding_mask", padding, {lead if batch_first else lead[::-1]})
    blocked = padding if padding.dtype == BOOL else equal(padding, -math.inf)
    blocked = blocked if batch_first else transpose(blocked)
    return where(logical_and(expand_dims(blocked, -1), logical_not(isfinite(x))), 0, x)


class MultiheadAttention(Module):
    """torch.nn.MultiheadAttention: options, parameters and their names, results. query (L, N, E), key (S, N, kdim),
    value (S, N, vdim) → (L, N, E) and the weights (N, L, S); see ``forward``.

    ``embed_dim``: E, ``num_heads``: h; ``batch_first``: N comes first. ``kdim``, ``vdim``: widths of keys and
    values where they are not ``embed_dim``. ``add_bias_kv`` appends a learned key and value to each sequence,
    ``add_zero_attn`` a key and value of zeros. ``dropout``: probability of dropping a weight in training.

    Parameters: ``in_proj_weight`` (3E, E), the rows of queries, keys and values in this order; or, with other
    widths, ``q_proj_weight`` (E, E), ``k_proj_weight`` (E, kdim), ``v_proj_weight`` (E, vdim); ``in_proj_bias``
    (3E,); ``bias_k`` (1, 1, E) and ``bias_v`` (1, 1, E); ``out_proj.weight`` (E, E), ``out_proj.bias`` (E,). Raises
    ShapeError unless ``embed_dim`` is divisible by ``num_heads``, and for inputs that don't fit; TinyattnError for
    what a cache can't be used with. Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        dtype: Any = np.float32,
    ):
        kdim, vdim = embed_dim if kdim is None else kdim, embed_dim if vdim is None else vdim
        embed_dim, num_heads, kdim, vdim = check_sizes(
            _NAME, embed_dim=embed_dim, num_heads=num_heads, kdim=kdim, vdim=vdim
        )
        if embed_dim % num_heads:
            must = f"embed_dim must be divisible by num_heads = {num_heads}"
            fail(errors.ShapeError, _NAME, must, f"got embed_dim = {embed_dim}")
        self.embed_dim, self.kdim, self.vdim, self.num_heads = embed_dim, kdim, vdim, num_heads
        self.head_dim = embed_dim // num_heads
        self.batch_first, self.add_zero_attn = batch_first, add_zero_attn
        self.dropout = check_probability(_NAME, dropout)

        def weight(rows: int, columns: int) -> Tensor:
            return parameter(init.xavier_uniform((rows, columns)), dtype)

        if kdim == vdim == embed_dim:
            self.in_proj_weight: Tensor | None = weight(3 * embed_dim, embed_dim)
        else:
            self.in_proj_weight = None
            self.q_proj_weight = weight(embed_dim, embed_dim)
            self.k_proj_weight, self.v_proj_weight = weight(embed_dim, kdim), weight(embed_dim, vdim)
        self.in_proj_bias = parameter(np.zeros(3 * embed_dim), dtype) if bias else None
        self.out_proj = Linear(embed_dim, embed_dim, bias, dtype)
        if self.out_proj.bias is not None:
            self.out_proj.bias.assign(np.zeros(embed_dim))
        self.bias_k = parameter(init.xavier_normal((1, 1, embed_dim)), dtype) if add_bias_kv else None
        self.bias_v = parameter(init.xavier_normal((1, 1, embed_dim)), dtype) if add_bias_kv else None

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
        *,
        cache: KVCache | None = None,
        position: Position = None,
    ) -> tuple[Tensor, Any]:
        """Let queries attend to keys; returns the output and the weights (None unless ``need_weights``).

        query (L, N, E), key (S, N, kdim), value (S, N, vdim), or (N, L, E) … with ``batch_first``, or (L, E)
        … without a batch. The output is like query; the weights are (N, L, S), the mean over the heads, or
        (N, h, L, S) unless ``average_attn_weights``, as they are before dropout. The output is made of those of the
        heads, which have a derivative therefore. They cost memory for L × S numbers: without them the scores are never
        stored.

        key_padding_mask (N, S): True = this key is padding, for nobody to see. attn_mask (L, S), or (N·h, L,
        S): True = this query may not see this key. Both may be floating-point instead: added to the scores.
        is_causal: query i sees the keys 0 … i and attn_mask, which then says just that, isn't read.

        With a ``cache`` the result is (output, cache). Given a ``position``, query are new positions of a
        sequence that the cache holds so far: they are written, and each sees itself and all before it (key
        and value, if given, are those of the same positions). Without one, query attends to all that the
        cache holds, made by ``project`` from key and value. key_padding_mask is (N, cache.length) then.

        Raises ShapeError for shapes that do not fit, DTypeError for masks of integers.
        """
        known = {id(x): None if x is None else as_tensor(x) for x in (query, key, value)}
        inputs: list[Any] = [known[id(x)] for x in (query, key, value)]  # the same array: the same Tensor
        if cache is not None:
            if attn_mask is not None:
                must = "attn_mask must be left out with a cache, which knows what each query may see"
                fail(errors.TinyattnError, _NAME, must, "got a mask")
            if is_causal and position is None:
                must = "is_causal must be left out where a query attends to all that a cache holds"
                fail(errors.TinyattnError, _NAME, must, "got is_causal=True")
            return self._decode(inputs, key_padding_mask, cache, position)
        for name, x in zip(("query", "key", "value"), inputs, strict=True):
            if x is None:
                must = f"{name} must be given where there is no cache"
                fail(errors.ShapeError, _NAME, must, "got None")
        batched = inputs[0].ndim == 3
        if not batched:
            axis = 0 if self.batch_first else 1
            inputs = [_with_batch(x, axis) for x in inputs]
            key_padding_mask = None if key_padding_mask is None else expand_dims(key_padding_mask, 0)
        if key_padding_mask is not None:
            self._check_inputs(*inputs)
            quiet = {id(x): silenced(x, key_padding_mask, self.batch_first) for x in inputs[1:]}
            inputs = [quiet.get(id(x), x) for x in inputs]
        queries, keys, values = self._heads(*inputs)
        length, source = queries.shape[2], keys.shape[2]
        keys, values = self._extended(keys, values)
        if is_causal or (length == source and _is_causal(attn_mask, length)):
            is_causal = keys.shape[2] == source  # else what is appended is for all to see
            attn_mask = None if is_causal else causal_mask(max(length, source))[:length, :source]
        mask = self._mask(attn_mask, key_padding_mask, queries, source, keys.shape[2])
        dropout = self.dropout if self.dropout and self.training else 0.0
        alone = need_weights and not batched
        if alone:  # without the batch's axis, for the output to be made of the very weights that are returned
            queries, keys, values = (squeeze(x, 0) for x in (queries, keys, values))
            mask = None if mask is None else squeeze(mask, 0)
        result = attention(queries, keys, values, mask, is_causal, None, dropout, need_weights)
        heads, weights = result if need_weights else (result, None)
        heads = expand_dims(heads, 0) if alone else heads
        output = self._output(heads)
        if weights is not None and average_attn_weights:
            weights = reduce.mean(weights, -3)
        return output if batched else squeeze(output, 0 if self.batch_first else 1), weights

    def _heads(self, *inputs: Tensor | None) -> list[Tensor]:
        """The projections (N, h, L, d) of query, key and value, as far as they are given.

        One product for those that are the same tensor.
        """
        self._check_inputs(*inputs)
        packed, found = self.in_proj_weight, []
        for _, places in groupby(range(3), key=lambda k: k if packed is None else id(inputs[k])):
            first, *others = places
            x, count = inputs[first], 1 + len(others)
            if x is None:
                continue
            rows = slice(first * self.embed_dim, (first + count) * self.embed_dim)
            weight = getattr(self, f"{'qkv'[first]}_proj_weight") if packed is None else packed[rows]
            y = matmul(x, transpose(weight))
            y = y if self.in_proj_bias is None else y + self.in_proj_bias[rows]
            parts = split(y, count, -1)
            found += [split_heads(self._swap(part), self.num_heads) for part in parts]
        return found

    def _output(self, heads: Tensor) -> Tensor:
        """(N, h, L, d) → the output, like query."""
        return self._swap(self.out_proj(join_heads(heads)))

    def _swap(self, x: Tensor) -> Tensor:
        """Exchange the first two axes unless ``batch_first``."""
        return x if self.batch_first else transpose(x, (1, 0, 2))

    def _check_inputs(self, *inputs: Tensor | None) -> None:
        """Raise ShapeError unless the widths are right, and batches and lengths agree."""
        sizes: dict[str, int] = {}
        widths = (self.embed_dim, self.kdim, self.vdim)
        for name, letter, x, width in zip(("query", "key", "value"), "LSS", inputs, widths, strict=True):
            if x is None:
                continue
            axes = ("N", letter) if self.batch_first else (letter, "N")
            wanted = (*map(sizes.setdefault, axes, x.shape), width)
            if x.shape != wanted:
                must = f"{name} must have the shape ({', '.join(axes)}, {width})"
                fail(errors.ShapeError, _NAME, f"{must}, here {wanted}", f"got {x.shape}")

    def _extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """With the learned key and value behind the others, and those of zeros."""
        shape = (*keys.shape[:2], 1, self.head_dim)
        extra = []
        if self.bias_k is not None:
            parts = (reshape(x, (1, self.num_heads, 1, -1)) for x in (self.bias_k, self.bias_v))
            extra.append([broadcast_to(part, shape) for part in parts])
        if self.add_zero_attn:
            extra.append([zeros(shape, keys.dtype)] * 2)
        if not extra:
            return keys, values
        more_keys, more_values = zip(*extra, strict=True)
        return concat([keys, *more_keys], 2), concat([values, *more_values], 2)

    def _mask(self, attn_mask: Any, padding: Any, queries: Tensor, source: int, total: int) -> Tensor | None:
        """Both masks in one, as ``ta.attention`` wants it: (N or 1, h or 1, L or 1, total).

        The keys from ``source`` to ``total`` are for all to see.
        """
        batch, heads, length, _ = queries.shape
        masks = []
        if attn_mask is not None:
            mask = _checked("attn_mask", attn_mask, {(length, source), (batch * heads, length, source)})
            shared = mask.ndim == 2
            masks.append(reshape(mask, (1 if shared else batch, 1 if shared else heads, length, source)))
        if padding is not None:
            mask = _checked("key_padding_mask", padding, {(batch, source)})
            masks.append(reshape(mask, (batch, 1, 1, source)))
        if not masks:
            return None
        if any(is_float(mask.dtype) for mask in masks):
            added = [_additive(mask, queries.dtype) for mask in masks]
            return pad(sum(added[1:], added[0]), _behind(total - source))
        blocked = masks[0] if len(masks) == 1 else logical_or(*masks)
        return logical_not(pad(blocked, _behind(total - source)))

    # Decoding.

    def empty_cache(self, batch: int, length: int) -> KVCache:
        """Room for ``length`` positions of ``batch`` sequences that attend to themselves."""
        return KVCache.empty(batch, self.num_heads, length, self.head_dim, self.out_proj.weight.dtype)

    def project(self, key: Tensor, value: Tensor | None = None) -> KVCache:
        """The keys and values of a sequence to which queries will attend again and again, computed once.

        key (S, N, kdim) and value (S, N, vdim), key again if None; or batch first.
        """
        key = as_tensor(key)
        return KVCache(*self._heads(None, key, key if value is None else as_tensor(value)))

    def _decode(
        self, inputs: list[Any], padding: Any, cache: KVCache, position: Position
    ) -> tuple[Tensor, KVCache]:
        if self.bias_k is not None or self.add_zero_attn:
            must = "decoding with a cache must do without add_bias_kv and add_zero_attn"
            fail(errors.TinyattnError, _NAME, must, "got a module with them")
        query, key, value = inputs
        if position is None:
            (queries,) = self._heads(query, None, None)
        else:
            key = query if key is None else key
            queries, keys, values = self._heads(query, key, key if value is None else value)
        mask = self._mask(None, padding, queries, cache.length, cache.length)
        if position is None:
            heads = attention(queries, *cache, mask=mask)
        else:
            heads, cache = cache.attend(queries, keys, values, position, mask)
        return self._output(heads), cache

    def extra_repr(self) -> str:
        defaults = {"dropout": 0.0, "kdim": self.embed_dim, "vdim": self.embed_dim}
        defaults |= {"add_zero_attn": False, "batch_first": False}
        shown = [f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v]
        shown += ["add_bias_kv=True"] if self.bias_k is not None else []
        shown += ["bias=False"] if self.in_proj_bias is None else []
        return ", ".join([f"{self.embed_dim}, num_heads={self.num_heads}", *shown])


def _behind(count: int) -> list[tuple[int, int]]:
    """Padding of a mask's last axis: nothing is forbidden there."""
    return [(0, 0), (0, 0), (0, 0), (0, count)]


def _is_causal(mask: Any, length: int) -> bool:
    return isinstance(mask, Tensor) and is_float(mask.dtype) and mask is causal_mask(length, mask.dtype)


def _additive(mask: Tensor, dtype: np.dtype) -> Tensor:
    return where(mask, as_tensor(np.array(-math.inf, dtype)), 0) if mask.dtype == BOOL else cast(mask, dtype)


def _checked(name: str, mask: Any, shapes: set[tuple[int, ...]]) -> Tensor:
    """The mask as a Tensor, which must be bool or floating-point and have one of the shapes."""
    mask = as_tensor(mask)
    if mask.dtype != BOOL and not is_float(mask.dtype):
        must = f"{name} must be bool (True = blocked) or floating-point (added to the scores)"
        fail(errors.DTypeError, _NAME, must, f"got {mask.type}", "Write mask != 0.")
    if mask.shape not in shapes:
        must = " or ".join(map(str, sorted(shapes, key=len)))
        fail(errors.ShapeError, _NAME, f"{name} must have the shape {must}", f"got {mask.shape}")
    return mask


def _with_batch(x: Tensor, axis: int) -> Tensor:
    if x.ndim != 2:
        must = "query, key and value must have three axes, or two without a batch"
        fail(errors.ShapeError, _NAME, must, f"got {x.shape}")
    return expand_dims(x, axis)
