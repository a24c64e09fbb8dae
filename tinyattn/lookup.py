"""From the name of a model or task to its class: those of the package by their names, users' own as
"file.py:Class". Nothing is imported before it is asked for.
"""

import importlib.util
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from tinyattn.errors import TinyattnError, near

SOME = 12
"""Names that an error lists."""


def find(what: str, name: str, known: Mapping[str, str], package: str, error: type[TinyattnError]) -> type:
    """The class called `name`: a key of the table, or a class in it.

    what: "model" or "task", for messages; known: name → "module:Class" within `package`. Raises `error`, with
    the nearest name, for one that there is none of, and for a file or class that cannot be had.
    """
    if ".py:" in name:
        return _own(what, name, error)
    by_class = {entry.partition(":")[2]: key for key, entry in known.items()}
    name = by_class.get(name, name)
    if name in known:
        module, _, attribute = known[name].partition(":")
        return getattr(import_module(f"{package}.{module}"), attribute)
    names = [*known]
    wanted = str(name).lower().replace("_", "-")
    close = wanted if wanted in known else near(wanted, names)
    suggestion = f"did you mean {close}?" if close else f"see `tinyattn {what}s`."
    some = (
        f"{', '.join(names[:SOME])} and {len(names) - SOME} more"
        if len(names) > SOME + 1
        else ", ".join(names)
    )
    raise error(f"[{what}s] the {what} must be one of {some}, but got {name!r}: {suggestion}")


def _own(what: str, name: str, error: type[TinyattnError]) -> type:
    """The class of a user's file."""
    file, _, attribute = name.rpartition(":")
    path = Path(os.path.realpath(os.path.expanduser(file)))
    if not path.is_file():
        raise error(f"[{what}s] {file} must be the file of a {what}, but there is no such file.")
    module_name = f"tinyattn_user_{path.stem}"
    module = sys.modules.get(module_name)
    if module is None or module.__file__ != str(path):
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None  # (it ends in .py)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        sys.path.insert(0, str(path.parent))  # as Python does for a script: its neighbours can be imported
        try:
            spec.loader.exec_module(module)
        except Exception as problem:
            del sys.modules[module_name]
            got = f"{type(problem).__name__}: {problem}"
            raise error(
                f"[{what}s] {file} must be Python that can be imported, but it raises {got}"
            ) from problem
        finally:
            sys.path.remove(str(path.parent))
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        own = (value for value in vars(module).values() if getattr(value, "__module__", "") == module_name)
        classes = [value.__name__ for value in own if isinstance(value, type)]
        got = f"it has {', '.join(classes)}" if classes else "it has no class"
        raise error(f"[{what}s] {file} must have a class {attribute or 'after the colon'}, but {got}.")
    return found


def reference(cls: type, known: Mapping[str, str]) -> str:
    """The name by which `find` finds a class again: its own, or file.py:Class. "" for one without a file."""
    for name, entry in known.items():
        where, _, attribute = entry.partition(":")
        if cls.__name__ == attribute and cls.__module__.endswith(f".{where}"):
            return name
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return f"{Path(file).resolve()}:{cls.__qualname__}" if file else ""
