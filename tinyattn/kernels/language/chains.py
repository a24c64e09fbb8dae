"""Chains of elementwise operations, as data: what a fused loop computes, without saying where its numbers
lie.

The iteration space is a stack of rows, each of which all operands step through evenly. A chain says how each
input goes along a row and what is done with a number of each; the native loop that does it is generated from
nothing else (:mod:`tinyattn.kernels.build.generate`), so that equal chains on other sizes share one loop. Sizes,
strides and addresses are its arguments. Nothing here needs Numba or LLVM.
"""

import functools
import hashlib
import math
from typing import NamedTuple

from tinyattn.kernels import ceiling
from tinyattn.kernels.language.opcodes import SIZES

NUMBER, SCALAR, REPEATED, CONTIGUOUS, SPACED, SUMMED = range(6)
"""How an operand goes along: a number in the argument block itself; one number in memory for all; one for each
row; next to each other in a row; any distance apart; or, of what is written, next to each other and summed over
rows."""


class Chain(NamedTuple):
    """Values are numbered: first the inputs, then the result of each step."""

    real: str
    """What the kind ``"real"`` of operations is: ``"f32"`` or ``"f64"``."""
    steps: tuple[tuple[str, str, tuple[int, ...]], ...]
    """``(operation, kind, operands)``: a key of :data:`tinyattn.kernels.language.opcodes.OPCODES`, and value
    numbers."""
    inputs: tuple[tuple[str, int], ...]
    """Kind and way of going along of each input."""
    outputs: tuple[tuple[str, int], ...]
    """Kind and value number of each output; in a row its numbers are next to each other."""
    outer: int
    """Dimensions of the iteration space beside the last."""

    @property
    def name(self) -> str:
        """The same for equal chains, and for them only."""
        return name_of("chain", self)

    def arguments(self, extents, block, sources, strides, targets) -> list:
        """The argument words of the loop: its size, and where its operands are.

        ===================== ================================================================================
        0 1                   rows, columns
        2 3                   rows and columns of a tile
        then                  the ``outer`` extents
        for each input        its address, or its bits (NUMBER); then, unless it is one number for all, its
                              ``outer`` strides, and the stride along a row if it is SPACED, in bytes
        for each output       its address and its ``outer`` strides, in bytes
        ===================== ================================================================================

        ``strides`` are in elements, of the iteration space's dimensions: those of the inputs, then of the outputs.
        """
        operands = [*self.inputs, *((kind, CONTIGUOUS) for kind, _ in self.outputs)]
        return argument_words(extents, block, operands, [*sources, *targets], strides)


def argument_words(extents, block, operands, places, strides) -> list:
    """The size of a chain, and for each of its ``operands``, ``(kind, way)``, its place and the strides it needs."""
    words = [math.prod(extents[:-1]), extents[-1], *block, *extents[:-1]]
    for (kind, mode), place, steps in zip(operands, places, strides, strict=True):
        words.append(place)
        if mode not in (NUMBER, SCALAR, SUMMED):
            used = steps if mode == SPACED else steps[:-1]
            words += [step * SIZES[kind] for step in used]
    return words


@functools.lru_cache(maxsize=8192)
def name_of(sort: str, chain: tuple) -> str:
    """A name of a chain of that sort that says all of it."""
    return f"{sort}-{hashlib.sha256(repr(tuple(chain)).encode()).hexdigest()[:24]}"


def way(extents, strides) -> int:
    """How an input with these strides goes along the iteration space."""
    if all(step == 0 or extent == 1 for step, extent in zip(strides, extents, strict=True)):
        return SCALAR
    if strides[-1] == 0:
        return REPEATED
    return CONTIGUOUS if strides[-1] == 1 else SPACED


CHAIN_TILE = 4096
"""Most elements in a tile of a chain of elementwise operations."""


def block_of_chain(columns: int) -> tuple[int, int]:
    """Rows and columns in a tile of a chain, for rows of ``columns``."""
    return max(1, CHAIN_TILE // max(1, columns)), CHAIN_TILE


def tiles_of_chain(rows: int, columns: int) -> int:
    """Tiles of a chain: blocks of rows times blocks of columns."""
    tile_rows, tile_columns = block_of_chain(columns)
    return ceiling(rows, tile_rows) * ceiling(columns, tile_columns)
