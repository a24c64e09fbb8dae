"""The house has floors: a file imports from its own floor and from those below, and no two files import each other, not
even lazily, inside a function or by name.
"""

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import tinyattn

PACKAGE = Path(tinyattn.__file__).parent
FLOORS = {
    "environment": 0, "errors": 0, "files": 0, "formats": 0, "lookup": 0, "markup": 0, "sections": 0, "ranks": 0,
    "tasks": 1, "kernels": 2, "graph": 3, "rewrite": 4, "runtime": 4, "ops": 5, "distributed": 6, "api": 6, "nn": 7, "train": 8,
    "models": 9, "viz": 10, "experiments": 11, "cli": 12, "__main__": 13,
}  # fmt: skip
"""Rooms, and the files beside them, from the lowest floor upwards. ``tinyattn`` itself is the door: whoever writes
``ta.name`` imports the file in which the name is."""


def _name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {_name(path): path for path in PACKAGE.rglob("*.py")}


def _behind(attribute):
    """The file in which ``ta.attribute`` is."""
    if attribute in tinyattn._MODULES:
        return tinyattn._MODULES[attribute]
    return tinyattn._ELSEWHERE.get(attribute, "tinyattn.api")


def _imports(source):
    """Names of the modules of the package that a file imports, anywhere; what only type checkers see doesn't count."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    door = set()  # what the file calls the package
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if node.module == "tinyattn" and inner not in FILES:
                    inner = _behind(alias.name)
                found.add(inner if inner in FILES else node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            door |= {alias.asname or "tinyattn" for alias in node.names if alias.name == "tinyattn"}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found.add(node.value)  # for importlib
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in door:
            found.add(_behind(node.attr))
    return {name for name in found if name in FILES} - {"tinyattn"}


IMPORTS = {name: _imports(path.read_text("utf-8")) for name, path in FILES.items() if name != "tinyattn"}


def _floor(name):
    return FLOORS[name.split(".")[1]]


def test_every_room_has_a_floor():
    assert {name.split(".")[1] for name in IMPORTS} == set(FLOORS)


def test_no_import_goes_up():
    upwards = [
        (name, other)
        for name, others in IMPORTS.items()
        for other in sorted(others)
        if _floor(other) > _floor(name)
    ]
    assert upwards == []


def test_tasks_lie_beside_the_engine():
    users = {name.split(".")[1] for name, others in IMPORTS.items() for other in others if ".tasks" in other}
    assert users <= {"tasks", "models", "viz", "experiments", "cli"}


def _circles(imports):
    """Modules that are left when those that import no other ones are taken away, again and again."""
    left = {name: set(others) - {name} for name, others in imports.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    while unused := {name for name in left if not any(name in others for others in left.values())}:
        left = {name: others for name, others in left.items() if name not in unused}
    return left


def test_no_import_comes_back():
    assert _circles(IMPORTS) == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from tinyattn.graph import leaf", {"tinyattn.graph.leaf"}),
        ("from tinyattn.graph.leaf import tensor", {"tinyattn.graph.leaf"}),
        ("def f():\n    import tinyattn.viz.draw_not_there, tinyattn.viz", {"tinyattn.viz"}),
        ("importlib.import_module('tinyattn.runtime.evaluate')", {"tinyattn.runtime.evaluate"}),
        ("import tinyattn as ta\nta.viz.draw(ta.tensor(1))", {"tinyattn.viz", "tinyattn.api"}),
        ("def f():\n    import tinyattn\n    tinyattn.show(1)", {"tinyattn.viz.mathematics"}),
        ("from tinyattn import show, nn", {"tinyattn.viz.mathematics", "tinyattn.nn"}),
        ("if TYPE_CHECKING:\n    from tinyattn.graph.leaf import Storage", set()),
        ("import numpy\n'tinyattn'", set()),
    ],
)
def test_imports_are_found_wherever_they_stand(source, found):
    assert _imports(source) == found


def test_circles_are_found():
    assert _circles({"a": {"b"}, "b": {"c", "a"}, "c": set(), "d": {"a"}}) == {"a": {"b"}, "b": {"a", "c"}}
    assert _circles({"a": {"b"}, "b": {"c"}, "c": set()}) == {}


def test_what_one_writes_behind_the_door_is_where_it_is_said_to_be():
    for name, module in tinyattn._ELSEWHERE.items():
        thing = getattr(importlib.import_module(module), name)
        assert inspect.getmodule(thing).__name__ == module
