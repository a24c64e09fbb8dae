"""GPT: a Transformer that says a text word by word (Radford et al. 2018; 2019; Brown et al. 2020).

    h_0 = U W_e + W_p                        the embeddings of the tokens U and of their positions
    h_l = block(h_{l−1})                     L times: causal self-attention, then a network of one hidden layer
    P(u_{i+1} | u_1 … u_i) = softmax(h_L W_eᵀ)      the embedding again, as output layer

and training maximises Σ_i log P(u_i | u_{i−k} … u_{i−1}) (Radford et al. 2018, equations 1 and 2). A block is

    GPT-1 (post-norm)   n = LN(x + attention(x));       h = LN(n + network(n))
    GPT-2 (pre-norm)    n = x + attention(LN(x));       h = n + network(LN(n)),  and one LN at the very end

Parameters are named as in nanoGPT and in Hugging Face's GPT-2, with all matrices (out, in).

Shapes in comments: B sequences, T positions, E width, h heads, V vocabulary.
"""

import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import as_integer, fail
from tinyattn.models.checks import checked_count, checked_ids
from tinyattn.models.generation import Generation, choose
from tinyattn.nn.cache import KVCache, Position, as_position
from tinyattn.ops.multihead import join_heads, split_heads
from tinyattn.train.optim import AdamW

ACTIVATIONS = {"gelu": ta.gelu, "gelu_tanh": lambda x: ta.gelu(x, "tanh"), "relu": ta.relu}

Caches = tuple[KVCache, ...] | None
"""One cache for each block, or none at all."""


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices; without arguments those of GPT-2 (124 million parameters).

    activation: "gelu", "gelu_tanh" (the papers') or "relu". norm_first: pre-norm as GPT-2, else post-norm as
    GPT-1. bias: of the linear layers and norms; nanoGPT trains without.
    """

    vocab_size: int = 50257
    block_size: int = 1024  # the longest text that is seen at once
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    activation: str = "gelu_tanh"
    norm_first: bool = True

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.type is int and (as_integer(value) or 0) < 1:
                fail(TinyattnError, "GPT", f"{entry.name} must be a positive integer", f"got {value!r}")
        if self.n_embd % self.n_head:
            must = f"n_embd must be divisible by n_head = {self.n_head}"
            fail(ShapeError, "GPT", must, f"got {self.n_embd}")
        if not 0 <= self.dropout < 1:
            fail(TinyattnError, "GPT", "dropout must lie in [0, 1)", f"got {self.dropout!r}")
        if self.activation not in ACTIVATIONS:
            must = f"activation must be one of {', '.join(ACTIVATIONS)}"
            fail(TinyattnError, "GPT", must, f"got {self.activation!r}")

    @classmethod
    def gpt1(cls, **changes: Any) -> "GPTConfig":
        """Radford et al. 2018: post-norm, 512 positions, 117 million parameters; dropout 0.1 in training."""
        return cls(**{"vocab_size": 40478, "block_size": 512, "norm_first": False} | changes)

    @classmethod
    def gpt2(cls, **changes: Any) -> "GPTConfig":
        """Radford et al. 2019, the smallest: pre-norm, 1024 positions; dropout 0.1 in training."""
        return cls(**changes)


class CausalSelfAttention(nn.Module):
    """Every position looks at itself and at all before it, in n_head ways at once."""

    def __init__(self, config: GPTConfig):
        self.config = config
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, config.bias)  # W_q, W_k, W_v
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, config.bias)  # W_o
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: ta.Tensor, cache: KVCache | None, position: Position) -> Any:
        """(B, T, E) → (B, T, E) and the cache with these positions, if there is one."""
        parts = ta.split(self.c_attn(x), 3, axis=-1)
        query, keys, values = (split_heads(part, self.config.n_head) for part in parts)  # (B, h, T, E/h)
        if cache is None:
            dropped = self.config.dropout if self.training else 0.0
            heads = ta.attention(query, keys, values, is_causal=True, dropout_p=dropped)
        else:
            heads, cache = cache.attend(query, keys, values, position)
        return self.dropout(self.c_proj(join_heads(heads))), cache


class MLP(nn.Module):
    """A network of one hidden layer, four times as wide: W_2 gelu(W_1 x)."""

    def __init__(self, config: GPTConfig):
        self.activation = ACTIVATIONS[config.activation]
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd, config.bias)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd, config.bias)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: ta.Tensor) -> ta.Tensor:
        """(…, E) → (…, E)."""
        return self.dropout(self.c_proj(self.activation(self.c_fc(x))))


class Block(nn.Module):
    """Attention and network, each added to the stream."""

    def __init__(self, config: GPTConfig):
        self.norm_first = config.norm_first
        self.ln_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.mlp = MLP(config)

    def forward(self, x: ta.Tensor, cache: KVCache | None, position: Position) -> Any:
        """(B, T, E) → (B, T, E) and the cache."""
        if self.norm_first:
            y, cache = self.attn(self.ln_1(x), cache, position)
            x = x + y
            return x + self.mlp(self.ln_2(x)), cache
        y, cache = self.attn(x, cache, position)
        x = self.ln_1(x + y)
        return self.ln_2(x + self.mlp(x)), cache


class Blocks(nn.Module):
    """Embeddings and blocks: from tokens to h_L."""

    def __init__(self, config: GPTConfig):
        self.config = config
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)  # W_e
        self.wpe = nn.Embedding(config.block_size, config.n_embd)  # W_p
        self.drop = nn.Dropout(config.dropout)
        self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
        if config.norm_first:
            self.ln_f = nn.LayerNorm(config.n_embd, bias=config.bias)

    def forward(self, tokens: ta.Tensor, caches: Caches, position: Position) -> tuple[ta.Tensor, Caches]:
        """Integers (B, T), the positions from ``position`` on → h_L (B, T, E) and the caches."""
        x = self.drop(self.wte(tokens) + self._positions(tokens.shape[1], position))
        kept = []
        for number, block in enumerate(self.h):
            x, cache = block(x, None if caches is None else caches[number], position)
            kept.append(cache)
        return self.ln_f(x) if self.config.norm_first else x, None if caches is None else tuple(kept)

    def _positions(self, count: int, position: Position) -> ta.Tensor:
        """(count, E): the embeddings of ``count`` positions."""
        where = as_position(position)
        if not isinstance(where, int):
            return self.wpe(ta.arange(count, dtype=where.dtype) + where)
        if where < 0:
            fail(ShapeError, "GPT", "a position must be at least 0", f"got {where}")
        if where + count > self.config.block_size:
            must = f"at most block_size = {self.config.block_size} tokens can be seen at once"
            fail(ShapeError, "GPT", must, f"got {where + count}", "Cut the beginning off.")
        return self.wpe.weight[where : where + count]


class GPT(nn.Module):
    """The language model. Call it with tokens for logits, or use ``loss`` and ``generate``.

    Initial values are GPT-2's: N(0, 0.02²), N(0, 0.02²/2L) for the last layer of each of the 2L parts that
    add to the stream, so that its variance doesn't grow with their number, and biases 0.
    """

    Config = GPTConfig
    _generation: Generation | None = None

    def __init__(self, config: GPTConfig):
        self.config = config
        self.transformer = Blocks(config)
        self.lm_head = nn.Linear(config.n_embd, config.vocab_size, bias=False)
        self.lm_head.weight = self.transformer.wte.weight
        for name, weight in self.named_parameters():
            if weight.ndim > 1:
                added = name.endswith("c_proj.weight")
                std = 0.02 / math.sqrt(2 * config.n_layer) if added else 0.02
                weight.assign(nn.init.normal(weight.shape, std=std))
            elif name.endswith(("c_attn.bias", "c_fc.bias", "c_proj.bias")):
                weight.assign(np.zeros(weight.shape))

    def forward(self, tokens: ta.Tensor) -> ta.Tensor:
        """Integers (B, T), T ≤ block_size → logits (B, T, V) of the token after each."""
        return self.lm_head(self.transformer(self._checked(tokens), None, 0)[0])

    def loss(self, tokens: ta.Tensor, targets: ta.Tensor, ignore_index: int | None = None) -> ta.Tensor:
        """Mean −log P(target) in nats, a scalar: integers (B, T) and the (B, T) that follow them."""
        hidden, _ = self.transformer(self._checked(tokens), None, 0)
        return ta.linear_cross_entropy(hidden, self.lm_head.weight, targets, ignore_index=ignore_index)

    def step(self, tokens: ta.Tensor, caches: Caches, position: Position) -> tuple[ta.Tensor, Caches]:
        """Continue a text: (B, T) new tokens from ``position`` on → logits (B, T, V), and the caches with
        these positions. Several tokens at once need an integer position.
        """
        hidden, caches = self.transformer(self._checked(tokens), caches, position)
        return self.lm_head(hidden), caches

    def empty_caches(self, batch: int, length: int | None = None) -> tuple[KVCache, ...]:
        """Caches for ``batch`` texts of up to ``length`` tokens (block_size if None)."""
        c, dtype = self.config, self.lm_head.weight.dtype
        room = (batch, c.n_head, c.block_size if length is None else length, c.n_embd // c.n_head)
        return tuple(KVCache.empty(*room, dtype) for _ in range(c.n_layer))

    def generate(
        self,
        tokens: Any,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        use_cache: bool = True,
    ) -> np.ndarray:
        """Continue texts: integers (B, T) → (B, T + max_new_tokens).

        Each new token is drawn from softmax(logits / temperature), from the ``top_k`` most probable ones if
        given; a temperature of 0 takes the most probable one. After ``block_size`` tokens the model sees the
        last ``block_size`` of them. ``use_cache=False`` computes everything anew at every token: the same
        result to rounding. Reproducible after ``ta.manual_seed``. Raises ShapeError for what makes no sense.
        """
        tokens = checked_ids("generate", "tokens", tokens, "B, T", 0, self.config.vocab_size - 1)
        max_new_tokens = checked_count("generate", "max_new_tokens", max_new_tokens, least=0)
        top_k = None if top_k is None else checked_count("generate", "top_k", top_k)
        if not temperature >= 0:
            fail(ShapeError, "generate", "temperature must be at least 0", f"got {temperature}")
        if self._generation is None or not self._generation.fits(self, len(tokens)):
            self._generation = Generation(self, len(tokens))
        mode, seen = self._training, 0
        self.eval()
        try:
            for _ in range(max_new_tokens):
                length = tokens.shape[1]
                # Past block_size every token has a new position at each step: nothing can be kept.
                kept = seen if use_cache and length <= self.config.block_size else None
                logits, seen = self._generation.logits(tokens, kept), length
                new = choose(logits, temperature, top_k).astype(tokens.dtype)
                tokens = np.concatenate([tokens, new[:, None]], axis=1)
        finally:
            self.train(mode)
        return tokens

    def configure_optimizer(
        self,
        lr: Any = 1e-3,
        weight_decay: float = 0.1,
        betas: tuple[float, float] = (0.9, 0.99),
        clip_norm: float | None = 1.0,
    ) -> AdamW:
        """AdamW as nanoGPT sets it up: matrices decay, biases and norms don't; gradients clipped."""
        parameters = self.parameters()
        groups: list[dict[str, Any]] = [
            {"params": [w for w in parameters if w.ndim > 1]},
            {"params": [w for w in parameters if w.ndim < 2], "weight_decay": 0.0},
        ]
        return AdamW(groups, lr, betas, weight_decay=weight_decay, clip_norm=clip_norm)

    def _checked(self, tokens: Any) -> ta.Tensor:
        tokens = as_tensor(tokens)
        if tokens.ndim != 2 or tokens.dtype.kind != "i":
            fail(ShapeError, "GPT", "tokens must be integers of shape (B, T)", f"got {tokens.type}")
        return tokens
