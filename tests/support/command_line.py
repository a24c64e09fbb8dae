"""The command line in this process, and in a shell; and settings with which a translator trains in a moment."""

import os
import subprocess
import sys

from tinyattn.cli import main

SMALL = [
    "hidden=6", "embedding=6", "maxout=4", "attention=4", "train_examples=200", "batch_size=16", "validate_every=5",
]  # fmt: skip
SET = [f"--set={text}" for text in SMALL]


def run(capsys, *arguments):
    """The exit code, output and errors of a command."""
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def shell(line, **environment):
    """Run a line of shell in which $T is the command."""
    env = os.environ | {"T": f"{sys.executable} -m tinyattn", "PYTHONUNBUFFERED": ""} | environment
    return subprocess.run(["bash", "-c", f"set -o pipefail; {line}"], capture_output=True, env=env)
