"""Looking at values while a program runs: ``ta.print(x, "label")``.

Native code cannot call Python, so a value to be printed becomes one more result of the program, and is printed when
the call returns. Inside the step of a ``ta.scan`` the values of all steps are printed together.
"""

import builtins
from collections.abc import Iterable

import numpy as np

from tinyattn.graph import scope
from tinyattn.graph.leaf import as_tensor
from tinyattn.graph.tensor import Tensor


def print_value(x, label: str = "") -> Tensor:
    """Print the value of ``x``, after ``label``, and return it: at once, or inside a compiled function at each call,
    when it returns. Inside a loop the label's line is followed by the values of all steps, along a first axis.
    """
    x = as_tensor(x)
    record(label, x)
    return x


def record(label: str, x: Tensor) -> None:
    """Note that ``x`` is to be printed: by the loop or the function that is being traced, or now."""
    if scope.state.printed is not None:
        scope.state.printed.append((label, x))
    elif scope.state.trace is not None:
        scope.state.trace.printed.append((label, x))
    else:
        show([(label, x.numpy())])


def show(values: Iterable[tuple[str, np.ndarray]]) -> None:
    """Print labelled arrays, one after another."""
    for label, value in values:
        text = str(value)
        join = "\n" if "\n" in text else " "
        builtins.print(f"{label}:{join}{text}" if label else text, flush=True)
