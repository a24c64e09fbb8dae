"""Checks that several tasks share."""

from numbers import Integral

from tinyattn.errors import DataError


def check_positive(operation: str, name: str, value: object) -> int:
    """`value` as an int. Raises DataError unless it is an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise DataError(f"[{operation}] {name} must be a positive integer, but got {value!r}.")
    return int(value)
