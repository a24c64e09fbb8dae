"""Other processors: the suite's tests of kernels with narrower vectors and older instructions, and code for ARM.

    python -m benchmarks.architectures [avx2] [sse2] [aarch64]

    avx2, sse2   tests of kernels and operations, with nothing newer than AVX2 and FMA (32 bytes), or than SSE2 (16),
                 in all machine code; from an empty cache
    aarch64      all kernels, each element type, translated for 64-bit ARM with 16 bytes (NEON), not run: nothing of
                 x86 may be left in them, and their loops must be vector instructions

Prints a table. A quarter of an hour of one processor for all.
"""

import argparse
import functools
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import parts

ROOT = Path(__file__).parents[1]
TESTS = ("tests/kernels", "tests/ops/test_ops.py", "tests/rewrite")
OLDER = {"avx2": ("32", "haswell"), "sse2": ("16", "x86-64")}
"""Bytes of a vector, and the processor."""
ARM = "aarch64-unknown-linux-gnu"
PARTS = {"convolution.phase"}
"""Words of a part of a kernel."""


def restricted(size: str, processor: str, cache: str) -> dict[str, str]:
    """The environment of a process whose machine code is for such a processor."""
    told = {"TINYATTN_VECTOR_BYTES": size, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": ""}
    return {**os.environ, **told, "TINYATTN_CACHE": cache}


def tested(name: str) -> tuple[bool, str]:
    """Run the tests on the older processor."""
    size, processor = OLDER[name]
    words = [sys.executable, "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", *TESTS]
    with tempfile.TemporaryDirectory() as cache:
        environment = restricted(size, processor, cache)
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-4000:], file=sys.stderr)
    return done.returncode == 0, f"{processor}, {size} bytes: {done.stdout.strip().splitlines()[-1]}"


def translated() -> tuple[bool, str]:
    """Translate the kernels, in a process that writes them for narrow vectors."""
    with tempfile.TemporaryDirectory() as cache:
        environment = restricted("16", "x86-64", cache)
        words = [sys.executable, "-m", "benchmarks.architectures", "--arm"]
        done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr[-4000:], file=sys.stderr)
        return False, "not translated"
    found = json.loads(done.stdout)
    bad = [name for name, (_, _, foreign) in found.items() if foreign]
    count, vectors = (sum(one[k] for one in found.values()) for k in (0, 1))
    text = f"{len(found)} kernels, {count:,} instructions, {vectors:,} of them of vectors"
    return not bad and vectors > 0, text + (f"; of x86: {', '.join(bad)}" if bad else "")


def translate() -> None:
    """For each kernel its instructions for ARM, those of vectors, and what it has of x86, as JSON."""
    import llvmlite.binding as llvm

    from tinyattn.kernels.build import compiler
    from tinyattn.kernels.calls.words import WORDS

    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = llvm.Target.from_triple(ARM).create_target_machine(cpu="generic", features="", opt=3)
    found = {}
    for name in [name for name in WORDS if name not in PARTS]:
        for real in ("f32", "f64"):
            text = compiler.library(name, real, f"{name}_{real}".replace(".", "_")).get_llvm_str()
            module = llvm.parse_assembly(text)
            module.triple, module.data_layout = ARM, str(machine.target_data)
            module.verify()
            lines = re.findall(r"^\t([a-z]\S*\t.*)$", machine.emit_assembly(module), re.MULTILINE)
            vectors = sum(bool(re.search(r"\bv\d+\.\d+[bhsd]\b", line)) for line in lines)
            found[f"{name} {real}"] = len(lines), vectors, re.findall(r"llvm\.x86[\w.]*", text)
    print(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [*OLDER, "aarch64"]
    parser.add_argument("parts", nargs="*", choices=[*names, []], metavar="PART", help=", ".join(names))
    parser.add_argument("--arm", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        translate()
        return
    known = {name: functools.partial(tested, name) for name in OLDER} | {"aarch64": translated}
    parts.run(known, options.parts, "what was done")


if __name__ == "__main__":
    main()
