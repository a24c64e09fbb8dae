"""What the files of a run must hold: one description each, which whoever reads them checks.

    METRICS     a line of metrics.jsonl
    CONFIG      config.toml; what the model, the task and the training know in it, their own classes say
    PROGRESS    how a run stands, in the metadata of a checkpoint
    RESULTS     results/results.json

Written here: a schema library is larger than all that it would check, and its sentences are not those of the house.
A description is a `Rule`, or a `Table` of named values, or a `Many` of equal ones.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tinyattn.errors import brief, near
from tinyattn.files import Source


@dataclass(frozen=True)
class Rule:
    """A single value: in words, what it must be, and how to see whether it is."""

    words: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True)
class Many:
    """A list of values that all fit one description."""

    each: "Description"


@dataclass(frozen=True)
class Table:
    """Values by name: those that must be there, those that may be, and others, which there are none of unless they are
    described.
    """

    needed: Mapping[str, "Description"] = field(default_factory=dict)
    optional: Mapping[str, "Description"] = field(default_factory=dict)
    others: "Description | None" = None


Description = Rule | Many | Table

ANYTHING = Rule("anything", lambda value: True)
TEXT = Rule("a text", lambda value: isinstance(value, str) and "\0" not in value)
FLAG = Rule("true or false", lambda value: isinstance(value, bool))
INTEGER = Rule("a whole number", lambda value: type(value) is int)
NATURAL = Rule("a whole number of at least 0", lambda value: type(value) is int and value >= 0)
NUMBER = Rule("a number", lambda value: type(value) in (int, float))
MEASURED = Rule("a number or null", lambda value: value is None or type(value) in (int, float))
TEXTS = Many(TEXT)

METRICS = Table({"step": NATURAL}, others=MEASURED)
CONFIG = Table(
    {
        "model": Table({"name": TEXT}, others=ANYTHING),
        "task": Table({"name": TEXT}, {"data": TEXT}, ANYTHING),
    },
    {"training": Table(others=ANYTHING), "run": Table({}, {"baseline": FLAG, "set": TEXTS})},
)
PROGRESS = Table(
    {},
    {
        "seconds": NUMBER, "validation": MEASURED, "best": MEASURED, "best_step": NATURAL,
        "window": Many(NUMBER),
    },
    ANYTHING,
)  # fmt: skip
SEEDS = Rule(
    "numbers by their seeds",
    lambda value: (
        isinstance(value, dict) and all(map(MEASURED.holds, value.values()))
        and all(name.isdecimal() and name.isascii() and len(name) < 20 for name in value)
    ),
)  # fmt: skip
RESULTS = Many(
    Table(
        {"model": TEXT, "task": TEXT, "metric": TEXT, "value": MEASURED, "seeds": SEEDS},
        {"steps": NATURAL, "command": TEXT, "target": MEASURED},
        ANYTHING,
    )
)


def like(value: Any) -> Description:
    """The description of values of the same type as a default; a number with a point may do without it."""
    if isinstance(value, (list, tuple)):
        return Many(like(value[0]) if value else ANYTHING)
    return {bool: FLAG, int: INTEGER, float: NUMBER, str: TEXT}.get(type(value), ANYTHING)


def check(source: Source, value: Any, description: Description, where: str = "", place: str = "") -> Any:
    """`value`, which was read from a file, if it fits. Raises the error of the source that names the first that
    doesn't. where: which part of the file it is (" in line 3"); place: its name in there ("run.set").
    """

    def refuse(must: str) -> None:
        source.refuse(f"hold {must}{f' as {place}' if place else ''}{where}", f"got {_shown(value)}")

    if isinstance(description, Rule):
        if not description.holds(value):
            refuse(description.words)
    elif isinstance(description, Many):
        if not isinstance(value, list):
            refuse("a list")
        for number, each in enumerate(value):
            check(source, each, description.each, where, f"{place}[{number}]")
    else:
        if not isinstance(value, dict):
            refuse("named values")
        known = {**description.needed, **description.optional}
        for name in description.needed:
            if name not in value:
                close = near(name, value.keys() - known.keys())
                got = f"got {_inside(place, close)}" if close else "it does not"
                source.refuse(f"hold {_inside(place, name)}{where}", got)
        for name, inner in value.items():
            of_it = known.get(name, description.others)
            if of_it is None:
                close = near(name, known.keys() - value.keys())
                hint = f": did you mean {close}?" if close else ""
                got = f"got {_inside(place, name)}{hint}"
                source.refuse(f"hold only names that are known{where}", got)
            else:
                check(source, inner, of_it, where, _inside(place, name))
    return value


def _inside(place: str, name: str) -> str:
    name = name if name.isidentifier() and len(name) < 60 else brief(name)
    return f"{place}.{name}" if place else name


def _shown(value: Any) -> str:
    """A value as JSON and TOML have it."""
    return json.dumps(value) if value is None or isinstance(value, bool) else brief(value)
