"""Values of expressions, computed when they are asked for: one program for all that is asked for at once.

A value is remembered until a leaf below it changes, and an expression of it starts from there. A graph of the same
structure as one before runs the same program: leaves, remembered values and numbers that may well be others next time
(a learning rate) are its inputs.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope, trace
from tinyattn.graph.grad import Promise
from tinyattn.graph.leaf import constant_value, placeholder
from tinyattn.graph.tensor import Tensor, make, stand_in
from tinyattn.graph.trace import refuse_traced
from tinyattn.graph.traverse import topological
from tinyattn.graph.types import fail
from tinyattn.runtime import nans
from tinyattn.runtime.program import Program

PROGRAMS = 128
"""Programs that are kept, the last ones used."""
LARGEST = 20_000
"""Nodes of the largest graph whose program is kept."""

_STABLE_WHEN_SEEN = {
    ("log", "softmax"), ("log", "add"), ("log", "sigmoid"), ("log", "sum"), ("sum", "exp"), ("log1p", "exp"),
    ("sub", "exp"),
}  # fmt: skip
"""(user, node): a stabilising rule looks at both, so that a user of a remembered value must see how it was made.
Having looked at a softmax must not change what its logarithm is.
"""
_SLOPE_WHEN_SEEN = {
    ("div", "softmax"), ("softmax_backward", "softmax"), ("div", "sum"), ("mul", "exp"), ("div", "sigmoid"),
    ("mul", "sigmoid"), ("sub", "sigmoid"), ("div", "add"), ("add", "exp"),
}  # fmt: skip
"""The same for rules about derivatives, where the user belongs to one (or is a sum of exponentials)."""

_programs: "OrderedDict[Any, Program]" = OrderedDict()


def evaluate(node: Tensor) -> np.ndarray:
    """The value of a node (do not write to it). A trace that reads it holds only while it stays the same."""
    if trace.current() is not None:
        _note_read(node)
    if node.storage is not None:
        return node.storage.array
    if _known(node):
        return node._memo[0]
    promise = node._memo
    if isinstance(promise, Promise):
        gradients, y = promise.gradients(), promise.y()
        _compute([*([] if y is None else [y]), *gradients])
        for gradient in gradients:  # they belong to the moment of ``backward``, whatever changes later
            gradient._memo = gradient._memo[0], ()
    else:
        _compute([node])
    return node._memo[0]


def values(tensors: Iterable[Tensor]) -> list[np.ndarray]:
    """The values of several Tensors, computed by one program: what they have in common is computed once.

    ``tensors``: a list, or whatever else they come out of. Returns NumPy arrays of their shapes and element types.
    Raises DTypeError for what isn't a Tensor, and TinyattnError for Tensors of a function or loop that is being
    traced.
    """
    if isinstance(tensors, Tensor) or not isinstance(tensors, Iterable):
        fail(errors.DTypeError, "evaluate", "the argument must be a list of Tensors", f"got {tensors!r}")
    tensors = list(tensors)
    for wrong in (x for x in tensors if not isinstance(x, Tensor)):
        fail(errors.DTypeError, "evaluate", "the argument must be a list of Tensors", f"got {wrong!r}")
    for node in tensors:
        if isinstance(node._memo, Promise):
            evaluate(node)
    if trace.current() is not None:
        for node in tensors:
            _note_read(node)
    missing = [node for node in dict.fromkeys(tensors) if node.storage is None and not _known(node)]
    if missing:
        _compute(missing)
    return [evaluate(node).copy() for node in tensors]


def _note_read(node: Tensor) -> None:
    """Tell the trace being recorded which leaves a value depends on that Python is about to see."""
    if type(node._memo) is tuple and not node._memo[1]:
        return  # a gradient as it was at ``backward``
    for leaf in topological([node]):
        if leaf.storage is not None:
            trace.read(leaf)


def _known(node: Tensor) -> bool:
    """Whether the value of a node is remembered, and no leaf below has changed."""
    memo = node._memo
    return type(memo) is tuple and all(storage.version == version for storage, version in memo[1])


@scope.isolated
def _compute(roots: list[Tensor]) -> None:
    """Compute values and remember them."""
    known = _remembered(roots)
    order = topological(roots, known)
    leaves: dict = {}
    for node in order:
        if node.op.name in ("input", "argument"):
            refuse_traced("numpy", roots[0])
        if node.storage is not None:
            leaves[node.storage] = node.storage.version
        elif node in known:
            leaves.update(node._memo[1])
    if nans.enabled or len(order) > LARGEST:  # its errors name lines of this very graph
        found = Program(roots).run()
    else:
        program, arrays = _program(roots, order, known)
        found = program.run(arrays)
    versions = tuple(leaves.items())
    for root, value in zip(roots, found, strict=True):
        root._memo = value, versions


def _remembered(roots: list[Tensor]) -> set[Tensor]:
    """The nodes below ``roots`` at which to start: those with remembered values, but for rules that look deeper."""
    start: set[Tensor] = set()
    inside = set(roots)
    stack = list(roots)
    while stack:
        node = stack.pop()
        for source in node.inputs:
            if source in inside or not source.inputs:
                continue
            if (
                source._memo is not None
                and not _seen_through(node, source)
                and (source in start or _known(source))
            ):
                start.add(source)
            else:
                inside.add(source)
                stack.append(source)
    return start - inside


def _seen_through(user: Tensor, node: Tensor) -> bool:
    """Whether a stabilising rule may look at a user and a node together."""
    pair = user.op.name, node.op.name
    if pair in _STABLE_WHEN_SEEN:
        return True
    return pair in _SLOPE_WHEN_SEEN and (user.origin is not None or pair == ("add", "exp"))


def _program(
    roots: list[Tensor], order: list[Tensor], known: set[Tensor]
) -> tuple[Program, list[np.ndarray]]:
    """The program of graphs of this structure, and what to run it on."""
    number: dict[Tensor, int] = {}
    key: list[Any] = []
    given: dict[Tensor, np.ndarray] = {}
    for node in order:
        number[node] = len(number)
        if node.storage is not None:
            given[node] = node.storage.array
        elif node in known:
            given[node] = node._memo[0]
        elif node.op.name == "constant" and _varies(node):
            given[node] = constant_value(node)
        else:
            # (What reads indices may fail in a run, which names the line.)
            line = (
                node.line if any([s.dtype is not None and s.dtype.kind == "i" for s in node.inputs]) else None
            )
            key.append((node.op.name, line, *[number[source] for source in node.inputs], *node.attrs.items()))
            continue
        key.append((node.shape, node.dtype.char))
    structure = (tuple(key), tuple([number[root] for root in roots]))
    try:
        program = _programs.pop(structure)
    except KeyError:
        inputs = {node: placeholder(node.type, node.name) for node in given}
        program = Program(_copied(roots, order, inputs), list(inputs.values()))
    _programs[structure] = program
    while len(_programs) > PROGRAMS:
        _programs.popitem(last=False)
    return program, list(given.values())


def _copied(roots: list[Tensor], order: list[Tensor], inputs: dict[Tensor, Tensor]) -> list[Tensor]:
    """``roots`` as functions of ``inputs``, in nodes that refer to nothing of the user's graph: a program that is kept
    must not keep his data.
    """
    new = dict(inputs)
    origins: dict[Tensor, Tensor] = {}
    for node in order:
        if node in new:
            continue
        origin = node.origin
        if origin is not None:
            origin = origins.setdefault(origin, new[origin] if origin in new else stand_in(origin))
        with scope.on_behalf_of(node, origin):
            sources = [new[source] for source in node.inputs]
            new[node] = make(node.op.name, *sources, **node.attrs) if sources else stand_in(node)
    return [new[root] for root in roots]


def _varies(node: Tensor) -> bool:
    """Whether a constant is no part of a structure: real, and more than one number, or one that isn't round."""
    if node.dtype.kind != "f":
        return False
    if node.size != 1:
        return True
    value = 2 * constant_value(node).item()
    return value != round(value) if abs(value) < 1e9 else False
