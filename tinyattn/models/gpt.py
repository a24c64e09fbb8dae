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
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn import nn
from tinyattn.errors import ShapeError, TinyattnError
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.types import fail
from tinyattn.models.model import Model, Recipe, from_task
from tinyattn.models.parts import gpt_folder
from tinyattn.models.parts.checks import check_sizes, checked_count, checked_ids
from tinyattn.models.parts.generation import Generation, choose
from tinyattn.nn.cache import KVCache, Position, as_position
from tinyattn.ops.attention.multihead import join_heads, split_heads
from tinyattn.sections import Heat, Map, Section, Text
from tinyattn.tasks.task import Answers
from tinyattn.tasks.text import NOTHING
from tinyattn.train.optim import AdamW

ACTIVATIONS = {"gelu": ta.gelu, "gelu_tanh": lambda x: ta.gelu(x, "tanh"), "relu": ta.relu}

NANOGPT_SIZES: dict[str, Any] = {
    "n_layer": 4,
    "n_head": 4,
    "n_embd": 128,
    "bias": False,
    "activation": "gelu",
}
NANOGPT: dict[str, Any] = {
    "steps": 2000, "batch_size": 12, "optimizer": "adamw", "learning_rate": 3e-3, "schedule": "cosine",
    "warmup_steps": 100, "minimum_rate": 0.1, "beta2": 0.99, "weight_decay": 0.1, "clip_norm": 1.0,
}  # fmt: skip
"""nanoGPT's settings for a processor: the smallest of its models, trained as there but for the learning rate. Its own,
1e-3, ends at a loss of 1.91 on all of the held-out text (its README has 1.88, of a part of it); 3e-3 ends below.
"""
NANO_SIZES: dict[str, Any] = {"n_layer": 3, "n_head": 3, "n_embd": 48}
NANO: dict[str, Any] = {
    "steps": 2000, "batch_size": 64, "optimizer": "adamw", "learning_rate": 3e-3, "schedule": "cosine",
    "warmup_steps": 100, "minimum_rate": 0.1, "beta2": 0.95, "weight_decay": 0.1, "clip_norm": 1.0,
}  # fmt: skip
"""minGPT's "gpt-nano", which answers its questions, without dropout and with a rate of its own."""
GPT1_SIZES: dict[str, Any] = {"n_layer": 2, "n_head": 4, "n_embd": 64, "norm_first": False, "dropout": 0.1}
GPT1: dict[str, Any] = {
    "steps": 2000, "batch_size": 64, "optimizer": "adamw", "learning_rate": 3e-3, "schedule": "cosine",
    "warmup_steps": 100, "weight_decay": 0.01, "clip_norm": 1.0,
}  # fmt: skip
"""A small GPT-1, post-norm and with its dropout, that other models begin from."""
SHOWN, WRITTEN = 24, 500
"""Tokens of an attention map and of a text in a report."""
VISIBLE = {" ": "␣", "\n": "⏎"}

Caches = tuple[KVCache, ...] | None
"""One cache for each block, or none at all."""


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and choices; without arguments those of GPT-2 (124 million parameters).

    activation: "gelu", "gelu_tanh" (the papers') or "relu". norm_first: pre-norm as GPT-2, else post-norm as GPT-1.
    bias: of the linear layers and norms; nanoGPT trains without. norm_epsilon: ε of the norms.

    vocab_size: V; block_size: the longest text that is seen at once; n_layer blocks of n_head heads, n_embd numbers
    wide. dropout: of embedded tokens, weights, and what each part adds.
    """

    vocab_size: int = from_task(50257)
    block_size: int = from_task(1024)  # the longest text that is seen at once
    n_layer: int = 12
    n_head: int = 12
    n_embd: int = 768
    dropout: float = 0.0
    bias: bool = True
    activation: str = "gelu_tanh"
    norm_first: bool = True
    norm_epsilon: float = 1e-5

    def __post_init__(self):
        """Raise TinyattnError, with one sentence, for a value that makes no sense."""
        check_sizes("GPT", self, ("n_embd", "n_head"), choices={"activation": ACTIVATIONS})
        if not 0 < self.norm_epsilon < 1:
            fail(TinyattnError, "GPT", "norm_epsilon must lie in (0, 1)", f"got {self.norm_epsilon!r}")

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

    def heads(self, x: ta.Tensor) -> tuple[ta.Tensor, ...]:
        """(B, T, E) → query, keys and values of each head, (B, h, T, E/h)."""
        return tuple(split_heads(part, self.config.n_head) for part in ta.split(self.c_attn(x), 3, axis=-1))

    def weights(self, x: ta.Tensor) -> ta.Tensor:
        """(B, T, E) → (B, h, T, T): how much each place looks at those up to it."""
        return ta.attention(*self.heads(x), is_causal=True, return_weights=True)[1]

    def forward(self, x: ta.Tensor, cache: KVCache | None, position: Position) -> Any:
        """(B, T, E) → (B, T, E) and the cache with these positions, if there is one."""
        query, keys, values = self.heads(x)
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
        self.ln_1 = nn.LayerNorm(config.n_embd, config.norm_epsilon, bias=config.bias)
        self.attn = CausalSelfAttention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, config.norm_epsilon, bias=config.bias)
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
            self.ln_f = nn.LayerNorm(config.n_embd, config.norm_epsilon, bias=config.bias)

    def forward(self, tokens: ta.Tensor, caches: Caches, position: Position) -> tuple[ta.Tensor, Caches]:
        """Integers (B, T), the positions from ``position`` on → h_L (B, T, E) and the caches."""
        x, kept = self.embed(tokens, position), []
        for number, block in enumerate(self.h):
            x, cache = block(x, None if caches is None else caches[number], position)
            kept.append(cache)
        return self.ln_f(x) if self.config.norm_first else x, None if caches is None else tuple(kept)

    def embed(self, tokens: ta.Tensor, position: Position) -> ta.Tensor:
        """h_0 (B, T, E) of integers (B, T)."""
        return self.drop(self.wte(tokens) + self._positions(tokens.shape[1], position))

    def weights(self, tokens: ta.Tensor) -> list[ta.Tensor]:
        """How much each place looks at those up to it, for each block (B, h, T, T)."""
        x, found = self.embed(tokens, 0), []
        for block in self.h:
            found.append(block.attn.weights(block.ln_1(x) if block.norm_first else x))
            x, _ = block(x, None, 0)
        return found

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


class GPT(Model):
    """The language model. Call it with tokens (B, T) for logits (B, T, V), those of the token after each, or use
    ``loss`` and ``generate``.

    Initial values are GPT-2's: N(0, 0.02²), N(0, 0.02²/2L) for the last layer of each of the 2L parts that add to
    the stream, so that its variance doesn't grow with their number, and biases 0.
    """

    Config = GPTConfig
    name = "gpt"
    paper = "Radford et al. 2018, Improving language understanding by generative pre-training; 2019"
    documents = "S3"
    families = ("language",)
    recipes = (
        Recipe(
            "tinyshakespeare",
            NANOGPT_SIZES,
            NANOGPT,
            targets={"val_loss": 1.88},
            reported={"val_loss": "1.88 (nanoGPT)"},
        ),
        Recipe("text", NANOGPT_SIZES, NANOGPT),
        Recipe("sort-6", NANO_SIZES, NANO, targets={"exact_match": 1.0}),
        Recipe("adder", NANO_SIZES, NANO, targets={"exact_match": 0.99}),
        Recipe("topic-texts", GPT1_SIZES, GPT1),
    )
    config: GPTConfig
    _generation: Generation | None = None

    def __init__(self, config: GPTConfig):
        self.config = config
        self._predict = ta.function(self._predictions)
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

    @classmethod
    def from_pretrained(cls, folder: Any) -> "GPT":
        """The model of a folder in Hugging Face's layout, of GPT-2 or GPT-1, or with nanoGPT's names: config.json and
        model.safetensors. It is in evaluation mode; weights become float32. Raises CheckpointError, one sentence,
        for a folder that is none, is damaged, or holds what this model is not.
        """
        sizes, weights = gpt_folder.read(folder)
        model = cls(GPTConfig(**sizes))
        model.load_state_dict(weights)
        model.eval()
        return model

    def save_pretrained(self, folder: Any) -> None:
        """Write such a folder, which the library transformers reads: GPT-2's, or GPT-1's of a post-norm model."""
        gpt_folder.save(folder, vars(self.config), self.state_dict())

    def forward(self, tokens: ta.Tensor) -> ta.Tensor:
        """Integers (B, T), T ≤ block_size → logits (B, T, V) of the token after each."""
        return self.lm_head(self.transformer(self._checked(tokens), None, 0)[0])

    def loss(self, batch: Any, targets: Any = None, ignore_index: int | None = None) -> ta.Tensor:
        """Mean −log P(target) in nats, a scalar, of a language task's batch; or of integers (B, T) and the
        ``targets`` (B, T) that follow them.
        """
        if targets is None:
            batch, targets, ignore_index = batch.tokens, batch.targets, NOTHING
        hidden, _ = self.transformer(self._checked(batch), None, 0)
        return ta.linear_cross_entropy(hidden, self.lm_head.weight, targets, ignore_index=ignore_index)

    def _predictions(self, tokens: ta.Tensor, targets: ta.Tensor) -> tuple[ta.Tensor, ta.Tensor]:
        """The most probable token after each (B, T), and the mean −log P(target)."""
        logits = self(tokens)
        return ta.argmax(logits, -1), ta.cross_entropy(logits, targets, ignore_index=NOTHING)

    def answer(self, batch: Any) -> Answers:
        """The most probable next token of each place, (T,) a row, and the surprise at those that follow."""
        with self.evaluating():
            found, loss = self._predict(batch.tokens, batch.targets)
        return Answers(list(found), nats=float(loss) * batch.weight, predictions=batch.weight)

    def sample(self, batch: Any, *, tokens: int = 300, temperature: float = 0.8, top_k: int = 0) -> Answers:
        """How the model goes on, `tokens` further ones a row: see ``generate``; a top_k of 0 leaves out none. Where
        nothing is to be predicted at first, that is a question; its answer is written greedily.
        """
        given, length = batch.tokens, batch.question
        if length:
            tokens, temperature, given = given.shape[1] - length + 1, 0.0, given[:, :length]
        written = self.generate(given, tokens, temperature, top_k or None)
        return Answers(list(written[:, given.shape[1] :]))

    def sections(self, batch: Any, task: Any) -> list[Section]:
        """A text of its own, unless it answers questions, and where it looks: in each block the head that looks at
        one place the most. The task has decode(ids) → text, as language tasks do.
        """
        tokens = batch.tokens[:1, :SHOWN]
        words = [VISIBLE.get(word, word) for word in (task.decode([i]) for i in tokens[0])]
        with self.evaluating():
            layers = [weights[0] for weights in ta.evaluate(self.transformer.weights(self._checked(tokens)))]
        heads = [int(weights.max(-1).mean(-1).argmax()) for weights in layers]  # (h, T, T) each
        maps = [
            Map(layers[k][head], words, words, f"block {k + 1}, head {head + 1}")
            for k, head in enumerate(heads)
        ]
        rows = (
            f"Rows are the places that look, columns what they see, in {len(words)} tokens of held-out text."
        )
        caption = f"{rows} Of each block the head that looks at one place the most."
        where = Heat("Where it looks", maps, caption)
        if batch.question:
            return [where]
        beginning = task.read("")
        written = task.show(beginning, self.sample(beginning, tokens=WRITTEN), 0)["output"]
        how = f"{WRITTEN} tokens, drawn at temperature 0.8 from an empty beginning."
        return [Text("A text of its own", written, how), where]

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
        seen = 0
        with self.evaluating():
            for _ in range(max_new_tokens):
                length = tokens.shape[1]
                # Past block_size every token has a new position at each step: nothing can be kept.
                kept = seen if use_cache and length <= self.config.block_size else None
                logits, seen = self._generation.logits(tokens, kept), length
                new = choose(logits, temperature, top_k).astype(tokens.dtype)
                tokens = np.concatenate([tokens, new[:, None]], axis=1)
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
