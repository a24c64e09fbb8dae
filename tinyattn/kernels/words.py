"""How kernels are called: the argument words of each, declared once.

A declaration is a text of lines ``name  meaning``; a name with a number behind it (``sizes 4``) stands for so many
words that follow one another. The kernel reads words by their places, ``word[w.columns]`` with ``w = place("…")``,
which the compiler sees as numbers; lowering gives them by their names, ``emit.kernel("…", {"columns": …})``.

Numbers of a real type are given as the bits of a word (``bits``); an address is a Ref.
"""

from collections import namedtuple
from collections.abc import Mapping
from typing import Any


class Words:
    """The words of one kernel: ``place`` by name, ``count`` of them, and their ``meanings``."""

    def __init__(self, kernel: str, text: str):
        self.kernel, self.meanings, self.lengths = kernel, {}, {}
        places: dict[str, int] = {}
        self.count = 0
        for line in text.strip().splitlines():
            name, _, rest = line.strip().partition(" ")
            head, _, tail = rest.strip().partition(" ")
            length = int(head) if head.isdecimal() else 1
            places[name], self.lengths[name] = self.count, length
            self.meanings[name] = tail.strip() if head.isdecimal() else rest.strip()
            self.count += length
        self.place: Any = namedtuple(kernel.replace(".", "_"), places)(**places)

    def pack(self, given: Mapping[str, Any]) -> list[Any]:
        """The words in their order; those of a group are given as a list."""
        if given.keys() != self.meanings.keys():
            wrong = sorted(given.keys() ^ self.meanings.keys())
            raise TypeError(
                f"{self.kernel} takes {', '.join(self.meanings)}, but these differ: {', '.join(wrong)}"
            )
        packed: list[Any] = []
        for name, length in self.lengths.items():
            values = [given[name]] if length == 1 else list(given[name])
            if len(values) != length:
                raise TypeError(f"{self.kernel} takes {length} words of {name}, but got {len(values)}")
            packed += values
        return packed


WORDS: dict[str, Words] = {}
"""The words of every kernel that has named ones."""


def declare(kernels: str, text: str) -> None:
    """The words of one kernel, or of several that are called alike."""
    for kernel in kernels.split():
        WORDS[kernel] = Words(kernel, text)


def place(kernel: str) -> Any:
    """Where each word of a kernel is: a tuple of numbers with names."""
    return WORDS[kernel].place


# Softmax and cross-entropy. Rows and columns: R rows of C numbers, contiguous.

declare("softmax.forward softmax.log_forward", """
    x        address of x (R, C)
    y        address of y (R, C); may be x
    rows     R
    columns  C
    scale    bits of a factor of x (1 for none)
    masking  kind of mask: 0 none; 1 bytes, 0 where x is masked; 2 numbers to add to scale x, −∞ where it is
    mask     address of the mask; the numbers of a row follow one another (not read, like the rest, if there is none)
    sizes    4 the four row dimensions, slowest first; their product is R
    strides  4 stride of the mask along each of them, in its numbers
""")  # fmt: skip
declare("softmax.backward softmax.log_backward", """
    y        address of y (R, C): the result of the forward pass
    dy       address of dy (R, C)
    dx       address of dx (R, C); may be dy
    rows     R
    columns  C
    scale    bits of the factor of x
""")  # fmt: skip
declare("softmax.cross_entropy_forward", """
    x          address of the logits (R, C)
    targets    address of the targets (R)
    wide       kind of the targets: 0 for i32, 1 for i64
    losses     address of the losses (R)
    tops       address of m = max x (R)
    log_sums   address of ln Σ e^{x − m} (R)
    rows       R
    columns    C
    ignored    ignore_index
    smoothing  bits of ε, the label smoothing
""")  # fmt: skip
declare("softmax.cross_entropy_backward", """
    x          address of the logits (R, C)
    targets    address of the targets (R)
    wide       kind of the targets: 0 for i32, 1 for i64
    tops       address of m (R), from the forward pass
    log_sums   address of ln Σ e^{x − m} (R), from the forward pass
    g          address of the gradients of the losses (R)
    stride     stride of g in numbers; 0: one number for all rows
    dx         address of dx (R, C); may be x
    rows       R
    columns    C
    ignored    ignore_index
    smoothing  bits of ε
""")  # fmt: skip
