"""Arguments that aren't tensors: what users pass as a number, a flag or a name is checked against the annotation.

Each public operation says in its signature what it wants: ``scale: float | None``, ``is_causal: bool``,
``approximate: str``. :func:`checked` puts a look at the arguments before the call, so that a mistake is told in
a sentence wherever it is made, and no operation spends lines on it. Parameters without annotation are tensors
or have a check of their own (shapes, axes).
"""

import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinyattn import errors
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.types import fail

_WORDS = {bool: "True or False", int: "an integer", float: "a number", str: "a string", Tensor: "a tensor"}
_ACCEPTED = {
    bool: (bool, np.bool_),
    int: (int, np.integer),
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
    return not any(isinstance(value, _ACCEPTED[k]) for k in kinds if k in _ACCEPTED)


def _check(op: str, rules: Mapping[str, tuple[type, ...]], given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in rules and _wrong(value, rules[name], (op, name) in _MAY_BE_NAN):
            words = ["None" if k is type(None) else _WORDS[k] for k in rules[name]]
            fail(errors.DTypeError, op, f"{name} must be {' or '.join(words)}", f"{value!r} was got")


def checked(op: str, function: Callable) -> Callable:
    """``function``, with a look at its plain arguments first; ``function`` itself if it has none."""
    signature = inspect.signature(function, eval_str=True)
    own = ("axis", "axes")  # checked where the number of axes is known
    rules = {name: _plain(p.annotation) for name, p in signature.parameters.items() if name not in own}
    plain = {name: kinds for name, kinds in rules.items() if kinds is not None}
    if not plain:
        return function
    names = tuple(signature.parameters)

    @functools.wraps(function)
    def call(*args, **attrs):
        _check(op, plain, {**dict(zip(names, args, strict=False)), **attrs})
        return function(*args, **attrs)

    return call
