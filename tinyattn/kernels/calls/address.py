"""How the kernels of the addressing of a Neural Turing Machine are called: argument words and tiles."""

from tinyattn.kernels.calls.declaration import declare
from tinyattn.kernels.calls.memory import ROW_ROOM

_ADDRESS = """
    batches   B
    places    N, at least 1
    width     W
    heads     H
    shifts    S, odd
    epsilon   bits of ε
    emitted   address of what the heads emit (B, H, W + S + 3)
    memory    address of M (B, N, W)
    previous  address of the previous weightings (B, H, N)
    weights   address of w (B, H, N)
    content   address of c (B, H, N)
    room      address of room for B · room_of_address(N, W, S) numbers
"""
declare("address.forward", _ADDRESS)
declare("address.backward", _ADDRESS + """
    d_weights   address of dw (B, H, N)
    d_emitted   address of the gradient of what the heads emit (B, H, W + S + 3)
    d_memory    address of dM (B, N, W)
    d_previous  address of the gradient of the previous weightings (B, H, N)
""")  # fmt: skip


def room_of_address(places: int, width: int, shifts: int) -> int:
    """Numbers of temporary memory that a kernel in address.py needs for an entry of the batch: seven pieces as
    long as a weighting, a line of ones, the squares of the memory and three lines of activations.
    """
    return 7 * (places + ROW_ROOM + shifts) + width + places * width + 3 * (shifts + 3)
