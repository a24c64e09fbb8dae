"""Files of the repository that the documentation links to, as pages: highlighted, with lines to link to."""

import ast
import html
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound

STYLE = (
    HtmlFormatter(style="default").get_style_defs("pre")
    + "@media (prefers-color-scheme: dark) {"
    + HtmlFormatter(style="github-dark").get_style_defs("pre")
    + "body { background: #0d1117; color: #e6edf3 } a { color: #79c0ff } }"
    + "body { margin: 1rem auto; max-width: 76rem; padding: 0 1rem; font: 15px/1.5 sans-serif }"
    + "pre { overflow-x: auto; font-size: 13px } :target { background: #ffe08255 }"
)


def page(root: Path, path: Path) -> str:
    """The page of a file, or of a folder: its files, each with the first line of what it says of itself."""
    shown = path.relative_to(root)
    up = "../" * (len(shown.parts) + (1 if path.is_dir() else 0))
    body = _folder(path) if path.is_dir() else _file(path)
    title = html.escape(str(shown))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{title}</title><style>{STYLE}</style>"
        f'<p><a href="{up}index.html">tinyattn</a> / {title}</p>{body}</html>'
    )


def _file(path: Path) -> str:
    text = path.read_text("utf-8")
    try:
        return highlight(
            text, get_lexer_for_filename(path.name), HtmlFormatter(lineanchors="L", wrapcode=True)
        )
    except ClassNotFound:
        return f"<pre>{html.escape(text)}</pre>"


def _folder(path: Path) -> str:
    rows = []
    for file in sorted(path.glob("*.py")):
        said = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n\n")[0]
        rows.append(f"<dt><code>{file.name}</code></dt><dd>{html.escape(said)}</dd>")
    return f"<dl>{''.join(rows)}</dl>"
