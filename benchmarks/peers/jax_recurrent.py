"""The recurrent models of the registry in JAX: see `jax_models.py`. Inside they are time-major, (T, B, …)."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from . import jax_training
from .jax_training import Parameters


def masked_mean(values: jax.Array, mask: jax.Array) -> jax.Array:
    return jnp.where(mask, values, 0.0).sum() / mask.sum()


def inside(length: jax.Array, steps: int) -> jax.Array:
    """Which steps are no padding: (B,) → (B, steps) bool."""
    return jnp.arange(steps) < length[:, None]


def linear(p: Parameters, name: str, x: jax.Array) -> jax.Array:
    y = x @ p[f"{name}.weight"].T
    return y + p[f"{name}.bias"] if f"{name}.bias" in p else y


def lstm_gates(gates: jax.Array, cell: jax.Array) -> tuple[jax.Array, jax.Array]:
    """h and c."""
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
    return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def gru_gates(part: jax.Array, state: jax.Array, weight: jax.Array, bias: jax.Array | None) -> jax.Array:
    """With a bias torch's, the reset behind the product; without it that of Bahdanau et al. (2015), before it."""
    n = state.shape[1]
    if bias is None:
        r, z = jnp.split(jax.nn.sigmoid(part[:, : 2 * n] + state @ weight[: 2 * n].T), 2, axis=-1)
        return state + z * (jnp.tanh(part[:, 2 * n :] + (r * state) @ weight[2 * n :].T) - state)
    inner = state @ weight.T + bias
    r, z = jnp.split(jax.nn.sigmoid(part[:, : 2 * n] + inner[:, : 2 * n]), 2, axis=-1)
    new = jnp.tanh(part[:, 2 * n :] + r * inner[:, 2 * n :])
    return new + z * (state - new)


def layer(
    kind: str, p: Parameters, name: str, x: jax.Array, mask: jax.Array | None, suffix: str = "l0",
    first: tuple | None = None,
) -> tuple[jax.Array, Any]:  # fmt: skip
    """One direction over x (T, B, m), from the first state or 0: states (T, B, n), and the last one. Padding leaves a
    state as it is."""
    w, u, b, b_u = (p[f"{name}.{part}_{suffix}"] for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    given = x @ w.T + (b if kind == "gru" else b + b_u)

    def step(carry: tuple, inputs: tuple) -> tuple:
        part, real = inputs
        h, c = carry
        if kind == "gru":
            new = gru_gates(part, h, u, b_u), c
        else:
            new = lstm_gates(part + h @ u.T, c)
        if real is not None:
            new = jax.tree.map(lambda now, old: jnp.where(real[:, None], now, old), new, carry)
        return new, new[0]

    zeros = jnp.zeros((x.shape[1], u.shape[1]))
    last, states = lax.scan(step, first or (zeros, zeros), (given, mask), reverse=suffix.endswith("reverse"))
    return states, last


def pair(kind: str, p: Parameters, name: str, x: jax.Array, mask: jax.Array) -> tuple[jax.Array, tuple]:
    """Both directions: states side by side, and each direction's last one."""
    (one, first), (two, second) = (layer(kind, p, name, x, mask, s) for s in ("l0", "l0_reverse"))
    return jnp.concatenate([one, two], -1), (first, second)


def additive(query: jax.Array, keys: jax.Array, v: jax.Array, mask: jax.Array) -> jax.Array:
    """Weights (B, S) of queries (B, a), keys (B, S, a), where the mask (B, S) holds."""
    return jax.nn.softmax(jnp.where(mask, jnp.tanh(query[:, None] + keys) @ v, -jnp.inf))


def weighted(weights: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.einsum("bs,bsn->bn", weights, values)


# Language.


def next_word(p: Parameters, states: jax.Array, batch: Parameters) -> jax.Array:
    targets = batch["targets"].T
    values = jax_training.cross_entropy(linear(p, "output", states), jnp.maximum(targets, 0))
    return masked_mean(values, targets >= 0)


def lstm_lm(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    x = p["embedding.weight"][batch["tokens"].T]
    for k in range(c.layers):
        x, _ = layer("lstm", p, "lstm", x, None, f"l{k}")
    return next_word(p, x, batch)


def tapes(p: Parameters, name: str, length: int, rows: int) -> tuple:
    """Empty ones of states, cells and keys, and the summary."""
    n, a = p[f"{name}.weight_hh"].shape[1], len(p[f"{name}.v"])
    return tuple(jnp.zeros((rows, length, size)) for size in (n, n, a)) + (jnp.zeros((rows, n)),)


def lstmn_given(p: Parameters, name: str, x: jax.Array) -> tuple:
    gates = x @ p[f"{name}.weight_ih"].T + p[f"{name}.bias_ih"] + p[f"{name}.bias_hh"]
    return jnp.arange(len(x)), gates, linear(p, f"{name}.query", x)


def lstmn_read(p: Parameters, name: str, carry: tuple, given: tuple) -> tuple:
    """The gates and c̃ of a step, and h̃."""
    hidden, cells, keys, summary = carry
    place, part, query = given
    scores = jnp.tanh((query + linear(p, f"{name}.before", summary))[:, None] + keys) @ p[f"{name}.v"]
    written = jnp.arange(keys.shape[1]) < place
    weights = jax.nn.softmax(jnp.where(written, scores, -1e30)) * (place > 0)
    summary = weighted(weights, hidden)
    return part + summary @ p[f"{name}.weight_hh"].T, weighted(weights, cells), summary


def lstmn_write(
    p: Parameters, name: str, carry: tuple, place: jax.Array, h: jax.Array, c: jax.Array
) -> tuple:
    """The tapes with the new state at its place."""
    values = h, c, linear(p, f"{name}.key", h)
    return tuple(tape.at[:, place].set(value) for tape, value in zip(carry[:3], values, strict=True))


def lstmn_layer(p: Parameters, name: str, x: jax.Array) -> tuple[tuple, jax.Array]:
    """Inputs (T, B, I) → the tapes, and h (T, B, H)."""

    def step(carry: tuple, given: tuple) -> tuple:
        gates, cell, summary = lstmn_read(p, name, carry, given)
        h, c = lstm_gates(gates, cell)
        return (*lstmn_write(p, name, carry, given[0], h, c), summary), h

    return lax.scan(step, tapes(p, name, *x.shape[:2]), lstmn_given(p, name, x))


def lstmn(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    x = p["embedding.weight"][batch["tokens"].T]
    for k in range(c.layers):
        _, x = lstmn_layer(p, f"layers.{k}", x)
    return next_word(p, x, batch)


# Translation.


def said(p: Parameters, logits: jax.Array, batch: Parameters) -> jax.Array:
    """Logits (T, B, K) → the loss."""
    targets = batch["target_out"].T
    return masked_mean(jax_training.cross_entropy(logits, targets), targets != 0)


def deep_output(p: Parameters, states: jax.Array, words: jax.Array, contexts: jax.Array) -> jax.Array:
    parts = zip(("state", "word", "context"), (states, words, contexts), strict=True)
    hidden = sum(linear(p, f"output.{name}", x) for name, x in parts)
    return linear(p, "output.vocabulary", hidden.reshape(*hidden.shape[:-1], -1, 2).max(-1))


def read(p: Parameters, batch: Parameters) -> tuple[jax.Array, tuple, jax.Array, jax.Array]:
    """States (S, B, 2n) and last ones of bidirectional GRUs, which places are words (B, S), and E y (T, B, m)."""
    source, target = batch["source"], batch["target_in"].T
    mask = inside(batch["source_length"], source.shape[1])
    states, last = pair("gru", p, "encoder", p["source_embedding.weight"][source.T], mask.T)
    words = jnp.where(target[..., None] != 0, p["target_embedding.weight"][target], 0.0)
    return states, last, mask, words


def bahdanau(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    states, last, mask, words = read(p, batch)
    annotations = states.swapaxes(0, 1)
    keys = linear(p, "alignment.key", annotations)

    def step(state: jax.Array, part: jax.Array) -> tuple:
        weights = additive(linear(p, "alignment.query", state), keys, p["alignment.v"], mask)
        context = weighted(weights, annotations)
        new = gru_gates(part + linear(p, "context", context), state, p["recurrent.weight"], None)
        return new, (state, context)

    start = jnp.tanh(linear(p, "start", last[1][0]))
    _, (states, contexts) = lax.scan(step, start, linear(p, "word", words))
    return said(p, deep_output(p, states, words, contexts), batch)


def seq2seq(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    _, last, _, words = read(p, batch)
    summary = jnp.tanh(linear(p, "summary", jnp.concatenate([last[0][0], last[1][0]], -1)))

    def step(state: jax.Array, part: jax.Array) -> tuple:
        return gru_gates(part, state, p["recurrent.weight"], p["recurrent.bias"]), state

    given = linear(p, "word", words) + linear(p, "context", summary)
    _, states = lax.scan(step, jnp.tanh(linear(p, "start", summary)), given)
    return said(p, deep_output(p, states, words, summary), batch)


def luong(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    source = batch["source"]
    mask = inside(batch["source_length"], source.shape[1])
    states, last = pair("lstm", p, "encoder", p["source_embedding.weight"][source.T], mask.T)
    annotations = states.swapaxes(0, 1)
    keys = linear(p, "score.key", annotations)

    def step(carry: tuple, part: jax.Array) -> tuple:
        h, cell, fed = carry
        h, cell = lstm_gates(part + linear(p, "feed", fed) + h @ p["cells.layers.0.weight"].T, cell)
        scores = jnp.einsum("bn,bsn->bs", h, keys)
        context = weighted(jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)), annotations)
        fed = jnp.tanh(linear(p, "attentional", jnp.concatenate([context, h], -1)))
        return (h, cell, fed), fed

    h, cell = (jnp.concatenate(part, -1) for part in zip(*last, strict=True))
    given = linear(p, "word", p["target_embedding.weight"][batch["target_in"].T])
    _, found = lax.scan(step, (h, cell, jnp.zeros_like(h)), given)
    return said(p, linear(p, "vocabulary", found), batch)


def lstmn_fusion(c: Any, p: Parameters, batch: Parameters) -> jax.Array:
    source = batch["source"]
    mask = inside(batch["source_length"], source.shape[1])
    (hidden, memory, *_), _ = lstmn_layer(p, "encoder", p["source_embedding.weight"][source.T])
    keys, words = linear(p, "inter.key", hidden), p["target_embedding.weight"][batch["target_in"].T]
    given = lstmn_given(p, "decoder", words), linear(p, "query", words), linear(p, "gate_word", words)

    def step(carry: tuple, inputs: tuple) -> tuple:
        written, seen = carry
        word, asked, gate = inputs
        weights = additive(asked + linear(p, "seen", seen), keys, p["inter.u"], mask)
        seen, known = weighted(weights, hidden), weighted(weights, memory)
        gates, cell, summary = lstmn_read(p, "decoder", written, word)
        _, cell = lstm_gates(gates, cell)
        cell = cell + jax.nn.sigmoid(gate + linear(p, "gate_seen", seen)) * known
        h = jax.nn.sigmoid(gates[:, 3 * cell.shape[1] :]) * jnp.tanh(cell)
        written = *lstmn_write(p, "decoder", written, word[0], h, cell), summary
        return (written, seen), (h, seen)

    begin = tapes(p, "decoder", len(words), len(source)), jnp.zeros((len(source), hidden.shape[2]))
    _, (states, contexts) = lax.scan(step, begin, given)
    found = jnp.tanh(linear(p, "state", states) + linear(p, "context", contexts))
    return said(p, linear(p, "vocabulary", found), batch)


TRANSLATION = {"bahdanau": bahdanau, "seq2seq": seq2seq, "luong": luong, "lstmn-fusion": lstmn_fusion}
