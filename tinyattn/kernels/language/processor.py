"""This machine's processor, as far as kernels are cut to its measure: vectors, registers, caches."""

import contextlib
import os
import platform

import llvmlite.binding as llvm

from tinyattn.environment import number
from tinyattn.kernels.language.opcodes import SIZES


def target() -> tuple[str, str]:
    """The processor that machine code is made for, and its features: this one, or as for Numba's own kernels what
    ``$NUMBA_CPU_NAME`` and ``$NUMBA_CPU_FEATURES`` say.
    """
    name, features = (os.environ.get(f"NUMBA_CPU_{key}") for key in ("NAME", "FEATURES"))
    own = llvm.get_host_cpu_features().flatten()
    return name or llvm.get_host_cpu_name(), own if features is None else features


def _vector_bytes() -> int:
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        widest = 64
    else:
        widest = 32 if features.get("avx2") and features.get("fma") else 16
    widths = [width for width in (16, 32, 64) if width <= widest]
    return number("TINYATTN_VECTOR_BYTES", widths, f"one of {widths} on this processor") or widest


VECTOR_BYTES = _vector_bytes()
"""Width of vectors: 64 (AVX-512), 32 (AVX2 with fused multiply-add) or 16. ``$TINYATTN_VECTOR_BYTES``
chooses a narrower one."""
MASKED_LOADS = VECTOR_BYTES >= 32
"""Whether loading a part of a vector takes no longer than loading a whole one."""
MASKED_STORES = VECTOR_BYTES >= 64
"""The same for storing."""

MANY_REGISTERS = VECTOR_BYTES == 64 or platform.machine().lower() in ("aarch64", "arm64")


def second_cache() -> int:
    """Bytes of a core's second-level cache; 1 MB where the system doesn't say."""
    with contextlib.suppress(AttributeError, ValueError, OSError):
        return max(0, os.sysconf("SC_LEVEL2_CACHE_SIZE")) or 1 << 20
    return 1 << 20


def lanes(dtype: str) -> int:
    """Numbers of ``dtype`` in a vector."""
    return VECTOR_BYTES // SIZES[dtype]
