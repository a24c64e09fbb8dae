"""The memory plan: every intermediate value gets its place in one arena before anything runs.

Rows have positions in program order. A buffer lives from its first to its last touch; one that belongs
outside a loop but is touched inside lives through the whole loop. Buffers whose lives don't overlap share
addresses (handed out in the order of execution or, where that takes less, by size), a value may overwrite an
input that dies where it is made, and new values of parameters are made right where the old ones were. Peak
bytes are known before the first step.
"""

import bisect
import heapq
import itertools
from dataclasses import dataclass

import numpy as np

from tinyattn.runtime.faults import CHECK
from tinyattn.runtime.lower import Lowered, Row
from tinyattn.runtime.memory import Buffer, Region

ALIGNMENT = 64
_GOOD = 1.01
"""A plan this close to the least possible is not improved."""


@dataclass
class Life:
    """First and last position at which a buffer is touched."""

    first: int
    last: int


@dataclass
class MemoryPlan:
    """Bytes of the arena, most bytes that are alive at once (no plan can have less), and what it would take
    without sharing.
    """

    peak: int
    alive: int
    total: int
    buffers: int
    in_place: int


def rows_of(region: Region):
    """All rows of a region and the loops inside it, in order."""
    for item in region.items:
        if isinstance(item, Region):
            yield from rows_of(item)
        else:
            yield item


def _spans(main: Region) -> dict[Region, tuple[int, int]]:
    """Positions of the first row and past the last row of each region."""
    spans: dict[Region, tuple[int, int]] = {}

    def walk(region: Region, position: int) -> int:
        start = position
        for item in region.items:
            position = walk(item, position) if isinstance(item, Region) else position + 1
        spans[region] = (start, position)
        return position

    walk(main, 0)
    return spans


def _touch(lives: dict[Buffer, Life], spans, buffer: Buffer, region: Region | None, position: int) -> None:
    first = last = position
    while buffer.planned and region is not buffer.home and region is not None:
        # Outside its own region a buffer is alive for the whole of the loop that touches it.
        start, end = spans[region]
        first, last = min(first, start), max(last, end - 1)
        region = region.parent
    life = lives.get(buffer)
    if life is None:
        lives[buffer] = Life(first, last)
    else:
        life.first, life.last = min(life.first, first), max(life.last, last)


def plan_memory(lowered: Lowered) -> MemoryPlan:
    """Give every arena buffer its offset."""
    rows = list(rows_of(lowered.main))
    lives = _lives(lowered, rows)
    removed = _store_in_leaves(lowered, rows)
    shared = _reuse_inputs(rows, lives) + removed
    groups = _groups(lives)
    alive = _most_alive(groups)
    peak = _assign(groups, alive)
    return MemoryPlan(peak, alive, sum(_aligned(b.nbytes) for b in lives if b.planned), len(groups), shared)


def _lives(lowered: Lowered, rows: list[Row]) -> dict[Buffer, Life]:
    """From where to where each buffer is touched."""
    spans = _spans(lowered.main)
    lives: dict[Buffer, Life] = {}
    for position, row in enumerate(rows):
        for ref in (*row.reads, *row.writes):
            _touch(lives, spans, ref.buffer, row.region, position)
    for ref in lowered.outputs:
        _touch(lives, spans, ref.buffer, lowered.main, len(rows))
    return lives


def _groups(lives: dict[Buffer, Life]) -> dict[Buffer, Life]:
    """Buffers of the arena with the lives of all that share their memory."""
    groups: dict[Buffer, Life] = {}
    for buffer, life in lives.items():
        root = buffer.root()
        if root.planned:
            whole = groups.setdefault(root, Life(life.first, life.last))
            whole.first, whole.last = min(whole.first, life.first), max(whole.last, life.last)
    return groups


def planned(lowered: Lowered) -> dict[Buffer, Life]:
    """The lives of a planned program's buffers, which have their offsets: what stands where in the arena, and when."""
    return _groups(_lives(lowered, list(rows_of(lowered.main))))


def _store_in_leaves(lowered: Lowered, rows: list[Row]) -> int:
    """Let the new value of a leaf be made where the leaf is, when nothing reads the old value later and all indices
    have been looked at (a step with a wrong one updates nothing); drops the copy at the end.
    """
    position = {row: k for k, row in enumerate(rows)}
    checked = max((position[row] for row in rows if row.kernel == CHECK), default=-1)
    readers: dict[Buffer, list[Row]] = {}
    writers: dict[Buffer, list[Row]] = {}
    for row in rows:
        for ref in row.reads:
            readers.setdefault(ref.buffer, []).append(row)
        for ref in row.writes:
            writers.setdefault(ref.buffer, []).append(row)
    count = 0
    for store in lowered.stores:
        source, target = store.reads[0], store.writes[0]
        buffer, leaf = source.buffer, target.buffer
        if (
            not (source.whole and target.whole)
            or not buffer.planned
            or buffer.alias is not None
            or buffer.home is not lowered.main
        ):
            continue
        made = writers.get(buffer, [])
        if len(made) != 1 or made[0].region is not lowered.main:
            continue
        maker = made[0]
        if position[maker] < checked:
            continue
        same = any(
            any(out.buffer is buffer for out in outputs) and any(into.buffer is leaf for into in inputs)
            for outputs, inputs in maker.in_place
        )
        late = [
            r
            for r in readers.get(leaf, [])
            if position[r] > position[maker]
            or (r is maker and not same)
            or r.region is not lowered.main
            and position[r] >= position[maker]
        ]
        if late or len(writers.get(leaf, [])) != 1 or any(o.buffer is leaf for o in lowered.outputs):
            continue
        buffer.alias = leaf
        lowered.main.items.remove(store)
        count += 1
    return count


def _reuse_inputs(rows: list[Row], lives: dict[Buffer, Life]) -> int:
    """Let a kernel overwrite an input that dies there."""
    ends: dict[Buffer, int] = {}
    for buffer, life in lives.items():
        root = buffer.root()
        ends[root] = max(ends.get(root, -1), life.last)
    count = 0
    for position, row in enumerate(rows):
        for outputs, sources in row.in_place:
            dying = [
                victim
                for source in sources
                if ends[victim := source.buffer.root()] == position
                and victim.planned
                and victim.home is row.region
                and source.whole
            ]
            for out in outputs if dying else ():
                target = out.buffer
                if (
                    target.alias is not None
                    or not target.planned
                    or lives[target].first != position
                    or target.home is not row.region
                    or not out.whole
                ):
                    continue
                for victim in dying:
                    if victim is not target and victim.nbytes == target.nbytes:
                        target.alias = victim
                        ends[victim] = max(ends[victim], lives[target].last)
                        dying = [other for other in dying if other is not victim]
                        count += 1
                        break
    return count


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def size_of(buffer: Buffer) -> int:
    """Bytes that a buffer takes in the arena."""
    return _aligned(max(buffer.nbytes, 1))


def _most_alive(groups: dict[Buffer, Life]) -> int:
    """Most bytes that are alive at one position."""
    changes: dict[int, int] = {}
    for buffer, life in groups.items():
        changes[life.first] = changes.get(life.first, 0) + size_of(buffer)
        changes[life.last + 1] = changes.get(life.last + 1, 0) - size_of(buffer)
    return max(itertools.accumulate(changes[position] for position in sorted(changes)), default=0)


def _assign(groups: dict[Buffer, Life], alive: int) -> int:
    """Give buffers their offsets; the bytes that they take together."""
    offsets, top = _in_order(groups)
    if top > _GOOD * alive:
        others, other = _by_size(groups)
        if other < top:
            offsets, top = others, other
    for buffer, offset in offsets.items():
        buffer.offset = offset
    return top


def _by_size(groups: dict[Buffer, Life]) -> tuple[dict[Buffer, int], int]:
    """Offsets for the largest buffers first: each goes to the lowest place that is free for its whole life."""
    order = sorted(groups, key=lambda b: (-b.nbytes, groups[b].first))
    starts, ends, firsts, lasts = (np.zeros(len(order), np.int64) for _ in range(4))
    offsets: dict[Buffer, int] = {}
    for k, buffer in enumerate(order):
        life, size = groups[buffer], size_of(buffer)
        meets = (firsts[:k] <= life.last) & (lasts[:k] >= life.first)
        taken = starts[:k][meets]
        by_start = np.argsort(taken)
        # The end of all that is below each start; where a gap is wide enough, the lowest one is the place.
        below = np.maximum.accumulate(np.concatenate([[0], ends[:k][meets][by_start]]))
        gaps = np.flatnonzero(taken[by_start] - below[:-1] >= size)
        place = int(below[gaps[0]] if len(gaps) else below[-1])
        starts[k], ends[k], firsts[k], lasts[k] = place, place + size, life.first, life.last
        offsets[buffer] = place
    return offsets, int(ends.max(initial=0))


def _in_order(groups: dict[Buffer, Life]) -> tuple[dict[Buffer, int], int]:
    """Offsets in the order of execution, by best fit: the smallest free gap that is large enough, else more
    memory.
    """
    order = sorted(groups, key=lambda b: (groups[b].first, -b.nbytes))
    offsets: dict[Buffer, int] = {}
    busy: list[tuple[int, int, int, int]] = []  # (last position, number, offset, size), a heap
    free: list[tuple[int, int]] = []  # (offset, size), sorted by offset, merged
    top = 0
    for number, buffer in enumerate(order):
        life, size = groups[buffer], size_of(buffer)
        while busy and busy[0][0] < life.first:
            _, _, offset, done = heapq.heappop(busy)
            _release(free, offset, done)
        best = min(
            (k for k in range(len(free)) if free[k][1] >= size), key=lambda k: free[k][1], default=None
        )
        if best is not None:
            offset, available = free.pop(best)
            if available > size:
                bisect.insort(free, (offset + size, available - size))
        else:
            # Grow; a free gap at the very end is part of what is needed.
            if free and free[-1][0] + free[-1][1] == top:
                offset = free.pop()[0]
            else:
                offset = top
            top = offset + size
        offsets[buffer] = offset
        heapq.heappush(busy, (life.last, number, offset, size))
    return offsets, top


def _release(free: list[tuple[int, int]], offset: int, size: int) -> None:
    k = bisect.bisect_left(free, (offset, 0))
    if k < len(free) and offset + size == free[k][0]:
        size += free.pop(k)[1]
    if k > 0 and free[k - 1][0] + free[k - 1][1] == offset:
        start, before = free.pop(k - 1)
        offset, size = start, before + size
    bisect.insort(free, (offset, size))
