"""What is asked of a model, looked at before anything is computed: its sizes, and ids, lengths and counts."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from tinyattn.errors import ShapeError, TinyattnError
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


def check_sizes(
    op: str,
    config: Any,
    heads: tuple[str, str] | None = None,
    shares: Sequence[str] = ("dropout",),
    choices: Mapping[str, Collection[str]] | None = None,
    none: Collection[str] = (),
) -> None:
    """The fields of a Config: whole numbers must be positive (those of ``none``, and those whose default is 0, may be
    0, too), the width be divisible by the number of heads (``heads`` names both), ``shares`` lie in [0, 1), and each of
    ``choices`` be one of those given. Raises TinyattnError and ShapeError.
    """
    for entry in fields(config):
        if entry.type is int:
            value, may = getattr(config, entry.name), entry.default == 0 or entry.name in none
            found = as_integer(value)
            if found is None or found < (0 if may else 1):
                kind = "an integer of at least 0" if may else "a positive integer"
                fail(TinyattnError, op, f"{entry.name} must be {kind}", f"got {value!r}")
    if heads:
        width, count = (getattr(config, name) for name in heads)
        if width % count:
            fail(ShapeError, op, f"{heads[0]} must be divisible by {heads[1]} = {count}", f"got {width}")
    for name in shares:
        share = getattr(config, name)
        if not isinstance(share, (int, float, np.number)) or not 0 <= share < 1:
            fail(TinyattnError, op, f"{name} must lie in [0, 1)", f"got {share!r}")
    for name, known in (choices or {}).items():
        if getattr(config, name) not in known:
            must = f"{name} must be one of {', '.join(known)}"
            fail(TinyattnError, op, must, f"got {getattr(config, name)!r}")
