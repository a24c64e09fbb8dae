"""One entry of the reference, in Markdown: heading, signature, docstring, methods, where it stands in the sources."""

import dataclasses
import enum
import functools
import inspect
import re
from pathlib import Path
from typing import Any

from names import find

from tinyattn.models import Model

ROOT = Path(__file__).resolve().parents[2]
GALLERY = ROOT / "docs" / "gallery"
ENTRY = re.compile(r"^::: (ta\.[\w.]+)$", re.MULTILINE)
"""Where a page of the reference wants the entry of a name."""
WIDTH = 88
COLUMN = 86
"""Letters that a column of the site has room for."""


def entry(name: str) -> str:
    """The entry of a public name. Links are relative to ``docs/reference``."""
    value = find(name)
    parts = [f"### {name.removeprefix('ta.')} {{ #{name} .entry }}"]
    if callable(value) and not _is_element_type(value):
        parts.append(code(signature(name, value)))
    parts.append(prose(_doc(value)))
    if inspect.isclass(value) and issubclass(value, Model) and value is not Model:
        parts.append(prose(_doc(inspect.getmodule(value))))
    if inspect.isclass(value) and value.__module__.startswith("tinyattn") and not _is_error(value):
        parts += [_config(value), _methods(value)]
    parts.append(" · ".join(filter(None, [_derivation(name), _source(value)])))
    return "\n\n".join(part for part in parts if part) + "\n"


def _is_element_type(value: Any) -> bool:
    return getattr(value, "__module__", "") == "numpy"


def _is_error(value: type) -> bool:
    return issubclass(value, Exception)


def _doc(value: Any) -> str:
    if _is_element_type(value):
        return f"The element type `numpy.{value.__name__}`."
    return inspect.getdoc(value) or ""


def code(text: str) -> str:
    return f"```python\n{text}\n```"


def signature(name: str, value: Any) -> str:
    """``ta.softmax(x, axis: int = -1, mask=None) -> Tensor``, a parameter a line if it is long."""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return name
    found = found.replace(
        parameters=[p for p in found.parameters.values() if p.name != "self"]
    )  # (of methods taken from a class)
    text = _plain(f"{name}{found}")
    if len(text) <= WIDTH:
        return text
    ends = _plain(f"{name}{found.replace(parameters=[])}").partition("(")
    lines, starred = [], False
    for p in found.parameters.values():
        if p.kind is p.KEYWORD_ONLY and not starred:
            lines.append("    *,")
        starred |= p.kind in (p.KEYWORD_ONLY, p.VAR_POSITIONAL)
        lines.append(f"    {_plain(str(p))},")
    return "\n".join([ends[0] + "(", *lines, ends[2]])


def _plain(text: str) -> str:
    """Types by their names alone: ``Tensor``, not ``tinyattn.graph.tensor.Tensor``; values without addresses."""
    text = re.sub(r"\b(?:tinyattn|numpy|collections|typing|pathlib|types)(?:\.\w+)*\.(\w+)", r"\1", text)
    text = re.sub(r"<class '([\w.]+)'>", lambda m: m[1].rpartition(".")[2], text)
    return re.sub(r"<function (\w+) at 0x\w+>", r"\1", text)


def prose(text: str) -> str:
    """A docstring as Markdown. Formulas that stand apart (indented) stay as they are; in lines, ``code`` is code."""
    return "\n\n".join(
        _indented(part) if part.startswith("    ") else _paragraph(part)
        for part in re.split(r"\n\s*\n", text)
    )


def _indented(part: str) -> str:
    text = inspect.cleandoc(part)
    kind = "{ .text .wide }" if max(map(len, text.split("\n"))) > COLUMN else "text"
    return f"```{kind}\n{text}\n```"


def _paragraph(part: str) -> str:
    lines = part.split("\n")
    cut = next((i for i, line in enumerate(lines) if i and line.startswith("    ")), None)
    if cut is not None:  # a formula under its sentence
        end = next((i for i in range(cut, len(lines)) if not lines[i].startswith(" ")), len(lines))
        rest = ["\n".join(lines[:cut]), "\n".join(lines[cut:end]), "\n".join(lines[end:])]
        done = [_paragraph(rest[0]), _indented(rest[1]), _paragraph(rest[2]) if rest[2] else ""]
        return "\n\n".join(filter(None, done))
    pieces = re.split(r"(:\w+:`[^`]+`|``[^`]+``|`[^`]+`)", part)
    return "".join(_piece(piece) for piece in pieces)


def _piece(text: str) -> str:
    if not text.endswith("`"):
        return re.sub(r"([*<_\[\]])", r"\\\1", text)
    said = text.split("`")[1 if text.startswith(":") else -2].removeprefix("~").strip("`") or text.strip("`")
    name = "ta." + said.removeprefix("tinyattn.").removeprefix("ta.")
    if name in places() and (text.startswith(":") or said.startswith(("ta.", "tinyattn."))):
        return f"[`{name}`](../reference/{places()[name]}#{name})"
    return f"`{said}`"


@functools.cache
def places() -> dict[str, str]:
    """The page of the reference on which each name has its entry."""
    pages = (ROOT / "docs" / "reference").glob("*.md")
    return {name: page.name for page in pages for name in ENTRY.findall(page.read_text("utf-8"))}


def _config(value: type) -> str:
    config = vars(value).get("Config")
    if not inspect.isclass(config) or not config.__module__.startswith("tinyattn"):
        return ""
    return (
        "Its settings:\n\n"
        + code(signature(f"ta.models.{config.__name__}", config))
        + "\n\n"
        + "\n\n".join(prose(_doc(kind)) for kind in config.__mro__ if dataclasses.is_dataclass(kind))
    )


def _methods(value: type) -> str:
    """Public methods and properties of the class itself, and those of private ones that it is made from, one after the
    other: signature, and what it does.
    """
    lines = []
    members: dict[str, Any] = {}
    for kind in value.__mro__:
        if kind is value or kind.__name__.startswith("_"):
            members = vars(kind) | members
    for name, member in members.items():
        is_property = isinstance(member, property) or inspect.isgetsetdescriptor(member)
        function = getattr(member, "__func__", member)
        if name.startswith("_") or not (is_property or inspect.isfunction(function)):
            continue
        doc = inspect.cleandoc(function.__doc__ or "")  # (what only overrides a method says nothing new)
        if isinstance(member, enum.Enum) or not doc:
            continue
        shown = name if is_property else signature(name, function).replace("\n    ", " ").replace("\n", "")
        lines.append(
            f"`{shown.replace('( ', '(').replace(',)', ')')}`\n:   " + prose(doc).replace("\n", "\n    ")
        )
    return "\n\n".join(lines)


def _derivation(name: str) -> str:
    found = f"derive-{name.removeprefix('ta.')}.txt"
    return f"[its derivative, derived](../gallery/{found})" if (GALLERY / found).exists() else ""


def _source(value: Any) -> str:
    function = inspect.unwrap(value) if callable(value) else value
    try:
        path = Path(inspect.getsourcefile(function) or "").resolve().relative_to(ROOT)
        line = inspect.getsourcelines(function)[1]
    except (TypeError, OSError, ValueError):
        return ""
    return f"[source](../../{path}#L-{line})"
