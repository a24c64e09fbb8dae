"""Grey PNG images (RFC 2083), whole and without a fault or refused: a sentence says what is wrong with them.

A file is a signature and chunks, each with its length, its kind and a checksum: IHDR (the sizes), IDAT (the pixels,
deflated, row by row, each row behind the number of the filter that it went through) and IEND.
"""

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LONGEST = 4096
"""Pixels of a side."""


def decode(content: bytes) -> np.ndarray:
    """The pixels (height, width) of a grey image of 1 or 8 bits a pixel, uint8 from 0 to 255. Raises ValueError whose
    text goes on after "it": "… ends early".
    """
    if not content.startswith(SIGNATURE):
        raise ValueError("is no PNG image")
    chunks = _chunks(content)
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13 or chunks[-1] != (b"IEND", b""):
        raise ValueError("has no head or no end")
    width, height, bits, colours, packing, filtering, interlaced = struct.unpack(">IIBBBBB", chunks[0][1])
    if not (0 < width <= LONGEST and 0 < height <= LONGEST):
        raise ValueError(f"has {width} × {height} pixels")
    if bits not in (1, 8) or colours or packing or filtering or interlaced:
        raise ValueError("is no grey image of 1 or 8 bits a pixel")
    if any(kind[0] < 97 and kind not in (b"IHDR", b"IDAT", b"IEND") for kind, _ in chunks):
        raise ValueError(
            "has a part that is unknown here and must be understood"
        )  # (its name begins in capitals)
    row = (width * bits + 7) // 8
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(
            b"".join(part for kind, part in chunks if kind == b"IDAT"), height * (row + 1) + 1
        )
    except zlib.error as error:
        raise ValueError(f"has corrupt pixels ({error})") from None
    if len(data) != height * (row + 1) or not inflate.eof:
        raise ValueError("does not hold the pixels that it tells of")
    lines = np.frombuffer(data, np.uint8).reshape(height, row + 1)
    pixels = _unfiltered(lines[:, 0], lines[:, 1:])
    return np.unpackbits(pixels, axis=1, count=width) * np.uint8(255) if bits == 1 else pixels


def _chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    """Kind and content of each."""
    found, place = [], len(SIGNATURE)
    while place < len(content):
        if place + 12 > len(content):
            raise ValueError("ends early")
        length, kind = struct.unpack_from(">I4s", content, place)
        end = place + 8 + length
        if end + 4 > len(content):
            raise ValueError("ends early")
        if zlib.crc32(content[place + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            raise ValueError("is corrupt: a checksum is wrong")
        found.append((kind, content[place + 8 : end]))
        place = end + 4
    return found


def _unfiltered(filters: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The bytes before filters 0 … 4 took what is left (a), above (b) and above left (c) away from each."""
    if not filters.any():
        return rows
    if filters.max() > 4:
        raise ValueError("has a filter that there is none of")
    above = [0] * rows.shape[1]
    found = []
    for kind, row in zip(filters.tolist(), rows.tolist(), strict=True):
        a = c = 0
        for k, (x, b) in enumerate(zip(row, above, strict=True)):
            nearest = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            a = row[k] = (x + (0, a, b, (a + b) // 2, nearest)[kind]) & 255
            c = b
        found.append(row)
        above = row
    return np.array(found, np.uint8)
