"""How the kernels of the memory of a Neural Turing Machine are called: argument words and tiles."""

from tinyattn.kernels.calls.declaration import declare

_WRITE = """
    batches  B
    places   N
    width    W
    heads    H, at least 1
    memory   address of M (B, N, W)
    weights  address of w (B, H, N)
    erase    address of e (B, H, W)
    add      address of a (B, H, W)
"""
declare("memory.write_forward", _WRITE + """
    written  address of M′ (B, N, W)
""")  # fmt: skip
declare("memory.write_backward", _WRITE + """
    g          address of G (B, N, W)
    d_memory   address of dM (B, N, W)
    d_weights  address of dw (B, H, N)
    d_erase    address of de (B, H, W)
    d_add      address of da (B, H, W)
    room       address of room for B · (2 N W + N + W + ROW_ROOM) numbers
""")  # fmt: skip


ROW_ROOM = 16
"""Numbers that ``sweep.dot_rows`` may write past its results."""


def tiles_of_memory(batch: int) -> int:
    """Tiles of every kernel in memory.py and address.py: entries of the batch."""
    return batch


def room_of_write(places: int, width: int) -> int:
    """Numbers of temporary memory that ``memory.write_backward`` needs for an entry of the batch."""
    return 2 * places * width + places + width + ROW_ROOM
