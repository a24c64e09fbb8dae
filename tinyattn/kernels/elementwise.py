"""Chains of elementwise operations, fused: a machine that carries out a short program on one tile of the
arrays after the other.

The iteration space has n elements in row-major order; a tile is ``ELEMENTWISE_TILE`` elements of it that
follow one another. For each tile every instruction of the program runs over the whole tile before the next
one does, so that what lies between the inputs and the outputs stays in the nearest cache, and memory is read
and written once, however long the chain. No chain has to be compiled; the price is a load and a store per
operation, which on a tile in cache cost about as much as an addition.

Operands are *slots*, numbered: first the inputs, then the outputs, then the registers. For a tile, the slot
of an array that lies in memory in the order of the iteration space is that memory itself; any other input
(broadcast, sliced, transposed) is first gathered into an area of scratch, where also the registers are. The
machine works in blocks of ``LANES`` elements; where a tile doesn't end with a block, its inputs and outputs,
too, are in areas, and are copied.
"""

from tinyattn.kernels.machine import LANES, execute
from tinyattn.kernels.opcodes import (
    CONTIGUOUS,
    DESCRIPTOR_WORDS,
    INSTRUCTION_WORDS,
    KINDS,
    MAX_DIMENSIONS,
    MAX_SLOTS,
    SCALAR,
    STRIDED,
)
from tinyattn.kernels.real import inline
from tinyattn.kernels.simd import copy_bytes, f32, f64, i32, i64, u8
from tinyattn.kernels.tiling import ELEMENTWISE_TILE

# Scratch: the table of slots (address and step of each); coordinates of an element; an area for each slot.
# Areas lie
# a cache line more than a power of two apart, lest they all compete for the same places in the cache.
_COORDINATES = 16 * MAX_SLOTS
_AREAS = _COORDINATES + 8 * MAX_DIMENSIONS
_AREA = 8 * ELEMENTWISE_TILE + 64
_SIZES = 0x18484
"""Bytes of an element, a hexadecimal digit for each kind."""
_F32 = KINDS.index("f32")


def _gather(real):
    """``(area, source, kind, outer, shape, strides, inner, step, coordinates, start, count)``.

    Gather the elements number ``start`` ≤ i < ``start`` + ``count`` of an array with ``outer`` dimensions
    before the last one. It is done in runs along the last one, of ``inner`` elements ``step`` apart; the
    coordinates in the others advance like an odometer.
    """
    double = real.name == "f64"

    @inline
    def gather(area, source, kind, outer, shape, strides, inner, step, coordinates, start, count):
        size = (_SIZES >> 4 * kind) & 15
        wider = double and kind == _F32
        column, rest = start % inner, start // inner
        if step == 0 and outer == 1 and size == 4 and not wider:
            # A column, each number repeated along its row. Whole vectors are written: what is too much is overwritten
            # by the next row, or lies past the tile's end, where an area has room for it.
            numbers, to, at = i32(source), i32(area), 0
            while at < count:
                number, end = numbers[rest * strides[0]], min(at + inner - column, count)
                for block in range(at, end, 16):
                    for lane in range(16):
                        to[block + lane] = number
                at, column, rest = end, 0, rest + 1
            return
        row = 0
        for d in range(outer - 1, -1, -1):
            coordinates[d] = rest % shape[d]
            rest = rest // shape[d]
            row += coordinates[d] * strides[d]
        filled = 0
        while filled < count:
            length = min(inner - column, count - filled)
            place = source + (row + column * step) * size
            if wider:
                f64_to, f32_from = f64(area + 8 * filled), f32(place)
                for i in range(length):
                    f64_to[i] = f32_from[i * step]
            elif step == 1:
                copy_bytes(area + filled * size, place, length * size)
            elif size == 4:
                i32_to, i32_from = i32(area + 4 * filled), i32(place)
                for i in range(length):
                    i32_to[i] = i32_from[i * step]
            elif size == 8:
                i64_to, i64_from = i64(area + 8 * filled), i64(place)
                for i in range(length):
                    i64_to[i] = i64_from[i * step]
            else:
                u8_to, u8_from = u8(area + filled), u8(place)
                for i in range(length):
                    u8_to[i] = u8_from[i * step]
            filled += length
            column = 0
            d = outer - 1
            while d >= 0:
                coordinates[d] += 1
                row += strides[d]
                if coordinates[d] < shape[d]:
                    break
                row -= coordinates[d] * strides[d]
                coordinates[d] = 0
                d -= 1

    return gather


def run(real):
    """Carry out a program on all elements.

    ====== =====================================================================================================
    0      n, the number of elements (less than 2³⁰)
    1      dimensions of the iteration space (at most MAX_DIMENSIONS)
    2      address of its shape, a word each
    3      instructions
    4      address of the instructions, 5 words each: opcode, destination, a, b, c (slots; unused ones 0)
    5      inputs
    6      address of the inputs' descriptors, 4 words each: address of the array, kind (position in KINDS),
    mode
           (CONTIGUOUS, SCALAR or STRIDED), address of the strides (in elements, a word each; read only if
           STRIDED)
    7      outputs
    8      address of the outputs' descriptors, 4 words each: address of the array, kind, 0, 0
    9      registers
    ====== =====================================================================================================

    Slots are numbered inputs, outputs, registers, MAX_SLOTS at most. Each output is the destination of at
    least one instruction; no input is. Outputs are contiguous. Operations on reals are on the kernel's own
    type; the f64 kernel also takes inputs and outputs of kind f32 and converts them where it loads and
    stores them (a register is never f32). An output may be the same memory as an input that is CONTIGUOUS
    and of equal element size, if no instruction after the first that writes the output reads the input.
    Nothing else may overlap.
    """
    gather, carry_out, double = _gather(real), execute(real), real.name == "f64"

    def kernel(arguments, first, last, scratch):
        word = i64(arguments)
        n, dimensions, shape = word[0], word[1], i64(word[2])
        instructions, inputs, outputs = word[3], word[5], word[7]
        slots, coordinates, areas = i64(scratch), i64(scratch + _COORDINATES), scratch + _AREAS
        for slot in range(inputs + outputs + word[9]):
            slots[2 * slot] = areas + slot * _AREA if slot >= inputs else 0
            slots[2 * slot + 1] = 1

        for tile in range(first, last):
            start = tile * ELEMENTWISE_TILE
            count = min(ELEMENTWISE_TILE, n - start)
            blocks = (count + LANES - 1) // LANES
            whole = blocks * LANES == count

            for slot in range(inputs):
                source = i64(word[6] + 8 * DESCRIPTOR_WORDS * slot)
                kind, mode, strides = source[1], source[2], i64(source[3])
                size = (_SIZES >> 4 * kind) & 15
                wider = double and kind == _F32
                area = areas + slot * _AREA
                if mode == CONTIGUOUS and whole and not wider:
                    slots[2 * slot] = source[0] + start * size
                    continue
                outer, inner, step, period = 0, n, 1, n
                if mode == SCALAR:
                    # One block, used over and over.
                    inner, step, period = LANES, 0, LANES
                    slots[2 * slot + 1] = 0
                elif mode == STRIDED:
                    outer, inner, step = dimensions - 1, shape[dimensions - 1], strides[dimensions - 1]
                    if strides[0] == 0:
                        period = n // shape[0]  # the array repeats itself
                if slots[2 * slot] == area and ELEMENTWISE_TILE % period == 0:
                    continue  # still there from the tile before
                slots[2 * slot] = area
                length = period if mode == SCALAR else min(count, period)
                gather(area, source[0], kind, outer, shape, strides, inner, step, coordinates, start, length)
                if wider:
                    size = 8
                while length < count and mode == STRIDED:
                    more = min(length, count - length)
                    copy_bytes(area + length * size, area, more * size)
                    length += more

            for i in range(outputs):
                target = i64(word[8] + 8 * DESCRIPTOR_WORDS * i)
                if whole and not (double and target[1] == _F32):
                    slots[2 * (inputs + i)] = target[0] + start * ((_SIZES >> 4 * target[1]) & 15)
                else:
                    slots[2 * (inputs + i)] = areas + (inputs + i) * _AREA

            for i in range(instructions):
                carry_out(word[4] + 8 * INSTRUCTION_WORDS * i, scratch, blocks)

            for i in range(outputs):
                target = i64(word[8] + 8 * DESCRIPTOR_WORDS * i)
                size = (_SIZES >> 4 * target[1]) & 15
                place, area = target[0] + start * size, slots[2 * (inputs + i)]
                if double and target[1] == _F32:
                    f32_to, f64_from = f32(place), f64(area)
                    for j in range(count):
                        f32_to[j] = f64_from[j]
                elif not whole:
                    copy_bytes(place, area, count * size)

    return kernel
