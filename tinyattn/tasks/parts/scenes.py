"""Scenes: two or three things in the cells of a square grid, and the one sentence that is right for each.

    a small red circle above a large blue square and left of a …

Things are named from left to right, and in one column from top to bottom; what is between two of them says how the
second lies from the first. Cells are numbered in that order, so the sentence follows from their numbers.

Some pairs of kinds never meet in a training image (`apart`): whoever has learned what is in images thing by thing can
name them none the less.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinyattn.tasks.parts.randomness import Stream

NOTHING = -1
"""The kind of a thing that isn't there, and what words name that name no thing."""
THINGS = (2, 3)
SHARE_APART = 0.2
RELATIONS = ("left of", "above", "above and left of", "below and left of")


@dataclass(frozen=True)
class Scenes:
    """n scenes; things in the order in which they are named, NOTHING behind the last."""

    kind: np.ndarray  # (n, 3) int64
    cell: np.ndarray  # (n, 3) int64: column · side + row

    def __len__(self) -> int:
        return len(self.kind)

    def take(self, rows: np.ndarray) -> "Scenes":
        """The given scenes, in the given order."""
        return Scenes(self.kind[rows], self.cell[rows])


def apart(kinds: int) -> np.ndarray:
    """Which kinds never meet in training: a fifth of all pairs, always the same ones; symmetric, (kinds, kinds)
    bool."""
    one, other = np.triu_indices(kinds)
    chosen = Stream("pairs that never meet", 0).permutation(len(one))[: round(SHARE_APART * len(one))]
    found = np.zeros((kinds, kinds), bool)
    found[one[chosen], other[chosen]] = found[other[chosen], one[chosen]] = True
    return found


def draw(count: int, kinds: int, side: int, new: bool, stream: Stream) -> Scenes:
    """So many scenes, with two and with three things equally often. new: each has a pair that never meets in
    training; else none has."""
    parts = []
    for number, things in enumerate(THINGS):
        wanted, found = (count + number) // len(THINGS), Scenes(*np.zeros((2, 0, THINGS[-1]), np.int64))
        while len(found) < wanted:
            some = _draw(2 * (wanted - len(found)) + 8, things, kinds, side, stream)
            some = some.take(np.flatnonzero(has_new(some, kinds) == new))
            found = Scenes(*map(np.concatenate, zip(_both(found), _both(some), strict=True)))
        parts.append(found.take(np.arange(wanted)))
    whole = Scenes(*map(np.concatenate, zip(*map(_both, parts), strict=True)))
    return whole.take(stream.permutation(count))


def has_new(scenes: Scenes, kinds: int) -> np.ndarray:
    """Which scenes have a pair of kinds that never meets in training: (n,) bool."""
    never = np.pad(apart(kinds), (0, 1))  # NOTHING, the last row and column, meets all
    kind = scenes.kind
    return np.any([never[kind[:, j], kind[:, k]] for k in range(THINGS[-1]) for j in range(k)], axis=0)


def _draw(count: int, things: int, kinds: int, side: int, stream: Stream) -> Scenes:
    cell = np.sort(stream.permutations(count, side**2)[:, : THINGS[-1]].astype(np.int64)[:, :things], axis=1)
    kind = stream.integers(kinds, count, things)
    empty = ((0, 0), (0, THINGS[-1] - things))
    return Scenes(np.pad(kind, empty, constant_values=NOTHING), np.pad(cell, empty))


def _both(scenes: Scenes) -> tuple[np.ndarray, np.ndarray]:
    return scenes.kind, scenes.cell


def caption(things: Sequence[Sequence[str]], cells: Sequence[int], side: int) -> tuple[list[str], list[int]]:
    """The sentence, and which thing each word names, NOTHING for those that name none. things: the words of each."""
    words: list[str] = []
    named: list[int] = []
    for number, (thing, cell) in enumerate(zip(things, cells, strict=True)):
        before = ["an" if thing[0][0] in "aei" else "a"]  # (a one)
        if number:
            before = [*_relation(cells[number - 1], cell, side).split(), *before]
        words += [*before, *thing]
        named += [NOTHING] * len(before) + [number] * len(thing)
    return words, named


def longest(words: int) -> int:
    """The most words of a caption whose things have so many words each."""
    between = max(len(relation.split()) for relation in RELATIONS)
    return THINGS[-1] * (1 + words) + (THINGS[-1] - 1) * between


def _relation(one: int, other: int, side: int) -> str:
    """How the first of two cells lies from the second."""
    left, down = other // side - one // side, other % side - one % side
    if not (left and down):
        return RELATIONS[0] if left else RELATIONS[1]
    return RELATIONS[2] if down > 0 else RELATIONS[3]


def paint(scenes: Scenes, stamps: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of scenes, (n, C, side · S, side · S), black between the things; and the box around each thing, (n, 3, 4):
    top, left, bottom and right, the last two just outside, all 0 where there is nothing.

    stamps: (n, 3, C, S, S), what is in the cell of each thing.
    """
    count, most, channels, size, _ = stamps.shape
    grid = np.zeros((count, side, side, channels, size, size), stamps.dtype)
    boxes = np.zeros((count, most, 4), np.int64)
    for k in range(most):
        rows = np.flatnonzero(scenes.kind[:, k] != NOTHING)
        column, row = scenes.cell[rows, k] // side, scenes.cell[rows, k] % side
        grid[rows, row, column] = stamps[rows, k]
        lit = stamps[rows, k].any(axis=1)  # (n, S, S)
        for axis, start in ((2, row), (1, column)):  # from top to bottom, from left to right
            along = lit.any(axis=axis)
            first, last = along.argmax(axis=1), size - along[:, ::-1].argmax(axis=1)
            boxes[rows, k, 2 - axis] = start * size + first
            boxes[rows, k, 4 - axis] = start * size + last
    images = grid.transpose(0, 3, 1, 4, 2, 5).reshape(count, channels, side * size, side * size)
    return images, boxes
