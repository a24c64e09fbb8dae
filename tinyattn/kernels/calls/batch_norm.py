"""How the kernels of batch normalisation are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_BATCH_NORM = """
    x          address of x (N, C, L)
    gain       address of g (C)
    means      address of μ (C)
    variances  address of σ² (C)
    count      N
    channels   C
    length     L
    epsilon    bits of ε
"""
declare("batch_norm.forward", _BATCH_NORM + """
    bias  address of b (C)
    y     address of y (N, C, L); may be x
""")  # fmt: skip
declare("batch_norm.backward", _BATCH_NORM + """
    dy      address of dy (N, C, L)
    dx      address of dx (N, C, L); may be x or dy
    d_gain  address of dg (C)
    d_bias  address of db (C)
""")  # fmt: skip


BATCH_NORM_STRIP = 1024
"""Most numbers of neighbouring channels that the kernels in batch_norm.py go over at a time."""


def channels_of_batch_norm(length: int) -> int:
    """Channels in a tile, given the numbers that follow one another in a channel."""
    return max(1, BATCH_NORM_STRIP // 2 // max(1, length))


def tiles_of_batch_norm(channels: int, length: int) -> int:
    """Tiles of both kernels in batch_norm.py: blocks of channels."""
    return ceiling(channels, channels_of_batch_norm(length))
