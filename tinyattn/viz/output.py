"""What all pictures share: writing files and showing them."""

import html
import os
import struct
import tempfile
import webbrowser
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinyattn import errors, files
from tinyattn.graph.types import fail


def kind_of(path: str | os.PathLike, allowed: Sequence[str]) -> str:
    """The format that a file's name asks for."""
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in allowed:
        fail(
            errors.DataError,
            "save",
            f"the file's name must end in .{', .'.join(allowed)}",
            f"got {str(path)!r}",
        )
    return kind


def write(path: str | os.PathLike, content: str | bytes) -> Path:
    """Write a file whole, and only then under its name."""
    path = Path(path)
    data = content.encode() if isinstance(content, str) else content
    try:
        files.replace(path, [data], durable=False)
        return path
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
    must = f"{str(path)!r} must be a place that can be written to"
    suggestion = "" if path.parent.exists() else f"Make the folder {str(path.parent)!r} first."
    fail(errors.DataError, "save", must, reason, suggestion)


def png(picture: np.ndarray) -> bytes:
    """A uint8 picture (H, W) or (H, W, 3) as a PNG file. Written by hand: it is ten lines, and an image library is
    the size of all of tinyattn.
    """
    height, width, *colours = picture.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = np.concatenate([np.zeros((height, 1), np.uint8), picture.reshape(height, -1)], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2 if colours else 0, 0, 0, 0)
    parts = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(lines.tobytes())), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def frame(page: str) -> str:
    """A page inside a notebook's, which it can't touch."""
    look = "width:100%;height:70vh;border:1px solid #8885;background:transparent"
    return f'<iframe sandbox="allow-scripts" style="{look}" srcdoc="{html.escape(page)}"></iframe>'


def in_notebook() -> bool:
    """Whether a notebook is there to display things."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def show(picture, page: str) -> None:
    """Display ``picture`` in the notebook, or its ``page`` in the browser; where there is no browser, say
    where the page is.
    """
    if in_notebook():
        from IPython.display import display

        display(picture)
        return
    handle, name = tempfile.mkstemp(prefix="tinyattn-", suffix=".html")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(page)
    if not webbrowser.open(Path(name).as_uri()):
        print(f"The picture is in {name}")
