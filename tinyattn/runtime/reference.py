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
    definitions: dict[Tensor, Any] | None = None,
) -> list[np.ndarray]:
    """Values of ``roots``; ``inputs`` gives those of traced inputs. ``watch(node, value, input values)`` is
    called for each node. ``definitions`` keeps what nodes are defined by, for who evaluates one graph again and again.
    """
    definitions = {} if definitions is None else definitions
    values: Values = dict(inputs or {})
    order = topological(roots, values)
    asked = _stacks_asked(order)
    with np.errstate(all="ignore"):
        for node in order:
            if node in values:
                continue
            values[node] = _value(node, values, asked, watch, definitions)
            if watch is not None and isinstance(values[node], np.ndarray):
                watch(
                    node, values[node], [values[s] for s in node.inputs if isinstance(values[s], np.ndarray)]
                )
    return [values[root] for root in roots]


def _value(node: Tensor, values: Values, asked, watch, definitions):
    if node.storage is not None:
        return node.storage.array
    if node.op.name == "output":
        return values[node.inputs[0]][node.attrs["key"]]
    if node.op.name in ("input", "argument"):
        raise TinyattnError(f"[numpy] a traced input must be given a value, but {node!r} has none.")
    arrays = [values[s] for s in node.inputs]
    if node.op.name == "scan":
        return _scan(node, arrays, asked.get(node, []), watch, definitions)
    if node.op.reference is not None:
        found = node.op.reference(*arrays, **node.attrs)
    else:
        found = _by_definition(node, arrays, watch, definitions)
    if isinstance(found, tuple):
        return {k: np.asarray(v) for k, v in enumerate(found)}
    return np.asarray(found, node.dtype)


def _by_definition(node: Tensor, arrays, watch, definitions):
    assert node.op.definition is not None
    if node not in definitions:
        definitions[node] = node.op.definition(*node.inputs, **node.attrs)
    result, known = definitions[node], dict(zip(node.inputs, arrays, strict=True))
    if isinstance(result, tuple):
        return tuple(evaluate(result, known, watch, definitions))
    return evaluate([result], known, watch, definitions)[0]


def _scan(node: Tensor, arrays, keys, watch, definitions) -> dict:
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
        found = evaluate(roots, given, watch, definitions)
        state = found[:carries]
        for key, value in zip(stacked, found[carries:], strict=True):
            result[key][t] = value
    return result | {("final", k): value for k, value in enumerate(state)}
