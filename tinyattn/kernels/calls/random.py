"""How the kernels of random numbers are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_RANDOM = """
    key      address of the key (64 bits: the seed)
    counter  address of the counter base (64 bits)
    stream   the stream (a number, 64 bits)
    count    n
"""
declare("random.uniform", _RANDOM + """
    y  address of y (n)
""")  # fmt: skip
declare("random.bits", _RANDOM + """
    y  address of y (n) of 32-bit (f32) or 64-bit (f64) integers
""")  # fmt: skip
declare("random.dropout", _RANDOM + """
    x  address of x (n)
    y  address of y (n); may be x
    p  bits of p, a number in [0, 1]
""")  # fmt: skip


RANDOM_TILE = 4096
"""Random numbers in a tile."""


def tiles_of_random(n: int) -> int:
    """Tiles of ``random.uniform``, ``random.bits`` and ``random.dropout`` for n numbers."""
    return ceiling(n, RANDOM_TILE)
