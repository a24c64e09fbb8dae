"""Checkpoints: all that a training run is, in one file, so that it can go on as if it had never stopped.

    arrays     model.<parameter>, optimizer.<moment>, random.state (the words of the random numbers to come)
    metadata   kind, step, config, data (the place in the stream of batches), progress (the best loss, …),
    versions

After step n a run depends on nothing else: restored, its steps n + 1, n + 2, … are bit-identical to those of
the run that was never interrupted. A run folder holds the last few, `ckpt-00001200.safetensors`, and
`best.safetensors`, the parameters of the lowest validation loss. What cannot be restored is refused before
anything has been changed.
"""

import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tinyattn import __version__, files, formats
from tinyattn.errors import CheckpointError, brief
from tinyattn.train import safetensors

KIND = "tinyattn checkpoint 1"
BEST = "best.safetensors"
PACKAGES = ("numpy", "numba", "llvmlite")
_NAME = re.compile(r"ckpt-(\d+)\.safetensors", re.ASCII)
ABOUT: dict[str, formats.Description] = {
    "step": formats.NATURAL, "config": formats.Table(others=formats.ANYTHING), "progress": formats.PROGRESS,
    "data": formats.Table(others=formats.ANYTHING), "versions": formats.Table(others=formats.TEXT),
}  # fmt: skip
"""What the metadata say besides the kind, each as JSON."""

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
    parts = {part: getattr(checkpoint, part) for part in ABOUT if part != "versions"} | {
        "versions": versions()
    }
    about = {"kind": KIND} | {part: files.to_json(value, sort_keys=True) for part, value in parts.items()}
    safetensors.write(path, arrays, about)


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint. Raises CheckpointError, one sentence, when it is damaged or not one of ours."""
    source = files.Source(Path(path), "checkpoint", CheckpointError)
    arrays, about = safetensors.read(path, checked=True)
    if about.get("kind") != KIND:
        got = f"it is of kind {brief(about['kind'])}" if "kind" in about else "another program wrote it"
        source.refuse("be a checkpoint of a tinyattn run", got)
    parts: dict[str, Any] = {"model": {}, "optimizer": {}, "random": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part not in parts:
            source.refuse("hold arrays of a run", f"got {brief(name)}")
        parts[part][rest] = array
    for name, description in ABOUT.items():
        if name not in about:
            source.refuse(f"hold {name} in its metadata", "it does not")
        where = f" in its metadata, {name}"
        parts[name] = formats.check(source, source.json(about[name], where), description, where)
    return Checkpoint(path=source.path, **parts)


def saved(folder: str | Path) -> list[Path]:
    """The numbered checkpoints of a run folder, oldest first."""
    return sorted((path for path in Path(folder).iterdir() if _NAME.fullmatch(path.name)), key=_step)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("ckpt-"))


def last_step(folder: str | Path) -> int:
    """How many steps the newest numbered checkpoint of a run folder has done; 0 if there is none."""
    return max(map(_step, saved(folder)), default=0)


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
        found = load(paths[-1])
        if _step(paths[-1]) != found.step:  # it would be taken for the newest, and newer ones be removed
            got = f"it is of step {found.step:,}"
            raise CheckpointError(f"[checkpoint] {found.path} must be what its name says, but {got}.")
        return found
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
