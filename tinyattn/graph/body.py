"""A body: a closed expression with numbered arguments, the inside of a ``scan`` or of a fused kernel.

Two bodies of the same structure in one module are equal and, because their arguments are the same nodes, share all of
their nodes. Those of two modules have nodes of their own, each with the scope and line it was made at; rewritten for a
program, where nobody asks for these, they are equal again.
"""

from collections.abc import Sequence

from tinyattn.graph.tensor import Tensor, make
from tinyattn.graph.traverse import substitute, topological
from tinyattn.graph.types import Type


def argument(index: int, kind: Type, place: tuple[str, ...] = ()) -> Tensor:
    """Argument number ``index`` of a body in the module path ``place``."""
    return make("argument", index=index, shape=kind.shape, dtype=kind.dtype, place=place)


class Body:
    """``outputs`` as expressions of ``arguments`` (nodes made by :func:`argument`, numbered from 0). ``names``: what
    pictures call the first arguments, "" where nobody has said it; bodies that differ in them are equal.
    """

    __slots__ = ("arguments", "outputs", "types", "names", "_key", "verified", "__weakref__")

    def __init__(self, arguments: Sequence[Tensor], outputs: Sequence[Tensor]):
        self.arguments, self.outputs = tuple(arguments), tuple(outputs)
        # Nodes are hash-consed and arguments canonical, so identity of nodes is equality of structure.
        self._key = (tuple(map(id, self.arguments)), tuple(map(id, self.outputs)))
        self.types = tuple([y.type for y in self.outputs])
        self.verified = False
        self.names: Sequence[str] = ()

    @classmethod
    def closing(
        cls, variables: Sequence[Tensor], outputs: Sequence[Tensor], place: tuple[str, ...] = ()
    ) -> "tuple[Body, dict[Tensor, Tensor]]":
        """The body in which ``variables`` are the arguments; also the map from old nodes to the nodes of the
        body.
        """
        arguments = [argument(k, variable.type, place) for k, variable in enumerate(variables)]
        mapping = dict(zip(variables, arguments, strict=True))
        return cls(arguments, substitute(outputs, mapping)), mapping

    def __eq__(self, other) -> bool:
        return isinstance(other, Body) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def nodes(self) -> list[Tensor]:
        """All nodes inside, inputs before users."""
        return topological(self.outputs)

    def __call__(self, *values: Tensor) -> list[Tensor]:
        """The outputs with the arguments replaced by ``values``."""
        return substitute(self.outputs, dict(zip(self.arguments, values, strict=True)))
