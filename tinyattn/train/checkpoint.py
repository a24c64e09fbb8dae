"""Checkpoints: all that a training run is, in one file, so that it can go on as if it had never stopped.

    arrays     model.<parameter>, optimizer.<moment>, random.state (the words of the random numbers to come)
    metadata   kind, step, config, data (the place in the stream of batches), progress (the best loss, …),
    versions

After step n a run depends on nothing else: restored, its steps n + 1, n + 2, … are bit-identical to those of
the run that was never interrupted. A run folder holds the last few, `ckpt-00001200.safetensors`, and
`best.safetensors`, the parameters of the lowest validation loss. What cannot be restored is refused before
anything has been changed.
"""

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn import __version__, files
from tinyattn.errors import CheckpointError
from tinyattn.train import safetensors

KIND = "tinyattn checkpoint 1"
BEST = "best.safetensors"
PACKAGES = ("numpy", "numba", "llvmlite")
_NAME = re.compile(r"ckpt-(\d+)\.safetensors")

Arrays = dict[str, np.ndarray]


@dataclass
class Checkpoint:
    """The state of a run after `step` steps. `model`, `optimizer` and `random` are state dicts of arrays."""

    step: int
    model: Arrays
    optimizer: Arrays = field(default_factory=dict)
    random: Arrays = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None  # where it was read from

    def check(self, part: str, expected: Mapping[str, np.ndarray]) -> None:
        """Refuse, with CheckpointError, unless `part` has the names, shapes and element types of
        `expected`.
        """
        found: Arrays = getattr(self, part)

        def refuse(must: str, got: str) -> None:
            raise CheckpointError(
                f"[checkpoint] {self.path} must {must}, but {got}: it belongs to another {part}."
            )

        for name, array in expected.items():
            if name not in found:
                refuse(f"hold {part}.{name}", "it does not")
            wanted, got = np.asarray(array), found[name]
            if wanted.shape != got.shape or wanted.dtype != got.dtype:
                refuse(f"hold {part}.{name} as {wanted.dtype} {wanted.shape}", f"got {got.dtype} {got.shape}")
        for name in found.keys() - expected.keys():
            refuse(f"hold the arrays of this {part}", f"got {part}.{name}")


def name_of(step: int) -> str:
    """The file name of the checkpoint after `step` steps."""
    return f"ckpt-{step:08d}.safetensors"


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, whole or not at all. Raises CheckpointError when the disk refuses."""
    arrays = {
        f"{part}.{name}": array
        for part in ("model", "optimizer", "random")
        for name, array in getattr(checkpoint, part).items()
    }
    texts = {
        part: json.dumps(getattr(checkpoint, part), sort_keys=True) for part in ("config", "data", "progress")
    }
    about = {"kind": KIND, "step": str(checkpoint.step), **texts, "versions": json.dumps(versions())}
    safetensors.write(path, arrays, about)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError, one sentence, when it is damaged or not one of ours."""
    path = Path(path)
    arrays, about = safetensors.read(path, checked=True)
    if about.get("kind") != KIND:
        got = f"it is of kind {about['kind']!r}" if "kind" in about else "another program wrote it"
        raise CheckpointError(f"[checkpoint] {path} must be a checkpoint of a tinyattn run, but {got}.")
    parts: dict[str, Any] = {"model": {}, "optimizer": {}, "random": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            raise CheckpointError(f"[checkpoint] {path} must hold arrays of a run, but got {name!r}.")
        parts[part][rest] = array
    try:
        texts: dict[str, Any] = {
            key: json.loads(about[key]) for key in ("config", "data", "progress", "versions")
        }
        return Checkpoint(step=int(about["step"]), path=path, **texts, **parts)
    except (KeyError, ValueError) as error:
        got = f"its metadata is damaged ({error})"
        raise CheckpointError(f"[checkpoint] {path} must say what run it is of, but {got}.") from None


def saved(folder: str | Path) -> list[Path]:
    """The numbered checkpoints of a run folder, oldest first."""
    found = ((_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir())
    return [path for _, path in sorted((int(match[1]), path) for match, path in found if match)]


def prune(folder: str | Path, keep: int) -> None:
    """Remove all numbered checkpoints but the last `keep`, and what interrupted writes left behind."""
    for path in saved(folder)[:-keep]:
        path.unlink(missing_ok=True)
    files.remove_leftovers(folder)


def latest(folder: str | Path) -> Checkpoint:
    """The newest numbered checkpoint of a run folder. Raises CheckpointError when there is none, or it is
    damaged.
    """
    paths = saved(folder) if Path(folder).is_dir() else []
    if not paths:
        got = "there is none" if Path(folder).is_dir() else "there is no such folder"
        raise CheckpointError(
            f"[checkpoint] {folder} must hold a checkpoint (ckpt-*.safetensors), but {got}."
        )
    try:
        return load(paths[-1])
    except CheckpointError as error:
        if len(paths) == 1:
            raise
        raise CheckpointError(f"{error}\n  Remove it to go on from {paths[-2].name}.") from None


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that decide about bits."""
    found = {"tinyattn": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
