"""What models that are fine-tuned share: what they take over from one that has been trained before, a text between two
tokens of its own, and labels as answers."""

from collections.abc import Sequence

import numpy as np

import tinyattn as ta
from tinyattn.errors import ShapeError
from tinyattn.graph.types import fail
from tinyattn.tasks.task import Answers


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


def enclosed(tokens: ta.Tensor, length: ta.Tensor, first: int, last: int) -> tuple[ta.Tensor, ta.Tensor]:
    """Texts (B, T) and their lengths (B,) → first x last (B, T + 2), 0 behind the end, and the lengths of that."""
    column = tokens.shape[0], 1
    whole = ta.concat([ta.full(column, first, tokens.dtype), tokens, ta.zeros(column, tokens.dtype)], axis=1)
    places = ta.arange(whole.shape[1], dtype=length.dtype).reshape(1, -1)
    end = (length + 1).reshape(-1, 1)
    return ta.where(places == end, last, ta.where(places < end, whole, 0)), length + 2


def labelled(log_p: np.ndarray, label: np.ndarray) -> Answers:
    """The most probable label of each row of log P (B, K), and the surprise at the labels (B,) that are known."""
    known = np.flatnonzero(label >= 0)
    nats = -float(log_p[known, label[known]].sum())
    return Answers([*log_p.argmax(1)], {}, [*log_p.max(1)], nats, len(known))
