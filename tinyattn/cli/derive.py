"""`tinyattn derive`: the derivative of an operation, step by step, each step checked with numbers."""

import argparse
import json
from pathlib import Path

import tinyattn as ta
from tinyattn.cli.operations import check_operation
from tinyattn.errors import TinyattnError, UsageError
from tinyattn.viz.derivation.tree import TEXT
from tinyattn.viz.derivation.view import FORMATS


def derive(arguments: argparse.Namespace) -> int:
    """Print the derivation, or write it to a file; exit code 1 if one of its steps doesn't hold."""
    if arguments.output and Path(arguments.output).suffix.removeprefix(".") not in FORMATS:
        known = ", .".join(FORMATS)
        raise UsageError(f"[derive] FILE must end in .{known}, but got {arguments.output!r}.")
    check_operation("derive", arguments.op)
    try:
        derivation = ta.derive(arguments.op, arguments.wrt)
    except TinyattnError as error:  # (of a known operation, only X can be wrong)
        raise UsageError(str(error)) from error
    if arguments.output:
        derivation.save(arguments.output)
    if arguments.json:
        steps = [
            {
                "stage": step.stage,
                "rule": step.rule,
                "before": [TEXT.equation(equation) for equation in step.before],
                "after": [TEXT.equation(equation) for equation in step.after],
                "error": step.error,
                "kinks": step.kinks,
                "holds": step.holds,
            }
            for step in derivation.steps
        ]
        print(
            json.dumps(
                {"title": derivation.title, "holds": derivation.holds, "steps": steps}, ensure_ascii=False
            )
        )
    else:
        print(arguments.output or derivation.text())
    return 0 if derivation.holds else 1
