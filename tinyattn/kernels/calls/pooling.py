"""How the kernels of pooling are called: argument words and tiles."""

from tinyattn.kernels import ceiling
from tinyattn.kernels.calls.declaration import declare

_POOL = """
    planes   images · channels
    height   H
    width    W
    rows     H′
    columns  W′
    window   2 its size
    strides  2 its steps
    padding  2 pixels beyond the border
"""
declare("pooling.max_forward", _POOL + """
    x  address of x (planes, H, W)
    y  address of y (planes, H′, W′)
""")  # fmt: skip
declare("pooling.max_backward", _POOL + """
    x   address of x (planes, H, W)
    dy  address of dy (planes, H′, W′)
    dx  address of dx (planes, H, W)
""")  # fmt: skip


_POOL_TILE = 16384
"""About how many pixels a tile of a pooling kernel looks at."""


def planes_of_pool(work: int) -> int:
    """Planes in a tile, given how many pixels are looked at in one."""
    return max(1, _POOL_TILE // max(1, work))


def tiles_of_pool(planes: int, work: int) -> int:
    """Tiles of ``pooling.max_forward`` and ``pooling.max_backward``."""
    return ceiling(planes, planes_of_pool(work))
