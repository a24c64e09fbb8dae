"""The safetensors file format: named arrays in one file that runs no code when it is read.

    8 bytes   N, the length of the header: unsigned, little-endian
    N bytes   JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …, "__metadata__":
    {…}} the rest  the arrays, little-endian, row-major, one behind the other without gaps

(github.com/huggingface/safetensors). Metadata are pairs of strings. A file is written whole or not at all,
and carries a checksum of itself, so that a flipped bit is noticed; every fault of a file is one sentence.
"""

import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tinyattn import files
from tinyattn.errors import CheckpointError

NAMES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
DTYPES = {name: np.dtype(code) for name, code in NAMES.items()}
BFLOAT16 = "BF16"
"""Read as float32, which holds all its values: NumPy has no such type. Never written."""

METADATA = "__metadata__"
CHECKSUM, UNKNOWN = "checksum", "0" * 8
LONGEST_HEADER = 100_000_000


def write(
    path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None
) -> None:
    """Write `arrays`, and `metadata` beside them, to `path`, replacing what was there in one step.

    Raises CheckpointError for an element type the format does not have, and when the disk refuses.
    """
    path = Path(path)
    names = {dtype: name for name, dtype in DTYPES.items()}
    header: dict[str, object] = {METADATA: {**(metadata or {}), CHECKSUM: UNKNOWN}}
    buffers, offset = [], 0
    for name, array in arrays.items():
        array = np.asarray(array)
        array = np.require(array, array.dtype.newbyteorder("<"), ["C"])
        if array.dtype not in names:
            raise CheckpointError(
                f"[checkpoint] arrays must be numbers or bools, but {name!r} is {array.dtype}."
            )
        entry = {
            "dtype": names[array.dtype],
            "shape": array.shape,
            "data_offsets": [offset, offset + array.nbytes],
        }
        header[name], offset = entry, offset + array.nbytes
        buffers.append(array.reshape(-1).view(np.uint8).data)

    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the arrays start at a multiple of 8 bytes
    checksum = zlib.crc32(text)
    for buffer in buffers:
        checksum = zlib.crc32(buffer, checksum)
    text = text.replace(_checksum_text(UNKNOWN), _checksum_text(f"{checksum:08x}"), 1)
    try:
        files.replace(path, [struct.pack("<Q", len(text)), text, *buffers])
    except OSError as error:
        raise CheckpointError(
            f"[checkpoint] {path} must be writable, but it is not: {error.strerror}."
        ) from None


def read(path: str | Path, checked: bool = False) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a file; BF16 becomes float32.

    checked: refuse a file without a checksum, as other programs write them. Raises CheckpointError, one
    sentence, when the file is missing, cut off, damaged or of another kind.
    """
    path = Path(path)
    try:
        content = bytearray(path.read_bytes())  # arrays made over it can be written to
    except OSError as error:
        _refuse(path, "be readable", f"it is not: {error.strerror}")
    start, header = _header(path, content)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        _refuse(path, "hold strings as metadata", f"got {_short(metadata)}")
    spans = {name: _span(path, name, entry) for name, entry in header.items()}
    end = start
    for name, (_, _, begin, size) in sorted(spans.items(), key=lambda item: (item[1][2], item[1][3])):
        if start + begin != end:
            _refuse(path, "hold its arrays one behind the other", f"{name!r} begins at byte {begin}")
        end += size
    if end != len(content):
        what = "it ends early: it is truncated" if end > len(content) else "it goes on behind them"
        _refuse(path, f"have {end} bytes to hold its arrays", f"it has {len(content)}: {what}")
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None:
        _verify(path, content, start, checksum)
    elif checked:
        _refuse(path, "have a checksum", "it has none: it is damaged, or another program wrote it")
    arrays = {}
    for name, (dtype, shape, begin, _) in spans.items():
        count = math.prod(shape)
        if dtype == BFLOAT16:  # the upper half of a float32
            halves = np.frombuffer(content, "<u2", count, start + begin)
            arrays[name] = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
        else:
            arrays[name] = np.frombuffer(content, DTYPES[dtype], count, start + begin).reshape(shape)
    return arrays, metadata


def _refuse(path: Path, must: str, got: str) -> NoReturn:
    raise CheckpointError(f"[checkpoint] {path} must {must}, but {got}.") from None


def _header(path: Path, content: bytearray) -> tuple[int, dict]:
    """Where the arrays start, and the parsed header."""
    if len(content) < 8:
        _refuse(path, "be a safetensors file", f"it has only {len(content)} bytes: it is truncated")
    (length,) = struct.unpack_from("<Q", content)
    if length > LONGEST_HEADER or (len(content) > 8 and content[8] != ord("{")):
        _refuse(path, "be a safetensors file", "it is of another kind, or its beginning is damaged")
    if len(content) < 8 + length:
        got = f"it ends after {len(content) - 8}: it is truncated"
        _refuse(path, f"begin with a header of {length} bytes", got)
    try:
        header = json.loads(bytes(content[8 : 8 + length]), object_pairs_hook=_unique)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError too
        _refuse(path, "have a header of JSON", "its header is damaged")
    if not isinstance(header, dict):
        _refuse(path, "have an object as header", f"got {_short(header)}")
    return 8 + length, header


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object, refused when a name comes twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _span(path: Path, name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Element type, shape, first byte and number of bytes of one array."""

    def natural(values: object) -> bool:
        return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)

    well_formed = (
        isinstance(entry, dict) and entry.keys() == {"dtype", "shape", "data_offsets"}
        and isinstance(entry["dtype"], str) and natural(entry["shape"])
        and natural(entry["data_offsets"]) and len(entry["data_offsets"]) == 2
    )  # fmt: skip
    if not well_formed:
        _refuse(path, f"give {name!r} a dtype, a shape and data_offsets", f"got {_short(entry)}")
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if dtype != BFLOAT16 and dtype not in DTYPES:
        _refuse(path, f"hold {name!r} as one of {', '.join([*DTYPES, BFLOAT16])}", f"got {dtype!r}")
    size = math.prod(shape) * (2 if dtype == BFLOAT16 else DTYPES[dtype].itemsize)
    if end - begin != size:
        _refuse(path, f"give {name!r} {size} bytes for its shape {shape}", f"got {end - begin}")
    return dtype, shape, begin, size


def _verify(path: Path, content: bytearray, start: int, checksum: str) -> None:
    """Compare the checksum of header and arrays, taken with the checksum itself unknown."""
    header = bytes(content[8:start]).replace(_checksum_text(checksum), _checksum_text(UNKNOWN), 1)
    found = zlib.crc32(memoryview(content)[start:], zlib.crc32(header))
    if checksum != f"{found:08x}":
        _refuse(path, f"have the checksum {checksum}", f"it has {found:08x}: it is damaged")


def _checksum_text(value: str) -> bytes:
    return f'"{CHECKSUM}":{json.dumps(value)}'.encode()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"
