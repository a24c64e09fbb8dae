"""How kernels are called: the argument words of each, declared once.

A declaration is a text of lines ``name  meaning``; a name with a number behind it (``sizes 4``) stands for so many
words that follow one another. The kernel reads words by their places, ``word[w.columns]`` with ``w = place("…")``,
which the compiler sees as numbers; lowering gives them by their names, ``emit.kernel("…", {"columns": …})``.

Numbers of a real type are given as the bits of a word (``bits``); an address is a Ref.
"""

import functools
from collections import namedtuple
from collections.abc import Mapping
from typing import Any


class Words:
    """The words of one kernel: ``place`` by name, ``count`` of them, and their ``meanings``."""

    def __init__(self, kernel: str, text: str):
        self.kernel = kernel
        self.meanings: dict[str, str] = {}
        self.lengths: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self.count = 0
        for line in filter(str.strip, text.splitlines()):
            name, _, rest = line.strip().partition(" ")
            head, _, tail = rest.strip().partition(" ")
            length = int(head) if head.isdecimal() else 1
            if name in self.lengths:
                raise TypeError(f"{kernel} has a word {name} twice")
            self._places[name], self.lengths[name] = self.count, length
            self.meanings[name] = tail.strip() if head.isdecimal() else rest.strip()
            self.count += length

    @functools.cached_property
    def place(self) -> Any:
        """A tuple with names. Only compiling needs one, and making a type takes long."""
        return namedtuple(self.kernel.replace(".", "_"), self._places)(**self._places)

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
