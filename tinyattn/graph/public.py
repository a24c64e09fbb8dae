"""Public functions: what users see as ``ta.name``.

Each is declared where it is defined, with the point at which ``tinyattn gradcheck`` compares its derivative with
finite differences, or the reason why it has none:

    @public(at(real(3, 4)), at(real(3, 4), axis=0))
    def softmax(x, axis: int = -1, mask=None): ...

Arguments that aren't tensors are checked against the annotation: each function says in its signature what it wants,
``scale: float | None``, ``is_causal: bool``, ``approximate: str``. A mistake is told in a sentence wherever it is
made, and no function spends lines on it. Parameters without annotation are tensors or have a check of their own
(shapes, axes).
"""

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

import numpy as np

from tinyattn import errors
from tinyattn.graph.hints import renamed
from tinyattn.graph.point import Point
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import as_integer, fail

F = TypeVar("F", bound=Callable)

PUBLIC: dict[str, Callable] = {}
"""The functions by name, with a look at their arguments."""
POINTS: dict[str, tuple[Callable, tuple[Point, ...]]] = {}
"""Where the derivative of each function is checked."""
CONSTANT: dict[str, str] = {}
"""Why other functions have no derivative to check."""


def public(*points: Point, name: str = "", constant: str = "") -> Callable[[F], F]:
    """Declare a public function (``name``, if it isn't its own), smooth at ``points``, or ``constant`` for the reason
    given. The function itself stays as it is: what the package calls isn't checked again.
    """
    if bool(points) == bool(constant):
        raise ValueError(
            "a public function has points at which its derivative is checked, or a reason why not"
        )

    def declare(function: F) -> F:
        called = name or function.__name__
        if called in PUBLIC:
            raise ValueError(f"function {called} is declared twice")
        PUBLIC[called] = check_arguments(called, function)
        if constant:
            CONSTANT[called] = constant
        else:
            POINTS[called] = function, points
        return function

    return declare


_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "a string", Tensor: "a tensor"}
_ACCEPTED = {
    bool: (bool, np.bool_),
    float: (int, float, np.integer, np.floating),
    str: (str,),
    Tensor: (Tensor,),
}


def _plain(annotation) -> tuple[type, ...] | None:
    """The kinds that an annotation allows (None counts), if it allows only kinds that are checked here."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    kinds = typing.get_args(annotation) if union else (annotation,)
    return kinds if all(k in _WORDS or k is type(None) for k in kinds) and kinds != (Tensor,) else None


_MAY_BE_NAN = {("pad", "value")}


def _wrong(value, kinds: tuple[type, ...], nan: bool) -> bool:
    if value is None:
        return type(None) not in kinds
    if isinstance(value, (bool, np.bool_)):
        return bool not in kinds
    if isinstance(value, (float, np.floating)) and math.isnan(value):
        return not nan
    return not any(isinstance(value, _ACCEPTED[k]) for k in kinds if k in _ACCEPTED) and not (
        int in kinds and as_integer(value) is not None
    )


def _check(op: str, rules: Mapping[str, tuple[type, ...]], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in rules and _wrong(value, rules[name], (op, name) in _MAY_BE_NAN):
            words = ["None" if k is type(None) else _WORDS[k] for k in rules[name]]
            fail(errors.DTypeError, op, f"{name} must be {' or '.join(words)}", f"got {value!r}")


def check_arguments(op: str, function: Callable) -> Callable:
    """``function``, with a look at its plain arguments and the names of its arguments first;
    ``function`` itself if it has one at most.
    """
    signature = inspect.signature(function, eval_str=True)
    own = ("axis", "axes")  # checked where the number of axes is known
    rules = {name: _plain(p.annotation) for name, p in signature.parameters.items() if name not in own}
    plain = {name: kinds for name, kinds in rules.items() if kinds is not None}
    names = tuple(signature.parameters)
    if len(names) < 2 or any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        return function

    @functools.wraps(function)
    def call(*args, **attrs):
        if attrs and not attrs.keys() <= known:
            _unknown(op, names, next(name for name in attrs if name not in known))
        if plain:
            _check(op, plain, {**dict(zip(names, args, strict=False)), **attrs})
        if whole:
            first = [_integer(v) if n in whole else v for n, v in zip(names, args, strict=False)]
            args = (*first, *args[len(names) :])
            attrs = {n: _integer(v) if n in whole else v for n, v in attrs.items()}
        return function(*args, **attrs)

    known = frozenset(names)
    whole = {name for name, kinds in plain.items() if int in kinds}
    return call


def _integer(value):
    """An integer of NumPy, or anybody's, as one of Python."""
    whole = as_integer(value) if type(value) not in (int, float, str, bool) else None
    return value if whole is None else whole


def _unknown(op: str, names: tuple[str, ...], got: str) -> NoReturn:
    """Refuse an argument by a name that there isn't."""
    here = renamed(got, names)
    must = f"the arguments must be {', '.join(names)}"
    fail(errors.DTypeError, op, must, f"got {got}=", f"Write {here}= instead of {got}=." if here else "")
