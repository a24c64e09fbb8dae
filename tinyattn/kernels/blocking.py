"""How a matrix product is cut up: register blocks for this machine, and a plan (kernel, tiles, packing) for given sizes and strides."""

import dataclasses
import functools
import os
import platform

import llvmlite.binding as llvm

from tinyattn.kernels.tiling import ceiling


@functools.cache
def _vector_bytes() -> int:
    override = os.environ.get("TINYATTN_VECTOR_BYTES")
    if override:
        return int(override)
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        return 64
    return 32 if features.get("avx2") and features.get("fma") else 16


VECTOR_BYTES = _vector_bytes()
WIDE_FILE = VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64")
ROWS = 14 if WIDE_FILE else 6
HEIGHTS = tuple(h for h in range(1, ROWS + 1) if h <= 8 or h % 2 == 0)
VECTORS = 2
DEPTH = 256
MASKED = VECTOR_BYTES >= 32
CHEAP_MASKED_STORES = VECTOR_BYTES == 64
SIZES = {"f32": 4, "f64": 8}


def lanes(dtype): return VECTOR_BYTES // SIZES[dtype]
def panel_columns(dtype): return VECTORS * lanes(dtype)

def panel_vectors(rows):
    if rows == 1: return 8
    if rows <= (4 if WIDE_FILE else 2): return 4
    return VECTORS

def padded_rows(dtype): return ceiling(ROWS, lanes(dtype)) * lanes(dtype)
