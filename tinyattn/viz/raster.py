"""An SVG as a PNG, by a program that can draw any SVG: rsvg-convert, Inkscape or Chromium, the first that is there. (dot
draws graphs and tables, but reads no SVG.)
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from tinyattn import errors
from tinyattn.graph.types import fail

SHARP = 2
"""Pixels for a unit of the picture."""
TIMEOUT = 60.0
"""Seconds that the program may take."""
INSTALL = "Install one, for instance 'sudo apt install librsvg2-bin', or save .svg or .html, which need none."


def _rsvg(source: str, made: str, size: tuple[int, int]) -> list[str]:
    return ["-z", str(SHARP), "-b", "white", "-o", made, source]


def _inkscape(source: str, made: str, size: tuple[int, int]) -> list[str]:
    return [f"--export-filename={made}", f"--export-width={SHARP * size[0]}", "-b", "white", source]


def _chromium(source: str, made: str, size: tuple[int, int]) -> list[str]:
    root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    options = [
        f"--window-size={size[0]},{size[1]}",
        f"--force-device-scale-factor={SHARP}",
        "--hide-scrollbars",
    ]
    options += ["--no-first-run", "--disable-background-networking", "--disable-extensions"]
    home = f"--user-data-dir={Path(made).parent}"
    return [
        "--headless",
        "--disable-gpu",
        *root,
        *options,
        home,
        f"--screenshot={made}",
        Path(source).as_uri(),
    ]


PROGRAMS: dict[str, Callable[[str, str, tuple[int, int]], list[str]]] = {
    "rsvg-convert": _rsvg, "inkscape": _inkscape,
    "chromium": _chromium, "chromium-browser": _chromium, "google-chrome": _chromium,
}  # fmt: skip
"""The programs, and what they are told: the SVG file, the PNG file, and the picture's size."""


def png_of(svg: str) -> bytes:
    """The picture of an ``<svg>`` element with a width and a height, on white. Raises TinyattnError where no program can
    make one.
    """
    found = [(path, tell) for name, tell in PROGRAMS.items() if (path := shutil.which(name))]
    if not found:
        must = "a .png of a figure needs rsvg-convert, Inkscape or Chromium"
        fail(errors.TinyattnError, "save", must, "none was found", INSTALL)
    program, tell = found[0]
    sides = dict(re.findall(r'\b(width|height)="([0-9.]+)"', svg.partition(">")[0]))
    width, height = (round(float(sides[side])) for side in ("width", "height"))
    with tempfile.TemporaryDirectory(prefix="tinyattn-") as folder:
        source, made = Path(folder, "figure.svg"), Path(folder, "figure.png")
        source.write_text(svg, encoding="utf-8")
        command = [program, *tell(str(source), str(made), (width, height))]
        try:
            done = subprocess.run(command, capture_output=True, timeout=TIMEOUT)
            problem = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        except subprocess.TimeoutExpired:
            problem = f"it took longer than {TIMEOUT:g} s"
        if made.exists():
            return made.read_bytes()
    must = f"{os.path.basename(program)} must be able to make a .png"
    fail(errors.TinyattnError, "save", must, problem or "it made none", "Save .svg or .html.")
