"""What a picture is drawn with: where each Tensor is, and what the nodes of one level have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tinyattn.graph.tensor import Tensor
from tinyattn.viz.model import Path
from tinyattn.viz.owners import Scope
from tinyattn.viz.symbols import Symbol

LEAVES = {"tensor": "input", "input": "input", "parameter": "parameter", "constant": "constant"}


class Source(NamedTuple):
    """Where an arrow starts: a node of the picture, which of its outputs, and how the value is written."""

    node: str
    label: str = ""
    symbol: Symbol = Symbol("")


Where = dict[Tensor, Source | str]
"""Where each Tensor is drawn; a string is a constant written into its users' labels."""


class Room(NamedTuple):
    """What the nodes of one level have in common: the whole graph, the body of a loop, or an opened
    definition.
    """

    ids: Mapping[Tensor, str]
    prefix: str
    path: Path
    scope: Scope
    phase: Callable[[Tensor], str]
    names: Mapping[Tensor, str]
    """What values are called."""
    order: Mapping[Tensor, int] = {}
    """How often each has been differentiated."""
    longest: Mapping[Tensor, int] = {}
    """Letters of a formula that may stand inside of those of the users."""
    owner: Mapping[Tensor, Tensor] = {}
    """The nodes that stand for others where it is asked to what a node belongs."""
    shared: Mapping[Tensor, tuple[Scope, ...]] = {}
    """The modules that build the same expression, where there are several."""
    places: Mapping[Tensor, Scope] = {}
    """In which module each lies."""

    def of(self, node: Tensor) -> Tensor:
        """The node whose module, line, phase and forward operation are those of ``node``."""
        return self.owner.get(node, node)


@dataclass
class Shown:
    """Which values the nodes of a picture show, for pages that compute them."""

    of: dict[str, list[Tensor]] = field(default_factory=dict)
    """Node → its values: one, or those outputs of an operation that are used."""
    stands: dict[Tensor, Tensor] = field(default_factory=dict)
    """Inside of an opened operation, the variable that stands for an operand → that operand."""
    loops: dict[str, Tensor] = field(default_factory=dict)
    """Cluster of a loop → the scan."""
    outputs: list[Tensor] = field(default_factory=list)
    leaves: list[Tensor] = field(default_factory=list)
    """What is drawn, and by what it is differentiated."""
    draw: Callable[..., Any] | None = None
    """`ta.viz.draw`, for smaller pictures that stand in the page of this one."""

    def stand(self, variables: Sequence[Tensor], operands: Sequence[Tensor]) -> None:
        """``variables`` stand for ``operands``."""
        self.stands |= dict(zip(variables, operands, strict=False))
