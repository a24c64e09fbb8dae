"""The run folder: everything a training run leaves behind, readable without tinyattn.

    config.toml              every setting, resolved: what was asked for, and the defaults of everything else
    metrics.jsonl            one JSON object a line: {"step": 300, "loss": 0.41, …}
    ckpt-00000300.safetensors, best.safetensors
    report.html, *.svg       the report and its pictures

Of several ranks, the first makes the folder and writes into it; the others know where it is.

A run never writes into the folder of another one. While it lasts it holds a lock on its folder, so that two
processes cannot continue the same run; the lock goes with the process, however that ends.
"""

import os
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinyattn import files, formats, ranks
from tinyattn.errors import CheckpointError, DataError

CONFIG, METRICS, LOCK = "config.toml", "metrics.jsonl", ".lock"


def command(*words: str | Path) -> str:
    """A command for the user to copy: it begins as theirs did, with tinyattn or with the path of `start`."""
    return " ".join([os.environ.get("TINYATTN_COMMAND", "tinyattn"), *(shlex.quote(str(w)) for w in words)])


class Run:
    """One run folder. Make it with `Run.create` or `Run.open`."""

    def __init__(self, folder: Path, config: dict[str, Any], writes: bool = True):
        self.folder, self.config, self.writes = folder, config, writes
        self._lock: int | None = None

    @classmethod
    def create(cls, folder: str | Path | None, config: dict[str, Any], name: str) -> "Run":
        """A new run in `folder`, or else in the first free one of runs/<name>, runs/<name>-2, runs/<name>-3,
        …

        Raises DataError when `folder` is a file or holds anything already.
        """
        return cls._on_first(lambda: cls._made(folder, config, name))

    @classmethod
    def _on_first(cls, make: Callable[[], "Run"]) -> "Run":
        """The run that rank 0 makes; on other ranks one that never writes."""
        made = []

        def there() -> tuple[Path, dict[str, Any]]:
            made.append(make())
            return made[0].folder, made[0].config

        folder, config = ranks.on_first(there)
        return made[0] if made else cls(folder, config, writes=False)

    @classmethod
    def _made(cls, folder: str | Path | None, config: dict[str, Any], name: str) -> "Run":
        try:
            folder = _first_free(Path("runs"), name) if folder is None else _empty(Path(folder))
            files.replace(folder / CONFIG, [toml(config).encode()])
        except OSError as error:
            raise DataError(
                f"[train] {error.filename} must be writable, but it is not: {error.strerror}."
            ) from None
        return cls(folder, config)._locked()

    @classmethod
    def open(cls, folder: str | Path, lock: bool = True) -> "Run":
        """The run in `folder`, to be resumed or (without a lock) looked at. Raises CheckpointError if it is
        none.
        """
        return cls._on_first(lambda: cls._found(folder, True)) if lock else cls._found(folder, False)

    @classmethod
    def _found(cls, folder: str | Path, lock: bool) -> "Run":
        run = cls(Path(folder), {})
        if not os.path.isfile(run.folder / CONFIG):
            got = "there is none" if os.path.isdir(folder) or not os.path.exists(folder) else "it is a file"
            raise CheckpointError(f"[run] {folder} must be the folder of a run, with a {CONFIG}, but {got}.")
        run.config = run.source(CONFIG).toml()
        return run._locked() if lock else run

    def source(self, name: str) -> files.Source:
        """A file of the folder, to be read."""
        return files.Source(self.folder / name, "run", CheckpointError)

    def _locked(self) -> "Run":
        try:
            import fcntl
        except ImportError:  # Windows has no such lock
            return self
        try:
            self._lock = os.open(self.folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o644)
            with tempfile.TemporaryFile(dir=self.folder):  # the lock may be left from better days
                pass
        except OSError as error:
            self.close()
            got = f"it is not: {error.strerror}"
            raise CheckpointError(f"[run] {self.folder} must be writable, but {got}.") from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.close()
            got = "another process is at it"
            raise CheckpointError(f"[run] {self.folder} must be trained by one process, but {got}.") from None
        return self

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Remove the folder, if nothing has been measured or saved in it: a run that couldn't begin."""
        self.close()
        if not self.writes:
            return
        names = {path.name for path in self.folder.iterdir()}
        if names <= {CONFIG, METRICS, LOCK} and not any(self._records()):
            for name in names:
                (self.folder / name).unlink()
            self.folder.rmdir()

    def save_config(self) -> None:
        """Write `config` after a change: what people wrote beside the values that are as they were stays."""
        if not self.writes:
            return
        path = self.folder / CONFIG
        old = path.read_text("utf-8") if path.is_file() and not path.is_symlink() else ""
        files.replace(path, [revised(old, toml(self.config)).encode()])

    # Metrics.

    def log(self, record: dict[str, Any]) -> None:
        """Append one line to metrics.jsonl. Numbers that JSON does not have (nan, inf) become null."""
        if self.writes:
            files.append(self.folder / METRICS, f"{files.to_json(record)}\n".encode())

    def metrics(self) -> list[dict[str, Any]]:
        """All lines of metrics.jsonl; what a crash left of a last one is left out. Raises CheckpointError for any
        other line that isn't one of ours.
        """
        return ranks.on_first(lambda: [record for _, record in self._records()])

    def truncate_metrics(self, step: int) -> None:
        """Forget what was measured after `step`: a resumed run will measure it again. The other lines stay as they
        are.
        """
        if not self.writes:
            return
        kept = [line + b"\n" for line, record in self._records() if record["step"] <= step]
        files.replace(self.folder / METRICS, kept)

    def _records(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        source = self.source(METRICS)
        if os.path.lexists(source.path):
            for number, line, record in source.json_lines():
                yield line, formats.check(source, record, formats.METRICS, f" in line {number}")


def _first_free(parent: Path, name: str) -> Path:
    """Make parent/name, or with the lowest number behind it that is free; mkdir decides between two
    processes.
    """
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1


def _empty(folder: Path) -> Path:
    """Make `folder`, unless it is there and holds nothing (but what an interrupted write left behind)."""
    if folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir())):
        what = "a run" if (folder / CONFIG).exists() else "files" if folder.is_dir() else "no folder"
        got = f"{folder} is no folder" if what == "no folder" else f"{folder} holds {what} already"
        advice = f"\n  Continue it: {command('train', '--resume', folder)}" if what == "a run" else ""
        raise DataError(f"[train] --out must name a new or an empty folder, but {got}.{advice}")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def toml(table: dict[str, Any]) -> str:
    """Tables of text, numbers, bools and lists as TOML, which has no None: such entries are left out."""
    import tomli_w

    def stated(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: stated(inner) for key, inner in value.items() if inner is not None}
        return value

    return tomli_w.dumps(stated(table))


def revised(old: str, new: str) -> str:
    """A TOML file that says what ``new`` says, in tables of values: ``old``, with the values that differ changed where
    they stand; or ``new``, where lines can't be changed one by one.
    """
    import tomllib

    wanted, text = tomllib.loads(new), old
    try:
        known = tomllib.loads(old)
        for table, values in wanted.items():
            for key, value in values.items():
                if key not in known[table] or known[table][key] != value:
                    text = _with_line(text, table, key, toml({key: value}).strip())
        return text if tomllib.loads(text) == wanted else new
    except (ValueError, KeyError, TypeError):  # (one of TOML is a ValueError)
        return new


def _with_line(text: str, table: str, key: str, line: str) -> str:
    """A table with one line in place of the one that gives ``key``, or else at its beginning."""
    head, begin, rest = re.split(rf"(^\[{table}\].*\n)", text, maxsplit=1, flags=re.M)
    body, *others = re.split(r"(^\[.*)", rest, maxsplit=1, flags=re.M | re.S)
    changed, found = re.subn(
        rf"^[ \t]*{key} *=[^#\n]*?( *#.*)?$", lambda m: line + (m[1] or ""), body, flags=re.M
    )
    return "".join([head, begin, changed if found else f"{line}\n{body}", *others])
