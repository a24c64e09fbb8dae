"""How the kernels of attention are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

# Attention. A matrix has four words: its address, and the strides, in numbers, of the outer and the inner batch
# dimension and of rows. Columns are contiguous.

_ATTENTION = """
    q             4 Q (Tq, d)
    k             4 K (Tk, d)
    v             4 V (Tk, dv)
    log_sums      address of l (matrices, Tq)
    tops          address of m (matrices, Tq)
    matrices      outer · inner batch dimension
    inner         size of the inner batch dimension
    queries       Tq
    keys          Tk
    width         d
    value_width   dv
    scale         bits of τ
    causal        1: query i sees only keys j ≤ i; else 0
    masking       kind of mask: 0 none; 1 bytes, 0 where attention is forbidden; 2 numbers to add, −∞ where it is
    mask          address of the mask
    mask_strides  4 its strides, in its numbers: of the outer and the inner batch dimension, of queries, of keys
    random_key    address of the key of dropout's random numbers; 0: no dropout
    counter       address of their counter
    stream        their stream
    p             bits of p
    multiply      address of gemm.multiply
    silencing     address of attention_tile.silencing
    pack          address of gemm.pack
    mask_tile     address of attention_tile.mask; 0 without a mask
    drop_tile     address of attention_tile.dropout; 0 without dropout
"""
declare("attention.forward", _ATTENTION + """
    out  4 O (Tq, dv)
""")  # fmt: skip
declare("attention.backward", _ATTENTION + """
    g          4 G (Tq, dv)
    means      address of D (matrices, Tq)
    dq         4 Q̄ (parts, …, Tq, d)
    dk         4 K̄ (Tk, d)
    dv         4 V̄ (Tk, dv)
    d_scores   address of S̄ (matrices, Tq, Tk), filled with 0; or 0
    share      stride of Q̄ from part to part
    parts      parts that the keys are cut into
    part_keys  keys in a part
""")  # fmt: skip
declare("attention_tile.mask attention_tile.dropout", """
    arguments  address of the argument words of attention
    matrix     number of the matrix
    outer      its place in the outer batch dimension
    inner      its place in the inner batch dimension
    query      first query of the tile
    queries    queries
    key        first key
    keys       keys
    tile       address of the tile: a row for each key, a column for each query
    stride     bytes from row to row
    factors    address of room for a tile, where dropout's factors stay from call to call
    room       address of room for a tile
""")  # fmt: skip


ATTENTION_QUERIES, ATTENTION_KEYS = 64, 128
"""Most queries and keys in a tile of scores."""
ATTENTION_DEPTH = 256
"""Most columns of queries and keys that are multiplied in one go."""
_ATTENTION_PARTS = 8
"""Tiles that the backward pass should have at least, by cutting up the keys if need be."""


def tiles_of_attention(matrices: int, queries: int) -> int:
    """Tiles of ``attention.forward``: blocks of queries of each matrix."""
    return matrices * ceiling(queries, ATTENTION_QUERIES)


def parts_of_attention(matrices: int, keys: int) -> int:
    """Into how many parts ``attention.backward`` cuts the keys; its tiles are parts times matrices."""
    return min(ceiling(_ATTENTION_PARTS, max(1, matrices)), max(1, ceiling(keys, 4 * ATTENTION_KEYS)))


def keys_in_part(parts: int, keys: int) -> int:
    """Keys in a part: whole blocks."""
    return ceiling(ceiling(keys, parts), ATTENTION_KEYS) * ATTENTION_KEYS
