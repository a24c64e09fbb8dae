"""Compiled functions: trace once for each input signature, then one native call a step.

``@ta.function`` calls the Python function with traced inputs; what it returns, and every update that
optimizers ask for on the way, become one graph, one program. Arrays (and Tensors) among the arguments, in
any tree of tuples, lists and dicts, are inputs; Python floats are inputs too (float32 scalars); integers,
bools, strings and None are part of the signature, so another value means another trace. Leaves are read and
updated where they are; a NumPy array that the function closes over is a constant, copied when it is traced.
"""

import functools
import inspect
import itertools
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinyattn import errors
from tinyattn.graph import leaf, prints, scope, trace
from tinyattn.graph.leaf import placeholder
from tinyattn.graph.tensor import Tensor
from tinyattn.graph.trees import flatten
from tinyattn.graph.types import SHORT, Type, as_array, fail
from tinyattn.runtime.evaluate import evaluate
from tinyattn.runtime.program import Program
from tinyattn.runtime.retrace import changing

if TYPE_CHECKING:
    from tinyattn.runtime.profile import Profile


def _is_input(value) -> bool:
    return isinstance(value, (np.ndarray, np.generic, Tensor, float)) and not isinstance(
        value, (bool, np.bool_)
    )


def _split(tree, arrays: list[np.ndarray]):
    """Collect the arrays of an argument tree; return its signature: the tree with types in their place."""
    if type(tree) is np.ndarray and tree.dtype in SHORT:
        arrays.append(tree)
        return Type(tree.shape, tree.dtype)
    if isinstance(tree, dict):
        return ("dict", tuple((key, _split(value, arrays)) for key, value in tree.items()))
    if isinstance(tree, (tuple, list)):
        return (type(tree), tuple([_split(value, arrays) for value in tree]))
    if _is_input(tree):
        array = (
            evaluate(tree)
            if isinstance(tree, Tensor)
            else as_array(np.float32(tree) if type(tree) is float else tree)
        )
        if array.dtype not in SHORT:
            fail(
                errors.DTypeError,
                "function",
                "arguments must be float32, float64, int32, int64 or bool arrays",
                f"got an array of {array.dtype}",
                "Convert it with astype.",
            )
        arrays.append(array)
        return Type(array.shape, array.dtype)
    try:
        hash(tree)
    except TypeError:
        fail(
            errors.DTypeError,
            "function",
            "arguments must be arrays, Tensors, numbers, strings, None, or trees of them",
            f"got {type(tree).__name__}",
            "Close over other objects instead of passing them.",
        )
    return ("static", (type(tree), tree))  # with its type, because True == 1


_NO_KEYWORDS = ("dict", ())


def _rebuild(signature, leaves):
    if isinstance(signature, Type):
        return next(leaves)
    kind, value = signature
    if kind == "static":
        return value[1]
    if kind == "dict":
        return {key: _rebuild(part, leaves) for key, part in value}
    built = [_rebuild(part, leaves) for part in value]
    return kind(*built) if hasattr(kind, "_fields") else kind(built)


def _types(signature):
    if isinstance(signature, Type):
        yield signature
    elif signature[0] == "dict":
        for _, part in signature[1]:
            yield from _types(part)
    elif signature[0] != "static":
        for part in signature[1]:
            yield from _types(part)


PROGRAMS = 128
"""Programs that a function keeps."""
RETRACES = 8
"""Traces after the first one that are worth a warning."""


class Compiled:
    """One signature of a function: its graph and its program."""

    used = 0
    """When it was last called, by the clock of its function."""

    def __init__(self, fn: Callable, signature, told: Callable[[int], None] | None):
        self.inputs = [placeholder(kind, f"input{k}") for k, kind in enumerate(_types(signature))]
        args, kwargs = _rebuild(signature, iter(self.inputs))
        self.conversions = len(leaf.conversions)
        self.result, record = trace.record(fn, args, kwargs)
        self.age = leaf.now()
        trace.check_reads(record)
        self.outputs = flatten(self.result)
        self.printed = record.printed
        self.updates = record.updates
        self.guards = record.guards
        printed = [x for _, x in record.printed]
        self.program = Program([*self.outputs, *printed], self.inputs, self.updates, told=told)

    def outdated(self) -> bool:
        """Whether a leaf that the trace may have seen has got another element type: any that there was by then, as
        Python may have asked for its type alone.
        """
        later = leaf.conversions[self.conversions :]
        if later and min(later) < self.age:
            return True
        self.conversions += len(later)
        return False

    def holds(self) -> bool:
        """Whether what Python saw in the trace (types of leaves, training mode, values of leaves) is still the same."""
        if self.conversions != len(leaf.conversions) and self.outdated():
            return False
        for thing, name, value in self.guards:
            if getattr(thing, name) != value:
                return False
        return True

    def __call__(self, arrays: list[np.ndarray], out=None):
        given = None
        if out is not None:
            given = [*_alongside(self.result, out), *(None for _ in self.printed)]
        values = self.program.run(arrays, given)
        if self.printed:
            prints.show(zip((label for label, _ in self.printed), values[len(self.outputs) :], strict=True))
        return unflatten_arrays(self.result, iter(values))


def _alongside(result, out):
    """For each Tensor of a traced result, the array that ``out``, a tree of the same form, has for it (None for a new
    one).
    """
    if isinstance(result, dict) and isinstance(out, dict) and list(result) == list(out):
        return [given for key in result for given in _alongside(result[key], out[key])]
    several = isinstance(result, (tuple, list))
    if several and isinstance(out, (tuple, list)) and len(result) == len(out):
        return [given for part, other in zip(result, out, strict=True) for given in _alongside(part, other)]
    if out is None:
        return [None] * len(flatten(result))
    if several or result is None or isinstance(result, dict):
        must = "out must be a tree of arrays like the one that the function returns"
        form = f"{type(out).__name__} instead of {type(result).__name__}"
        fail(errors.ShapeError, "function", must, f"got {form}")
    return [out]


def unflatten_arrays(tree, arrays):
    """The tree a traced function returned, with arrays in the place of Tensors (NumPy scalars in the place
    of 0-d ones).
    """
    if isinstance(tree, dict):
        return {key: unflatten_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, (tuple, list)):
        built = [unflatten_arrays(value, arrays) for value in tree]
        return type(tree)(*built) if hasattr(tree, "_fields") else type(tree)(built)
    if tree is None:
        return None
    array = next(arrays)
    return array if array.ndim else array[()]


def _names(fn: Callable) -> list[str]:
    """Names of a function's parameters."""
    try:
        return list(inspect.signature(fn).parameters)
    except (TypeError, ValueError):
        return []


class Function:
    """``fn``, a Python function, compiled for each signature of its arguments. Call it with arrays; it returns new
    arrays. With ``out=``, an array or a tree of arrays like what the function returns (None where a new array is
    wanted), results are written there, unless the function has a parameter of that name itself. ``told``: who is told
    of each result (see ``tinyattn/runtime/announce.py``).
    """

    def __init__(self, fn: Callable, told: Callable[[int], None] | None = None):
        self.fn, self._told = fn, told
        self._compiled: dict[Any, list[Compiled]] = {}
        self._clock = itertools.count()
        self._traces: list[
            tuple[Any, list]
        ] = []  # signature and guards of the first traces, until there is a warning
        self._names = _names(fn)
        self._takes_out = "out" in self._names
        functools.update_wrapper(self, fn)

    def _find(self, args, kwargs) -> tuple[Compiled, list[np.ndarray]]:
        arrays: list[np.ndarray] = []
        signature = (tuple, (_split(args, arrays), _split(kwargs, arrays) if kwargs else _NO_KEYWORDS))
        for entry in self._compiled.get(signature, ()):
            if entry.holds():
                entry.used = next(self._clock)
                return entry, arrays
        entry = Compiled(self.fn, signature, self._told)
        entry.used = next(self._clock)
        self._compiled.setdefault(signature, []).append(entry)
        self._drop()
        self._warn(signature, entry)
        return entry, arrays

    def _drop(self) -> None:
        """Keep no programs that can't be used any more, and no more than so many of the others, the last ones used."""
        entries = [(entry, key) for key, group in list(self._compiled.items()) for entry in group]
        useless = [(entry, key) for entry, key in entries if entry.outdated()]
        if useless:  # the user asked for new ones: what comes is counted from the beginning
            self._traces = self._traces if len(self._traces) > RETRACES else []
        elif len(entries) > PROGRAMS:
            useless = [min(entries, key=lambda item: item[0].used)]
        for entry, key in useless:
            group = [other for other in self._compiled.pop(key, ()) if other is not entry]
            if group:
                self._compiled[key] = group

    def _warn(self, signature, entry: Compiled) -> None:
        """Say once that the function is traced again and again. (Who uses a model of ours can't change that.)"""
        if len(self._traces) > RETRACES or str(getattr(self.fn, "__module__", "")).startswith("tinyattn."):
            return
        self._traces.append((signature, entry.guards))
        if len(self._traces) > RETRACES:
            signatures, guards = zip(*self._traces, strict=True)
            why = changing(signatures, guards, self._names)
            name = getattr(self.fn, "__name__", type(self.fn).__name__)
            text = f"[function] {name!r} was traced {RETRACES + 1} times, because {why}.\n  at {scope.user_line()}"
            warnings.warn(text, RuntimeWarning, stacklevel=4)
            self._traces = [(None, [])] * (RETRACES + 1)

    def __call__(self, *args, **kwargs):
        out = None if self._takes_out else kwargs.pop("out", None)
        if (
            trace.current() is not None or scope.state.built is not None
        ):  # in what is traced: part of its graph
            if out is not None:
                must = "out must be left out where another function or loop is traced"
                fail(errors.TinyattnError, "function", must, f"got {type(out).__name__}")
            return self.fn(*args, **kwargs)
        entry, arrays = self._find(args, kwargs)
        return entry(arrays, out)

    def program(self, *args, **kwargs) -> Program:
        """The program for arguments like these (compiled if need be, not run)."""
        return self._find(args, kwargs)[0].program

    def profile(self, *args, steps: int = 10, **kwargs) -> "Profile":
        """Where the time of a step with these arguments goes: runs some steps, and leaves all leaves as they
        were. (``steps`` is not passed on.)
        """
        entry, arrays = self._find(args, kwargs)
        return entry.program.profile(arrays, steps)

    def graph(self, *args, **kwargs) -> Compiled:
        """The traced graph for arguments like these: ``.inputs``, ``.outputs``, ``.updates``."""
        return self._find(args, kwargs)[0]

    def __get__(self, instance, owner):
        return self if instance is None else functools.partial(self, instance)


def function(fn: Callable) -> Function:
    """Compile ``fn``: one native program for each input signature. See the module's docstring for what
    counts as an input.
    """
    return Function(fn)
