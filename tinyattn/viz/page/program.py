"""The values of a picture as a program for the page, which runs it again whenever the reader changes a number.

Every hand-derived operation is opened into what it is defined by, so that the page needs to know elementary operations
alone. An instruction is ``[operation, operands, shape, kind of number, attributes]``, in an order in which operands come
first; a loop holds the instructions of its body. Numbers of leaves are float64, and so is all that the page computes.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.tensor import Tensor, output
from tinyattn.graph.traverse import substitute, topological
from tinyattn.runtime import reference
from tinyattn.viz.derivation.forms import open_definitions
from tinyattn.viz.model import Node, Picture
from tinyattn.viz.page.tuning import tunable
from tinyattn.viz.room import Shown

LARGEST, SLOWEST = 400_000, 40_000_000
"""Numbers that a page computes, and multiplications, at most."""
ELEMENTARY = frozenset(
    "cast add sub mul div neg abs sign square sqrt exp expm1 log log1p tanh sin cos sigmoid erf relu softplus maximum minimum pow "
    "floor ceil round floor_divide mod lt le gt ge eq ne isfinite and or xor not where log2 log10 tan sinh cosh arctan arcsin "
    "arccos arcsinh arccosh arctanh logaddexp stop_gradient within reshape transpose broadcast_to slice unslice concat take "
    "scatter_add matmul integer_matmul sum prod max min argmax argmin sum_squares cumsum order".split()
)
"""Operations that the page computes (arithmetic.js, arrays.js)."""


class Unsuited(Exception):
    """Why a page doesn't compute the values of a picture."""


@dataclass
class Program:
    """``code``: the instructions. ``values``: node → (the loops it is in, from outside; what it is in the innermost),
    all by their place in the code. ``numbers``: of the leaves, one after the other, float64 in base64.
    """

    code: list
    values: dict[str, tuple[list[int], list[int]]]
    numbers: str
    tuned: dict[str, list[int]]
    """Node → the constants of its formula that may be changed."""


@scope.isolated
def program_of(picture: Picture, shown: Shown) -> Program:
    """Raises Unsuited."""
    rooms: dict[tuple[str, ...], dict[str, list[Tensor]]] = {(): {}}
    for node in picture.nodes.values():
        if node.id in shown.of:
            rooms.setdefault(_loops(picture, node), {})[node.id] = shown.of[node.id]
    writer = _Writer(shown, rooms)
    try:
        writer.tunable = tunable(shown) if shown.outputs else set()
        code = writer.code((), [], [])
    except errors.TinyattnError as error:
        raise Unsuited(str(error).splitlines()[0]) from error
    numbers = np.concatenate([np.zeros(0), *writer.numbers])
    packed = base64.b64encode(numbers.astype("<f8").tobytes()).decode()
    return Program(code, writer.values, packed, writer.tuned)


def _loops(picture: Picture, node: Node) -> tuple[str, ...]:
    return tuple(ident for ident in node.path if picture.clusters[ident].kind == "scan")


@dataclass
class _Writer:
    shown: Shown
    rooms: dict[tuple[str, ...], dict[str, list[Tensor]]]
    """Loops around → the nodes in the innermost, and their values."""
    values: dict[str, tuple[list[int], list[int]]] = field(default_factory=dict)
    numbers: list[np.ndarray] = field(default_factory=list)
    tunable: set[Tensor] = field(default_factory=set)
    tuned: dict[str, list[int]] = field(default_factory=dict)
    count: int = 0
    made: int = 0
    work: int = 0

    def code(self, room: tuple[str, ...], arguments: Sequence[Tensor], roots: list[Tensor],
             around: Sequence[int] = (), times: int = 1, asked: list | None = None) -> list:  # fmt: skip
        """Instructions for ``roots`` and for all nodes of a room; ``asked``: where to put the places of the roots."""
        wanted = self.rooms.get(room, {})
        inner = [other for other in self.rooms if other[: len(room)] == room and len(other) > len(room)]
        loops = list(dict.fromkeys(other[len(room)] for other in inner))
        scans = [_an_output(self.shown.loops[loop]) for loop in loops]
        tensors = [t for parts in wanted.values() for t in parts]
        opened = self._opened([*roots, *tensors, *scans])
        loop_of = {
            t.inputs[0]: loop for t, loop in zip(opened[len(opened) - len(loops) :], loops, strict=True)
        }
        places: dict[Tensor, int] = {}
        code: list = []
        stacks: dict[Tensor, list[Tensor]] = {}
        order = topological([*opened, *arguments])
        for node in order:
            if (
                node.op.name == "output"
                and node.inputs[0].op.name == "scan"
                and node.attrs["key"][0] == "stack"
            ):
                stacks.setdefault(node.inputs[0], []).append(node.attrs["key"][1])
        for node in order:
            places[node] = len(code)
            code.append(self._instruction(node, [places[s] for s in node.inputs], times, stacks))
            if node.op.name == "scan":
                inside = (*room, loop_of[node]) if node in loop_of else (*room, "")
                code[-1] = self._scan(
                    node, code[-1][1], inside, [*around, places[node]], times, stacks.get(node, [])
                )
        found = iter(opened)
        if asked is not None:
            asked += [places[next(found)] for _ in roots]
            asked += [places[argument] for argument in arguments]
        else:
            found = iter(opened[len(roots) :])
        for ident, parts in wanted.items():
            self.values[ident] = list(around), [places[next(found)] for _ in parts]
            tuned = [
                places[c]
                for part in parts
                for x in part.inputs
                if (c := _constant(x)) in self.tunable and c in places
            ]
            if tuned and not room:
                self.tuned[ident] = list(dict.fromkeys(tuned))
        return code

    def _opened(self, roots: list[Tensor]) -> list[Tensor]:
        """``roots`` without variables that stand for others, and without hand-derived operations."""
        while not self.shown.stands.keys().isdisjoint(topological(roots)):
            roots = substitute(roots, self.shown.stands)
        return open_definitions(roots, lambda node: node.op.definition is not None)

    def _instruction(self, node: Tensor, operands: list[int], times: int, stacks) -> list:
        kind = node.dtype.kind if node.dtype is not None else "f"
        size = node.size if node.dtype is not None else 0
        self.made += size * times
        if node.op.name == "matmul":
            self.work += size * times * node.inputs[0].shape[-1]
        if self.made > LARGEST or self.work > SLOWEST:
            raise Unsuited("its values are too many for a page to compute")
        shape = list(node.shape) if node.dtype is not None else []
        if node.storage is not None or node.op.name in ("constant", "uniform"):
            (array,) = reference.evaluate([node])
            self.numbers.append(np.asarray(array, np.float64).ravel())
            self.count += array.size
            return ["leaf", [], shape, _KINDS[kind], {"at": self.count - array.size}]
        if node.op.name == "argument":
            return ["argument", [], shape, _KINDS[kind], {}]
        if node.op.name == "output":
            which, what = node.attrs["key"]
            if which == "stack":
                what = next(k for k, value in enumerate(stacks[node.inputs[0]]) if value is what)
            return ["output", operands, shape, _KINDS[kind], {"key": [which, what]}]
        if node.op.name == "input":
            raise Unsuited(f"{node.name or 'an input'} has no value before the function is called")
        if node.op.name not in ELEMENTARY and node.op.name != "scan":
            raise Unsuited(f"a page does not compute {node.op.name.replace('_', ' ')}")
        attrs = {key: _plain(value) for key, value in node.attrs.items()} if node.op.name != "scan" else {}
        return [node.op.name, operands, shape, _KINDS[kind], attrs]

    def _scan(self, node: Tensor, operands: list[int], room, around: list[int], times: int, stacked) -> list:
        body, length = node.attrs["body"], node.attrs["length"]
        roots, asked = [*body.outputs, *stacked], []  # type: ignore[var-annotated]
        code = self.code(room, body.arguments, roots, around, times * length, asked)
        n = len(body.outputs)
        attrs = {name: node.attrs[name] for name in ("length", "carries", "sequences", "reverse")}
        attrs |= {
            "body": code,
            "next": asked[:n],
            "stacks": asked[n : len(roots)],
            "arguments": asked[len(roots) :],
        }
        return ["scan", operands, [], "f", attrs]


def _constant(x: Tensor) -> Tensor:
    """What a number that stands for a whole array is made of."""
    while x.op.name in ("broadcast_to", "reshape") and x.inputs[0].size == 1:
        x = x.inputs[0]
    return x


def _an_output(scan: Tensor) -> Tensor:
    """Something that leads to a loop also after it has been rebuilt."""
    return output(scan, ("final", 0) if scan.attrs["carries"] else ("stack", scan.attrs["body"].outputs[0]))


_KINDS = {"f": "f", "i": "i", "u": "i", "b": "b"}


def _plain(value) -> Any:
    """An attribute as JSON has it."""
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, (bool, int, float, str)) else None
