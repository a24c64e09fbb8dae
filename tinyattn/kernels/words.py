"""Where the argument words of each kernel are. They are declared in :mod:`tinyattn.kernels.words_of_rows` and the
like; see :mod:`tinyattn.kernels.declaration`.
"""

from typing import Any

from tinyattn.kernels import words_of_arrays, words_of_models, words_of_rows  # noqa: F401 (they declare)
from tinyattn.kernels.declaration import WORDS, Words

__all__ = ["WORDS", "Words", "place"]


def place(kernel: str) -> Any:
    """Where each word of a kernel is: a tuple of numbers with names."""
    return WORDS[kernel].place
