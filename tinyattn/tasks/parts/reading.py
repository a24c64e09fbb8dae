"""Files of users, plain or gzipped: read whole, or refused with one sentence, however they are damaged."""

import gzip
import zlib
from pathlib import Path
from typing import NoReturn

from tinyattn.errors import DataError
from tinyattn.files import Source

LARGEST = 256 << 20
"""Bytes that a file may hold: a small one can unpack to more than the memory."""
_GZIP = b"\x1f\x8b"


def refuse(task: str, path: Path, expected: str, got: str) -> NoReturn:
    """Raise the DataError of a file that must do what is `expected`."""
    Source(path, task, DataError).refuse(expected, got)


def read_bytes(task: str, path: Path, what: str = "file") -> bytes:
    """What a file holds, unpacked if it is gzipped: its name ends in .gz, or it begins as such files do.

    what: the kind of file, for the message when there is none. Raises DataError, also for more than LARGEST bytes.
    """
    packed = path.suffix == ".gz"
    try:
        if path.is_dir():
            refuse(task, path, f"be a {what}", "it is a folder")
        if not path.is_file():
            refuse(task, path, f"be a {'gzipped ' * packed}{what}", "there is no such file")
        with path.open("rb") as file:
            packed = packed or file.peek(2)[:2] == _GZIP
            content = (gzip.open(file) if packed else file).read(LARGEST + 1)
    except EOFError:
        refuse(task, path, "be a whole gzip file", "it ends early: it is truncated")
    except gzip.BadGzipFile as error:
        refuse(task, path, "be a gzip file", f"it is foreign or damaged ({error})")
    except zlib.error as error:
        refuse(task, path, "be a gzip file", f"its data is corrupt ({error})")
    except OSError as error:
        refuse(task, path, "be readable", f"it is not ({error.strerror})")
    if len(content) > LARGEST:
        got = "it unpacks to more" if packed else "it is larger"
        refuse(task, path, f"hold at most {LARGEST >> 20} MB", got)
    return content


def read_text(task: str, path: Path, holds: str = "text") -> str:
    """The text of a UTF-8 file, "\\n" behind each line, without a byte order mark; gzipped or not.

    holds: what should be in it, for the message of an empty one. Raises DataError.
    """
    text = Source(path, task, DataError).text(read_bytes(task, path, "text file"))
    if not text:
        refuse(task, path, f"hold {holds}", "it is empty")
    return text.replace("\r\n", "\n")


def read_lines(task: str, path: Path, holds: str = "one sentence a line") -> list[str]:
    """The lines of such a file, none of them blank. Raises DataError."""
    lines = read_text(task, path, holds).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            refuse(task, path, f"hold {holds}", f"line {number} is empty")
    return lines
