"""Where a node comes from: the module path it was built in and the user's line of source.

Both are kept by derivatives and rewrites, so that a picture can be grouped by module and an error or a NaN
can name the line that caused it.
"""

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple, ParamSpec, TypeVar

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MODELS = _PACKAGE + "models" + os.sep
_EXPERIMENTS = _PACKAGE + "experiments" + os.sep
_BETWEEN = (functools.__file__, contextlib.__file__)
"""Python's own files that may stand between the user's line and ours."""
_GENERATED = "<string>"
"""The file that code made from a text says it is in: the `__init__` of a dataclass, or all that `python -c` runs. The
names around the latter have no file either."""


class Line(NamedTuple):
    """A place in source code."""

    file: str
    number: int

    def __str__(self) -> str:
        file = self.file
        with contextlib.suppress(OSError, ValueError):  # (the working directory is gone, or on another drive)
            if file.startswith(os.getcwd() + os.sep):
                file = os.path.relpath(file)
        return f"{file}:{self.number}"


class Call(str):
    """The name of a module in a module path, by which one call of it is told from another; ``kind`` is its class."""

    __slots__ = ("kind",)
    kind: str


class Holder(str):
    """The name of what holds the module that comes next in a module path, a list of layers, and isn't called itself."""

    __slots__ = ()


def call(path: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """The part of a module path that a call of the module at its end adds."""
    last = Call(path[-1])
    last.kind = kind
    return (*map(Holder, path[:-1]), last) if len(path) > 1 else (last,)


class _State(threading.local):
    def __init__(self) -> None:  # (once for each thread)
        self.scope: tuple[str, ...] = ()
        self.line: Line | None = None  # set while nodes are made on behalf of another one
        self.origin: Any = None  # the forward node that backward nodes belong to
        self.made: Any = None  # while a function is watched, the set of all nodes that it asks for
        self.trace: Any = None  # while a function is traced, its record (see trace.py)
        self.drawn: Any = None  # while the step of a loop or a checkpoint is traced, its random nodes
        self.printed: Any = None  # while the step of a loop is traced, (label, value) of what it prints
        self.built: Any = None  # while either is traced, what was made in it and may change, by identity


state = _State()
"""What this thread is at while it builds a graph."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def isolated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """``function``, after which ``state`` is what it was, however it ends. (Ctrl-C may be pressed just when things are
    about to be put back: so they are put back twice.)
    """

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        before = dict(vars(state))
        try:
            try:
                return function(*args, **kwargs)
            finally:
                vars(state).update(before)
        finally:
            vars(state).update(before)

    return call


@contextlib.contextmanager
def scope(name: str):
    """Nodes made inside belong to the module path extended by ``name``."""
    before = state.scope
    try:
        try:
            state.scope = before + (name,)
            yield
        finally:
            state.scope = before
    finally:
        state.scope = before


class on_behalf_of:  # (a class, because it is entered for every node that is rebuilt)
    """Nodes made inside take the scope and line of ``node``; ``origin`` marks them as the derivative of that
    node.
    """

    __slots__ = ("before", "node", "origin")

    def __init__(self, node, origin=None):
        self.node, self.origin = node, origin

    def __enter__(self) -> None:
        self.before = state.scope, state.line, state.origin
        state.scope, state.line = self.node.scope, self.node.line
        if self.origin is not None:
            state.origin = self.origin

    def __exit__(self, *exception) -> None:
        state.scope, state.line, state.origin = self.before


def user_line() -> Line | None:
    """The innermost line outside the package; failing that, or where an experiment runs a model of the package, the
    innermost line of that model.
    """
    if state.line is not None:
        return state.line
    frame: FrameType | None = sys._getframe(1)
    model = None
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_PACKAGE):
            generated = file == _GENERATED and "__file__" in frame.f_globals
            if not generated and not file.startswith("<frozen") and file not in _BETWEEN:
                return Line(file, frame.f_lineno)
        elif model is None and file.startswith(_MODELS):
            model = Line(file, frame.f_lineno)
        elif model is not None and file.startswith(_EXPERIMENTS):
            return model
        frame = frame.f_back
    return model
