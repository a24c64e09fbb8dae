"""From a kernel's name, or a chain of elementwise operations, to the address of its machine code, by way of a
cache on disk.

Numba compiles each kernel once, and LLVM each chain; the object code is kept in a directory of its own, keyed
on everything it depends on: the text of every file in ``tinyattn/kernels``, the versions of numba and
llvmlite, and the processor's name and features. Later processes link the stored objects with llvmlite alone
and never import Numba. The directory is private (mode 0700) and is believed only when this user owns it and
nobody else can write to it; when it cannot be used, kernels are compiled in memory and nothing else changes.
"""

import contextlib
import ctypes
import functools
import hashlib
import os
import stat
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tinyattn.kernels.language.chains import Chain
from tinyattn.kernels.language.row_chains import RowChain

_MAGIC = b"tinyattn-kernel\n"
lock = threading.RLock()
"""Held by who compiles or links."""
_addresses: dict[str, int] = {}
_handed_over: dict[str, Any] = {}
"""Kernels in Python, which must live as long as programs may call them."""
compiled: list[str] = []
"""Kernels compiled (not loaded) by this process, in order."""


@functools.cache
def _engine():
    """The linker that makes object code executable, one a process."""
    import llvmlite.binding as llvm  # (only now, and below: a first tensor and --help take a third less time)

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    return llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)


@functools.cache
def fingerprint() -> str:
    """Digest of all that a kernel's machine code depends on."""
    import importlib.metadata

    from tinyattn.kernels.language import processor

    digest = hashlib.sha256()
    kernels = Path(__file__).parents[1]
    for path in sorted(kernels.rglob("*.py")):
        digest.update(str(path.relative_to(kernels)).encode() + b"\0" + path.read_bytes() + b"\0")
    for package in ("numba", "llvmlite"):
        digest.update(importlib.metadata.version(package).encode() + b"\0")
    digest.update("".join(processor.target()).encode())
    digest.update(f"{sys.platform} {processor.VECTOR_BYTES}".encode())
    return digest.hexdigest()[:24]


def cache_root() -> Path:
    """``$TINYATTN_CACHE``, or the user's cache directory."""
    if os.environ.get("TINYATTN_CACHE"):
        return Path(os.environ["TINYATTN_CACHE"]).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tinyattn"


def _is_private(status: os.stat_result) -> bool:
    """Whether only this user can have written a file or directory."""
    if not hasattr(os, "geteuid"):  # Windows: the user's profile is private by its access list
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def cache_directory() -> Path | None:
    """The directory of this fingerprint's objects, made if need be; None when it cannot be trusted or
    written.
    """
    try:
        root = cache_root()
        directory = root / fingerprint()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        trusted = all(not p.is_symlink() and p.is_dir() and _is_private(p.lstat()) for p in (root, directory))
    except (OSError, RuntimeError):
        return None
    return directory if trusted else None


def _read(path: Path) -> bytes | None:
    """The object code in ``path``, or None if it is absent, foreign, truncated, corrupt, or not a file at all."""
    flags = (
        os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    )
    try:
        with open(os.open(path, flags), "rb") as file:  # (not to wait for the other end of a pipe)
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode) or path.is_symlink() or not _is_private(status):
                return None
            data = file.read()
    except OSError:
        return None
    head = len(_MAGIC) + 32
    body = data[head:]
    intact = data.startswith(_MAGIC) and data[len(_MAGIC) : head] == _digest(path, body)
    return body if intact else None


def _digest(path: Path, code: bytes) -> bytes:
    """Of object code and of what it is: under another name, or for another machine, it is not the same."""
    return hashlib.sha256(f"{path.parent.name}/{path.name}\0".encode() + code).digest()


def _write(path: Path, code: bytes) -> None:
    """Store object code in one atomic step; a full or read-only disk is not an error."""
    with contextlib.suppress(OSError):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + _digest(path, code) + code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise


def _symbol(name: str, dtype: str) -> str:
    return f"tinyattn_{name.replace('.', '_')}_{dtype}"


def _link(code: bytes, symbol: str) -> int:
    import llvmlite.binding as llvm

    engine = _engine()
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine.get_function_address(symbol)


class _Source(NamedTuple):
    """Where the machine code of a kernel or chain comes from."""

    symbol: str
    file: str
    compile: Callable[[], bytes]


@functools.cache
def _source(wanted: tuple[str, str] | Chain | RowChain) -> _Source:
    if not isinstance(wanted, Chain | RowChain):
        name, dtype = wanted
        symbol = _symbol(name, dtype)

        def kernel() -> bytes:
            from tinyattn.kernels.build import compiler

            return compiler.object_code(name, dtype, symbol)

        return _Source(symbol, f"{name}-{dtype}.o", kernel)
    chain = wanted
    symbol = _symbol(chain.name.replace("-", "."), chain.real)

    def loop() -> bytes:
        from tinyattn.kernels.build import generate, row_writer

        writer: Any = generate if isinstance(chain, Chain) else row_writer
        return writer.object_code(chain, symbol)

    return _Source(symbol, f"{chain.name}.o", loop)


def make(wanted: tuple[str, str] | Chain | RowChain) -> int:
    """Address of a kernel (its name and number type) or of the loop of a chain: known, or else loaded from a file of
    the cache, or else compiled and stored.
    """
    symbol, file, compile = _source(wanted)
    found = _addresses.get(symbol)
    if found is not None:
        return found
    with lock:
        if symbol not in _addresses:
            _addresses[symbol] = _link(_code(symbol, file, compile), symbol)
        return _addresses[symbol]


def _code(symbol: str, file: str, compile: Callable[[], bytes]) -> bytes:
    directory = cache_directory()
    path = directory / file if directory else None
    code = _read(path) if path else None
    if code is None:
        code = compile()
        compiled.append(symbol)
        if path:
            _write(path, code)
    return code


def store(wanted: tuple[str, str] | Chain | RowChain) -> None:
    """Compile it into the cache, unless it is there."""
    _code(*_source(wanted))


def known(wanted: tuple[str, str] | Chain | RowChain) -> bool:
    """Whether this process has it."""
    return _source(wanted).symbol in _addresses


def missing(wanted: tuple[str, str] | Chain | RowChain) -> bool:
    """Whether it is neither known to this process nor in the cache."""
    symbol, file, _ = _source(wanted)
    if symbol in _addresses:
        return False
    directory = cache_directory()
    return directory is None or not (directory / file).exists()


def address(name: str, dtype: str = "f32") -> int:
    """Address of the kernel ``name`` (``"module.factory"``) for ``dtype`` (``"f32"`` or ``"f64"``)."""
    return make((name, dtype))


def hand_over(name: str, dtype: str, work: Callable[[int, int, int, int], None]) -> None:
    """Let ``work``, a function of Python's, be the kernel ``name``: it is called with the address of its words, the
    first tile, the one past the last, and scratch memory. It must not fail: an error ends the process.
    """

    def safely(*given: int) -> None:
        try:
            work(*given)
        except BaseException:  # (there is no way back through machine code, and no sense in going on)
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    symbol = _symbol(name, dtype)
    _handed_over[symbol] = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(safely)
    _addresses[symbol] = ctypes.cast(_handed_over[symbol], ctypes.c_void_p).value or 0


def function(name: str, dtype: str = "f32"):
    """The kernel as a Python callable of four integers; the call releases the interpreter lock."""
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)(address(name, dtype))
