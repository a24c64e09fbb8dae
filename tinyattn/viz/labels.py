"""What is written on a node: titles, types, constants, formulas and source lines, as plain text. Escaping is
the business of whoever prints them.
"""

import linecache
import os
from collections.abc import Sequence

import numpy as np

from tinyattn.graph.leaf import constant_value
from tinyattn.graph.scope import Line
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import SHORT, Type

LARGEST_VALUE = 8
"""Values of at most this many elements are written out."""
_MISSING = ["…"] * 8
"""Stands for optional operands (a mask) that a formula names and a node doesn't have."""

_OUTPUTS = {
    "attention": ("y", "maximum", "log-sum"),
    "attention_backward": ("query", "keys", "values", "mask"),
    "batch_norm": ("y", "mean", "variance"),
    "memory_write_backward": ("memory", "weights", "erase", "add"),
}
"""What the outputs of an operation are, or, for a derivative, what they are the cotangents of."""


def output_name(node: Tensor, key) -> str:
    """What one of several outputs is called; its number where there is no name."""
    names = _OUTPUTS.get(node.op.name, ())
    return names[key] if isinstance(key, int) and key < len(names) else str(key)


def number(value) -> str:
    """A number in at most four digits, in a mathematician's signs."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value))
    if isinstance(value, (int, np.integer)):
        return str(int(value)).replace("-", "−")
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else "∞" if value > 0 else "−∞"
    return f"{value:.4g}".replace("-", "−")


def values(array: np.ndarray) -> str:
    """A small array as text, rows in brackets."""
    if array.ndim == 0:
        return number(array[()])
    return "[" + ", ".join(values(part) for part in array) + "]"


def type_text(kind: Type) -> str:
    """``f32 (64, 20, 128)``."""
    return f"{SHORT[kind.dtype]} ({', '.join(map(str, kind.shape))}{',' if len(kind.shape) == 1 else ''})"


def filled(node: Tensor) -> str | None:
    """The number that a constant holds everywhere, as text; None for anything else."""
    while node.op.name == "broadcast_to" and node.inputs[0].size == 1:
        node = node.inputs[0]
    return (
        number(constant_value(node).reshape(-1)[0]) if node.op.name == "constant" and node.size == 1 else None
    )


def slice_text(node: Tensor) -> str:
    """The index that a slice node stands for, ``[1:3, 0]``."""
    parts = []
    source = node.inputs[0].shape
    for axis, (start, step, size) in enumerate(
        zip(node.attrs["starts"], node.attrs["steps"], node.shape, strict=True)
    ):
        if step == 1:
            stop = start + size
            parts.append(f"{start or ''}:{'' if stop == source[axis] else stop}" if size != 1 else str(start))
        else:
            parts.append(f"{start}::{number(step)} × {size}")
    return "[" + ", ".join(parts) + "]"


def _axes_text(axes: Sequence[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else "axes " + ", ".join(map(str, axes))


def title(node: Tensor, operands: Sequence[str | None]) -> str:
    """The name on a node. ``operands``: for each input the text of a folded constant, or None; with
    constants the formula says more than the name.
    """
    name, attrs = node.op.name, node.attrs
    if any(operands):
        if name == "broadcast_to":
            return f"all {operands[0]}"
        if node.op.elementwise:
            letters = iter("xyz")
            return node.op.formula.format(*(text or next(letters) for text in operands))
        return f"{name} ({', '.join(text or '·' for text in operands)})"
    if name == "slice":
        return f"slice {slice_text(node)}"
    if name == "transpose":
        rank = node.ndim
        swapped = rank > 1 and attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2)
        return name if swapped else f"transpose ({', '.join(map(str, attrs['axes']))})"
    if name == "cast":
        return f"to {SHORT[attrs['dtype']]}"
    axes = (
        attrs.get("axes")
        if "keepdims" in attrs
        else (attrs["axis"],)
        if isinstance(attrs.get("axis"), int)
        else None
    )
    if axes and len(axes) < node.inputs[0].ndim:
        return f"{name} {_axes_text(axes)}"
    return name.replace("_", " ")


def formula(node: Tensor, names: Sequence[str]) -> str:
    """The formula of a node, with the names of its operands put in."""
    if node.op.name == "concat":
        return f"[{'; '.join(names)}]"
    return node.op.formula.format(*names, *_MISSING)


def gradient_rule(node: Tensor, names: Sequence[str]) -> str:
    """The vector-Jacobian product of a node, ḡ being the cotangent of its result y."""
    return node.op.vjp_formula.format(*names, *_MISSING)


def place(line: Line | None) -> tuple[str, str]:
    """Where the user wrote it, ``("model.py:12", "the text of that line")``; files outside the working
    folder go by their name alone.
    """
    if line is None:
        return "", ""
    file = (
        os.path.relpath(line.file)
        if line.file.startswith(os.getcwd() + os.sep)
        else os.path.basename(line.file)
    )
    return f"{file}:{line.number}", linecache.getline(line.file, line.number).strip()
