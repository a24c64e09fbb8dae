"""Held-out sentences of generated tasks: as many of each length, all different, and none of them in a training set."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from tinyattn.tasks.translation import Examples


def held_out(pool: "Examples", validation: int, test: int) -> tuple["Examples", "Examples"]:
    """From a pool with sentences of several lengths: `validation` and `test` different ones of each length, ordered
    so that any part of a split has all lengths equally often.
    """
    _, first = np.unique(_sentences(pool, _widest(pool)), return_index=True)
    first.sort()
    lengths = pool.source.lengths[first]
    of_length = [first[lengths == length] for length in np.unique(lengths)]
    parts = slice(0, validation), slice(validation, validation + test)
    chosen = [np.stack([rows[part] for rows in of_length], axis=1).ravel() for part in parts]
    return pool.take(chosen[0]), pool.take(chosen[1])


def unseen(train: "Examples", *held: "Examples") -> "Examples":
    """The training examples whose source sentence isn't held out."""
    width = max(_widest(part) for part in (train, *held))
    kept = np.concatenate([_sentences(part, width) for part in held])
    return train.take(np.flatnonzero(~np.isin(_sentences(train, width), kept)))


def _widest(examples: "Examples") -> int:
    return int(examples.source.lengths.max())


def _sentences(examples: "Examples", width: int) -> np.ndarray:
    """Each source sentence, of ids below 256, as one byte string, (n,): NumPy's set operations then compare whole
    sentences.
    """
    padded = examples.source.pad(np.arange(len(examples)), width)
    return padded.astype(np.uint8).view(f"S{width}")[:, 0]
