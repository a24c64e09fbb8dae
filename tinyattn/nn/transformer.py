"""The Transformer (Vaswani et al. 2017, sections 3.1 and 3.3), with torch's options and names.

A sub-layer S (attention, or a network of one hidden layer that treats every position alike) adds to a stream
x what it makes of it:

    post-norm   x ← LN(x + dropout(S(x)))        the paper's
    pre-norm    x ← x + dropout(S(LN(x)))        ``norm_first``: the stream itself is never normalised

An encoder layer has two sub-layers, self-attention and the network; a decoder layer three: self-attention,
which sees no later position, attention to the encoder's output, and the network. Masks are those of
``MultiheadAttention``: True = blocked. A decoder continues a sequence step by step with a cache for each
layer: see ``TransformerDecoder.cache``.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinyattn import errors
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail
from tinyattn.nn import init
from tinyattn.nn.attention import MultiheadAttention, causal_mask, silenced
from tinyattn.nn.cache import KVCache, Position
from tinyattn.nn.layers import Dropout, Linear, check_sizes
from tinyattn.nn.module import Module, ModuleList
from tinyattn.nn.norm import LayerNorm
from tinyattn.ops.arrays.elementwise import relu
from tinyattn.ops.layers.gelu import gelu

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}


def sinusoidal_positions(length: int, width: int, dtype: Any = np.float32) -> np.ndarray:
    """→ (length, width): a code for each position, of ``dtype``, to be added to the embeddings (Vaswani et al.
    2017, section 3.5).

    PE(p, 2i) = sin(p / 10000^(2i/width)), PE(p, 2i+1) = cos(p / 10000^(2i/width)): each pair of columns turns with
    a wavelength of its own, so that PE(p + k) is a rotation of PE(p).
    """
    angles = np.arange(length)[:, None] * 10000.0 ** (-np.arange(0, width, 2) / width)
    codes = np.stack([np.sin(angles), np.cos(angles)], axis=-1).reshape(length, -1)
    return codes[:, :width].astype(dtype)


class _Layer(Module):
    """What encoder and decoder layers share: the parameters, the order of norm and sub-layer, the network."""

    attentions: tuple[str, ...]
    """The names of the attention sub-layers, in their order."""

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ):
        if not callable(activation) and activation not in ACTIVATIONS:
            must = "activation must be 'relu', 'gelu' or a function of a Tensor"
            fail(errors.TinyattnError, type(self).__name__, must, f"got {activation!r}")
        self.activation = activation if callable(activation) else ACTIVATIONS[activation]
        self.norm_first = norm_first
        for name in self.attentions:
            attention = MultiheadAttention(
                d_model, nhead, dropout, bias, batch_first=batch_first, dtype=dtype
            )
            setattr(self, name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, bias, dtype)
        self.linear2 = Linear(dim_feedforward, d_model, bias, dtype)
        for number in range(1, len(self.attentions) + 2):
            setattr(self, f"norm{number}", LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype))
        self.dropout = Dropout(dropout)

    def _add(self, x: Tensor, number: int, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """x and what the sub-layer of this number makes of it."""
        norm = getattr(self, f"norm{number}")
        if self.norm_first:
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))

    def _stream(self, x: Any, padding: Any) -> Tensor:
        """What a layer is given, as a Tensor, without NaN or infinity at padding."""
        x = as_tensor(x)
        known = padding is not None and x.ndim in (2, 3)
        return silenced(x, padding, getattr(self, self.attentions[0]).batch_first) if known else x

    def _network(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and a network; torch.nn.TransformerEncoderLayer: (S, N, E) → (S, N, E).

    ``d_model``: E; ``nhead``: how many heads; ``dim_feedforward``: the width of the network; ``dropout``: of
    weights, of what each part adds and inside the network; ``activation``: "relu", "gelu" or a function;
    ``layer_norm_eps``: ε of the norms; ``batch_first``: N comes first; ``norm_first``: pre-norm; ``bias``: of all
    linear layers and norms. Parameters: ``self_attn.*``, ``linear1.*``, ``linear2.*``, ``norm1.*``, ``norm2.*``.
    Raises TinyattnError for another activation, ShapeError for shapes that don't fit. Vaswani et al. 2017, section
    3.1.
    """

    attentions = ("self_attn",)
    self_attn: MultiheadAttention

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """src (S, N, E), (N, S, E) with ``batch_first``, or (S, E) → the same. ``src_mask`` (S, S),
        ``src_key_padding_mask`` (N, S) and ``is_causal`` as in MultiheadAttention.
        """

        def attend(x: Tensor) -> Tensor:
            return self.self_attn(x, x, x, src_key_padding_mask, False, src_mask, is_causal=is_causal)[0]

        x = self._stream(src, src_key_padding_mask)
        return self._add(self._add(x, 1, attend), 2, self._network)


class DecoderCache(NamedTuple):
    """What a decoder layer keeps from step to step: the past, and the projected memory."""

    past: KVCache
    memory: KVCache


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to a memory, and a network; torch.nn.TransformerDecoderLayer: tgt (T, N, E), memory
    (S, N, E) → (T, N, E).

    ``d_model``: E; ``nhead``: how many heads; ``dim_feedforward``: the width of the network; ``dropout``: of
    weights, of what each part adds and inside the network; ``activation``: "relu", "gelu" or a function;
    ``layer_norm_eps``: ε of the norms; ``batch_first``: N comes first; ``norm_first``: pre-norm; ``bias``: of all
    linear layers and norms. Parameters: ``self_attn.*``, ``multihead_attn.*``, ``linear1.*``, ``linear2.*``,
    ``norm1.*``, ``norm2.*``, ``norm3.*``. Raises TinyattnError for another activation, ShapeError for shapes that
    don't fit. Vaswani et al. 2017, section 3.1.
    """

    attentions = ("self_attn", "multihead_attn")
    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
        *,
        cache: DecoderCache | None = None,
        position: Position = 0,
    ) -> Any:
        """tgt (T, N, E) and memory (S, N, E), or batch first, or without a batch → as tgt.

        With a ``cache`` tgt are the positions from ``position`` on of a sequence, the cache holds the positions
        before and the memory, and the result is (output, new cache); tgt_key_padding_mask is then (N, length of the
        cache).

        ``tgt_mask`` (T, T) and ``memory_mask`` (T, S), ``tgt_key_padding_mask`` (N, T) and
        ``memory_key_padding_mask`` (N, S), ``tgt_is_causal`` and ``memory_is_causal`` as in MultiheadAttention.
        """
        past: dict[str, Any] = {} if cache is None else {"cache": cache.past, "position": position}
        known: dict[str, Any] = {} if cache is None else {"cache": cache.memory}
        kept: list[Any] = []

        def attend_self(x: Tensor) -> Tensor:
            masks = (tgt_key_padding_mask, False, tgt_mask)
            y, written = self.self_attn(x, x, x, *masks, is_causal=tgt_is_causal, **past)
            kept.append(written)
            return y

        def attend_memory(x: Tensor) -> Tensor:
            masks = (memory_key_padding_mask, False, memory_mask)
            return self.multihead_attn(x, memory, memory, *masks, is_causal=memory_is_causal, **known)[0]

        x = self._add(self._stream(tgt, None if past else tgt_key_padding_mask), 1, attend_self)
        x = self._add(self._add(x, 2, attend_memory), 3, self._network)
        return x if cache is None else (x, DecoderCache(kept[0], cache.memory))

    def cache(self, memory: Tensor, length: int) -> DecoderCache:
        """For decoding up to ``length`` positions: no past yet, and the memory (S, N, E), or batch first."""
        projected = self.multihead_attn.project(memory)
        return DecoderCache(self.self_attn.empty_cache(projected.keys.shape[0], length), projected)


class _Stack(Module):
    """``num_layers`` copies of a layer, and a norm at the end."""

    def __init__(self, layer: Module, num_layers: int, norm: Module | None = None):
        (num_layers,) = check_sizes(type(self).__name__, num_layers=num_layers)
        self.num_layers = num_layers
        self.layers = ModuleList(layer.copy() for _ in range(num_layers))
        self.norm = norm

    def _end(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """``num_layers`` copies of ``encoder_layer``, equal at first, and ``norm``, if there is one, at the end: (S, N,
    E) → (S, N, E). Parameters: ``layers.*`` and ``norm.*``.
    """

    def __init__(self, encoder_layer: TransformerEncoderLayer, num_layers: int, norm: Module | None = None):
        super().__init__(encoder_layer, num_layers, norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """All layers in order: src as for a layer; ``mask``, ``src_key_padding_mask`` and ``is_causal`` are the
        same for all.
        """
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return self._end(src)


class TransformerDecoder(_Stack):
    """``num_layers`` copies of ``decoder_layer``, equal at first, and ``norm``, if there is one, at the end: tgt
    (T, N, E), memory (S, N, E) → (T, N, E). Parameters: ``layers.*`` and ``norm.*``.

    To continue a sequence position by position:

        cache = decoder.cache(memory, length)
        for t in range(length):
            y, cache = decoder(x_t, cache=cache, position=t)

    ``position`` may be a Tensor, so that one compiled step serves every t.
    """

    def __init__(self, decoder_layer: TransformerDecoderLayer, num_layers: int, norm: Module | None = None):
        super().__init__(decoder_layer, num_layers, norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
        *,
        cache: tuple[DecoderCache, ...] | None = None,
        position: Position = 0,
    ) -> Any:
        """All layers in order; the memory and the masks, ``tgt_mask``, ``memory_mask``, ``tgt_key_padding_mask``,
        ``memory_key_padding_mask``, ``tgt_is_causal`` and ``memory_is_causal``, are the same for all.
        """
        kept: list[DecoderCache] = []
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for number, layer in enumerate(self.layers):
            if cache is None:
                tgt = layer(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)
            else:
                tgt, new = layer(tgt, memory, *masks, cache=cache[number], position=position)
                kept.append(new)
        return self._end(tgt) if cache is None else (self._end(tgt), tuple(kept))

    def cache(self, memory: Tensor, length: int) -> tuple[DecoderCache, ...]:
        """A cache for each layer, with room for ``length`` positions."""
        layers: Any = self.layers
        return tuple(layer.cache(memory, length) for layer in layers)


class Transformer(Module):
    """An encoder and a decoder, each with a norm at the end; torch.nn.Transformer: src (S, N, E), tgt (T, N, E) →
    (T, N, E).

    ``d_model``: E; ``nhead``: how many heads; ``dim_feedforward``: the width of the network; ``dropout``: of
    weights, of what each part adds and inside the network; ``activation``: "relu", "gelu" or a function;
    ``layer_norm_eps``: ε of the norms; ``batch_first``: N comes first; ``norm_first``: pre-norm; ``bias``: of all
    linear layers and norms. ``num_encoder_layers``, ``num_decoder_layers``: how many; ``custom_encoder``,
    ``custom_decoder``: modules that stand for them.

    Parameters: ``encoder.layers.*``, ``encoder.norm.*``, ``decoder.layers.*``, ``decoder.norm.*``; all matrices
    uniform as Glorot & Bengio 2010. Embeddings and the output layer are the user's. Raises ShapeError for shapes
    that don't fit. Vaswani et al. 2017, section 3.1.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | Callable[[Tensor], Tensor] = "relu",
        custom_encoder: Any = None,
        custom_decoder: Any = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        dtype: Any = np.float32,
    ):
        network = (dim_feedforward, dropout, activation)
        options: Any = (d_model, nhead, *network, layer_norm_eps, batch_first, norm_first, bias, dtype)

        def end() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, dtype=dtype)

        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*options), num_encoder_layers, end()
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*options), num_decoder_layers, end()
        )
        for weight in self.parameters():
            if weight.ndim > 1:
                weight.assign(init.xavier_uniform(weight.shape))
        self.d_model, self.nhead, self.batch_first = d_model, nhead, batch_first

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """src (S, N, E) and tgt (T, N, E), or batch first, or without a batch → as tgt.

        ``src_mask`` (S, S), ``tgt_mask`` (T, T) and ``memory_mask`` (T, S); ``src_key_padding_mask`` (N, S),
        ``tgt_key_padding_mask`` (N, T) and ``memory_key_padding_mask`` (N, S); ``src_is_causal``, ``tgt_is_causal``
        and ``memory_is_causal``: all as in MultiheadAttention.
        """
        src, tgt = as_tensor(src), as_tensor(tgt)
        for name, x in (("src", src), ("tgt", tgt)):
            if x.shape[-1:] != (self.d_model,):
                must = f"the last axis of {name} must have d_model = {self.d_model} elements"
                fail(errors.ShapeError, "Transformer", must, f"got shape {x.shape}")
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        padding = (tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, tgt_mask, memory_mask, *padding, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, dtype: Any = np.float32) -> Tensor:
        """(sz, sz): −∞ above the diagonal, 0 elsewhere. As ``tgt_mask`` it hides later positions."""
        return causal_mask(sz, dtype)
