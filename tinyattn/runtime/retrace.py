"""What makes a function be traced again and again, in words: each trace takes far longer than a step."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tinyattn.graph.types import Type

_ADVICE = {
    "shape": "Pad it to one of a few sizes, or call the function with parts of one size",
    "element type": "Convert it to one element type before the call",
    "value": "Pass it as an array or a float if the graph doesn't depend on it, for instance np.float32(value)",
    "form": "Pass trees of one form",
    "number": "Compute with it as a Tensor, for instance in ta.where, or pass its value as an argument",
    "attribute": "Make a function for each of its values, or pass it as an argument",
}


def changing(signatures: Sequence[Any], guards: Sequence[Sequence[tuple]], names: Sequence[str]) -> str:
    """The argument that differs most often from one of ``signatures`` to the next, how, and what to do about it.

    ``names`` are those of the function's parameters, ``guards`` what each trace read besides its arguments.
    """
    found: dict[tuple[str, str], list[str]] = {}
    leaves = [dict(_leaves(signature, names)) for signature in signatures]
    for before, after in zip(leaves, leaves[1:], strict=False):
        if before.keys() != after.keys():
            _note(found, ("the arguments", "form"), str(len(before)), str(len(after)), "{} leaves")
            continue
        for path, old in before.items():
            new = after[path]
            if isinstance(old, Type) and isinstance(new, Type):
                if old.shape != new.shape:
                    _note(found, (path, "shape"), str(old.shape), str(new.shape))
                if old.dtype != new.dtype:
                    _note(found, (path, "element type"), str(old.dtype), str(new.dtype))
            elif old != new:
                _note(
                    found,
                    (path, "value"),
                    *(str(x) if isinstance(x, Type) else repr(x[1][1]) for x in (old, new)),
                )
    if not found:
        for read, again in zip(guards, guards[1:], strict=False):
            for (thing, name, old), (_, _, new) in zip(read, again, strict=False):
                if old is not new and name == "version":
                    read_leaf = ("a leaf that it reads by float(), .item(), .numpy() or if", "number")
                    _note(found, read_leaf, repr(old), repr(new), "version {}")
                elif old is not new:
                    _note(found, (f"{type(thing).__name__}.{name}", "attribute"), repr(old), repr(new))
    if not found:
        return "its modes keep changing"
    (path, what), seen = max(found.items(), key=lambda item: len(item[1]))
    several = ", ".join(
        text if len(text) < 40 else text[:37] + "…" for text in list(dict.fromkeys(seen))[-4:]
    )
    return (
        f"the {what} {'' if what == 'attribute' else 'of '}{path} keeps changing ({several}). {_ADVICE[what]}"
    )


def _note(found: dict, key: tuple[str, str], old: str, new: str, form: str = "{}") -> None:
    found.setdefault(key, [form.format(old)]).append(form.format(new))


def _leaves(signature: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Each array type and fixed value of a signature, with the words for where it is."""
    _, ((_, positional), (_, keywords)) = signature
    for k, part in enumerate(positional):
        yield from _walk(part, repr(names[k]) if k < len(names) else f"argument {k}")
    for name, part in keywords:
        yield from _walk(part, repr(name))


def _walk(part: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(part, Type) or part[0] == "static":
        yield path, part
    else:
        items: Mapping | dict = dict(part[1]) if part[0] == "dict" else dict(enumerate(part[1]))
        for key, inner in items.items():
            yield from _walk(inner, f"{path}[{key!r}]")
