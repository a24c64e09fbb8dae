"""Sums in one fixed order, whoever has computed what.

Floating-point sums depend on their order, so the order is laid down: by the numbers 0 … n − 1 of the terms, in pairs,
pairs of pairs, and so on,

    ((0 + 1) + (2 + 3)) + ((4 + 5) + 6)

A *node* (first, count) is such a sum of 2ᵏ terms from a multiple of 2ᵏ on, the most that a process can add up by itself
of terms first … last that stand next to each other.
"""

from collections.abc import Iterable, Iterator

import numpy as np

Node = tuple[int, int]


def share(terms: int, part: int, parts: int) -> range:
    """The terms that belong to one of several parts: contiguous, and as many as the others have, or one less."""
    return range(part * terms // parts, (part + 1) * terms // parts)


def nodes(terms: range) -> Iterator[Node]:
    """The nodes that contiguous terms add up to, in order."""
    first = terms.start
    while first < terms.stop:
        count = first & -first or 1 << 62
        while first + count > terms.stop:
            count //= 2
        yield first, count
        first += count


class Stack:
    """Terms, and nodes of them, added up as they come, in order; sums are written into the terms themselves."""

    def __init__(self) -> None:
        self.found: list[tuple[Node, np.ndarray]] = []

    def push(self, node: Node, value: np.ndarray) -> None:
        """The next node; where it completes larger ones, these take its place."""
        self.found.append((node, value))
        while len(self.found) > 1:
            (first, count), _ = self.found[-2]
            (_, other), _ = self.found[-1]
            if count != other or first % (2 * count):
                return
            self._join((first, 2 * count))

    def total(self) -> np.ndarray:
        """The sum of all, when there are no more to come."""
        while len(self.found) > 1:
            self._join(self.found[-2][0])
        return self.found[0][1]

    def _join(self, node: Node) -> None:
        (_, left), (_, right) = self.found[-2:]
        self.found[-2:] = [(node, np.add(left, right, out=left))]


def total(parts: Iterable[tuple[Node, np.ndarray]]) -> np.ndarray:
    """The sum of nodes that are all there, in order."""
    stack = Stack()
    for node, value in parts:
        stack.push(node, value)
    return stack.total()
