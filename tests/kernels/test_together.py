"""Missing kernels are compiled by several processes: each once, whatever becomes of the helpers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinyattn

# Five small kernels and a chain, by this process and a helper; HURT is done to the helper when it has begun.
_PROBE = """
import os, signal, sys, time
from tinyattn.kernels.build import native, together
from tinyattn.kernels.language.chains import Chain
from tinyattn.kernels.language.chains import CONTIGUOUS
wanted = [(name, "f32") for name in ("microbenchmark.scale", "maxout.forward", "gemm.tanh", "gemm.sigmoid", "copy.fill")]
wanted.append(Chain("f32", (("neg", "real", (0,)),), (("f32", CONTIGUOUS),), (("f32", 1),), 0))
start, seen = together._start, []
def hurt(process):
    HURT
    return process
together._start = lambda: hurt(start())
together.listeners.append(lambda ready, count: seen.append((ready, count)))
together.begin(wanted, 1)
time.sleep(WAIT)
together.ensure(wanted, 1)
assert not any(map(native.missing, wanted)), wanted
assert all(native.make(one) for one in wanted)
assert seen[-1][0] == seen[-1][1] <= 6, seen
if os.fork() == 0:
    together.ensure([("maxout.backward", "f32"), *wanted], 1)
    os._exit(0 if native.make(("maxout.backward", "f32")) else 1)
assert os.wait()[1] == 0
print(len(native.compiled))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    ("hurt", "wait", "alone"),
    [("pass", 0.5, False), ("process.kill()", 0, True), ("raise OSError", 0, True)],
    ids=["both", "killed", "not to be started"],
)
def test_what_is_missing_is_there_afterwards(tmp_path, hurt, wait, alone):
    code = _PROBE.replace("HURT", hurt).replace("WAIT", str(wait))
    environment = {
        **os.environ, "TINYATTN_CACHE": str(tmp_path), "PYTHONPATH": str(Path(tinyattn.__file__).parent.parent),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    mine = int(done.stdout)
    assert mine == 6 if alone else mine < 6
    assert len(list(tmp_path.glob("*/*.o"))) == 7
