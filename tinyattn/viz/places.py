"""Where nodes lie: a frame for each call of a module, labelled with path and class, ``h.0 ⟨Block⟩``.

A module that is called three times is three frames, "pass 1" to "pass 3". What only holds modules (a list of layers) has
no frame and is no level of depth: its name stands before theirs.
"""

from collections.abc import Iterable, Iterator

from tinyattn.graph.scope import Call, Holder
from tinyattn.graph.tensor import Tensor
from tinyattn.viz.model import Cluster, Path, Picture, as_id


class Places:
    """The frames of one picture."""

    def __init__(self, picture: Picture, order: Iterable[Tensor]):
        self.picture = picture
        self._same = _merged(order)
        self._known: dict[tuple, str] = {}
        self._passes: dict[str, list[Cluster]] = {}

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
        passes = self._passes.setdefault(plain, [])
        ident = f"{plain}.pass{len(passes) + 1}" if passes else plain
        label = f"{name} ⟨{step.kind}⟩" if isinstance(step, Call) else name
        dotted = ".".join(part for part in (self.dotted(path), name) if part)
        cluster = Cluster(ident, label, "module", (*path, ident), dotted=dotted)
        passes.append(cluster)
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


def _merged(order: Iterable[Tensor]) -> dict[int, int]:
    """Calls of a module that are one pass, although another graph has made a part of its nodes before: calls of which no
    two make the same operation at the same place.
    """
    made: dict[tuple, dict[int, set]] = {}
    for node, loops in _with_bodies(order):
        if node.origin is not None or not node.inputs:
            continue
        seen = (
            node.op.view is not None
        )  # (a view tells no passes apart: that of a parameter is the same in all)
        what = (loops, node.op.name, *(leaf.name for leaf in node.inputs if leaf.op.name == "parameter"))
        for scope in (node.scope, *node.elsewhere):
            for depth, name in enumerate(scope):
                if isinstance(name, Call):
                    place = made.setdefault(scope[: depth + 1], {})
                    place.setdefault(id(name), set()).update(() if seen else [(scope[depth + 1 :], what)])
    same: dict[int, int] = {}
    for calls in made.values():
        passes: list[tuple[int, set]] = []
        for step, operations in calls.items():
            first = next((one for one in passes if one[1].isdisjoint(operations)), None)
            if first is None:
                passes.append((step, operations))
            else:
                first[1].update(operations)
                same[step] = first[0]
    return same


def _with_bodies(order: Iterable[Tensor], loops: int = 0) -> Iterator[tuple[Tensor, int]]:
    """The nodes, and those of the steps of loops among them, each with the number of loops around it."""
    for node in order:
        yield node, loops
        if node.op.name == "scan":
            yield from _with_bodies(node.attrs["body"].nodes(), loops + 1)
