"""The order of execution: any order that has inputs before users gives the same numbers, a good one needs less
memory.

Two rules. *Shallow first*: of a node's inputs, the one with the shorter way from the leaves is computed first.
In a derivative that is the gradient of the last layer's weights, which needs the activations there and lets
them go, before the walk goes on to the layer below. *Free at once*: a node that frees as much memory as it
takes runs as soon as it can, for instance a parameter's update, which frees the gradient.

A new value of a leaf is made where the old one is, so an update waits until nothing else reads the old value, and
until all indices have been looked at: a step with a wrong one updates nothing.
"""

import heapq
from collections.abc import Container, Mapping, Sequence

from tinyattn.graph.tensor import Tensor
from tinyattn.graph.traverse import topological
from tinyattn.runtime.faults import checks_in


def schedule(
    roots: Sequence[Tensor], known: Container[Tensor] = (), updates: Mapping[Tensor, Tensor] | None = None
) -> list[Tensor]:
    """Every node that ``roots`` and the new values in ``updates`` (leaf → new value) depend on, in the order
    in which to compute them. Nodes in ``known`` are listed, but nothing below them.
    """
    updates = updates or {}
    order = shallow_first([*roots, *updates.values()], known)
    return _Walk(order, roots, known, updates).run()


def shallow_first(roots: Sequence[Tensor], known: Container[Tensor] = ()) -> list[Tensor]:
    """A topological order that visits the input of least height first."""
    height: dict[Tensor, int] = {}
    plain = topological(roots, known)
    for node in plain:
        inner = node.inputs and node not in known
        height[node] = 1 + max(height[source] for source in node.inputs) if inner else 0
    order: list[Tensor] = []
    done: set[Tensor] = set()
    stack = [(root, False) for root in sorted(roots, key=height.__getitem__, reverse=True)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in done:
            done.add(node)
            stack.append((node, True))
            if height[node]:
                for source in sorted(node.inputs, key=height.__getitem__, reverse=True):
                    if source not in done:
                        stack.append((source, False))
    return order


class _Walk:
    """The second rule, on top of an order that follows the first."""

    def __init__(
        self,
        order: list[Tensor],
        roots: Sequence[Tensor],
        known: Container[Tensor],
        updates: Mapping[Tensor, Tensor],
    ):
        self.order, self.place = order, {node: k for k, node in enumerate(order)}
        self.users: dict[Tensor, list[Tensor]] = {node: [] for node in order}
        self.waiting = dict.fromkeys(order, 0)  # inputs that are not computed yet
        self.takes = dict.fromkeys(order, 0)  # bytes that a node makes
        self.reads: dict[Tensor, list[Tensor]] = {}  # the values, seen through views, that a node reads
        self.readers: dict[Tensor, list[Tensor]] = {node: [] for node in order}
        held = set(roots)
        owner: dict[Tensor, Tensor] = {}
        for node in order:
            inside = node.inputs and node not in known
            sources = dict.fromkeys(node.inputs) if inside else {}
            self.waiting[node] = len(sources)
            for source in sources:
                self.users[source].append(node)
            is_view = inside and node.op.view is not None
            owner[node] = owner[node.inputs[0]] if is_view else node
            if inside and not is_view and node.op.name != "output":
                self.reads[node] = list(dict.fromkeys(owner[source] for source in sources))
                for value in self.reads[node]:
                    self.readers[value].append(node)
        made_in_leaf = set(updates.values())
        for node in self.reads:
            values = [node] if node.dtype is not None else self.users[node]
            for value in values:
                if value not in made_in_leaf and value.dtype is not None:
                    self.takes[value] = value.size * value.dtype.itemsize
        self.readers_left = {value: len(readers) for value, readers in self.readers.items()}
        for root in held:
            self.readers_left[owner[root]] += 1  # it stays
        # Updates come after all other readers of their leaf.
        self.blocked = dict.fromkeys(order, 0)
        self.releases: dict[Tensor, list[Tensor]] = {}
        checks = checks_in(order) if updates else []
        before_checks = set(topological(checks))
        for leaf, value in updates.items():
            maker = value.inputs[0] if value.op.name == "output" else value
            if maker in self.reads and maker not in before_checks:
                self.blocked[maker] += len(checks)
                for check in checks:
                    self.releases.setdefault(check, []).append(maker)
            for reader in self.readers.get(leaf, ()):
                if reader is not maker and maker in self.reads:
                    self.blocked[maker] += 1
                    self.releases.setdefault(reader, []).append(maker)

    def _frees_enough(self, node: Tensor) -> bool:
        values = [node] if node.dtype is not None else self.users[node]
        takes = sum(self.takes[value] for value in values) if node in self.reads else 0
        freed = (self.takes[v] for v in self.reads.get(node, ()) if self.readers_left[v] == 1)
        return takes <= sum(freed)

    def run(self) -> list[Tensor]:
        result: list[Tensor] = []
        done: set[Tensor] = set()
        soon: list[int] = []  # places of nodes that can run and should, a heap
        passed = -1  # places up to here are done or were put off

        def consider(node: Tensor) -> None:
            if self.waiting[node] == 0 and self.blocked[node] == 0 and node not in done:
                if self.place[node] <= passed or self._frees_enough(node):
                    heapq.heappush(soon, self.place[node])

        def compute(node: Tensor) -> None:
            done.add(node)
            result.append(node)
            for user in self.users[node]:
                self.waiting[user] -= 1
            for update in self.releases.get(node, ()):
                self.blocked[update] -= 1
            for value in self.reads.get(node, ()):
                self.readers_left[value] -= 1
                if self.readers_left[value] == 1:
                    for reader in self.readers[value]:
                        consider(reader)
            for other in (*self.users[node], *self.releases.get(node, ())):
                consider(other)

        while len(result) < len(self.order):
            if soon:
                node = self.order[heapq.heappop(soon)]
                if node not in done:
                    compute(node)
            elif passed + 1 < len(self.order):
                passed += 1
                node = self.order[passed]
                if node not in done and self.waiting[node] == 0 and self.blocked[node] == 0:
                    compute(node)
            else:  # leaves that are made of one another: one of them has to be copied in the end
                node = next(n for n in self.order if n not in done and self.waiting[n] == 0)
                self.blocked[node] = 0
                compute(node)
        return result
