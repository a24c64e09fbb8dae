"""A program beside the reference interpreter, node by node: where they first differ is where the bug is."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.runtime import reference
from tinyattn.runtime.program import Program


class Difference(NamedTuple):
    """A node, and the largest difference of its two values relative to the largest of them."""

    node: Tensor
    error: float


def compare(
    roots: Tensor | Sequence[Tensor],
    inputs: Sequence[Tensor] = (),
    arrays: Sequence[np.ndarray] = (),
    rewriting: bool = False,
) -> list[Difference]:
    """Compute every node below ``roots`` natively and in NumPy; one Difference a node, in topological order.

    ``inputs`` and ``arrays`` give the values of traced inputs. Without ``rewriting`` each node is a kernel
    of its own. NaNs count as equal to each other.
    """
    roots = [roots] if isinstance(roots, Tensor) else list(roots)
    nodes = [n for n in topological(roots) if n.dtype is not None and n.op.name not in ("input", "constant")]
    native = Program(nodes, inputs, rewriting=rewriting).run(arrays)
    expected = reference.evaluate(nodes, dict(zip(inputs, arrays, strict=True)))
    found = []
    for node, a, b in zip(nodes, native, expected, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        with np.errstate(invalid="ignore"):
            gap = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        scale = max(1.0, float(np.abs(b[np.isfinite(b)]).max(initial=0.0)))
        error = float(np.nan_to_num(gap, nan=np.inf).max(initial=0.0)) / scale
        found.append(Difference(node, error))
    return found
