"""Omniglot: letters of many alphabets, each drawn by twenty people (Lake et al. 2015), from the files that its authors
publish.

The files are not part of this package; the reader takes the folder they are in:

    images_background_small1.zip    trains, but every tenth letter of it, which is for validation
    images_background_small2.zip    is the test

Each has five alphabets; but two of them, Greek and Latin, are the same drawings in both. They train, and are left
out of the test: what is left are the 106 letters of three alphabets that no training episode has ever shown.

Images are made 28 × 28 by the mean over areas, as in all work since Vinyals et al. (2016). Training classes are also
turned by 90, 180 and 270 degrees, which makes four of each, and every training drawing is a little turned, stretched,
sheared and moved.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np

from tinyattn.errors import DataError
from tinyattn.tasks.few_shot import FewShot, uniform, unsteady
from tinyattn.tasks.parts import png
from tinyattn.tasks.parts.archives import read_zip
from tinyattn.tasks.parts.randomness import Stream
from tinyattn.tasks.parts.reading import refuse

FILES = "images_background_small1.zip", "images_background_small2.zip"
DRAWN, SIDE, DRAWINGS = 105, 28, 20
"""Pixels of a side in the files, and here; drawings of a letter."""
VALIDATION = 10
"""Every so-manieth letter is for validation."""
TURN, STRETCH, MOVE = 0.15, 0.15, 2.0
"""At most, of a training drawing: in radians, as a share (shear too), in pixels."""
_NAME = re.compile(r"[^/]+/([^/]+/character\d\d)/\d{4}_\d\d\.png")

Letters = dict[str, np.ndarray]
"""Drawings (DRAWINGS, SIDE, SIDE) uint8, 255 ink, by "alphabet/character"."""


class Omniglot(FewShot):
    """The task; data: the folder of the files; ways, shots: of an episode. Raises DataError when a file is missing,
    damaged or doesn't belong."""

    name = "omniglot"
    title = "drawings of letters of unknown alphabets, named after one look"

    def __init__(self, data: str | Path, ways: int = 5, shots: int = 1):
        super().__init__(ways, shots)
        folder = Path(data)
        if not folder.is_dir():
            raise DataError(
                f"[omniglot] --data must name the folder of its files, but {data} is not a folder."
            )
        self.title = f"drawings of letters of unknown alphabets, {ways} ways and {shots} shots"
        train, test = (read_letters(folder / file) for file in FILES)
        known = {name.partition("/")[0] for name in train}
        self.tested = {name: found for name, found in test.items() if name.partition("/")[0] not in known}
        self.letters = {name: found for k, (name, found) in enumerate(train.items()) if k % VALIDATION}
        self.validated = {name: found for name, found in train.items() if name not in self.letters}
        for file, part in zip((*FILES, FILES[0]), (self.letters, self.tested, self.validated), strict=True):
            if len(part) < self.ways:
                must = f"hold enough letters for {self.ways} ways in each split"
                refuse(self.name, folder / file, must, f"one would have {len(part)}")

    @cached_property
    def pools(self) -> Mapping[str, np.ndarray]:
        upright = np.stack([*self.letters.values()])
        turned = np.concatenate([np.rot90(upright, k, axes=(2, 3)) for k in range(4)])
        held = (np.stack([*part.values()]) for part in (self.validated, self.tested))
        return dict(zip(("train", "validation", "test"), (turned, *held), strict=True))

    def fresh(self, kind: np.ndarray, number: np.ndarray, stream: Stream) -> np.ndarray:
        return jittered(self.pools["train"][kind, number], stream)


def read_letters(path: Path) -> Letters:
    """All letters of one of the files, in the order of their names. Raises DataError."""
    found: dict[str, list[np.ndarray]] = {}
    for name, content in sorted(read_zip("omniglot", path).items()):
        match = _NAME.fullmatch(name)
        if match is None:
            refuse(
                "omniglot",
                path,
                "hold drawings called FOLDER/ALPHABET/characterNN/NNNN_NN.png",
                f"got {name}",
            )
        try:
            pixels = png.decode(content)
        except ValueError as error:
            refuse("omniglot", path, "hold whole drawings", f"{name} {error}")
        if pixels.shape != (DRAWN, DRAWN):
            high, wide = pixels.shape
            refuse("omniglot", path, f"hold drawings of {DRAWN} × {DRAWN}", f"{name} is {wide} × {high}")
        found.setdefault(match[1], []).append(pixels)
    if not found:
        refuse("omniglot", path, "hold drawings", "it holds none")
    for letter, drawings in found.items():
        if len(drawings) != DRAWINGS:
            refuse(
                "omniglot", path, f"hold {DRAWINGS} drawings of each letter", f"{letter} has {len(drawings)}"
            )
    return {letter: smaller(np.stack(drawings)) for letter, drawings in found.items()}


def smaller(pixels: np.ndarray) -> np.ndarray:
    """Drawings (n, DRAWN, DRAWN), 0 ink → (n, SIDE, SIDE), 255 ink, each pixel the mean over its area."""
    edges, step = np.arange(SIDE)[:, None] * (DRAWN / SIDE), DRAWN / SIDE
    place = np.arange(DRAWN)
    share = np.clip(np.minimum(place + 1, edges + step) - np.maximum(place, edges), 0, None) / step
    ink = share @ (255 - pixels.astype(np.float64)) @ share.T
    return np.round(ink).astype(np.uint8)


def jittered(pixels: np.ndarray, stream: Stream) -> np.ndarray:
    """Drawings (n, H, H) uint8, each a little turned, stretched, sheared and moved; linear between pixels."""
    count, side, _ = pixels.shape
    middle = (side - 1) / 2
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) - middle  # x, y
    places = grid @ unsteady(count, TURN, STRETCH, stream).swapaxes(1, 2)
    places += middle + uniform(stream, -MOVE, MOVE, count, 1, 2)
    places = np.clip(places, -1, side)  # beyond the edge there is paper
    x, y = np.floor(places).astype(np.int64).transpose(2, 0, 1)
    part_x, part_y = (places - np.floor(places)).astype(np.float32).transpose(2, 0, 1)
    paper = np.pad(pixels, ((0, 0), (1, 2), (1, 2)))
    row = np.arange(count)[:, None]
    top = paper[row, y + 1, x + 1] * (1 - part_x) + paper[row, y + 1, x + 2] * part_x
    low = paper[row, y + 2, x + 1] * (1 - part_x) + paper[row, y + 2, x + 2] * part_x
    return np.round(top * (1 - part_y) + low * part_y).astype(np.uint8).reshape(pixels.shape)
