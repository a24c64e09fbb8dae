"""Elementwise fusion: chains of elementwise operations become one ``fused`` node, run tile by tile without
going through memory.

One walk in topological order keeps *open* groups: sets of elementwise nodes of one shape whose values nobody
else has needed yet. A node joins the open groups of its inputs (merging them: open groups never depend on
each other), and a group is closed, that is, put into the schedule, as soon as something outside needs one of
its values. A concatenation waits, with its views, until something needs it, so that all its parts can come
from one group. The result has no cycles by construction, and the walk is linear. (The ``fused`` op itself, and how
it is carried out, is in ``tinyattn/runtime/elementwise.py``.)
"""

import functools
from collections.abc import Sequence
from weakref import WeakValueDictionary

import numpy as np

from tinyattn.graph import scope
from tinyattn.graph.body import Body
from tinyattn.graph.tensor import Tensor, make, output
from tinyattn.graph.traverse import rebuild, topological
from tinyattn.graph.types import FLOAT32, FLOAT64
from tinyattn.rewrite.bodies import ENTERED, Bodies
from tinyattn.rewrite.rule import Log, Rule

MAX_MEMBERS = 40
"""Most operations in one fused kernel: their registers should stay in the first-level cache."""

FUSION = Rule("fuse-elementwise", "elementwise chain → one fused kernel")


class _Group:
    __slots__ = ("members", "real", "shape", "open")

    def __init__(self, shape, real):
        self.shape, self.real, self.members, self.open = shape, real, [], True


@functools.cache
def _real(kinds: frozenset[np.dtype]) -> tuple[np.dtype | None, bool]:
    """The floating-point type that a node of these element types (its own, its inputs') computes in (None for integers
    and bools), and whether it mixes two.
    """
    single, double = FLOAT32 in kinds, FLOAT64 in kinds
    return FLOAT64 if double else FLOAT32 if single else None, single and double


def fuse(
    roots: Sequence[Tensor], log: Log, alone: bool = False, order: Sequence[Tensor] | None = None
) -> list[Tensor]:
    """``roots`` with elementwise chains fused, inside bodies too; with ``alone`` every operation is a kernel
    of its own. ``order``: all nodes in topological order, if it is known.
    """
    order = topological(roots) if order is None else order
    groups: dict[Tensor, _Group] = {}
    schedule: list[Tensor | _Group] = []

    waiting: dict[Tensor, None] = {}

    def close(group: _Group) -> None:
        schedule.append(group)
        group.open = False

    def close_before(node: Tensor) -> None:
        for source in node.inputs:
            group = groups.get(source)
            if group is not None and group.open:
                close(group)

    def end_waiting() -> None:
        for node in waiting:
            close_before(node)
        schedule.extend(waiting)
        waiting.clear()

    for node in order:
        waits = any(source in waiting for source in node.inputs)
        if node.op.pieces is not None or (waits and node.op.view is not None):
            waiting[node] = None
            continue
        if waits:
            end_waiting()
        if not node.op.elementwise:
            close_before(node)
            schedule.append(node)
            continue
        real, single = _real(frozenset([node.dtype, *[source.dtype for source in node.inputs]]))
        single = single or alone
        joined: list[_Group] = []
        for source in node.inputs:
            group = groups.get(source)
            if group is None or not group.open or group in joined:
                continue
            fits = (
                group.shape == node.shape
                and (real is None or group.real is None or group.real == real)
                and not single
            )
            if fits and len(group.members) + sum(len(g.members) for g in joined) < MAX_MEMBERS:
                joined.append(group)
            else:
                close(group)
        group = joined[0] if joined else _Group(node.shape, real)
        for other in joined[1:]:
            group.members += other.members
            group.real = group.real or other.real
            for member in other.members:
                groups[member] = group
        group.real = group.real or real
        group.members.append(node)
        groups[node] = group
        if single:
            close(group)
    end_waiting()
    for group in groups.values():
        if group.open:
            close(group)
    return _rebuild(roots, order, schedule, groups, log, alone)


def _rebuild(roots, order, schedule, groups: dict[Tensor, _Group], log: Log, alone: bool) -> list[Tensor]:
    outside: set[Tensor] = set(roots)  # values needed outside of the group that makes them
    for node in order:
        group = groups.get(node)
        for source in node.inputs:
            if group is None or groups.get(source) is not group:
                outside.add(source)
    bodies = Bodies(order, lambda inside, _: fuse(inside, log, alone))
    new: dict[Tensor, Tensor] = {}
    for unit in schedule:
        if isinstance(unit, _Group):
            _fuse_group(unit, outside, new, log)
            continue
        inputs = [new[s] for s in unit.inputs]
        inner = bodies.enter(unit, inputs) if unit.op.name in ENTERED else None
        new[unit] = rebuild(unit, inputs) if inner is None else inner
    return [new[root] for root in roots]


_bodies: "WeakValueDictionary[tuple, Body]" = WeakValueDictionary()
"""Bodies by the structure of their groups: the layers of a model have the same ones again and again."""


def _body(externals: list[Tensor], members: list[Tensor], results: list[Tensor]) -> Body:
    number = {source: k for k, source in enumerate(externals)}
    key: list = [source.type for source in externals]
    for member in members:
        places = [
            number[s] if s in number else tuple(s.attrs.values()) for s in member.inputs
        ]  # (or a number)
        key.append((member.op.name, member.dtype.char, *places, *member.attrs.items()))
        number[member] = len(number)
    structure = (tuple(key), tuple([number[result] for result in results]))
    body = _bodies.get(structure)
    if body is None:
        body = _bodies[structure] = Body.closing(externals, results)[0]
    return body


def _fuse_group(group: _Group, outside: set[Tensor], new: dict[Tensor, Tensor], log: Log) -> None:
    members = set(group.members)
    # Single numbers stay inside, where a reader sees them.
    externals = [s for m in group.members for s in m.inputs if s not in members]
    externals = [s for s in dict.fromkeys(externals) if not (s.op.name == "constant" and s.size == 1)]
    results = [m for m in group.members if m in outside]
    body = _body(externals, group.members, results)
    last = group.members[-1]
    with scope.on_behalf_of(last, last.origin):
        node = make("fused", *(new[s] for s in externals), body=body)
        for k, member in enumerate(results):
            new[member] = output(node, k)
    if len(members) > 1:
        log.steps.append(("fuse", FUSION, last, new[results[-1]]))
