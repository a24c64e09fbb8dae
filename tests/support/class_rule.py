"""What the docstrings of public names beside operations must say, held against them.

Arguments: each is named, in the docstring or in one that it refers to, and those of methods, too. Errors: those of ``wrong_calls.py``, no more and
no fewer; and what a function raises itself is named. Layers are made and called: every entry of the state dict has its
shape in the text, letter by letter, and so have what goes in and what comes out. Models name the paper, and the place in
it; of their batches they say shapes, which are those of the task's; and their settings are explained one by one.
"""

import ast
import dataclasses
import fnmatch
import functools
import inspect
import re
import textwrap
from typing import Any

import numpy as np
import wrong_calls
from docstring_rule import ERRORS, PLACE, fits, flat

import tinyattn as ta

TOLD_ONCE = {"nn": {"dtype", "bias", "inplace"}, "models": {"config"}}
"""Arguments that the head of a page of the reference tells of."""
REFERENCE = re.compile(r":(?:func|class):`(?:~?tinyattn\.)?([\w.]+)`")


def words(value: Any, whole: bool = True) -> str:
    """What the reference shows of a name: its docstring, of a class those of making and calling it, of a model that of
    its file; and, if ``whole``, of what it refers to.
    """
    parts = [value]
    if inspect.isclass(value):
        parts += [vars(value)[n] for n in ("__init__", "forward") if n in vars(value)]
        if issubclass(value, ta.models.Model):
            parts.append(inspect.getmodule(value))
    said = " ".join(flat(part) for part in parts)
    if not whole:
        return said
    others = {_named(name) for name in REFERENCE.findall(said)} - {None, value}
    return " ".join([said, *(flat(other) for other in others)])


def _named(name: str) -> Any:
    for room in (ta, ta.nn, ta.optim):
        try:
            return functools.reduce(getattr, name.split("."), room)
        except AttributeError:
            continue
    return None


def lacking(name: str, value: Any) -> list[str]:
    """What the text of a public name doesn't say, or says wrongly."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []
    said = words(value)
    return [
        *_arguments(name, value, said),
        *_errors(name, value),
        *_methods(value),
        *_layer(name, value, words(value, whole=False)),
        *_model(value, said),
    ]


def _arguments(name: str, value: Any, said: str) -> list[str]:
    parameters = inspect.signature(value).parameters.values()
    named = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    told = TOLD_ONCE.get(name.split(".")[1], set())
    missing = sorted(n for n in named - told if not re.search(rf"\b{n}\b", said))
    return [f"arguments: {', '.join(missing)}"] if missing else []


def _errors(name: str, value: Any) -> list[str]:
    named, shown = set(ERRORS.findall(flat(value))), set(wrong_calls.WRONG.get(name, {}))
    makers = (
        [vars(value)[n] for n in ("__init__", "forward") if n in vars(value)]
        if inspect.isclass(value)
        else [value]
    )
    own = set().union(*map(_raised, makers)) - named - {"NotImplementedError"}
    own -= set(ERRORS.findall(words(value)))
    return [
        *(f"errors: {kind} isn't named" for kind in sorted(own | (shown - named))),
        *(f"errors: {kind} has no call that ends in it" for kind in sorted(named - shown)),
    ]


def _raised(function: Any) -> set[str]:
    """The errors that a function raises in its own lines."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    except (OSError, TypeError, SyntaxError):
        return set()
    kinds = [n.exc for n in ast.walk(tree) if isinstance(n, ast.Raise) and n.exc is not None]
    kinds = [k.func if isinstance(k, ast.Call) else k for k in kinds]
    kinds += [
        n.args[0] for n in ast.walk(tree) if isinstance(n, ast.Call) and getattr(n.func, "id", "") == "fail"
    ]
    return {kind for k in kinds if (kind := getattr(k, "attr", getattr(k, "id", ""))).endswith("Error")}


# Methods.

OF_METHODS = {"x", "indices", "path", "keepdims", "dtype"}
"""Arguments of methods that say by their name what they are."""


def _methods(value: Any) -> list[str]:
    """Public methods without a docstring; and of those of the engine, arguments that aren't named."""
    wrong = []
    for key, member in vars(value).items() if inspect.isclass(value) else ():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if key.startswith("_") or not inspect.isfunction(function):
            continue
        if not inspect.getdoc(getattr(value, key)):
            wrong.append(f"method: {key} has no docstring")
        elif (
            function.__doc__
            and not isinstance(member, property)
            and not issubclass(value, (ta.models.Model, ta.tasks.task.Task))
        ):
            kinds = inspect.signature(function).parameters.values()
            named = {p.name for p in kinds if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)} - {
                "self",
                "cls",
            }
            said = f"{flat(function)} {flat(value)}"
            missing = sorted(n for n in named - OF_METHODS if not re.search(rf"\b{n}\b", said))
            wrong += [f"method: {key} doesn't name {', '.join(missing)}"] if missing else []
    return wrong


# Layers.

IMAGE, ROWS, WORDS = (2, 4, 5, 5), (2, 3, 4), (3, 2, 4)
SQUARE = [(2, 3), (2, 3)]
LAYERS: dict[str, tuple[tuple, list[tuple]]] = {
    **{
        name: ((), [ROWS])
        for name in "GELU Identity LeakyReLU ReLU Sigmoid SiLU ELU LogSigmoid Softplus Tanh".split()
    },
    **{name: ((1,), [ROWS]) for name in ("Softmax", "LogSoftmax")},
    **{
        name: ((), SQUARE)
        for name in "BCEWithLogitsLoss HuberLoss KLDivLoss L1Loss MSELoss SmoothL1Loss".split()
    },
    **{name: ((4, 6), [WORDS]) for name in ("RNN", "GRU", "LSTM")},
    **{name: ((4, 6), [(2, 4)]) for name in ("RNNCell", "GRUCell", "LSTMCell")},
    **{name: ((4, 6, 3), [IMAGE]) for name in ("Conv2d", "ConvTranspose2d")},
    **{name: ((4, 2, 6), [WORDS]) for name in ("TransformerEncoderLayer",)},
    "Flatten": ((), [ROWS]),
    "Dropout": ((), [ROWS]),
    "Embedding": ((7, 3), [(2, 4)]),
    "Linear": ((4, 3), [ROWS]),
    "LayerNorm": ((4,), [ROWS]),
    "RMSNorm": ((4,), [ROWS]),
    "GroupNorm": ((2, 4), [IMAGE]),
    "BatchNorm1d": ((4,), [(2, 4, 3)]),
    "BatchNorm2d": ((4,), [IMAGE]),
    "Conv1d": ((4, 6, 3), [(2, 4, 5)]),
    "MaxPool2d": ((2,), [IMAGE]),
    "AvgPool2d": ((2,), [IMAGE]),
    "AdaptiveAvgPool2d": (((2, 3),), [IMAGE]),
    "CrossEntropyLoss": ((), SQUARE),
    "NLLLoss": ((), [(2, 3), (2,)]),
    "MultiheadAttention": ((4, 2, 0.0, True, True), [WORDS, WORDS, WORDS]),
    "TransformerDecoderLayer": ((4, 2, 6), [WORDS, WORDS]),
    "Transformer": ((4, 2, 1, 1, 6), [WORDS, WORDS]),
}
"""Each layer's arguments, and the shapes of what it is called with."""
_STACKS = {
    "TransformerEncoder": lambda: ta.nn.TransformerEncoder(
        ta.nn.TransformerEncoderLayer(4, 2, 6), 2, ta.nn.LayerNorm(4)
    ),
    "TransformerDecoder": lambda: ta.nn.TransformerDecoder(
        ta.nn.TransformerDecoderLayer(4, 2, 6), 2, ta.nn.LayerNorm(4)
    ),
}
HOLDERS = {"Module", "ModuleDict", "ModuleList", "Sequential", "KVCache"}
"""Classes of ``ta.nn`` that compute nothing by themselves."""
_DIMS = r"\(([^()]*)\)"


def _layer(name: str, value: Any, said: str) -> list[str]:
    kind = name.removeprefix("ta.nn.")
    if not name.startswith("ta.nn.") or not inspect.isclass(value) or kind in HOLDERS:
        return []
    arguments, shapes = LAYERS.get(kind, ((), [WORDS] * (1 + ("Decoder" in kind))))
    layer = _STACKS.get(kind, lambda: value(*arguments))()
    sizes: dict[str, int] = {}
    wrong = []
    for key, array in layer.state_dict().items():
        if any(fnmatch.fnmatch(key, form) for form in re.findall(r"``([\w.]+\*)``", said)):
            continue
        key = re.sub(r"_l\d+$", "_lk", key)
        forms = re.findall(rf"``{re.escape(key)}`` {_DIMS}", said)
        found = [f for f in (fits(form, array.shape, sizes) for form in forms) if f is not None]
        wrong += [] if found else [f"shapes: {key} is {array.shape}, said: {forms}"]
        sizes |= found[0] if found else {}
    whole = kind in ("Embedding", "NLLLoss")
    given = [np.zeros(s, np.int64 if whole and s == shapes[-1] else np.float32) for s in shapes]
    result = layer.eval()(*given)
    result = result[0] if isinstance(result, tuple) else result
    ways = re.findall(rf"{_DIMS}[^()]{{0,12}}→ {_DIMS}", said)
    if not any(_goes(way, [shapes[0], shapes[-1]], result.shape, sizes) for way in ways):
        wrong.append(f"shapes: {shapes} → {result.shape}, said: {ways}")
    return wrong


def _goes(way: tuple[str, str], given: list[tuple], result: tuple, sizes: dict[str, int]) -> bool:
    """Whether one of the shapes in and the shape out are of the form ``(…, I) → (…, O)``."""
    starts = [fits(way[0], shape, sizes) for shape in given]
    return any(start is not None and fits(way[1], result, start) is not None for start in starts)


# Models.


@functools.cache
def _probe(name: str) -> Any:
    """Two examples of a task, which makes as few of its own as it can."""
    few = [k for k in ta.tasks.options(ta.tasks.find(name)) if k.endswith("_examples")]
    return ta.tasks.get(name, **dict.fromkeys(few, 20)).probe()


def _model(value: Any, said: str) -> list[str]:
    if not inspect.isclass(value) or not issubclass(value, ta.models.Model) or not value.paper:
        return []
    wrong = [f"source: {year}" for year in re.findall(r"\d{4}", value.paper) if year not in said]
    wrong += [] if PLACE.search(said) else ["source: no equation or section"]
    recipe = value.recipes[0]
    batch = _probe(recipe.task)
    arrays = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    sizes: dict[str, int] = {}
    told = 0
    for key, array in arrays.items():
        forms = re.findall(rf"\b{key} {_DIMS}", flat(value)) if isinstance(array, np.ndarray) else []
        if forms:
            found = [f for f in (fits(form, array.shape, sizes) for form in forms) if f is not None]
            wrong += [] if found else [f"shapes: {key} is {array.shape}, said: {forms}"]
            sizes |= found[0] if found else {}
            told += 1
    wrong += [] if told else ["shapes: nothing of the batch"]
    kinds = [k for k in value.Config.__mro__ if dataclasses.is_dataclass(k)]
    missing = [
        f.name
        for f in dataclasses.fields(value.Config)
        if not any(re.search(rf"\b{f.name}\b", flat(k)) for k in kinds)
    ]
    return [*wrong, *([f"settings: {', '.join(missing)}"] if missing else [])]
