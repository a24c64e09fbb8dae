"""The Transformer translating, one training step, as a JAX user writes it.

The equations and weights of `torch_transformer.py` (without dropout) in one `jit`.
"""

import jax
import jax.numpy as jnp

from . import jax_training, problem
from .jax_training import Parameters


class Weights:
    """Parameters below a common prefix, and the pieces of a layer made of them."""

    def __init__(self, parameters: Parameters, prefix: str) -> None:
        self.parameters, self.prefix = parameters, prefix

    def __getitem__(self, name: str) -> jax.Array:
        return self.parameters[f"{self.prefix}.{name}"]

    def linear(self, name: str, x: jax.Array) -> jax.Array:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def norm(self, name: str, x: jax.Array) -> jax.Array:
        return jax_training.layer_norm(x, self[f"{name}.weight"]) + self[f"{name}.bias"]

    def feed_forward(self, x: jax.Array) -> jax.Array:
        return self.linear("linear2", jax.nn.relu(self.linear("linear1", x)))

    def attend(
        self, name: str, x: jax.Array, memory: jax.Array, heads: int, mask: jax.Array | None
    ) -> jax.Array:
        """Queries from x (B, T, C), keys and values from memory (B, S, C) → (B, T, C).

        `mask` (B, S) says which places of the memory count; None: those up to the query's own.
        """
        matrix, bias = self[f"{name}.in_proj_weight"], self[f"{name}.in_proj_bias"]
        batch, steps, width = x.shape
        if x is memory:
            query, key, value = jnp.split(x @ matrix.T + bias, 3, axis=-1)
        else:
            query = x @ matrix[:width].T + bias[:width]
            key, value = jnp.split(memory @ matrix[width:].T + bias[width:], 2, axis=-1)
        parts = (a.reshape(batch, -1, heads, width // heads) for a in (query, key, value))
        masking = {"is_causal": True} if mask is None else {"mask": mask[:, None, None, :]}
        y = jax.nn.dot_product_attention(*parts, **masking)
        return self.linear(f"{name}.out_proj", y.reshape(batch, steps, width))


def make_step(
    batch: int = 32,
    source: int = 32,
    target: int = 32,
    layers: int = 2,
    heads: int = 4,
    width: int = 128,
    inner: int = 512,
    vocabulary: int = 1000,
    seed: int = 0,
) -> jax_training.Step:
    """A training step (Adam 1e-3, gradient clipped to norm 1) from the weights of `seed`."""
    table = problem.positions(max(source, target), width)

    def encode(parameters: Parameters, tokens: jax.Array) -> jax.Array:
        x = parameters["source_embedding.weight"][tokens] * width**0.5 + table[:source]
        for k in range(layers):
            layer = Weights(parameters, f"transformer.encoder.layers.{k}")
            x = layer.norm("norm1", x + layer.attend("self_attn", x, x, heads, tokens != problem.PAD))
            x = layer.norm("norm2", x + layer.feed_forward(x))
        return Weights(parameters, "transformer.encoder").norm("norm", x)

    def decode(parameters: Parameters, tokens: jax.Array, memory: jax.Array, mask: jax.Array) -> jax.Array:
        x = parameters["target_embedding.weight"][tokens] * width**0.5 + table[:target]
        for k in range(layers):
            layer = Weights(parameters, f"transformer.decoder.layers.{k}")
            x = layer.norm("norm1", x + layer.attend("self_attn", x, x, heads, None))
            x = layer.norm("norm2", x + layer.attend("multihead_attn", x, memory, heads, mask))
            x = layer.norm("norm3", x + layer.feed_forward(x))
        return Weights(parameters, "transformer.decoder").norm("norm", x)

    def loss(parameters: Parameters, data: Parameters) -> jax.Array:
        memory = encode(parameters, data["source"])
        states = decode(parameters, data["inputs"], memory, data["source"] != problem.PAD)
        logits = states @ parameters["output.weight"].T + parameters["output.bias"]
        real = data["outputs"] != problem.PAD
        each = jax_training.cross_entropy(logits, data["outputs"], smoothing=0.1)
        return jnp.where(real, each, 0).sum() / real.sum()

    return jax_training.Step(
        problem.transformer_parameters(layers, width, inner, vocabulary, seed),
        problem.transformer_batch(batch, source, target, vocabulary, seed),
        loss,
        jax_training.adam_state,
        jax_training.clipped_adam(),
    )
