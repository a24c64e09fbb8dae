"""``Tensor.numpy()``: compile an expression, run it once, remember the value until a leaf changes."""

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor, set_evaluator
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import fail
from tinyattn.runtime.program import Program


def evaluate(node: Tensor) -> np.ndarray:
    """The value of a node (do not write to it)."""
    if node.storage is not None:
        return node.storage.array
    memo = node._memo
    if memo is not None and all(storage.version == version for storage, version in memo[1]):
        return memo[0]
    below = topological([node])
    if any(n.op.name in ("input", "argument") for n in below):
        fail(
            errors.TinyattnError,
            "numpy",
            "a value can be had only outside of the function or loop that is being traced",
            f"{node!r} was got",
            "Return it from the function, or go on computing with it as a Tensor.",
        )
    value = Program([node], [], {}).run([])[0]
    leaves = {n.storage: n.storage.version for n in below if n.storage is not None}
    node._memo = (value, tuple(leaves.items()))
    return value


set_evaluator(evaluate)
