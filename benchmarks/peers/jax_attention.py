"""Attention in JAX: `jax.nn.dot_product_attention`, forward and backward in one `jit`."""

import jax
import numpy as np

from . import problem


def make(batch: int, heads: int, length: int, width: int, causal: bool):
    """A callable that returns O, Q', K' and V' as (B, T, heads, d), the layout that JAX takes, too."""
    *operands, cotangent = map(jax.numpy.asarray, problem.attention_operands(batch, length, heads, width))

    def attend(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal)

    @jax.jit
    def both(q, k, v, g):
        out, pull = jax.vjp(attend, q, k, v)
        return [out, *pull(g)]

    def work() -> list[np.ndarray]:
        return jax.block_until_ready(both(*operands, cotangent))

    return work
