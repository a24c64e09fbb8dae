"""Commands under mpirun, for tests; they are skipped, with a sentence, where there is no MPI."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

JOB = Path(__file__).parent / "ranks_job.py"
MISSING = None
if importlib.util.find_spec("mpi4py") is None or not shutil.which(
    "mpirun", path=Path(sys.executable).parent.as_posix() + os.pathsep + os.environ.get("PATH", "")
):
    MISSING = "several ranks are tested where there are mpi4py and mpirun: pip install tinyattn[mpi]"

needs_mpi = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


def start(ranks, *words, **options):
    """`python words…` as so many ranks, of one thread each."""
    beside = Path(sys.executable).parent
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [shutil.which("mpirun", path=path), "-n", str(ranks), sys.executable, *map(str, words)]
    root = Path(__file__).parents[2]
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(root), "TINYATTN_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes | options)


def job(ranks, folder, steps, *options, **others):
    """The training of ranks_job.py."""
    return start(ranks, JOB, folder, steps, *options, **others)


def said(process, code=0):
    """What it printed, when it has ended."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out.strip()
