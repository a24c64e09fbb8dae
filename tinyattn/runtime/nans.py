"""The NaN microscope: after ``ta.debug_nans(True)``, the first value that isn't finite is named with its
operation, module, line and the ranges of its inputs.

Programs run natively; only when a result or a new parameter isn't finite, the step is done again from its
beginning by the reference interpreter, node by node.
"""

from collections.abc import Sequence

import numpy as np

from tinyattn.errors import TinyattnError
from tinyattn.runtime import reference

enabled = False


class NonFiniteError(TinyattnError, FloatingPointError):
    """A value became NaN or infinite."""


def debug_nans(on: bool = True) -> None:
    """Stop with NonFiniteError at the first value that is NaN or infinite; ``on=False`` switches it off."""
    global enabled
    enabled = bool(on)


def run(program, arrays: Sequence[np.ndarray], out=None) -> list[np.ndarray]:
    """Run a program and look at what it made; if an operation made something that isn't finite, restore the leaves and
    raise.
    """
    if out is not None:  # (which may lie where the arguments do)
        arrays = [array.copy() for array in arrays]
    before = [leaf.storage.array.copy() for leaf in program.updates]
    results = program.run_native(arrays, out)
    after = [leaf.storage.array for leaf in program.updates]
    if all(_finite(value) for value in (*results, *after)):
        return results
    after = [value.copy() for value in after]
    _assign(program.updates, before)
    find(program, arrays)
    _assign(program.updates, after)
    return results


def _assign(leaves, values: Sequence[np.ndarray]) -> None:
    for leaf, value in zip(leaves, values, strict=True):
        leaf.storage.assign(value)


def _finite(value: np.ndarray) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _range(value: np.ndarray) -> str:
    if value.size == 0:
        return f"{value.shape} empty"
    if value.dtype.kind != "f":
        return f"{value.shape} {value.dtype}"
    bad = int((~np.isfinite(value)).sum())
    good = value[np.isfinite(value)]
    inside = f"{good.min():.4g} … {good.max():.4g}" if good.size else "none finite"
    return f"{value.shape} in {inside}" + (f", {bad} not finite" if bad else "")


def find(program, arrays: Sequence[np.ndarray]) -> None:
    """Interpret the graph node by node and raise at the first value that isn't finite."""

    def watch(node, value, inputs):
        # Infinities that are there on purpose (a mask of −∞, a constant) are not the culprit: only ones made
        # from finite numbers.
        if not _finite(value) and node.inputs and node.op.view is None and node.op.name != "output":
            if node.op.name in ("where", "log_softmax", "max", "min") and not np.isnan(value).any():
                return
            what = "NaN" if np.isnan(value).any() else "infinity"
            count = int((~np.isfinite(value)).sum())
            place = "/".join(node.scope) or "top level"
            origin = f", derivative of {node.origin.op.name!r}" if node.origin is not None else ""
            raise NonFiniteError(
                f"[{node.op.name}] values must be finite, but {what} came up in {count} of {value.size} elements "
                f"(module {place}{origin}).\n  at {node.line}\n  inputs: {'; '.join(map(_range, inputs))}"
            )

    inputs = dict(zip(program.inputs, arrays, strict=True))
    reference.evaluate([*program.outputs, *program.updates.values()], inputs, watch)
