"""What is asked of a trained model: ids, lengths and counts, looked at before anything is computed."""

from typing import Any

import numpy as np

from tinyattn.errors import ShapeError
from tinyattn.graph.types import as_integer, fail


def checked_ids(op: str, what: str, given: Any, axes: str, least: int, most: int) -> np.ndarray:
    """``given`` as an array of int32 or int64 with the ``axes`` named, such as "B, T", none of them empty, and all
    numbers in ``least`` … ``most``. Raises ShapeError.
    """
    must = f"{what} must be integers of shape ({axes}), no axis empty"
    try:
        found = np.asarray(given)
    except ValueError:  # rows of different lengths
        fail(ShapeError, op, must, f"got {given!r}")
    if found.ndim != len(axes.split(",")) or found.dtype.kind not in "iu" or not found.size:
        fail(ShapeError, op, must, f"got {found.dtype} of shape {found.shape}")
    wrong = (found < least) | (found > most)
    if wrong.any():
        fail(ShapeError, op, f"{what} must lie in {least}..{most}", f"got {found[wrong].flat[0]}")
    return found if found.dtype in (np.int32, np.int64) else found.astype(np.int64)


def checked_count(op: str, name: str, given: Any, least: int = 1) -> int:
    """A whole number of at least ``least``. Raises ShapeError."""
    count = as_integer(given)
    if count is None or count < least:
        fail(ShapeError, op, f"{name} must be an integer of at least {least}", f"got {given!r}")
    return count
