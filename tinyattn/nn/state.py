"""State dicts: the numbers of a module or an optimizer, by name.

Saving copies every array. Loading checks everything first and writes afterwards: it fails as a whole, with
one error that names what is missing, what is unexpected and what has another shape, and then nothing has
changed.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail, is_float

_SHOWN = 3
"""Keys of each kind that an error lists."""


class Loaded(NamedTuple):
    """What ``load_state_dict(…, strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def save(leaves: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Copies of the arrays that the leaves hold now."""
    return {name: leaf.numpy() for name, leaf in leaves.items()}


def load(owner: str, leaves: Mapping[str, Tensor], given: Mapping[str, Any], strict: bool = True) -> Loaded:
    """Overwrite ``leaves`` with the arrays ``given`` under the same names, converted to each leaf's element
    type.

    A leaf that has several names (tied weights) needs only one of them. Raises CheckpointError, with nothing
    written, when shapes differ and, if ``strict``, when the names do.
    """
    if not isinstance(given, Mapping):
        fail(
            errors.DTypeError,
            "load_state_dict",
            "the state must be a dict of arrays",
            f"got {type(given).__name__}",
        )
    arrays = {name: _as_array(given[name]) for name in leaves if name in given}
    found = {leaves[name] for name in arrays}
    missing = [name for name, leaf in leaves.items() if leaf not in found]
    unexpected = [name for name in given if name not in leaves]
    unfit = [name for name, array in arrays.items() if not _fits(array, leaves[name])]
    faults = [f"{name} {_kind(arrays[name])} instead of {_kind(leaves[name])}" for name in unfit]
    parts = [_list("has another type: ", "have another type: ", faults)]
    if strict:
        parts.append(_list("is missing: ", "are missing: ", [f"{n} {leaves[n].shape}" for n in missing]))
        parts.append(
            _list("is unexpected: ", "are unexpected: ", [f"{n} {np.shape(given[n])}" for n in unexpected])
        )
    if any(parts):
        hint = "Nothing was loaded."
        if strict and not unfit:
            hint += " With strict=False keys that are missing or unexpected are passed over."
        fail(
            errors.CheckpointError,
            "load_state_dict",
            f"names and shapes must be those of this {owner}",
            "; ".join(filter(None, parts)),
            hint,
        )
    for name, array in arrays.items():
        leaves[name].assign(array)
    return Loaded(missing, unexpected)


def _as_array(value: Any) -> np.ndarray:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # ragged lists; foreign tensors that have no NumPy form
        return np.asarray(None)


def _fits(array: np.ndarray, leaf: Tensor) -> bool:
    numbers = array.dtype.kind in ("fiub" if is_float(leaf.dtype) else "iub")
    return numbers and array.shape == leaf.shape


def _kind(value: Any) -> str:
    """The shape, and the element type where it is not an ordinary floating-point number."""
    return f"{value.shape}" if value.dtype.kind == "f" else f"{value.shape} {value.dtype}"


def _list(one: str, many: str, items: list[str]) -> str:
    if not items:
        return ""
    shown = ", ".join(items[:_SHOWN]) + (f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")
    return f"{len(items)} {one if len(items) == 1 else many}{shown}"
