"""Settings from environment variables. What makes no sense is not taken, and a warning of one sentence says so."""

import os
import warnings
from collections.abc import Container


def number(name: str, allowed: Container[int], must: str) -> int | None:
    """The whole number in the environment variable ``name``; None if it isn't set, or not one of ``allowed``."""
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    value = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None
    if value is None or value not in allowed:
        shown = text if len(text) < 40 else text[:37] + "…"
        warnings.warn(
            f"${name} must be {must}, but got {shown!r}; it is ignored.", RuntimeWarning, stacklevel=2
        )
        return None
    return value
