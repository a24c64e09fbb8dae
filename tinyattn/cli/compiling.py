"""What is said while kernels are compiled, once for each machine and version: on a terminal a line that counts and goes
away, elsewhere one line at the beginning.
"""

import sys

import tinyattn as ta
from tinyattn.kernels.build import together


def begin() -> None:
    """Compile what nearly every training needs and isn't there yet beside all else, and say so."""
    if _say not in together.listeners:
        together.listeners.append(_say)
    together.begin(together.USUAL, ta.get_num_threads() - 1)


_said = False


def _say(ready: int, count: int) -> None:
    global _said
    stream = sys.stderr
    if stream.isatty():
        line = f"compiling kernels, once for this machine: {ready} of {count}"
        stream.write(f"\r{line}" if ready < count else f"\r{' ' * len(line)}\r")
        stream.flush()
    elif not _said:
        print(f"compiling {count} kernels, once for this machine", file=stream, flush=True)
        _said = True
