"""The models of the registry as a JAX user writes them: functions of a dict of weights with our names, each step one
`jit`, loops over steps as `lax.scan`, and what needs no state projected for all steps at once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from . import jax_training
from .jax_captions import captioner, show_attend_tell
from .jax_games import GAMES, MOVED
from .jax_memory import lstm_bits, ntm, pointer
from .jax_recurrent import TRANSLATION, inside, linear, lstm_lm, lstmn, masked_mean, pair
from .jax_snail import snail
from .jax_training import Parameters


def cross_entropy(logits: jax.Array, targets: jax.Array, ignored: int = -1) -> jax.Array:
    """The mean over the targets that count."""
    return masked_mean(jax_training.cross_entropy(logits, jnp.maximum(targets, 0)), targets != ignored)


def norm(p: Parameters, name: str, x: jax.Array, eps: float = 1e-5) -> jax.Array:
    """Layer norm, with a bias if there is one."""
    centred = x - x.mean(-1, keepdims=True)
    y = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + eps) * p[f"{name}.weight"]
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


class Dropout:
    """Dropout with a key of its own at each call."""

    def __init__(self, rate: float, key: jax.Array) -> None:
        self.rate, self.key, self.calls = rate, key, 0

    def __call__(self, x: jax.Array) -> jax.Array:
        if not self.rate:
            return x
        self.calls += 1
        kept = jax.random.bernoulli(jax.random.fold_in(self.key, self.calls), 1 - self.rate, x.shape)
        return jnp.where(kept, x / (1 - self.rate), 0.0)


def attend(
    q: jax.Array, k: jax.Array, v: jax.Array, heads: int, dropout: Dropout | None = None, **masking: Any
) -> jax.Array:
    """Queries (B, T, m), keys and values (B, S, m) → (B, T, m). JAX's attention has no dropout; with it, it is
    written out.
    """
    q, k, v = (x.reshape(*x.shape[:2], heads, -1) for x in (q, k, v))
    if dropout is None or not dropout.rate:
        found = jax.nn.dot_product_attention(q, k, v, **masking)
    else:
        scores = jnp.einsum("bthd,bshd->bhts", q, k) * q.shape[-1] ** -0.5
        causal = masking.get("is_causal")
        mask = jnp.tril(jnp.ones(scores.shape[2:], bool)) if causal else masking["mask"]
        weights = dropout(jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)))
        found = jnp.einsum("bhts,bshd->bthd", weights, v)
    return found.reshape(*q.shape[:2], -1)


def sinusoids(length: int, width: int) -> jax.Array:
    place, k = jnp.arange(length)[:, None], jnp.arange(width)
    angle = place / 10000.0 ** ((k - k % 2) / width)
    return jnp.where(k % 2 == 1, jnp.cos(angle), jnp.sin(angle))


# Classification and regression.


def mlp(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    h, dropout = batch["images"].reshape(len(batch["images"]), -1), Dropout(c.dropout, batch["key"])
    for k in range(c.layers + 1):
        h = linear(p, f"layers.{k}", dropout(jnp.tanh(h)) if k else h)
    return cross_entropy(h, batch["label"])


def pooling(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    mask = inside(batch["length"], batch["steps"].shape[1])
    states = jax.nn.leaky_relu(linear(p, "step", batch["steps"]), 0.01)
    if "score.weight" in p:
        scores = jnp.tanh(linear(p, "score", states))[..., 0]
        weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))
    else:
        weights = mask / batch["length"][:, None]
    context = (weights[:, None] @ states)[:, 0]
    hidden = jax.nn.leaky_relu(linear(p, "hidden", context), 0.01)
    return jnp.square(jax.nn.leaky_relu(linear(p, "output", hidden), 0.01)[:, 0] - batch["target"]).mean()


def sentiment(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    tokens = batch["tokens"]
    mask = inside(batch["length"], tokens.shape[1])
    states = pair("lstm", p, "lstm", p["words.word.weight"][tokens.T], mask.T)[0].swapaxes(0, 1)
    scores = linear(p, "pooling.question", jnp.tanh(linear(p, "pooling.project", states)))[..., 0]
    context = (jax.nn.softmax(jnp.where(mask, scores, -jnp.inf))[:, None] @ states)[:, 0]
    logits = linear(p, "output", jax.nn.relu(linear(p, "hidden", context)))
    return cross_entropy(logits, batch["label"])


def pos_tagger(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    tokens = batch["tokens"]
    mask = inside(batch["length"], tokens.shape[1])
    x = jnp.where(mask[..., None], p["words.word.weight"][tokens], 0.0)
    x = x + sinusoids(tokens.shape[1], x.shape[2])
    for k in range(c.layers):
        name = f"look.blocks.{k}"
        parts = jnp.split(linear(p, f"{name}.attention.project", x), 3, axis=-1)
        found = attend(*parts, c.heads, mask=mask[:, None, None])
        z = norm(p, f"{name}.norm_1", x + linear(p, f"{name}.attention.output", found))
        hidden = jax.nn.relu(linear(p, f"{name}.hidden", z))
        x = norm(p, f"{name}.norm_2", z + linear(p, f"{name}.back", hidden))
    logits = linear(p, "output", jax.nn.relu(linear(p, "hidden", x)))
    return cross_entropy(logits, batch["tags"])


# Attention without recurrence.


def gpt_body(c: Any, p: Parameters, body: str, tokens: jax.Array, dropout: Dropout) -> jax.Array:
    """Tokens (B, T) → h_L (B, T, m)."""

    def look(name: str, x: jax.Array) -> jax.Array:
        parts = jnp.split(linear(p, f"{name}.attn.c_attn", x), 3, axis=-1)
        found = attend(*parts, c.n_head, dropout, is_causal=True)
        return dropout(linear(p, f"{name}.attn.c_proj", found))

    def think(name: str, x: jax.Array) -> jax.Array:
        y = jax.nn.gelu(linear(p, f"{name}.mlp.c_fc", x), approximate=c.activation == "gelu_tanh")
        return dropout(linear(p, f"{name}.mlp.c_proj", y))

    x = dropout(p[f"{body}.wte.weight"][tokens] + p[f"{body}.wpe.weight"][: tokens.shape[1]])
    for k in range(c.n_layer):
        name = f"{body}.h.{k}"
        for norm_name, part in (("ln_1", look), ("ln_2", think)):
            norm_name = f"{name}.{norm_name}"
            if c.norm_first:
                x = x + part(name, norm(p, norm_name, x, c.norm_epsilon))
            else:
                x = norm(p, norm_name, x + part(name, x), c.norm_epsilon)
    return norm(p, f"{body}.ln_f", x, c.norm_epsilon) if c.norm_first else x


def gpt(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    hidden = gpt_body(c, p, "transformer", batch["tokens"], Dropout(c.dropout, batch["key"]))
    return cross_entropy(hidden @ p["transformer.wte.weight"].T, batch["targets"])


def bert_body(
    c: Any, p: Parameters, body: str, tokens: jax.Array, segments: Any, length: jax.Array, dropout: Dropout
) -> jax.Array:
    """Tokens (B, T), their segments, or the one of all, and lengths → T (B, T, m)."""
    name, eps, steps = f"{body}.embeddings", c.layer_norm_eps, tokens.shape[1]
    tables = (p[f"{name}.{part}_embeddings.weight"] for part in ("word", "token_type", "position"))
    words, kinds, places = tables
    x = dropout(norm(p, f"{name}.LayerNorm", words[tokens] + kinds[segments] + places[:steps], eps))
    mask = inside(length, steps)[:, None, None]
    for k in range(c.num_hidden_layers):
        name = f"{body}.encoder.layer.{k}"
        parts = (linear(p, f"{name}.attention.self.{part}", x) for part in ("query", "key", "value"))
        y = attend(*parts, c.num_attention_heads, dropout, mask=mask)
        y = dropout(linear(p, f"{name}.attention.output.dense", y))
        x = norm(p, f"{name}.attention.output.LayerNorm", x + y, eps)
        y = jax.nn.gelu(linear(p, f"{name}.intermediate.dense", x), approximate=False)
        x = norm(p, f"{name}.output.LayerNorm", x + dropout(linear(p, f"{name}.output.dense", y)), eps)
    return x


def pooled(p: Parameters, body: str, x: jax.Array) -> jax.Array:
    return jnp.tanh(linear(p, f"{body}.pooler.dense", x[:, 0]))


def bert(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    given = batch["tokens"], batch["segments"], batch["length"]
    x, name = bert_body(c, p, "bert", *given, Dropout(c.dropout, batch["key"])), "cls.predictions.transform"
    y = jax.nn.gelu(linear(p, f"{name}.dense", x), approximate=False)
    y = norm(p, f"{name}.LayerNorm", y, c.layer_norm_eps)
    words = y @ p["bert.embeddings.word_embeddings.weight"].T + p["cls.predictions.bias"]
    pairs = linear(p, "cls.seq_relationship", pooled(p, "bert", x))
    return cross_entropy(words, batch["targets"]) + cross_entropy(pairs, batch["following"])


# What is fine-tuned.


def enclosed(batch: Parameters, first: int, last: int) -> tuple[jax.Array, jax.Array]:
    """Texts (B, T) → first x last (B, T + 2), 0 behind the end, and their lengths."""
    length = batch["length"]
    tokens = jnp.pad(batch["tokens"], ((0, 0), (1, 1))).at[:, 0].set(first)
    return tokens.at[jnp.arange(len(length)), length + 1].set(last), length + 2


def gpt_classifier(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    tokens, length = enclosed(batch, c.vocabulary, c.vocabulary + 2)
    name, dropout = "tuned.gpt.transformer", Dropout(c.dropout, batch["key"])
    hidden = gpt_body(c, p, name, tokens, dropout)
    last = hidden[jnp.arange(len(length)), length - 1]
    loss = cross_entropy(linear(p, "tuned.classifier", dropout(last)), batch["label"])
    following = jnp.where(inside(length - 1, tokens.shape[1] - 1), tokens[:, 1:], -1)
    return loss + c.auxiliary * cross_entropy(hidden[:, :-1] @ p[f"{name}.wte.weight"].T, following)


def bert_tuned(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    """A label for each text, or a tag for each word."""
    tokens, length = enclosed(batch, c.vocabulary, c.vocabulary + 1)
    name, dropout = "tuned.bert", Dropout(c.dropout, batch["key"])
    x = bert_body(c, p, name, tokens, 0, length, dropout)
    if "label" in batch:
        return cross_entropy(linear(p, "tuned.classifier", dropout(pooled(p, name, x))), batch["label"])
    return cross_entropy(linear(p, "tuned.classifier", dropout(x))[:, 1:-1], batch["tags"])


def transformer(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    def embed(side: str, ids: jax.Array) -> jax.Array:
        return p[f"{side}_embedding.weight"][ids] * c.d_model**0.5 + sinusoids(ids.shape[1], c.d_model)

    def attention(name: str, x: jax.Array, memory: jax.Array, **masking: Any) -> jax.Array:
        rows = jnp.split(p[f"{name}.in_proj_weight"], 3), jnp.split(p[f"{name}.in_proj_bias"], 3)
        parts = (y @ w.T + b for y, w, b in zip((x, memory, memory), *rows, strict=True))
        return linear(p, f"{name}.out_proj", attend(*parts, c.heads, **masking))

    def forward(name: str, x: jax.Array) -> jax.Array:
        return linear(p, f"{name}.linear2", jax.nn.relu(linear(p, f"{name}.linear1", x)))

    mask = inside(batch["source_length"], batch["source"].shape[1])[:, None, None]
    memory, x = embed("source", batch["source"]), embed("target", batch["target_in"])
    for k in range(c.layers):
        name = f"transformer.encoder.layers.{k}"
        looked = attention(f"{name}.self_attn", memory, memory, mask=mask)
        memory = norm(p, f"{name}.norm1", memory + looked)
        memory = norm(p, f"{name}.norm2", memory + forward(name, memory))
    for k in range(c.layers):
        name = f"transformer.decoder.layers.{k}"
        x = norm(p, f"{name}.norm1", x + attention(f"{name}.self_attn", x, x, is_causal=True))
        x = norm(p, f"{name}.norm2", x + attention(f"{name}.multihead_attn", x, memory, mask=mask))
        x = norm(p, f"{name}.norm3", x + forward(name, x))
    return cross_entropy(x @ p["target_embedding.weight"].T, batch["target_out"], 0)


MODELS: dict[str, Callable[[Any, Parameters, Parameters], jax.Array]] = {
    "transformer": transformer, "gpt": gpt, "bert": bert, "mlp": mlp, "pos-tagger": pos_tagger,
    "sentiment": sentiment, "feedforward-attention": pooling, "mean-pooling": pooling, "lstmn": lstmn,
    "show-attend-tell": show_attend_tell, "captioner": captioner, "lstm-lm": lstm_lm,
    "gpt-classifier": gpt_classifier, "bert-classifier": bert_tuned, "bert-tagger": bert_tuned,
    "ntm": ntm, "lstm-bits": lstm_bits, "pointer": pointer, "snail": snail, **TRANSLATION,
    **{name: players["discriminator"] for name, players in GAMES.items()},
}  # fmt: skip
"""The loss of each; of the players of a game that of the first."""


def trained(key: str, prefix: str) -> bool:
    """Whether a weight is one of a player's, or of a model's."""
    return key.startswith(prefix) and not key.endswith(MOVED)


class Step:
    """One training step on a fixed batch; calling it waits for the end and returns the (first) loss before it.

    All objectives' updates are in one compiled function. Running statistics of norms are not kept.
    """

    def __init__(self, name: str, config: Any, weights: dict, batch: dict, training: Any) -> None:
        game = name in GAMES
        losses: dict[str, Any] = GAMES[name] if game else {"": MODELS[name]}
        rates = {"generator": getattr(config, "generator_rate", 1.0)}
        betas, decay = (training.beta1, training.beta2), training.weight_decay

        def update(loss: Any, prefix: str, p: Parameters, state: Any, batch: Parameters) -> tuple:
            def lost(own: Parameters) -> tuple:
                seen = p | own
                value = loss(config, seen, batch)
                return value, {key: seen[key] for key in p if key.endswith(MOVED)}

            own = {key: value for key, value in p.items() if trained(key, prefix)}
            (value, moved), gradients = jax.value_and_grad(lost, has_aux=True)(own)
            if training.clip_norm:
                gradients = jax_training.clip_norm(gradients, training.clip_norm)
            rate = training.learning_rate * rates.get(prefix, 1.0)
            own, state = jax_training.adam(own, gradients, state, rate, betas, decay)
            return value, p | moved | own, state

        def step(p: Parameters, states: dict, key: jax.Array, batch: Parameters) -> tuple:
            values = []
            for prefix, loss in losses.items():
                key, drawn = jax.random.split(key)
                given = batch | {"key": drawn}
                value, p, states[prefix] = update(loss, prefix, p, states[prefix], given)
                values.append(value)
            return values[0], p, states, key

        tied = ("lm_head.weight",) + (("output.weight",) if name == "transformer" else ())
        skipped = ("running_", "num_batches")
        self._parameters = {
            key: jnp.array(value)
            for key, value in weights.items()
            if not key.endswith(tied) and not any(part in key for part in skipped)
        }
        if game:  # (what `normalize` calls the statistics that it brings up to date)
            for key in [k for k, w in self._parameters.items() if w.ndim == 1 and not k.endswith(MOVED)]:
                base = key.rpartition(".")[0]
                self._parameters |= {f"{base}.mean": jnp.zeros(weights[key].shape)}
                self._parameters |= {f"{base}.var": jnp.ones(weights[key].shape)}
        own = {
            prefix: {key: value for key, value in self._parameters.items() if trained(key, prefix)}
            for prefix in losses
        }
        self._state = {prefix: jax_training.adam_state(part) for prefix, part in own.items()}
        self._batch = jax.tree.map(jnp.asarray, batch)
        self._key, self._step = jax.random.key(0), jax.jit(step, donate_argnums=(0, 1, 2))

    def arguments(self) -> tuple:
        """What the compiled function is called with."""
        return self._parameters, self._state, self._key, self._batch

    def __call__(self) -> float:
        value, self._parameters, self._state, self._key = self._step(*self.arguments())
        jax.block_until_ready((value, self._parameters, self._state))
        return float(value)
