"""Where any model looks: its attention weights, found in the graph of what it computes.

Weights are what a softmax, or another normaliser, gives to a product with values: O = P V. The graph shows where that
happens, whatever the model is: in the operation ``attention``, in products written out, and in the steps of loops,
whose weights are asked of the loop for all steps at once.
"""

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

import tinyattn as ta
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.traverse import topological
from tinyattn.graph.trees import flatten
from tinyattn.models.model import Model
from tinyattn.nn.module import Module
from tinyattn.ops.attention.attention import weights_of

NORMALISERS = {"softmax", "relu_norm", "content_addressing", "memory_address", "sharpen"}
PRODUCTS = {"matmul", "weighted_sum", "affine", "memory_read"}
BETWEEN = {"reshape", "transpose", "broadcast_to", "slice", "cast", "dropout", "mul", "div", "where"}
"""What may happen to weights before they meet the values: other shapes, dropout, and windows."""


def attention_maps(model: Module, batch: Any) -> dict[str, np.ndarray]:
    """All attention weights of a model, ``{module path: weights (B, heads, Tq, Tk)}``, in the order of its modules.

    model: a model of a task, whose loss on the ``batch`` is looked at, or any module, which is called with the batch
    (or with its parts, if it is a tuple). In evaluation mode: no dropout. A loop's steps are the queries, Tq. A path
    under which there are several has a number behind all but the first: "decoder (2)".
    """
    was_training = model._training
    model.eval()
    try:
        if isinstance(model, Model):
            results: Any = model.loss(batch)
        else:
            results = model(*batch) if isinstance(batch, tuple) else model(batch)
        modules = {path: k for k, (path, _) in enumerate(model.named_modules())}
        found = list(_weights(topological(flatten(results))))
        found.sort(key=lambda one: modules.get(_path(one[0], modules), len(modules)))
        arrays = ta.evaluate([weights for _, weights, _ in found]) if found else []
    finally:
        model.train(was_training)
    maps: dict[str, np.ndarray] = {}
    for (scope, _, looped), weights in zip(found, arrays, strict=True):
        path = _path(scope, modules)
        times = sum(name == path or name.startswith(f"{path} (") for name in maps)
        maps[path if not times else f"{path} ({times + 1})"] = _four_axes(np.asarray(weights), looped)
    return maps


def _weights(order: list[Tensor]) -> Iterator[tuple[tuple[str, ...], Tensor, bool]]:
    """Scope, weights, and whether their first axis is that of a loop's steps, of the nodes of a graph."""
    seen: set[Tensor] = set()
    for node in order:
        if node.op.name == "attention":
            yield node.scope, weights_of(node), False
        elif node.op.name == "scan":
            for scope, weights, looped in _weights(node.attrs["body"].nodes()):
                stacked = output(node, ("stack", weights))
                if looped:  # a loop in a loop: its steps follow one another
                    stacked = ta.reshape(stacked, (-1, *stacked.shape[2:]))
                yield scope, stacked, True
        elif node.op.name in PRODUCTS:
            for operand in node.inputs[:2]:
                source = _normaliser(operand)
                if source is not None and operand not in seen:
                    seen.add(operand)
                    yield source.scope or node.scope, operand, False


def _normaliser(node: Tensor) -> Tensor | None:
    """The normaliser that a value comes from, if nothing but its shape and its scale has changed since."""
    stack, done = [node], set()
    while stack:
        here = stack.pop()
        if here.op.name in NORMALISERS:
            return here
        if here in done:
            continue
        done.add(here)
        if here.op.name in BETWEEN:
            stack += here.inputs
        elif here.op.name == "output":
            operation, key = here.inputs[0], here.attrs["key"]
            stack.append(key[1] if operation.op.name == "scan" and key[0] == "stack" else operation)
    return None


def _path(scope: tuple[str, ...], modules: Collection[str]) -> str:
    """The path of the module that a scope is in; scopes that are no modules may stand around it, and in it."""
    paths = (".".join(scope[k:end]) for end in range(len(scope), 0, -1) for k in range(end))
    return next((path for path in paths if path in modules), ".".join(scope))


def _four_axes(weights: np.ndarray, looped: bool) -> np.ndarray:
    """(B, heads, Tq, Tk) of (…, Tq, Tk), or of (T, …, Tk) from a loop, which a query of length 1 may be in."""
    if looped:
        if weights.ndim > 3 and weights.shape[-2] == 1:
            weights = weights[..., 0, :]
        weights = np.moveaxis(weights, 0, -2)
    if weights.ndim < 4:
        heads = (1,) * (4 - weights.ndim)
        return weights.reshape(*weights.shape[:-2], *heads, *weights.shape[-2:])
    return weights.reshape(weights.shape[0], -1, *weights.shape[-2:])
