"""What a trace collects besides its result: updates of leaves, and what Python saw.

While a function is traced, ``assign`` records "after the step this leaf holds that expression" instead of
doing it. Every read in the step sees the value from before the step. What would change state at once is refused:
it would happen in the trace alone, and at no call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from tinyattn import errors
from tinyattn.graph import scope
from tinyattn.graph.types import fail

if TYPE_CHECKING:
    from tinyattn.graph.leaf import Storage
    from tinyattn.graph.tensor import Tensor


@dataclass
class Trace:
    """Updates (leaf → new value) of one traced function, and how many random nodes it has."""

    updates: "dict[Tensor, Tensor]" = field(default_factory=dict)
    draws: int = 0
    guards: list[tuple[object, str, object]] = field(default_factory=list)
    """(object, attribute, value): Python state that the trace read; another value means another trace."""
    reads: "dict[Storage, str]" = field(default_factory=dict)
    """Leaves whose values Python saw while tracing (float, item, if), and the line that did."""
    printed: "list[tuple[str, Tensor]]" = field(default_factory=list)
    """(label, value): what is to be printed when the program has run."""


def current() -> Trace | None:
    """The trace being recorded, if any."""
    return scope.state.trace


@scope.isolated
def record(fn: Callable[..., Any], args: Any, kwargs: Any) -> tuple[Any, Trace]:
    """Call ``fn`` and collect what is traced inside: its result, and the record."""
    found = scope.state.trace = Trace()
    scope.state.built = {}
    return fn(*args, **kwargs), found


def assign(leaf: "Tensor", value: "Tensor") -> None:
    """``leaf`` holds ``value`` after this step: recorded while tracing, done at once otherwise. Raises ShapeError
    for a value of another shape or element type, TinyattnError for what is no leaf.
    """
    if getattr(leaf, "storage", None) is None:
        must = "only a leaf, made by ta.tensor or ta.parameter, can be given a value"
        fail(errors.TinyattnError, "assign", must, f"got {leaf!r}")
    kind = getattr(value, "type", None)
    if kind != leaf.type:
        must = f"a leaf of type {leaf.type} takes a Tensor of its own type"
        fail(errors.ShapeError, "assign", must, f"got {value!r}" if kind is None else f"got {kind}")
    record = current()
    if record is None or scope.state.printed is not None:
        leaf.assign(value)
    else:
        record.updates[leaf] = value


def withdraw() -> "dict[Tensor, Tensor]":
    """The updates that the trace has recorded so far, which are not to be done."""
    record = current()
    if record is None:
        return {}
    found, record.updates = record.updates, {}
    return found


def note_built(thing: object) -> None:
    """Note a module, or the memory of a leaf, that may be made while something is traced."""
    if scope.state.built is not None:
        scope.state.built[id(thing)] = thing


def check_change(thing: object, op: str, what: str) -> None:
    """The door that all pass who change state: refuse while a function or the step of a loop is traced, because that
    happens once, and calls and steps come often. What was made in the same trace may change.
    """
    built = scope.state.built
    if built is None or id(thing) in built:
        return
    if scope.state.printed is not None:
        must, hint = "the step of a loop must change nothing but its carry", "Take it into the carry."
    else:
        must = "a compiled function must not change what lasts, as it would do so once, when it is traced"
        hint = (
            "Write ta.assign(leaf, value), which changes it at each call."
            if op == "assign"
            else "Do it outside."
        )
    fail(errors.TinyattnError, op, must, f"got {what}", hint)


def guard(thing: object, attribute: str, value: object) -> None:
    """Note that the trace being recorded, if any, read a Python attribute."""
    record = current()
    if record is not None:
        record.guards.append((thing, attribute, value))


def read(leaf: "Tensor") -> None:
    """Note that Python sees the value of a leaf: the trace being recorded holds only for this value."""
    record = current()
    if record is not None and leaf.storage not in record.reads:
        record.reads[leaf.storage] = f"{leaf.name or 'a leaf'} at {scope.user_line()}"
        guard(leaf.storage, "version", leaf.storage.version)


def check_reads(record: Trace) -> None:
    """Refuse a function that updates a leaf whose value it saw while it was traced: the value would be frozen."""
    for leaf in record.updates:
        if leaf.storage in record.reads:
            must = "a compiled function must not read the value of a leaf that it updates"
            got = f"it reads {record.reads[leaf.storage]}"
            hint = "Choose with ta.where(condition, a, b), or return the value and look at it outside."
            fail(errors.TinyattnError, "function", must, got, hint)


def refuse_traced(op: str, node: "Tensor") -> NoReturn:
    """Say that ``node``, which belongs to a traced function or loop, is asked for its value, or used elsewhere."""
    fail(
        errors.TinyattnError,
        op,
        "a value can be had only outside of the function or loop that is being traced, and a Tensor of one must not be "
        "used in another",
        f"got {node!r}",
        "Return it from the function, or go on computing with it as a Tensor.",
    )
