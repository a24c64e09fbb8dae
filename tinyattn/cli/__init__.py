"""Floor 9: the command line. `tinyattn COMMAND …`, or `python -m tinyattn COMMAND …`.

Results go to stdout (as JSON with --json), progress and errors to stderr. Exit codes: 0 done, 1 failed, 2
wrong usage, 130 stopped by Ctrl-C. Nothing heavy is imported here, so that --help answers at once; each
command is a function in a module of this folder that is imported when the command is used.
"""

import argparse
import contextlib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

STOPPED = 130
"""128 + SIGINT, as shells have it."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, with the nearest word for one that is misspelt.

    name: in brackets before an error; commands: the parsers of its subcommands.
    """

    name = "tinyattn"
    commands: dict[str, "Parser"]

    def error(self, message: str) -> NoReturn:
        choice = re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message)
        if choice:
            message += _hint(choice[1], re.findall(r"[\w-]+", choice[2]))
        self.exit(
            2, f"[{self.name}] {message.rstrip('.')}.\n  See `{self.prog} --help`.\n".replace("?.", "?")
        )

    def unknown(self, words: Sequence[str]) -> NoReturn:
        """The error for words that no argument takes."""
        options = re.findall(r"--[a-z-]+", self.format_help())
        hints = (_hint(word.partition("=")[0], options) for word in words if word.startswith("--"))
        hint = next(filter(None, hints), "") or (_as_setting(words) if "--set" in options else "")
        self.error(f"unrecognized arguments: {' '.join(words)}{hint}")


def _hint(word: str, known: Sequence[str]) -> str:
    from tinyattn.errors import near

    if word in known:  # (an option of the command, written before it)
        return f"; {word} stands behind the command."
    close = near(word.lower(), known)
    return f"; did you mean {close}?" if close else ""


def _as_setting(words: Sequence[str]) -> str:
    """What someone means who writes ``--hidden 128``."""
    name, _, value = words[0].partition("=")
    value = value or next((word for word in words[1:2] if not word.startswith("-")), "…")
    return (
        f"; settings are written --set {name[2:].replace('-', '_')}={value}" if name.startswith("--") else ""
    )


def _natural(text: str, least: int = 0) -> int:
    from tinyattn.errors import brief

    if not text.isdecimal() or len(text) < 20 and int(text) < least:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least {least}, but got {brief(text)}")
    if len(text) > 19 or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"must be a whole number below 2**63, but got {brief(text)}")
    return int(text)


def _positive(text: str) -> int:
    return _natural(text, 1)


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog=os.environ.get("TINYATTN_COMMAND", "tinyattn"),
        description="Attention models, built from scratch: train, look, take apart.",
    )
    top.commands = {}
    top.add_argument("--version", action="store_true", help="print the version and exit")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)

    def command(name: str, where: str, text: str) -> Parser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.name = name
        top.commands[name] = one
        one.set_defaults(function=where)
        one.add_argument("--json", action="store_true", help="print the result as JSON")
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return one

    def threads(one: Parser) -> None:
        one.add_argument("--threads", type=_positive, metavar="N", help="threads to use (default: all cores)")

    train = command("train", "train.train", "train a model, and write a run folder with a report")
    train.add_argument(
        "model", nargs="?", metavar="MODEL",
        help="see `tinyattn models`, or your own file.py:Class (default: bahdanau)",
    )  # fmt: skip
    train.add_argument(
        "--task",
        metavar="T",
        help="see `tinyattn tasks`, or your own file.py:Class (default: the model's first)",
    )
    train.add_argument("--data", metavar="PATH", help="the task's file or folder, for tasks that read some")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
        help="change a setting, e.g. --set hidden=128 --set learning_rate=1e-3; may be repeated",
    )  # fmt: skip
    train.add_argument("--steps", type=_positive, metavar="N", help="how many training steps")
    train.add_argument(
        "--seed", type=_natural, metavar="N", help="of initial values, data and their order (default: 0)"
    )
    threads(train)
    train.add_argument(
        "--out", metavar="DIR", help="the run folder (default: runs/MODEL-TASK-SEED, or the next free name)"
    )
    train.add_argument("--resume", metavar="DIR", help="go on with the run in this folder")
    train.add_argument(
        "--no-baseline", action="store_true", help="leave out the model trained for comparison"
    )
    train.add_argument("--record", action="store_true", help="add the figures to results/results.json")
    train.add_argument(
        "--shard-optimizer",
        action="store_true",
        help="under mpirun, keep the optimizer's moments of each parameter on one rank only",
    )

    again = command("reproduce", "reproduce.reproduce", "train every recipe again, and compare the figures")
    again.add_argument("models", nargs="*", metavar="MODEL", help="see `tinyattn models` (default: all)")
    again.add_argument("--seeds", type=_positive, default=3, metavar="N", help="0 to N − 1 (default: 3)")
    again.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="TASK=PATH",
        help="where the files of a task are; may be repeated",
    )
    again.add_argument(
        "--out", default="runs/reproduce", metavar="DIR",
        help="the folder of the runs, which go on where they were stopped (default: runs/reproduce)",
    )  # fmt: skip
    threads(again)

    sweep = command("sweep", "sweep.sweep", "train a model with each of several settings, and compare them")
    sweep.add_argument("model", metavar="MODEL", help="see `tinyattn models`, or your own file.py:Class")
    sweep.add_argument(
        "--grid", action="append", required=True, metavar="KEY=VALUE,VALUE",
        help="a setting and its values, e.g. --grid score=dot,general; with several, all combinations are run",
    )  # fmt: skip
    sweep.add_argument(
        "--one-at-a-time",
        action="store_true",
        help="let only one setting of the grid differ from its default",
    )
    sweep.add_argument("--task", metavar="T", help="see `tinyattn tasks` (default: the model's first)")
    sweep.add_argument("--data", metavar="PATH", help="the task's file or folder, for tasks that read some")
    sweep.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
        help="a setting that all runs share; may be repeated",
    )  # fmt: skip
    sweep.add_argument("--steps", type=_positive, metavar="N", help="how many training steps")
    sweep.add_argument("--seeds", type=_positive, default=1, metavar="N", help="0 to N − 1 (default: 1)")
    sweep.add_argument(
        "--out", metavar="DIR",
        help="the folder of the runs, which go on where they were stopped (default: runs/sweep/MODEL-TASK)",
    )  # fmt: skip
    threads(sweep)

    data = command("data", "data.data", "fetch public data sets from where they are published")
    data.add_argument("action", choices=("fetch",), metavar="fetch", help="bring the files of a set here")
    data.add_argument("name", nargs="?", metavar="NAME", help="which (default: list what there is)")
    data.add_argument("--out", metavar="DIR", help="where they go (default: data/NAME)")
    data.add_argument("--from", dest="address", metavar="URL", help="another address that has the same files")

    command("models", "listing.models", "list the models")
    command("tasks", "listing.tasks", "list the tasks")

    evaluate = command("eval", "answer.evaluate", "measure a trained model on held-out data")
    sample = command(
        "sample", "answer.sample", "let a trained model answer: translate, continue a text, draw an image"
    )
    for one in (evaluate, sample):
        one.add_argument("run", metavar="RUN", help="a run folder")
        one.add_argument(
            "--beam",
            type=_positive,
            metavar="K",
            help="hypotheses kept, of models that search (default: what the model searches with, mostly 1: greedy)",
        )
        one.add_argument(
            "--set", action="append", default=[], metavar="KEY=VALUE", dest="assignments",
            help="an option of the model's answers, e.g. --set temperature=0.8; may be repeated",
        )  # fmt: skip
        one.add_argument(
            "--data", metavar="PATH", help="where the task's files are now (default: as trained)"
        )
        threads(one)
    evaluate.add_argument("--split", default="test", choices=("validation", "test"), help="default: test")
    sample.add_argument(
        "text",
        nargs="*",
        default=[],
        metavar="TEXT",
        help="one example each (default: lines of stdin, or held-out ones)",
    )

    draw = command("draw", "draw.draw", "draw the computation graph of a model, forward and backward")
    draw.add_argument("what", metavar="MODEL_OR_RUN", help="a model's name or a run folder")
    draw.add_argument(
        "--objective", metavar="NAME", help="which loss, of a model with several (default: the first)"
    )
    draw.add_argument(
        "-o", "--output", metavar="FILE", help=".svg .png .pdf .html .gv .json (default: MODEL.svg)"
    )
    draw.add_argument("--depth", type=_natural, metavar="N", help="levels of modules to open")
    draw.add_argument("--forward", action="store_true", help="without the derivative")
    draw.add_argument(
        "--expand", action="append", default=[], metavar="OP",
        help="a hand-derived operation to open, e.g. attention; may be repeated",
    )  # fmt: skip
    draw.add_argument("--views", action="store_true", help="transposes, slices and reshapes as nodes")
    draw.add_argument("--parameters", action="store_true", help="parameters as nodes beside their layers")
    draw.add_argument("--repeats", action="store_true", help="with --depth: each of several equal modules")

    derive = command("derive", "derive.derive", "derive the derivative of an operation, step by step")
    derive.add_argument("op", metavar="OP", help="an operation, see `tinyattn gradcheck`")
    derive.add_argument(
        "--wrt", action="append", metavar="X", help="by which argument; may be repeated (default: all)"
    )
    derive.add_argument("-o", "--output", metavar="FILE", help=".txt .tex .html (default: print the text)")

    check = command("gradcheck", "tools.gradcheck", "compare derivatives with finite differences")
    check.add_argument("ops", nargs="*", metavar="OP", help="operations (default: all that have samples)")

    bench = command("bench", "bench.bench", "time the training step of a model, and show where the time goes")
    bench.add_argument(
        "model", nargs="?", default="bahdanau", metavar="MODEL",
        help="see `tinyattn models` (default: bahdanau)",
    )  # fmt: skip
    bench.add_argument("--steps", type=_positive, default=20, metavar="N", help="steps to time (default: 20)")
    bench.add_argument(
        "--batch-size", type=_positive, metavar="N", help="default: that of the model's recipe"
    )
    bench.add_argument(
        "--profile", action="store_true", help="time each kernel, and draw modules, operations and kernels"
    )
    bench.add_argument("-o", "--output", metavar="FILE", help="the picture (default: profile-MODEL.svg)")
    threads(bench)
    for one in (draw, bench):
        one.add_argument(
            "--task", metavar="T", help="the task whose sizes and data are used (default: the model's first)"
        )
        one.add_argument("--data", metavar="PATH", help="the task's file or folder, for tasks that read some")

    command("doctor", "tools.doctor", "check that this installation works, and say what is missing")
    command("warmup", "tools.warmup", "compile all kernels now, so that the first step is fast")
    return top


def _parsed(top: Parser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Like `parse_args`, but words of a list (texts, operations, models) may also come behind options: argparse ends
    the list at the first option.
    """
    arguments, rest = top.parse_known_args(argv)
    words = next(
        (getattr(arguments, name) for name in ("text", "ops", "models") if hasattr(arguments, name)), None
    )
    if words is not None and not any(word.startswith("-") for word in rest):
        words.extend(rest)
    elif rest:
        top.commands.get(arguments.command, top).unknown(rest)
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    _prepare_streams()
    top = parser()
    try:
        arguments = _parsed(top, argv)
    except SystemExit as end:  # argparse has said what it had to say
        said = int(end.code or 0)
        return _run(lambda _: said, argparse.Namespace(command=top.name, debug=False))
    if arguments.version:
        from tinyattn import __version__

        return _run(
            lambda _: print(f"tinyattn {__version__}"), argparse.Namespace(command=top.name, debug=False)
        )
    if arguments.command is None:
        return _run(lambda _: top.print_help(), argparse.Namespace(command=top.name, debug=False))
    module, _, function = arguments.function.partition(".")
    return _run(lambda given: import_module(f"{__name__}.{module}").__dict__[function](given), arguments)


def _prepare_streams() -> None:
    """Standard streams that can't fail a finished run: closed ones lead nowhere, and what the terminal's encoding
    lacks is printed as a question mark. Texts come in as UTF-8, with or without a byte order mark.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _nowhere(mode))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace", encoding="utf-8-sig" if name == "stdin" else None)


def _nowhere(mode: str) -> Any:
    return open(os.devnull, mode, encoding="utf-8")


def _run(command: Callable[[argparse.Namespace], int | None], arguments: argparse.Namespace) -> int:
    from tinyattn.ranks import fail

    code, text = _outcome(command, arguments)
    if code:
        fail(code, lambda: print(text, file=sys.stderr) if text else None)
    return code


def _outcome(
    command: Callable[[argparse.Namespace], int | None], arguments: argparse.Namespace
) -> tuple[int, str]:
    """A command's exit code, and what is to be said of its failure."""
    from tinyattn.errors import Interrupted, TinyattnError, UsageError
    from tinyattn.ranks import rank

    try:
        if rank():  # the first one's results are those of all
            sys.stdout = _nowhere("w")
        code = command(arguments) or 0
        sys.stdout.flush()  # here, where a full disk can still be reported
        return code, ""
    except TinyattnError as error:
        if arguments.debug:
            raise
        return 2 if isinstance(error, UsageError) else 1, _without_launcher(str(error))
    except KeyboardInterrupt:
        return STOPPED, "stopped."
    except Interrupted as stop:
        return STOPPED, f"{stop}, and saved. The same command goes on."
    except BrokenPipeError:  # the reader has seen enough, as with `| head`
        _silence()
        return 0, ""
    except OSError as error:
        if arguments.debug:
            raise
        where = error.filename or "the output"
        reason = (error.strerror or str(error)).lower()
        if error.filename is None:
            _silence()
        return 1, f"[{arguments.command}] {where} must be usable, but it is not: {reason}."
    except MemoryError as error:
        if arguments.debug:
            raise
        must = "what is asked for must fit into the memory"
        return 1, f"[{arguments.command}] {must}, but it does not: {error}."
    except Exception as error:  # a fault of ours
        if arguments.debug:
            raise
        text = str(error) or "no message"
        where = "  --debug shows where it comes from."
        return 1, f"[{arguments.command}] {type(error).__name__}: {text}\n{where}"


def _silence() -> None:
    """Let what is still to be printed go nowhere: the interpreter would complain about it at its end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _without_launcher(text: str) -> str:
    """An error's text without the line of the user's program, where that is this command itself."""
    package = Path(__file__).resolve().parents[1]

    def ours(row: str) -> bool:
        if not row.startswith("  at "):
            return False
        file = Path(row.removeprefix("  at ").rpartition(":")[0]).resolve()
        return file == Path(sys.argv[0]).resolve() or file.is_relative_to(package)

    return "\n".join(row for row in text.splitlines() if not ours(row))
