"""Documentation pages as MkDocs gets them: entries of the reference filled in, pages of models completed, and links
that lead out of ``docs/`` turned to pages of the sources.
"""

import inspect
import posixpath
import re
from pathlib import Path

from entry import ENTRY, ROOT, entry, prose

import tinyattn as ta
from tinyattn import cli
from tinyattn.train import results

LINK = re.compile(r"(\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?(\))")


def completed(path: str, text: str) -> str:
    """The text of the page ``path`` (relative to docs/), whole; its links are as in the repository."""
    if path.startswith("models/") and path != "models/index.md":
        text += model_sections(Path(path).stem)
    for mark, made in {"tasks": _tasks, "models": _models, "command-line": _commands}.items():
        if f"\n::: {mark}\n" in text:
            text = text.replace(f"::: {mark}", made())
    return ENTRY.sub(lambda match: entry(match[1]), text)


def outward(path: str, text: str, found: set[str] | None = None) -> str:
    """Links to files outside docs/ lead to their pages under ``source/``, and those to notebooks to theirs; the former
    are added to ``found``.
    """

    def turned(match: re.Match) -> str:
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(path), match[2]))
        if target.startswith("docs/") or not (ROOT / target).exists():
            return match[0].replace(".ipynb", ".md")  # (the page that is made of a notebook)
        if found is not None:
            found.add(target)
        up = posixpath.relpath(f"source/{source_page(target)}", posixpath.dirname(path) or ".")
        return f"{match[1]}{up}{match[3] or ''}{match[4]}"

    return LINK.sub(turned, text)


def source_page(target: str) -> str:
    """Where the page of a file or folder is, under ``source/``."""
    return f"{target}/index.html" if (ROOT / target).is_dir() else f"{target}.html"


def model_pages() -> list[str]:
    """The models that have no page of their own in docs/models/."""
    written = {path.stem for path in (ROOT / "docs" / "models").glob("*.md")}
    return [name for name in ta.models.MODELS if name not in written]


def model_page(name: str) -> str:
    """The page of such a model: what its file says of it."""
    cls = ta.models.get(name)
    said = inspect.getdoc(inspect.getmodule(cls)) or ""
    return f"# {name}\n\n`tinyattn train {name}` · {cls.paper}\n\n{prose(said)}\n"


def model_sections(name: str) -> str:
    """Figures, pictures and code of a model, for the end of its page."""
    cls = ta.models.get(name)
    file = Path(inspect.getsourcefile(cls) or "").resolve().relative_to(ROOT)
    parts = [
        "",
        f"## Code\n\n[{file}](../../{file}), [the reference](../reference/models.md#ta.models.{cls.__name__})",
    ]
    records = [r for r in results.read(ROOT / "results" / "results.json") if r["model"] == name]
    columns = ("task", "figure", "median", "target", "paper", "seeds", "time", "command")
    if records:
        parts.append("## Recorded runs\n\n" + results.table(records, columns))
    gallery = ROOT / "docs" / "gallery"
    for picture in sorted(gallery.glob(f"{name}-on-*.svg")):
        task = picture.stem.removeprefix(f"{name}-on-")
        parts.append(f"## Where it looks, trained on {task}\n\n{_picture(picture, f'{name} on {task}')}")
    graphs = sorted(gallery.glob(f"{name}-[0-9].svg"))
    if graphs:
        parts.append(
            "## The graph, forward and backward\n\nOne picture for each depth to which modules are opened."
        )
        parts += [_picture(graph, f"{name}, opened {graph.stem[-1]} deep") for graph in graphs]
    return "\n\n".join(parts) + "\n"


def _picture(path: Path, words: str) -> str:
    return f"[![{words}](../gallery/{path.name}){{ loading=lazy }}](../gallery/{path.name})"


def _models() -> str:
    rows = ["| model | paper | task |", "|---|---|---|"]
    rows += [f"| [{one.name}]({one.name}.md) | {one.paper} | {one.task} |" for one in ta.models.list()]
    return "\n".join(rows)


def _tasks() -> str:
    return "\n".join(
        ["| task | what it is |", "|---|---|", *(f"| `{n}` | {said} |" for n, said in ta.tasks.list())]
    )


def _commands() -> str:
    """The help of each command."""
    commands = cli.parser().commands
    return "\n\n".join(
        f"## tinyattn {name}\n\n```text\n{one.format_help().rstrip()}\n```" for name, one in commands.items()
    )
