"""Floor 0: the native kernels, written in Python for Numba.

A kernel is a function ``(arguments, first_tile, last_tile, scratch) -> None`` of four 64-bit integers.
``arguments`` is the address of a block of 64-bit words (addresses of buffers, sizes, strides); the kernel
does tiles ``first_tile <= t < last_tile`` of its work and may use ``scratch``, ``SCRATCH_BYTES`` of memory
owned by the thread that runs it. Tiles have fixed sizes that depend on the arguments only, so a result has
the same bits whichever thread does which tile.

A kernel is named ``"module.factory"``: the function ``factory`` of ``tinyattn/kernels/module.py`` takes a
:class:`~tinyattn.kernels.language.real.Real` (float32 or float64: its pointer type, constants and mathematics) and
returns the kernel. :mod:`tinyattn.kernels.build.native` compiles it once to machine code, keeps that on disk, and
hands out its address. When everything is on disk Numba is never imported, which is why this package imports
nothing.
"""

SCRATCH_BYTES = 1 << 20
"""Bytes of scratch memory that each thread owns."""
MAX_TILES = (1 << 20) - 1
"""Most tiles that the executor shares at once; a kernel may have any number."""


def ceiling(size: int, tile: int) -> int:
    """How many tiles of ``tile`` cover ``size``."""
    return -(-size // tile)
