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

OPEN_MPI = {
    "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
}  # fmt: skip
"""What Open MPI's mpirun wants to be told where there are more ranks than processors, or root starts them."""

needs_mpi = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


def start(ranks, *words, **options):
    """`python words…` as so many ranks, of one thread each."""
    beside = Path(sys.executable).parent
    path = f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"
    command = [shutil.which("mpirun", path=path), "-n", str(ranks), sys.executable, *map(str, words)]
    root = Path(__file__).parents[2]
    environment = OPEN_MPI | os.environ | {"PATH": path, "PYTHONPATH": str(root), "TINYATTN_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes | options)


def job(ranks, folder, steps, *options, **others):
    """The training of ranks_job.py."""
    return start(ranks, JOB, folder, steps, *options, **others)


def is_open_mpi():
    """Whether mpirun is Open MPI's."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    told = subprocess.run([shutil.which("mpirun", path=path), "--version"], capture_output=True, text=True)
    return "Open MPI" in told.stdout


def ours(err):
    """What the ranks have said on stderr, without what Open MPI's mpirun says between two rulers."""
    return "".join(err.split("-" * 74)[::2]).strip("\0\n").splitlines()


def said(process, code=0):
    """What it printed, when it has ended."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    return out.strip()
