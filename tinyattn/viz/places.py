"""Where nodes lie: a frame for each call of a module, labelled with path and class, ``h.0 ⟨Block⟩``.

A module that is called three times is three frames, "pass 1" to "pass 3". What only holds modules (a list of layers) has
no frame and is no level of depth: its name stands before theirs.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from tinyattn.graph.scope import Call, Holder
from tinyattn.graph.tensor import Tensor
from tinyattn.viz.model import Cluster, Path, Picture, as_id
from tinyattn.viz.owners import owners


class Places:
    """The frames of one picture."""

    def __init__(self, picture: Picture, order: Iterable[Tensor]):
        self.picture = picture
        self._same = _passes(order)
        self._known: dict[tuple, str] = {}
        self._passes: dict[tuple[str, str], list[Cluster]] = {}

    def path(self, steps: Iterable[str], around: Path) -> Path:
        """The clusters of a module path, made if new, inside of those ``around``."""
        path, held = around, ""
        for step in steps:
            if isinstance(step, Holder):
                held += f"{step}."
                continue
            parent, name = path[-1] if path else "", held + step
            key = (parent, name, self._same.get(id(step), id(step)) if isinstance(step, Call) else None)
            if key not in self._known:
                self._known[key] = self._open(parent, name, step, path)
            path, held = (*path, self._known[key]), ""
        return path

    def _open(self, parent: str, name: str, step: str, path: Path) -> str:
        plain = f"{parent}/{as_id(name)}" if parent else as_id(name)
        label = f"{name} ⟨{step.kind}⟩" if isinstance(step, Call) else name
        passes = self._passes.setdefault((plain, label), [])
        ident = f"{plain}.pass{len(passes) + 1}" if passes else plain
        if ident in self.picture.clusters:  # (a module, and a part of its user that is called as it)
            ident += ".part"
        dotted = ".".join(part for part in (self.dotted(path), name) if part)
        cluster = Cluster(ident, label, "module", (*path, ident), dotted=dotted)
        passes.append(cluster)
        cluster.again = len(passes)
        if len(passes) > 1:
            passes[0].label = f"{label}, pass 1"
            cluster.label = f"{label}, pass {len(passes)}"
        self.picture.clusters[ident] = cluster
        return ident

    def dotted(self, path: Path) -> str:
        """The module that a path leads to, as its parameters are named: ``transformer.h.0``."""
        modules = [
            self.picture.clusters[ident] for ident in path if self.picture.clusters[ident].kind == "module"
        ]
        return modules[-1].dotted if modules else ""


def _passes(order: Iterable[Tensor]) -> dict[int, int]:
    """For each call of a module the one as which it is drawn. Equal expressions are one node, and who built it may be a
    call of another graph; so of the calls that have built something, there are as many passes as it takes to have
    built everything.
    """
    makers: dict[tuple, list[dict[int, None]]] = {}
    loops: dict[int, int] = {}
    for node, around in _with_bodies(order):
        if node.origin is not None or not node.inputs:
            continue
        built: dict[tuple, dict[int, None]] = {}
        for scope in (node.scope, *node.elsewhere):
            for depth, name in enumerate(scope):
                if not isinstance(name, Call):
                    continue
                if depth >= len(around):
                    built.setdefault(scope[: depth + 1], {})[id(name)] = None
                elif name == around[depth]:  # (equal steps of two loops are one, made in one of them)
                    loops.setdefault(id(name), id(around[depth]))
        for place, calls in built.items():
            makers.setdefault(place, []).append(calls)
    passes: set[int] = set()
    same: dict[int, int] = {}
    for found in makers.values():
        share = Counter(call for calls in found for call in calls)
        for calls in sorted(found, key=len):  # (what one call alone has built comes first)
            if passes.isdisjoint(calls):
                passes.add(max(calls, key=share.__getitem__))
        for calls in found:
            kept = next(call for call in calls if call in passes)
            same |= {call: kept for call in calls if call not in passes and call not in same}
    for call, outer in loops.items():
        if call not in passes:
            same.setdefault(call, same.get(outer, outer))
    return same


def _with_bodies(
    order: Iterable[Tensor], around: tuple[str, ...] = ()
) -> Iterator[tuple[Tensor, tuple[str, ...]]]:
    """The nodes, and those of the steps of loops among them, each with the module path of its loop; but for what is made of
    constants, which lies where its user does.
    """
    order = list(order)
    constant = owners(order)
    for node in order:
        if node not in constant:
            yield node, around
        if node.op.name == "scan":
            yield from _with_bodies(node.attrs["body"].nodes(), node.scope)
