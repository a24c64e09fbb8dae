"""The executor: one native call runs a whole program, and here is the only place where work is shared
between threads.

A *program* is a table of rows of eight 64-bit words; the first word is what to do:

====== ====================================================================================================
KERNEL ``function, arguments, tiles, shared, cycles``: run all tiles; with ``shared``, together with helpers
LOOP   ``count, past_end, counter``: set the counter to 0; skip to row ``past_end`` if there is nothing to do
END    ``count, start, counter``: count up; back to row ``start`` while the counter is below ``count``
POINT  ``target, base, stride, counter, offset, mask``: store an address of this iteration,
       ``base + ((counter + offset) & mask) * stride``, into the word at ``target``
BIND   ``cell, targets, count``: memory has moved: the cell holds its address and where it was before; add
       the difference to the words whose addresses are listed at ``targets``
CHECK  ``fault, row``: if the fault cell isn't 0, store the row behind it and end the program
HALT   end of the program
====== ====================================================================================================

A loop of 1,000 steps is therefore its body once, with the few addresses that move from step to step set by
POINT rows. Inputs are read where the caller has them and results written where he wants them: a table begins
with BIND rows, which cost nothing when a call finds everything where it was in the call before.

Threads meet on one word, ``sequence << 40 | low << 20 | high``: the tiles ``low <= t < high`` of kernel
number ``sequence`` are unclaimed. The thread that runs the program claims tiles from below, helpers claim
from above (so each tends to meet the same data again), always by compare-and-swap. A helper that comes late
finds nothing and no harm is done; the program never waits for a thread that hasn't claimed something, so it
can't hang for want of helpers. Who does a tile doesn't change its bits.

The word has room for ``MAX_TILES``. A kernel of more is shared a *stretch* after the other, each of at most STRETCH
tiles and with a sequence number of its own; tile ``t`` of the word is tile FIRST + t of the kernel.
"""

from tinyattn.kernels import MAX_TILES
from tinyattn.kernels.language import simd
from tinyattn.kernels.language.simd import (
    atomic_add,
    atomic_load,
    atomic_store,
    atomic_swap_if,
    call,
    cycles,
    i64,
    pause,
)

KERNEL, LOOP, END, POINT, BIND, CHECK, HALT = 1, 2, 3, 4, 5, 6, 0
ROW = 8

# Words of the meeting block, each on a cache line (8 words) of its own.
CLAIM, FUNCTION, ARGUMENTS, FIRST, DONE, ACTIVE, STOP, HELPERS, YIELD, STRETCH = (
    0,
    8,
    9,
    10,
    16,
    24,
    32,
    40,
    41,
    42,
)

_MASK = MAX_TILES
_PATIENCE = 300_000
"""Cycles that a helper looks for work after the last program ended, before it goes to sleep (about 0.1
ms).
"""
_COURTESY = 20_000
"""Cycles that a thread spins before it offers its processor to others at each turn."""


def program(real):
    """``(table, profile, meeting block or 0, scratch)``: run the program at ``table``; with ``profile``, add
    up each row's cycles.
    """

    def execute(table, profile, block, scratch):
        row = table
        helpers = 0
        if block != 0:
            helpers = i64(block)[HELPERS]
            atomic_store(block + 8 * ACTIVE, 1)
        while True:
            word = i64(row)
            code = word[0]
            if code == KERNEL:
                started = cycles() if profile != 0 else 0
                tiles = word[3]
                if helpers == 0 or word[4] == 0 or tiles < 2:
                    call(word[1], word[2], 0, tiles, scratch)
                else:
                    meeting = i64(block)
                    first = 0
                    while first < tiles:
                        # Publish a stretch: the fields first, then the claim word that makes them valid.
                        stretch = min(tiles - first, meeting[STRETCH])
                        atomic_store(block + 8 * FUNCTION, word[1])
                        atomic_store(block + 8 * ARGUMENTS, word[2])
                        atomic_store(block + 8 * FIRST, first)
                        atomic_store(block + 8 * DONE, 0)
                        sequence = (meeting[CLAIM] >> 40) + 1
                        if sequence >= 1 << 22:
                            sequence = 1
                        sequence = sequence << 40
                        atomic_store(block + 8 * CLAIM, sequence | stretch)
                        mine = 0
                        while True:
                            seen = atomic_load(block + 8 * CLAIM)
                            low, high = (seen >> 20) & _MASK, seen & _MASK
                            if low >= high:
                                break
                            share = max(1, (high - low) // (2 * (helpers + 1)))
                            if atomic_swap_if(
                                block + 8 * CLAIM, seen, sequence | ((low + share) << 20) | high
                            ):
                                call(word[1], word[2], first + low, first + low + share, scratch)
                                mine += share
                        waited = cycles()
                        while atomic_load(block + 8 * DONE) + mine < stretch:
                            pause()
                            if cycles() - waited > _COURTESY:
                                simd.call_void(meeting[YIELD])
                        first += stretch
                if profile != 0:
                    word[5] += cycles() - started
                row += 8 * ROW
            elif code == POINT:
                step = (i64(word[4])[0] + word[5]) & word[6]
                i64(word[1])[0] = word[2] + step * word[3]
                row += 8 * ROW
            elif code == LOOP:
                i64(word[3])[0] = 0
                row = table + 8 * ROW * word[2] if word[1] <= 0 else row + 8 * ROW
            elif code == END:
                counter = i64(word[3])
                counter[0] += 1
                row = table + 8 * ROW * word[2] if counter[0] < word[1] else row + 8 * ROW
            elif code == BIND:
                cell, targets = i64(word[1]), i64(word[2])
                moved = cell[0] - cell[1]
                if moved != 0:
                    cell[1] = cell[0]
                    for k in range(word[3]):
                        i64(targets[k])[0] += moved
                row += 8 * ROW
            elif code == CHECK:
                fault = i64(word[1])
                if fault[0] != 0:
                    fault[1] = word[2]
                    break
                row += 8 * ROW
            else:
                break
        if block != 0:
            atomic_store(block + 8 * ACTIVE, 0)

    return execute


def helper(real):
    """``(meeting block, 0, 0, scratch)``: help whatever program runs; return when none has run for a
    while.
    """

    def help_out(block, unused_first, unused_last, scratch):
        idle_since = cycles()
        while True:
            seen = atomic_load(block + 8 * CLAIM)
            low, high = (seen >> 20) & _MASK, seen & _MASK
            if low < high:
                function = atomic_load(block + 8 * FUNCTION)
                arguments = atomic_load(block + 8 * ARGUMENTS)
                past = atomic_load(block + 8 * FIRST) + high
                share = max(1, (high - low) // (2 * (i64(block)[HELPERS] + 1)))
                # Succeeds only if the kernel is still the one whose fields were just read.
                if atomic_swap_if(block + 8 * CLAIM, seen, seen - share):
                    call(function, arguments, past - share, past, scratch)
                    atomic_add(block + 8 * DONE, share)
                    idle_since = cycles()
            else:
                pause()
                idle = cycles() - idle_since
                if atomic_load(block + 8 * STOP) != 0:
                    break
                if atomic_load(block + 8 * ACTIVE) == 0:
                    if idle > _PATIENCE:
                        break
                elif idle > _COURTESY:
                    simd.call_void(i64(block)[YIELD])

    return help_out
