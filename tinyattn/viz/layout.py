"""Running Graphviz's ``dot``: how long it will take, what to do when it takes too long, and what to say when
it isn't there.

dot works on ranks, and an arrow over r ranks costs r points, so the cost of a picture is predicted from the
number of points, its nodes and arrows counted with their spans. Seconds grow like points^1.6; modules, which
become clusters, divide them by about four. Without modules most of them go into the routing of curves, so that large
pictures have straight arrows, whose seconds grow like points. From some 2,000 nodes without modules on most of the
time goes into the end of ranking, where dot 2.43 holds each arrow that ranks against all arrows: a chain of 2,956 nodes
ranks in a third of the time without its invisible arrows, but by these a derivative lies beside its value. dot also
crashes: on some large pictures its router of curved
arrows overflows the stack, and straight arrows (``splines=line``) go another way.
"""

import os
import shutil
import signal
import subprocess
from typing import NoReturn

from tinyattn import errors
from tinyattn.graph.types import fail
from tinyattn.viz.model import Picture

TIMEOUT = 60.0
"""Seconds that one run of dot may take."""
UPWARDS = ("gradient", "operand")
"""Kinds of arrows that are ranked from target to source: cotangents flow up, beside the values they belong
to.
"""
STRAIGHT = "-Gsplines=line"
"""The option that spares dot the routing of curves."""
UNRANKED = ("loop", "update")
LONG = 150
"""Nodes from which on saved values rank: the value no lower than the derivative that reads it, which keeps the two beside
each other. Without, a chain whose derivative has more steps than itself ends far away from it, and all of its saved
values are arrows across the whole picture; a small picture is lower without.
"""

INSTALL = (
    "Install Graphviz: 'sudo apt install graphviz' (Debian, Ubuntu), 'brew install graphviz' (macOS), 'winget install graphviz' (Windows); "
    ".gv, .json and text work without it."
)


def points(picture: Picture) -> int:
    """Nodes, and points of arrows on the ranks that they cross; each upward arrow counts twice, as it is
    ranked by an invisible one.
    """
    below: dict[str, list[tuple[str, int]]] = {ident: [] for ident in picture.nodes}
    above = dict.fromkeys(picture.nodes, 0)
    unranked = UNRANKED if is_long(picture) else (*UNRANKED, "saved")
    for edge in picture.edges:
        if edge.kind not in unranked:
            a, b = (edge.target, edge.source) if edge.kind in UPWARDS else (edge.source, edge.target)
            below[a].append((b, edge.kind != "saved"))
            above[b] += 1
    rank = dict.fromkeys(picture.nodes, 0)
    order, free = [], [ident for ident, count in above.items() if count == 0]
    while (
        free
    ):  # in a cycle (of collapsed modules) nothing becomes free: those nodes stay at the rank they have
        a = free.pop()
        order.append(a)
        for b, least in below[a]:
            rank[b] = max(rank[b], rank[a] + least)
            above[b] -= 1
            if above[b] == 0:
                free.append(b)
    for a in reversed(order):  # leaves move down to their first user, as dot moves them
        if below[a]:
            rank[a] = max(rank[a], min(rank[b] - least for b, least in below[a]))
    spans = sum(abs(rank[e.target] - rank[e.source]) * (2 if e.kind in UPWARDS else 1) for e in picture.edges)
    return len(picture.nodes) + spans


WORDS = 1000
"""Nodes whose words dot measures in a second."""
VAST_NODES = 1500
"""Above this many nodes dot's slow phases are limited to a tenth."""
ENTANGLED = 10_000
"""Points of a picture without modules from which on its arrows are straight: curves would take a second and more."""


def is_long(picture: Picture) -> bool:
    """Whether saved values take part in ranking."""
    return len(picture.nodes) > LONG


def is_entangled(picture: Picture) -> bool:
    """Whether arrows are too many and too long for curves."""
    return not _is_framed(picture) and points(picture) > ENTANGLED


def _is_framed(picture: Picture) -> bool:
    return 2 * sum(bool(node.path) for node in picture.nodes.values()) > len(picture.nodes)


def seconds(picture: Picture) -> float:
    """About how long dot will take, on one core of 2024: right within a factor of five, for chains too long."""
    count, words = points(picture), len(picture.nodes) / WORDS
    if _is_framed(picture):
        return words + (count / 20_000) ** 1.6 / (2 if len(picture.nodes) > VAST_NODES else 1)
    return words + (count / 15_000 if count > ENTANGLED else (count / 8_000) ** 1.6)


def available() -> bool:
    """Whether the program dot is there."""
    return shutil.which("dot") is not None


class Unfinished(Exception):
    """dot took too long, or crashed; the message completes "dot …". A smaller picture may do."""


def run(source: str, kind: str, *options: str) -> bytes:
    """The output of ``dot -Tkind`` for DOT text; should it crash, with straight arrows.

    Raises TinyattnError if dot isn't installed or refuses, Unfinished if it crashes in both ways or takes
    longer than TIMEOUT seconds, when it is stopped.
    """
    try:
        return _once(source, kind, *options)
    except Crashed:
        return _once(source, kind, *options, STRAIGHT)


class Crashed(Unfinished):
    """dot ended by a signal."""


def _once(source: str, kind: str, *options: str) -> bytes:
    program = shutil.which("dot") or ""
    if not program:
        fail(
            errors.TinyattnError,
            "draw",
            "laying out a picture needs Graphviz's program dot",
            "it was not found",
            INSTALL,
        )
    command = [program, f"-T{kind}", *options]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True) as process:
        try:
            made, complaints = process.communicate(source.encode(), TIMEOUT)
        except subprocess.TimeoutExpired:
            _stop(process)
            raise Unfinished(f"took longer than {TIMEOUT:g} s") from None
        except BaseException:  # Ctrl-C too must not leave it running
            _stop(process)
            raise
    if process.returncode < 0 or process.returncode > 128:  # more than 128: what a shell or Windows says
        raise Crashed("crashed")
    if process.returncode:
        reason = complaints.decode(errors="replace").strip().splitlines() or [
            f"exit code {process.returncode}"
        ]
        fail(
            errors.TinyattnError,
            "draw",
            f"dot must be able to make {kind}",
            reason[0].rstrip("."),
            "Try another format; .gv holds the input of dot.",
        )
    return made


def give_up(got: str, suggestion: str) -> NoReturn:
    """Raise the error for a picture that dot can't finish."""
    must = f"dot must finish within {TIMEOUT:g} s"
    fail(errors.TinyattnError, "draw", must, got, suggestion)


def _stop(process: subprocess.Popen) -> None:
    """End dot and whatever it started: where dot is a script around the real one, killing the script alone
    would leave us waiting for the other.
    """
    if hasattr(os, "killpg"):
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
