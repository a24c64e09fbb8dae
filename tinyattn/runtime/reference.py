"""The reference interpreter: every graph, node by node, in NumPy.

Slow, short and independent of the compiler: what a program computes can be compared with this, node by node.
Ops with a definition and no NumPy reference of their own are evaluated as their definition.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tinyattn.errors import TinyattnError
from tinyattn.graph.body import Body
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological

Values = dict[Tensor, Any]


def _stacks_asked(order: Sequence[Tensor]) -> dict[Tensor, list]:
    """For each scan node, the keys of its outputs that are used."""
    asked: dict[Tensor, list] = {}
    for node in order:
        if node.op.name == "output":
            asked.setdefault(node.inputs[0], []).append(node.attrs["key"])
    return asked


def evaluate(
    roots: Sequence[Tensor],
    inputs: Mapping[Tensor, np.ndarray] | None = None,
    watch: Callable[[Tensor, np.ndarray, list[np.ndarray]], None] | None = None,
    memory: dict | None = None,
) -> list[np.ndarray]:
    """Values of ``roots``; ``inputs`` gives those of traced inputs. ``watch(node, value, input values)`` is
    called for each node. ``memory`` keeps what nodes are defined by, and the orders of nodes, for who evaluates one
    graph again and again.
    """
    memory = {} if memory is None else memory
    values: Values = dict(inputs or {})
    key = (*roots, None, *values)
    if key not in memory:
        order = topological(roots, values)
        memory[key] = order, _stacks_asked(order)
    order, asked = memory[key]
    with np.errstate(all="ignore"):
        for node in order:
            if node in values:
                continue
            values[node] = _value(node, values, asked, watch, memory)
            if watch is not None and isinstance(values[node], np.ndarray):
                watch(
                    node, values[node], [values[s] for s in node.inputs if isinstance(values[s], np.ndarray)]
                )
    return [values[root] for root in roots]


def _value(node: Tensor, values: Values, asked, watch, memory):
    if node.storage is not None:
        return node.storage.array
    if node.op.name == "output":
        return values[node.inputs[0]][node.attrs["key"]]
    if node.op.name in ("input", "argument"):
        raise TinyattnError(f"[numpy] a traced input must be given a value, but {node!r} has none.")
    arrays = [values[s] for s in node.inputs]
    if node.op.name == "scan":
        return _scan(node, arrays, asked.get(node, []), watch, memory)
    if node.op.reference is not None:
        found = node.op.reference(*arrays, **node.attrs)
    else:
        found = _by_definition(node, arrays, watch, memory)
    if isinstance(found, tuple):
        return {k: np.asarray(v) for k, v in enumerate(found)}
    return np.asarray(found, node.dtype)


def _by_definition(node: Tensor, arrays, watch, memory):
    assert node.op.definition is not None
    if node not in memory:
        memory[node] = node.op.definition(*node.inputs, **node.attrs)
    result, known = memory[node], dict(zip(node.inputs, arrays, strict=True))
    if isinstance(result, tuple):
        return tuple(evaluate(result, known, watch, memory))
    return evaluate([result], known, watch, memory)[0]


def _scan(node: Tensor, arrays, keys, watch, memory) -> dict:
    body: Body = node.attrs["body"]
    carries, sequences, length = node.attrs["carries"], node.attrs["sequences"], node.attrs["length"]
    state, xs, constants = (
        arrays[:carries],
        arrays[carries : carries + sequences],
        arrays[carries + sequences :],
    )
    stacked = [key for key in keys if key[0] == "stack"]
    result = {key: np.empty((length, *key[1].shape), key[1].dtype) for key in stacked}
    roots = [*body.outputs, *(key[1] for key in stacked)]
    for t in reversed(range(length)) if node.attrs["reverse"] else range(length):
        given = dict(zip(body.arguments, [*state, *(x[t] for x in xs), *constants], strict=True))
        found = evaluate(roots, given, watch, memory)
        state = found[:carries]
        for key, value in zip(stacked, found[carries:], strict=True):
            result[key][t] = value
    return result | {("final", k): value for k, value in enumerate(state)}
