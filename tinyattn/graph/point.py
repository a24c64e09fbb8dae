"""Points at which derivatives are checked: the arguments of a call, its arrays told by shape and kind of numbers.

Each public function says in its declaration (``tinyattn/graph/public.py``) at which points it is smooth:
``at(real(3, 4), axis=1)``. From it come the same numbers in every run.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Numbers:
    """One array: ``draw(generator, shape)`` gives its numbers; reals take the element type asked for."""

    shape: tuple[int, ...]
    draw: Callable
    name: str = "real"

    def array(self, generator: np.random.Generator, dtype=np.float64) -> np.ndarray:
        """The array, of element type ``dtype`` if it is one of reals."""
        value = np.asarray(self.draw(generator, self.shape))
        return value.astype(dtype) if value.dtype.kind == "f" else value


def real(*shape: int) -> Numbers:
    """Normal numbers."""
    return Numbers(shape, lambda g, s: g.standard_normal(s))


def positive(*shape: int) -> Numbers:
    """Numbers in [0.5, 2)."""
    return Numbers(shape, lambda g, s: g.uniform(0.5, 2, s), "positive")


def inside(*shape: int) -> Numbers:
    """Numbers in (−0.9, 0.9)."""
    return Numbers(shape, lambda g, s: g.uniform(-0.9, 0.9, s), "inside")


def above_one(*shape: int) -> Numbers:
    """Numbers in [1.5, 4)."""
    return Numbers(shape, lambda g, s: g.uniform(1.5, 4, s), "above_one")


def weighting(*shape: int) -> Numbers:
    """Positive rows of sum 1."""

    def draw(g, s):
        rows = g.uniform(0.5, 2, s)
        return rows / rows.sum(-1, keepdims=True)

    return Numbers(shape, draw, "weighting")


def apart(*shape: int) -> Numbers:
    """Numbers 0.37 or more from each other, and none whole: no ties, and no kink within a step of a difference."""

    def draw(g, s):
        size = int(np.prod(s))
        return (g.permutation(size).reshape(s) - size // 2) * 0.37 + 0.181

    return Numbers(shape, draw, "apart")


def integers(high: int, *shape: int, low: int = 0, dtype=np.int64) -> Numbers:
    """Integers ``low <= i < high``."""
    return Numbers(shape, lambda g, s: g.integers(low, high, s).astype(dtype), "integers")


def flags(*shape: int) -> Numbers:
    """Bools."""
    return Numbers(shape, lambda g, s: g.random(s) < 0.6, "flags")


def fixed(data) -> Numbers:
    """These numbers."""
    array = np.asarray(data)
    return Numbers(array.shape, lambda g, s: array, "fixed")


@dataclass(frozen=True)
class Point:
    """Arguments of a call: trees (tuples, lists, dicts) in which :class:`Numbers` stand for arrays."""

    arguments: tuple
    options: dict[str, Any]

    def arrays(self) -> list[np.ndarray]:
        """The arrays, in order, in float64; the same ones every time."""
        generator = np.random.default_rng(0)
        return [numbers.array(generator) for numbers in _numbers((self.arguments, self.options))]

    def call(self, function: Callable) -> Callable:
        """``function`` of the arrays (or Tensors in their places) alone."""

        def of_arrays(*values):
            arguments, options = _filled((self.arguments, self.options), iter(values))
            return function(*arguments, **options)

        return of_arrays


def at(*arguments, **options) -> Point:
    """The point with these arguments."""
    return Point(arguments, options)


def _numbers(tree) -> Iterator[Numbers]:
    if isinstance(tree, Numbers):
        yield tree
    elif isinstance(tree, (tuple, list, dict)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _numbers(part)


def _filled(tree, values: Iterator):
    if isinstance(tree, Numbers):
        return next(values)
    if isinstance(tree, dict):
        return {name: _filled(part, values) for name, part in tree.items()}
    return type(tree)(_filled(part, values) for part in tree) if isinstance(tree, (tuple, list)) else tree
