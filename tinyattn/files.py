"""Files that are written whole or not at all.

A file's new content is written beside it under a name that nobody can guess, which must not exist before (so
that no link put there in advance is followed), and renamed. Whoever reads finds the old file or the new one;
a full disk or a crash leaves the old one.
"""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

SUFFIX = ".tmp"
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


def append(path: str | os.PathLike, data: bytes) -> None:
    """Add ``data`` at the end of a file, all or nothing of it. Raises OSError that names ``path``."""
    mode = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(path, mode, 0o666), "r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            if size and (file.seek(size - 1), file.read(1))[1] != b"\n":
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
