"""The safetensors file format: named arrays in one file that runs no code when it is read. Written here,
because the format's own package (0.8) stores metadata in a random order, so that equal checkpoints differ in their
bytes, copies all arrays once more, and takes a name that comes twice, and entries that nobody knows, in silence;
tests read its files and let it read ours.

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

import numpy as np

from tinyattn import files, formats
from tinyattn.errors import CheckpointError, brief
from tinyattn.files import Source
from tinyattn.formats import Rule, Table

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


def _naturals(values: object) -> bool:
    return isinstance(values, list) and all(map(formats.NATURAL.holds, values))


SHAPE = Rule(  # as NumPy has them: also an empty array has so many axes and bytes at most
    "sizes of at most 64 axes and 2**60 numbers",
    lambda v: _naturals(v) and len(v) <= 64 and math.prod(max(1, size) for size in v) <= 1 << 60,
)
OFFSETS = Rule("two whole numbers of at least 0", lambda v: _naturals(v) and len(v) == 2)
STRING = Rule("a text", lambda value: isinstance(value, str))
HEADER = Table(
    optional={METADATA: Table(others=STRING)},
    others=Table({"dtype": STRING, "shape": SHAPE, "data_offsets": OFFSETS}),
)


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
        if name == METADATA:
            raise CheckpointError(
                f"[checkpoint] arrays must have names of their own, but one is {METADATA!r}."
            )
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
    source = Source(Path(path), "checkpoint", CheckpointError)
    content = source.content()  # arrays made over it can be written to
    start, header = _header(source, content)
    metadata = header.pop(METADATA, {})
    spans = {name: _span(source, name, entry) for name, entry in header.items()}
    end = start
    for name, (_, _, begin, size) in sorted(spans.items(), key=lambda item: (item[1][2], item[1][3])):
        if start + begin != end:
            source.refuse("hold its arrays one behind the other", f"{brief(name)} begins at byte {begin}")
        end += size
    if end != len(content):
        what = "it ends early: it is truncated" if end > len(content) else "it goes on behind them"
        source.refuse(f"have {end} bytes to hold its arrays", f"it has {len(content)}: {what}")
    checksum = metadata.pop(CHECKSUM, None)
    if checksum is not None:
        _verify(source, content, start, checksum)
    elif checked:
        source.refuse("have a checksum", "it has none: it is damaged, or another program wrote it")
    arrays = {}
    for name, (dtype, shape, begin, _) in spans.items():
        count = math.prod(shape)
        if dtype == BFLOAT16:  # the upper half of a float32
            halves = np.frombuffer(content, "<u2", count, start + begin)
            arrays[name] = (halves.astype(np.uint32) << np.uint32(16)).view(np.float32).reshape(shape)
        else:
            arrays[name] = np.frombuffer(content, DTYPES[dtype], count, start + begin).reshape(shape)
    return arrays, metadata


def _header(source: Source, content: bytearray) -> tuple[int, dict]:
    """Where the arrays start, and the parsed header."""
    if len(content) < 8:
        source.refuse("be a safetensors file", f"it has only {len(content)} bytes: it is truncated")
    (length,) = struct.unpack_from("<Q", content)
    if length > LONGEST_HEADER or (len(content) > 8 and content[8] != ord("{")):
        source.refuse("be a safetensors file", "it is of another kind, or its beginning is damaged")
    if len(content) < 8 + length:
        got = f"it ends after {len(content) - 8}: it is truncated"
        source.refuse(f"begin with a header of {length} bytes", got)
    header = source.json(content[8 : 8 + length], " in its header")
    return 8 + length, formats.check(source, header, HEADER, " in its header")


def _span(source: Source, name: str, entry: dict) -> tuple[str, tuple[int, ...], int, int]:
    """Element type, shape, first byte and number of bytes of one array."""
    dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    name = brief(name)
    if dtype != BFLOAT16 and dtype not in DTYPES:
        source.refuse(f"hold {name} as one of {', '.join([*DTYPES, BFLOAT16])}", f"got {brief(dtype)}")
    size = math.prod(shape) * (2 if dtype == BFLOAT16 else DTYPES[dtype].itemsize)
    if end - begin != size:
        source.refuse(f"give {name} {size} bytes for its shape {brief(shape)}", f"got {end - begin}")
    return dtype, shape, begin, size


def _verify(source: Source, content: bytearray, start: int, checksum: str) -> None:
    """Compare the checksum of header and arrays, taken with the checksum itself unknown."""
    header = bytes(content[8:start]).replace(_checksum_text(checksum), _checksum_text(UNKNOWN), 1)
    found = zlib.crc32(memoryview(content)[start:], zlib.crc32(header))
    if checksum != f"{found:08x}":
        source.refuse(f"have the checksum {brief(checksum)}", f"it has {found:08x}: it is damaged")


def _checksum_text(value: str) -> bytes:
    return f'"{CHECKSUM}":{json.dumps(value)}'.encode()
