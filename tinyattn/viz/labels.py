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


def output_name(node: Tensor, key) -> str:
    """What one of several outputs is called; its number where there is no name."""
    names = node.op.results or ("",)
    return names[key] if isinstance(key, int) and key < len(names) else str(key)


def output_label(node: Tensor, key, name: str) -> str:
    """One of several outputs on an arrow: its name, if that is short."""
    return name if 0 < len(name) <= _LONGEST_LABEL else output_name(node, key)


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
    return f"{SHORT[kind.dtype]} {shape_text(kind.shape)}"


_LONGEST_LABEL = 12
_FORMS = ("broadcast_to", "reshape")


def filled(node: Tensor) -> str | None:
    """The number that a constant holds everywhere, as text; None for anything else."""
    while (
        node.op.name == "broadcast_to"
        and node.inputs[0].size == 1
        or node.op.name in _FORMS
        and node.origin is None
    ):
        node = node.inputs[0]
    return (
        number(constant_value(node).reshape(-1)[0]) if node.op.name == "constant" and node.size == 1 else None
    )


def attributes(node: Tensor) -> str:
    """What a reader may want to know of a node's attributes; what only machines can read is left out."""
    known = {key: _plain(value) for key, value in node.attrs.items()}
    return ", ".join(f"{key}={text}" for key, text in known.items() if text)


def _plain(value) -> str:
    if isinstance(value, (bool, int, float, str)):
        return str(value)
    if isinstance(value, tuple):
        parts = [_plain(part) for part in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})" if all(parts) or not parts else ""
    return SHORT.get(value, "") if isinstance(value, np.dtype) else ""


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


def superscript(number: int) -> str:
    """``²``."""
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def is_view(node: Tensor) -> bool:
    """Whether a node computes nothing that a reader would call arithmetic."""
    return node.op.view is not None or node.op.name == "cast"


def is_stack(node: Tensor) -> bool:
    """Whether a value is what a loop had at each of its steps."""
    return node.op.name == "output" and node.inputs[0].op.name == "scan"


def swaps(node: Tensor) -> bool:
    """Whether a transpose exchanges the last two axes, and no others."""
    rank = node.ndim
    return rank > 1 and node.attrs["axes"] == (*range(rank - 2), rank - 1, rank - 2)


def size(bytes: int) -> str:
    """``2 KB``: bytes in a word."""
    power = min((max(bytes, 1).bit_length() - 1) // 10, 3)
    return f"{bytes / 1024**power:{'.0f' if bytes >= 999.5 * 1024**power else '.3g'}} {('B', 'KB', 'MB', 'GB')[power]}"


def shape_text(shape: Sequence[int]) -> str:
    """``(64, 20, 128)``."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


def arrow(node: Tensor, name: str) -> str:
    """What a view does, for the arrow that goes through it: ``ᵀ``, ``[:, :64]``, ``→ (2, 4, 8)``; ``name``: what the
    view is called, or "".
    """
    kind = node.op.name
    if kind == "slice":
        text = slice_text(node)
    elif kind == "transpose":
        text = "ᵀ" if swaps(node) else f"axes {', '.join(map(str, node.attrs['axes']))}"
    elif kind == "cast":
        text = f"as {SHORT[node.dtype]}"
    elif kind == "stop_gradient":
        text = "as a constant"
    elif kind in ("reshape", "broadcast_to"):
        text = f"→ {shape_text(node.shape)}"
    else:
        text = title(node)
    return f"{name}: {text}" if name else text


def _axes_text(axes: Sequence[int]) -> str:
    return f"axis {axes[0]}" if len(axes) == 1 else "axes " + ", ".join(map(str, axes))


def title(node: Tensor) -> str:
    """What the operation of a node is called."""
    name, attrs = node.op.name, node.attrs
    if name == "slice":
        return f"slice {slice_text(node)}"
    if name == "transpose":
        return name if swaps(node) else f"transpose ({', '.join(map(str, attrs['axes']))})"
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
