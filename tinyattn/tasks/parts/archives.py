"""Zip archives of users: read whole into memory, or refused with one sentence, however they are damaged.

Nothing is ever written to a disk, so no name in an archive can lead anywhere; names that try to are refused all the
same, for whoever made them meant harm.
"""

import io
import re
import zipfile
import zlib
from pathlib import Path

from tinyattn.errors import brief
from tinyattn.tasks.parts.reading import LARGEST, read_bytes, refuse

_ESCAPES = re.compile(r"(^|/)\.\.?(/|$)|^/|^[A-Za-z]:|[\\\x00-\x1f]")
"""Names that mean another place than one inside the archive: .., an absolute path, a drive."""
_PACKED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED


def read_zip(task: str, path: Path) -> dict[str, bytes]:
    """What the files of an archive hold, by name, in its order; folders are left out. Raises DataError."""
    content = read_bytes(task, path, "zip archive")
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            for entry in entries:
                name = entry.orig_filename
                if _ESCAPES.search(name):
                    refuse(task, path, "hold names of places inside it", f"one is {brief(name)}")
                if entry.flag_bits & 1 or entry.compress_type not in _PACKED:
                    refuse(task, path, "hold files that are stored or deflated", f"{name} is not")
            if sum(entry.file_size for entry in entries) > LARGEST:
                refuse(task, path, f"unpack to at most {LARGEST >> 20} MB", "it has more")
            for entry in entries:
                if entry.is_dir():
                    continue
                if entry.filename in found:
                    refuse(task, path, "hold each name once", f"{entry.filename} stands twice in it")
                found[entry.filename] = archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError) as error:
        if content[:2] == b"PK":
            refuse(task, path, "be a whole zip archive", f"it is truncated or corrupt ({error})")
        got = f"it begins with {content[:4]!r}" if content else "it is empty"
        refuse(task, path, "be a zip archive", got)
    return found
