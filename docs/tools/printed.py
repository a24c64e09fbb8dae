"""Pages whose code prints and draws: what it prints stands behind it, what it draws lies in ``docs/pictures``.

    python docs/tools/printed.py docs/kernels.md …

runs the Python of pages, block after block, and writes what each prints into the ```text behind it, and its pictures
into ``docs/pictures``. (Blocks with a title are examples, and stay as they are.)
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import tinyattn as ta

BLOCK = re.compile(
    r'^```(python|sh) *(?:title="(.*?)")?\n(.*?)^```(?:\n\n```text\n(.*?)^```)?', re.MULTILINE | re.DOTALL
)
"""Kind, title, code, and the text that stands behind it."""
PICTURES = Path(__file__).parents[1] / "pictures"


def run(page: str, text: str) -> Iterator[tuple[re.Match, str]]:
    """Each block of Python of a page, with what stands behind it, and what it prints now. Files are made where we are:
    those that blocks with a title hold, and pictures in ``pictures/``.
    """
    space: dict = {"np": np, "ta": ta, "__name__": "page"}
    for number, found in enumerate(BLOCK.finditer(text)):
        kind, file, block, _ = found.groups()
        if file:
            Path(file).write_text(block, "utf-8")
        elif kind == "python":
            if "pictures/" in block:
                Path("pictures").mkdir(exist_ok=True)
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block, f"{page}, block {number}", "exec"), space)
            yield found, out.getvalue()


def words(svg: str) -> list[str]:
    """All that is written in a picture."""
    return re.findall(r">([^<>]+)</text>", svg)


def refreshed(path: Path) -> str:
    """The page with what its code prints now; pictures go to their folder."""
    text = path.read_text("utf-8")
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        parts, end = [], 0
        for found, printed in run(path.name, text):
            if found[4] is not None:
                parts += [text[end : found.start(4)], printed]
                end = found.end(4)
        for picture in Path("pictures").glob("*.svg"):
            PICTURES.mkdir(exist_ok=True)
            shutil.copy(picture, PICTURES)
    return "".join([*parts, text[end:]])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name).resolve()
        path.write_text(refreshed(path), "utf-8")
