"""GPT, one training step, as a JAX user writes it: the equations and weights of `torch_gpt.py` in one `jit`."""

import jax

from . import jax_training, problem
from .jax_training import Parameters


def attention(x: jax.Array, inward: jax.Array, outward: jax.Array, heads: int) -> jax.Array:
    """Causal self-attention, (B, T, C) → (B, T, C)."""
    batch, steps, width = x.shape
    parts = (x @ inward.T).reshape(batch, steps, 3, heads, width // heads)
    query, key, value = (parts[:, :, k] for k in range(3))  # (B, T, H, D) each
    y = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return y.reshape(batch, steps, width) @ outward.T


def forward(parameters: Parameters, inputs: jax.Array, layers: int, heads: int) -> jax.Array:
    """Tokens (B, T) give logits (B, T, V)."""

    def weight(name: str) -> jax.Array:
        return parameters[f"transformer.{name}.weight"]

    x = weight("wte")[inputs] + weight("wpe")[: inputs.shape[1]]
    for k in range(layers):
        normal = jax_training.layer_norm(x, weight(f"h.{k}.ln_1"))
        x = x + attention(normal, weight(f"h.{k}.attn.c_attn"), weight(f"h.{k}.attn.c_proj"), heads)
        normal = jax_training.layer_norm(x, weight(f"h.{k}.ln_2"))
        inner = jax.nn.gelu(normal @ weight(f"h.{k}.mlp.c_fc").T, approximate=False)
        x = x + inner @ weight(f"h.{k}.mlp.c_proj").T
    return jax_training.layer_norm(x, weight("ln_f")) @ weight("wte").T


def make_step(
    batch: int = 12,
    block: int = 64,
    layers: int = 4,
    heads: int = 4,
    width: int = 128,
    vocabulary: int = 65,
    seed: int = 0,
) -> jax_training.Step:
    """A training step (AdamW 1e-3, betas 0.9 and 0.99, decay 0.1 of matrices, gradient clipped to norm 1)."""

    def loss(parameters: Parameters, data: Parameters) -> jax.Array:
        logits = forward(parameters, data["inputs"], layers, heads)
        return jax_training.cross_entropy(logits, data["outputs"]).mean()

    return jax_training.Step(
        problem.gpt_parameters(layers, width, block, vocabulary, seed),
        problem.language_batch(batch, block, vocabulary, seed),
        loss,
        jax_training.adam_state,
        jax_training.clipped_adam(betas=(0.9, 0.99), decay=0.1),
    )
