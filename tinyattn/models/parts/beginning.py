"""What a model takes over from one that has been trained before."""

from collections.abc import Sequence

import numpy as np

from tinyattn.errors import ShapeError
from tinyattn.graph.types import fail


def by_words(own: np.ndarray, given: np.ndarray, here: Sequence[str], there: Sequence[str]) -> np.ndarray:
    """Vectors of words (V, E) where each word of `here` that is in `there`, too, has the `given` vector (V', E) of it;
    the rest as in `own`. Row i is of word i; further rows are of no word, and stay."""
    _check_widths(own, given)
    numbers = {word: number for number, word in enumerate(there)}
    pairs = [(row, numbers[word]) for row, word in enumerate(here) if word in numbers]
    found = own.copy()
    if pairs:
        rows, places = zip(*pairs, strict=True)
        found[[*rows]] = given[[*places]]
    return found


def copied(own: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Vectors of positions (T, E): as many `given` ones as there are, the rest as in `own`."""
    _check_widths(own, given)
    count = min(len(own), len(given))
    return np.concatenate([given[:count], own[count:]])


def _check_widths(own: np.ndarray, given: np.ndarray) -> None:
    if own.shape[1] != given.shape[1]:
        fail(ShapeError, "begin", f"vectors must have {own.shape[1]} numbers", f"got {given.shape[1]}")
