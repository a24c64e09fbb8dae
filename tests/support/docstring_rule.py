"""What the docstring of a public operation must say, held against the operation itself: it is called, and what it does
is looked for in its words.

Arguments: each is named. Shapes: ``x (B, T)`` and ``→ (B,)`` must fit the arrays of a call, letter by letter, or a
sentence about shapes must be true of it. Element types: what comes out of float32, float64, int64 and bool must be said in
a way of saying just that. Errors: every kind that a call with other shapes, or a row of the op table, ends in is named,
and no other. Source: paper and year, with the equation in the rooms of attention and memory.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from op_table import ROWS

import tinyattn as ta
from tinyattn.errors import TinyattnError
from tinyattn.graph.point import Numbers
from tinyattn.graph.public import POINTS, PUBLIC

TYPES = (np.float32, np.float64, np.int64, np.bool_)
ERRORS = re.compile(r"\b[A-Z]\w*Error\b")
ON_THE_PAGE = {"axis", "keepdims", "dtype"}
"""Arguments that the head of a page tells of, once for all of its operations."""
REFERENCE = re.compile(r"\b[Aa]s (?:for |in )?:(?:func|class):`(?:~?tinyattn\.)?(\w+)`")
SOURCE = re.compile(
    r"[A-Z][\w\-]+(?: et al\.?|,? [^.;()]{0,40}& [A-Z][\w\-]+| [a-z]+ [A-Z]\w+)?,? (?:19|20)\d\d"
)
PLACE = re.compile(r"\b(?:eqs?\.|equations?|section|appendix|algorithms?) ?[\dA-Z]")
TYPE_WORDS = {
    ("float32", "float64", "float32", "float32"): r"[Ii]ntegers and bools become float32",
    ("float32", "float64", "int64", "int64"): r"[Bb]ools count as int64|[Oo]f bools and integers int64",
    ("float32", "float64", "int64", "bool"): r"[Aa]ny element type|of the type of ``\w+``",
    ("bool",) * 4: r"\bbool\b",
    ("int64",) * 4: r"\bint64\b",
    ("float32", "float64", "DTypeError", "DTypeError"): r"floating-point",
    ("float32", "float64", "ShapeError", "ShapeError"): r"floating-point",
    ("float32", "float64", "DTypeError", "int64"): r"Of integers an integer",
}
"""What comes out of float32, float64, int64 and bool, and the ways to say so."""


@dataclass(frozen=True)
class Call:
    """A call of an operation by its parameters' names, with :class:`Numbers` for arrays."""

    function: Any
    given: Mapping[str, Any]

    def arguments(self, dtype=np.float32) -> dict[str, Any]:
        """The arguments, reals in ``dtype``; the same numbers every time."""
        generator = np.random.default_rng(0)
        return {k: _filled(v, generator, dtype) for k, v in self.given.items()}

    def run(self, dtype=np.float32, **changed):
        """The results: a list of Tensors."""
        bound = inspect.signature(self.function).bind_partial()
        bound.arguments |= self.arguments(dtype) | changed
        found = self.function(*bound.args, **bound.kwargs)
        return [y for y in (found if isinstance(found, (tuple, list)) else [found]) if y is not None]


def _filled(value, generator, dtype):
    if isinstance(value, (Numbers, np.ndarray)):
        array = value if isinstance(value, np.ndarray) else value.array(generator)
        if array.dtype.kind != "f":
            return array
        return (np.abs(array) > 0.5 if dtype == np.bool_ else array).astype(dtype)
    if isinstance(value, dict):
        return {k: _filled(v, generator, dtype) for k, v in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_filled(v, generator, dtype) for v in value)
    return value


def calls(name: str) -> Iterator[Call]:
    """Calls of an operation: at the points at which its derivative is checked, or the samples of its row."""
    function = PUBLIC[name]
    samples = [(s.inputs, s.attrs) for row in ROWS if row.name == name for s in row.samples if s.size]
    for given, options in [(p.arguments, p.options) for p in POINTS.get(name, ((), ()))[1]] or samples:
        try:
            yield Call(function, inspect.signature(function).bind(*given, **options).arguments)
        except TypeError:  # (the row calls it in a way of its own)
            continue


def words(name: str) -> str:
    """The docstring of an operation, and those that it refers to."""
    said = flat(PUBLIC[name])
    return " ".join([said, *(flat(PUBLIC[n]) for n in REFERENCE.findall(said) if n in PUBLIC)])


def flat(value: Any) -> str:
    """A docstring on one line."""
    return " ".join((inspect.getdoc(value) or "").split())


def lacking(name: str, said: str | None = None) -> list[str]:
    """What the docstring of an operation doesn't say, or says wrongly."""
    said = words(name) if said is None else said
    found = list(calls(name))
    return [
        *_arguments(name, said),
        *_shapes(name, said, found),
        *_types(said, found),
        *_errors(name, said, found),
        *_source(name, said),
    ]


def _arguments(name: str, said: str) -> list[str]:
    names = set(inspect.signature(PUBLIC[name]).parameters) - ON_THE_PAGE - {"operands"}
    missing = sorted(n for n in names if not re.search(rf"\b{n}\b", said))
    return [f"arguments: {', '.join(missing)}"] if missing else []


# Shapes: letters stand for sizes.

_TIMES = re.compile(r"(?<=\d)(?=[A-Za-z])")
_SIZE = re.compile(r"…|\*?\w+['′]?(?: ?[+\-−·/] ?\w+['′]?)*")


def fits(dims: str, shape: tuple[int, ...], sizes: dict[str, int]) -> dict[str, int] | None:
    """The sizes of the letters of ``dims``, such as ``…, T, 2n``, if ``shape`` is of that form. ``…`` is any number of
    axes; an axis of size 1 broadcasts.
    """
    parts = [part.strip() for part in dims.split(",") if part.strip()]
    return _match(parts, shape, sizes) if all(_SIZE.fullmatch(part) for part in parts) else None


def _match(parts: list[str], shape: tuple[int, ...], sizes: dict[str, int]) -> dict[str, int] | None:
    if not parts:
        return None if shape else sizes
    if parts[0] == "…":
        tails = (_match(parts[1:], shape[k:], sizes) for k in range(len(shape) + 1))
        return next((found for found in tails if found is not None), None)
    if not shape:
        return None
    known = _sized(parts[0], shape[0], sizes)
    return None if known is None else _match(parts[1:], shape[1:], known)


def _sized(part: str, size: int, sizes: dict[str, int]) -> dict[str, int] | None:
    """The sizes with that of one axis; None if it has another."""
    letter = re.fullmatch(r"(\d*)([^\W\d]\w*)", part)
    if letter and letter[2] not in sizes:
        count = int(letter[1] or 1)
        return None if size % count else sizes | {letter[2]: size // count}
    text = _TIMES.sub("*", part.replace("·", "*").replace("−", "-"))
    try:
        return sizes if size in (eval(text, {}, dict(sizes)), 1) else None
    except (NameError, SyntaxError):  # (a size that is computed otherwise, such as H')
        return sizes


def _said(before: str, said: str) -> list[str]:
    """The dimensions that are written behind a word: ``x (N, C)``, ``weight, bias: (C,)``, ``x (N, C) or (N, C, L)``."""
    one = r"\([^()=]*\)"
    places = re.finditer(rf"{before}[^().;→]{{0,30}}({one}(?:,? (?:or )?{one})*)", said)
    return [dims for place in places for dims in re.findall(r"\(([^()]*)\)", place[1])]


def _axes(call: Call, x: np.ndarray) -> tuple[int, ...]:
    """Of a reduction: the shape of its result, by NumPy."""
    given = call.arguments()
    axis = given.get("axis", inspect.signature(call.function).parameters["axis"].default)
    return np.sum(x, axis=axis, keepdims=given.get("keepdims", False)).shape


SENTENCES = {
    r"shapes broadcast": lambda call, arrays: np.broadcast_shapes(*(a.shape for a in arrays)),
    r"[Ss]ame shape|[Ee]lement by element": lambda call, arrays: arrays[0].shape,
    r"[Oo]f any shape, which the result has": lambda call, arrays: (
        arrays[0].shape if len(arrays) == 1 else None
    ),
    r"over ``axis``": lambda call, arrays: _axes(call, arrays[0]),
    r"→ ``shape``|Of ``shape``": lambda call, arrays: np.broadcast_shapes(call.arguments()["shape"]),
}
"""Ways to speak of the shape of a result without letters, and the shape that they mean."""


def _shapes(name: str, said: str, found: list[Call]) -> list[str]:
    for call in found:
        given = call.arguments()
        arrays = {k: v for k, v in given.items() if isinstance(v, np.ndarray)}
        listed = [v for k in given for v in _listed(given[k])]
        result = call.run()[0].shape
        for sentence, shape in SENTENCES.items():
            if re.search(sentence, said) and shape(call, listed) == result:
                return []
        sizes: dict[str, int] = {}
        wrong = []
        for key, array in arrays.items():
            forms = _said(rf"\b{key}\b", said)
            fitting = [f for f in (fits(form, array.shape, sizes) for form in forms) if f is not None]
            if not fitting:
                wrong.append(f"shapes: {key} is {array.shape}, said: {forms}")
                continue
            sizes |= fitting[0]
        forms = _said("→", said)
        if not any(fits(form, result, sizes) is not None for form in forms):
            wrong.append(f"shapes: the result is {result}, said: {forms}")
        if not wrong:
            return []
    return wrong if found else []


def _listed(value) -> list[np.ndarray]:
    if isinstance(value, np.ndarray):
        return [value]
    return [a for v in value for a in _listed(v)] if isinstance(value, (tuple, list)) else []


# Element types, errors, source.


def outcomes(call: Call) -> tuple[str, ...]:
    """The element type that comes of each of TYPES, or the error."""
    found = []
    for dtype in TYPES:
        try:
            found.append(str(call.run(dtype)[0].dtype))
        except TinyattnError as error:
            found.append(type(error).__name__)
    return tuple(found)


def _types(said: str, found: list[Call]) -> list[str]:
    ways = [outcomes(call) for call in found]
    asked = any("dtype" in inspect.signature(call.function).parameters for call in found)
    for way in ways:
        if (
            re.search(TYPE_WORDS.get(way, "(?!)"), said)
            or asked
            and len(set(way)) == 1
            and "``dtype``" in said
        ):
            return []
    return [f"types: {dict(zip((np.dtype(t).name for t in TYPES), way, strict=True))}" for way in ways[:1]]


def _errors(name: str, said: str, found: list[Call]) -> list[str]:
    texts = [(kind.__name__, text) for row in ROWS if row.name == name for _, kind, text in row.errors]
    raised = {kind for kind, text in texts if not OF_ANOTHER_KIND.search(text)}
    for call in found[:2]:
        raised |= {_error(partial(call.run, **other)) for other in _changed(call, _other_shapes)}
        raised |= {outcome for outcome in outcomes(call) if outcome.endswith("Error")}
    raised = (raised | {_error(lambda: wrong().numpy()) for wrong in WRONG.get(name, ())}) - {""}
    named = set(ERRORS.findall(said))
    could = raised | {kind for kind, _ in texts} | {"DTypeError" for call in found if _refuses_letters(call)}
    return [
        *(f"errors: {kind} isn't named" for kind in sorted(raised - named)),
        *(f"errors: {kind} was never raised" for kind in sorted(named - could)),
    ]


def _error(action: Callable) -> str:
    """The name of the error in which an action ends, or nothing."""
    try:
        action()
    except TinyattnError as error:
        return type(error).__name__
    return ""


def _refuses_letters(call: Call) -> bool:
    return any(
        _error(partial(call.run, **other)) for other in _changed(call, lambda array: [np.array(["a"])])
    )


def _changed(call: Call, others: Callable) -> Iterator[dict]:
    """Arguments in which one array is another."""
    for key, value in call.arguments().items():
        if isinstance(value, np.ndarray):
            yield from ({key: other} for other in others(value))
        elif isinstance(value, tuple) and value and isinstance(value[0], np.ndarray):
            yield from ({key: (other, *value[1:])} for other in others(value[0]))


OF_ANOTHER_KIND = re.compile(
    r"must be (numbers of type|a number|an integer|True or False|a string|the arguments)"
)
"""Errors that say that an argument isn't of the kind that the signature says: the head of each page speaks of them."""
_BOOLS = ta.tensor([True, False]), ta.tensor([True, False, True])
WRONG: dict[str, list[Callable]] = {
    "logical_and": [lambda: ta.logical_and(*_BOOLS)],
    "logical_or": [lambda: ta.logical_or(*_BOOLS)],
    "logical_xor": [lambda: ta.logical_xor(*_BOOLS)],
    "zeros": [lambda: ta.zeros(-1)],
    "ones": [lambda: ta.ones(-1)],
    "full": [lambda: ta.full(-1, 1.0)],
    "random_uniform": [lambda: ta.random_uniform(-1), lambda: ta.random_uniform(2, dtype=np.int64)],
    "random_normal": [lambda: ta.random_normal(-1), lambda: ta.random_normal(2, dtype=np.int64)],
    "one_hot": [lambda: ta.one_hot([3], 3)],
}
"""Calls that end in an error that no other shape and no row of the op table ends in."""


def _other_shapes(array: np.ndarray) -> list[np.ndarray]:
    """With a longer last axis, without axes, with one more."""
    longer = [np.concatenate([array, array[..., :1]], -1)] if array.ndim else []
    return [*longer, np.zeros((), array.dtype), np.stack([array] * 7)]


def _source(name: str, said: str) -> list[str]:
    room = PUBLIC[name].__module__.rpartition(".")[0].removeprefix("tinyattn.ops.")
    if room == "arrays" or "torch" in said:
        return []
    found = [] if SOURCE.search(said) else ["source: no paper"]
    if room in ("attention", "memory") and not PLACE.search(said):
        found.append("source: no equation")
    return found
