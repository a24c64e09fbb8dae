"""Where the argument words of each kernel are. Each file of this room declares those of its kernels; see
:mod:`tinyattn.kernels.calls.declaration`.
"""

from typing import Any

from tinyattn.kernels.calls import (  # noqa: F401 (they declare)
    address,
    attention,
    batch_norm,
    convolution,
    copy,
    gather,
    gemm,
    integer,
    maxout,
    memory,
    microbenchmark,
    pooling,
    random,
    reduce,
    score,
    silence,
    sort,
)
from tinyattn.kernels.calls.declaration import WORDS, Words

__all__ = ["WORDS", "Words", "place"]


def place(kernel: str) -> Any:
    """Where each word of a kernel is: a tuple of numbers with names."""
    return WORDS[kernel].place
