"""Files that are written whole or not at all, and read with every fault of theirs as one sentence.

Writing: a file's new content is written beside it under a name that nobody can guess, which must not exist
before (so that no link put there in advance is followed), and renamed. Whoever reads finds the old file or the
new one; a full disk or a crash leaves the old one.

Reading: a `Source` is a file and the kind of error that tells what is wrong with it. It hands out bytes, text,
JSON and TOML; whatever a file holds in their place, the error is `[operation] path must …, but …`. What the
values must be, `formats` says.
"""

import errno
import json
import math
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from tinyattn.errors import TinyattnError, brief

SUFFIX = ".tmp"
DEEPEST = 32
"""Levels of lists and tables in a file: ours have five, and whatever walks a value may recurse."""
LARGEST = 1 << 63
"""Numbers of a file lie below: JSON and TOML know no bounds, int64 does."""
BOM = b"\xef\xbb\xbf"
_HALF = re.compile("[\ud800-\udfff]")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def replace(path: str | os.PathLike, parts: Iterable[bytes | memoryview], durable: bool = True) -> None:
    """Put a file of the given bytes, one part behind the other, in the place of ``path``.

    durable: also after a crash of the machine, because the data reach the disk before the name does. Raises
    OSError that names ``path``.
    """
    path = Path(path)
    temporary = path.with_name(f".{secrets.token_hex(8)}{SUFFIX}")
    try:
        handle = os.open(temporary, _NEW, 0o666)  # less the umask, as any file of the user's
        try:
            with open(handle, "wb") as file:
                file.writelines(parts)
                file.flush()
                if durable:
                    os.fsync(handle)
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        if durable and hasattr(
            os, "O_DIRECTORY"
        ):  # the new name is an entry of the folder, which has to reach it too
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def append(path: str | os.PathLike, data: bytes, lines: bool = True) -> None:
    """Add ``data`` at the end of a file, all or nothing of it; lines: on a line of its own. Raises OSError that names
    ``path``.
    """
    mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, mode, 0o666), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if lines and size and (file.seek(size - 1), file.read(1))[1] != b"\n":
                data = b"\n" + data  # what a crash left of a last line is no part of this one
            try:
                if file.write(data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Remove what writes that were cut off left in a folder; the caller knows that nobody is writing there."""
    for path in Path(folder).glob(f".*{SUFFIX}"):
        path.unlink(missing_ok=True)


def to_json(value: Any, **how: Any) -> str:
    """JSON, as ``json.dumps`` writes it; numbers that JSON does not have (nan, inf) become null."""
    return json.dumps(_finite(value), allow_nan=False, **how)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True)
class Source:
    """A file to be read on behalf of an operation, whose errors are of the given class."""

    path: Path
    operation: str
    error: type[TinyattnError]

    def refuse(self, must: str, got: str) -> NoReturn:
        """Raise the error, one sentence."""
        end = "" if got.endswith("?") else "."
        raise self.error(f"[{self.operation}] {self.path} must {must}, but {got}{end}") from None

    def content(self) -> bytearray:
        """All bytes of the file. It must be a regular one: another kind may have no end, or let us wait."""
        try:
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            with open(os.open(self.path, flags), "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    self.refuse("be readable", "it is no regular file")
                content = bytearray(status.st_size)
                view, size = memoryview(content), 0
                while size < len(content) and (count := file.readinto(view[size:])):
                    size += count
                view.release()
                del content[size:]
                return content
        except OSError as error:
            self.refuse("be readable", f"it is not: {error.strerror}")
        except MemoryError:
            self.refuse("fit into the memory", f"it has {status.st_size:,} bytes")

    def text(self, content: bytes | bytearray, line: int = 1) -> str:
        """UTF-8, with or without a byte order mark. line: the number of the first line."""
        try:
            return content.removeprefix(BOM).decode()
        except UnicodeDecodeError as error:
            before, byte = error.object[: error.start], error.object[error.start]
            got = f"got byte 0x{byte:02x} in line {before.count(10) + line}"
            self.refuse("be UTF-8 text", got)

    def toml(self) -> dict[str, Any]:
        """The tables of a TOML file."""
        import tomllib

        text = self.text(self.content())
        return self._parsed("TOML", lambda: tomllib.loads(text))

    def json(self, content: bytes | bytearray | str, where: str = "", line: int = 1) -> Any:
        """One value of JSON, which is all of the file, or else a part (where: " in line 3"; line: 3). What has a name
        twice is none; NaN and Infinity, which Python writes and JSON doesn't know, are null.
        """
        text = content if isinstance(content, str) else self.text(content, line)
        return self._parsed(
            f"JSON{where}",
            lambda: json.loads(
                text, object_pairs_hook=_unique, parse_float=_float, parse_constant=lambda _: None
            ),
        )

    def json_lines(self) -> Iterator[tuple[int, bytes, Any]]:
        """(number, bytes, value) of each line of a file of JSON lines. Blank ones are passed over, and so is what a
        crash left of a last one.
        """
        lines = bytes(self.content()).removeprefix(BOM).split(b"\n")
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    value = self.json(line, f" in line {number}", number)
                except self.error:
                    if number == len(lines):  # it has no end: nobody has finished writing it
                        return
                    raise
                yield number, line, value

    def _parsed(self, kind: str, parse: Callable[[], Any]) -> Any:
        try:
            value = parse()
            _check(value)
            return value
        except RecursionError:
            self.refuse(f"be {kind} of at most {DEEPEST} levels", "it has more")
        except json.JSONDecodeError as error:
            line = f"line {error.lineno}, " if kind == "JSON" else ""  # of a part its place is said already
            self.refuse(f"be {kind}", f"it is not: {error.msg} (at {line}column {error.colno})")
        except ValueError as error:
            reason = str(error).partition(";")[0]  # Python's word on very long numbers ends with an advice
            self.refuse(f"be {kind}", f"it is not: {reason}")


def _check(value: Any) -> None:
    """Raise RecursionError for too many levels, and ValueError for a whole number that is too large, and for half a
    character, which JSON can write and no file can hold.
    """
    levels: list[Iterator[Any]] = [iter((value,))]
    while levels:
        for inner in levels[-1]:
            if isinstance(inner, (dict, list)):
                levels.append(chain(inner, inner.values()) if isinstance(inner, dict) else iter(inner))
                if len(levels) > DEEPEST + 1:
                    raise RecursionError
                break
            if isinstance(inner, int) and not -LARGEST <= inner < LARGEST:
                raise ValueError(f"the number {brief(inner)} is too large")
            if isinstance(inner, str) and _HALF.search(inner):
                raise ValueError("a text in it has half a character")
        else:
            levels.pop()


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:20]} is too large")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, refused when a name comes twice."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{brief(name)} stands twice in it")
        found[name] = value
    return found
