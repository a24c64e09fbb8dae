"""Attention weights on their way into a page: few bytes, at the finest precision that leaves the page light.

A page holds numbers as text, and 512 tokens with 12 heads have three million weights. Each map is divided by its
largest weight m. What is left is stored as float32 while that is small, and otherwise as one byte that holds the
square root, v = m (k / levels)²: small weights, which are most of them, keep more digits than large ones. The bytes
are deflated; if they are still too many, there are fewer levels.
"""

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LARGEST = 2_100_000
"""Bytes before base64, which adds a third: a page of 3 MB."""
_LEVELS = (252, 100, 40)
_ENDLESS = {-np.inf: 253, np.inf: 254}
_NO_NUMBER = 255


@dataclass(frozen=True)
class Packed:
    """``data``: base64 of the deflated numbers, of all maps one after another; ``levels``: of a byte, or 0 for
    float32; ``scales``: the largest weight of each map; ``signed``: for each kind, whether values below 0 are among
    them; ``error``: the largest error of a weight as part of its map's largest.
    """

    data: str
    levels: int
    scales: list
    signed: list[bool]
    error: float


def pack(kinds: Sequence[np.ndarray], largest: int = LARGEST) -> Packed:
    """Pack arrays (…, rows, columns) of equal shapes into ``largest`` bytes; infinities and NaN are kept."""
    signed = [bool((maps[np.isfinite(maps)] < 0).any()) for maps in kinds]
    scales = [_largest(maps) for maps in kinds]
    parts = [maps / scale for maps, scale in zip(kinds, scales, strict=True)]
    flat = [scale[..., 0, 0].tolist() for scale in scales]
    if sum(part.nbytes for part in parts) // 2 <= largest:
        single = zlib.compress(b"".join(part.astype("<f4").tobytes() for part in parts))
        if len(single) <= largest:
            return Packed(base64.b64encode(single).decode(), 0, flat, signed, 0.0)
    for levels in _LEVELS:
        codes = [_codes(part, levels, minus) for part, minus in zip(parts, signed, strict=True)]
        deflated = zlib.compress(b"".join(code.tobytes() for code in codes))
        if len(deflated) <= largest:
            break
    error = max(
        float(np.abs(_decode(code, levels, minus) - part)[np.isfinite(part)].max(initial=0.0))
        for code, part, minus in zip(codes, parts, signed, strict=True)
    )
    return Packed(base64.b64encode(deflated).decode(), levels, flat, signed, error)


def _largest(maps: np.ndarray) -> np.ndarray:
    """Largest magnitude of each map (…, 1, 1), or 1 where all is 0."""
    largest = np.where(np.isfinite(maps), np.abs(maps), 0.0).max(axis=(-2, -1), keepdims=True)
    return np.where(largest == 0, 1.0, largest)


def _codes(part: np.ndarray, levels: int, signed: bool) -> np.ndarray:
    """One byte for each number from −1 to 1: with ``signed``, half of the levels on each side of 0."""
    steps = levels // 2 if signed else levels
    finite = np.where(np.isfinite(part), part, 0.0)
    code = np.rint(np.sign(finite) * np.sqrt(np.abs(finite)) * steps) + (steps if signed else 0)
    code = code.astype(np.uint8)
    for value, special in _ENDLESS.items():
        code[part == value] = special
    code[np.isnan(part)] = _NO_NUMBER
    return code


def _decode(code: np.ndarray, levels: int, signed: bool) -> np.ndarray:
    """What the page makes of a byte."""
    steps = levels // 2 if signed else levels
    root = (code.astype(np.float64) - (steps if signed else 0)) / steps
    return np.sign(root) * root**2
