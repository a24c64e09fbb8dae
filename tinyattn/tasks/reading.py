"""Text files of users, plain or gzipped: read whole, or refused with one sentence, however they are damaged."""

import gzip
import zlib
from pathlib import Path
from typing import NoReturn

from tinyattn.errors import DataError

LARGEST = 256 << 20
"""Bytes of text that a file may hold: a small file can unpack to more than the memory."""


def read_text(task: str, path: Path, holds: str = "text") -> str:
    """The text of a UTF-8 file, without a byte order mark; gzipped if its name ends in .gz.

    holds: what should be in it, for the message of an empty one. Raises DataError.
    """

    def refuse(expected: str, got: str) -> NoReturn:
        raise DataError(f"[{task}] {path} must {expected}, but {got}.") from None

    packed = path.suffix == ".gz"
    if not path.is_file():
        refuse(f"be a {'gzipped ' * packed}text file", "there is no such file")
    try:
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            refuse(
                f"hold at most {LARGEST >> 20} MB of text", "it unpacks to more" if packed else "it is larger"
            )
        text = content.decode("utf-8-sig")
    except EOFError:
        refuse("be a whole gzip file", "it ends early: it is truncated")
    except gzip.BadGzipFile as error:
        refuse("be a gzip file", f"it is foreign or damaged ({error})")
    except zlib.error as error:
        refuse("be a gzip file", f"its data is corrupt ({error})")
    except UnicodeDecodeError as error:
        before, byte = error.object[: error.start], error.object[error.start]
        refuse("be UTF-8 text", f"got byte 0x{byte:02x} in line {before.count(10) + 1}")
    except OSError as error:
        refuse("be readable", f"it is not ({error.strerror})")
    if not text:
        refuse(f"hold {holds}", "it is empty")
    return text


def read_lines(task: str, path: Path, holds: str = "one sentence a line") -> list[str]:
    """The lines of such a file, none of them blank. Raises DataError."""
    lines = read_text(task, path, holds).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            raise DataError(f"[{task}] {path} must hold {holds}, but line {number} is empty.")
    return lines
